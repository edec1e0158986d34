"""Bytes and values: how arguments and results are stored."""

from jobify.serializers._arguments import ArgumentsCodec
from jobify.serializers._json import JSONSerializer
from jobify.serializers._pickle import PickleSerializer
from jobify.serializers._protocol import Serializer
from jobify.serializers._results import PackedResult, ResultCodec

__all__ = ["ArgumentsCodec", "JSONSerializer", "PackedResult", "PickleSerializer", "ResultCodec", "Serializer"]
