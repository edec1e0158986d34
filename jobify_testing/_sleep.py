"""`time.sleep` on virtual time, wherever and by whatever name it was imported.

`from time import sleep` keeps the built-in function itself, so it is not enough to put another one into
the module. While a virtual loop runs, the built-in is pointed elsewhere: at `PyObject_CallOneArg`, a C
function of its own form, with our function as its first argument. time-machine does the like for `time.time`.
Where CPython is not what runs, only the name in the module is replaced.
"""

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

Sleep = Callable[[float], bool]
"""Sleeps in virtual time, and returns whether that was its business."""

_METH_O = 0x0008
_POINTER = ctypes.sizeof(ctypes.c_void_p)

_sleepers: list[Sleep] = []
_lock = threading.Lock()


class _Definition(ctypes.Structure):
    """`PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def _field(function: Any, index: int) -> ctypes.c_void_p:
    """Return a field of a `PyCFunctionObject`: 0 is its definition, 1 its first argument."""
    return ctypes.c_void_p.from_address(id(function) + object.__basicsize__ + index * _POINTER)


class _Redirection:
    """The built-in `time.sleep`, pointed at a function of ours and back."""

    def __init__(self, function: Callable[[float], None]) -> None:
        self.real: Callable[[float], object] = time.sleep
        self._function = function
        self._definition: _Definition | None = None
        if sys.implementation.name == "cpython":
            self._prepare()

    def _prepare(self) -> None:
        address = _field(time.sleep, 0).value
        original = _Definition.from_address(address or 0)
        if original.name != b"sleep" or original.flags != _METH_O:
            return
        target = ctypes.cast(ctypes.pythonapi.PyObject_CallOneArg, ctypes.c_void_p).value
        self._definition = _Definition(original.name, target, original.flags, original.doc)
        self._own = (address, _field(time.sleep, 1).value)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
        self._builtin = time.sleep
        self.real = make(address, time, "time")

    def _put(self, function: Callable[[float], object]) -> None:
        time.__dict__["sleep"] = function

    def set(self) -> None:
        if self._definition is None:
            self._put(self._function)
            return
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._function))
        _field(self._builtin, 1).value = id(self._function)
        _field(self._builtin, 0).value = ctypes.addressof(self._definition)

    def unset(self) -> None:
        if self._definition is None:
            self._put(self.real)
            return
        _field(self._builtin, 0).value, _field(self._builtin, 1).value = self._own
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self._function))


def _sleep(seconds: float) -> None:
    for sleep in _sleepers[::-1]:
        if sleep(seconds):
            return
    _redirection.real(seconds)


_redirection = _Redirection(_sleep)


def real_sleep(seconds: float) -> None:
    """Sleep in real time, whatever `time.sleep` is at the moment."""
    _redirection.real(seconds)


@contextlib.contextmanager
def sleeping_by(sleep: Sleep) -> Generator[None, None, None]:
    """Have `time.sleep` ask `sleep` first in this block."""
    with _lock:
        _sleepers.append(sleep)
        if len(_sleepers) == 1:
            _redirection.set()
    try:
        yield
    finally:
        with _lock:
            _sleepers.remove(sleep)
            if not _sleepers:
                _redirection.unset()
