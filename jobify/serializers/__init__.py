"""Bytes and values: how arguments are stored."""

from jobify.serializers._arguments import ArgumentsCodec
from jobify.serializers._json import JSONSerializer
from jobify.serializers._protocol import Serializer

__all__ = ["ArgumentsCodec", "JSONSerializer", "Serializer"]
