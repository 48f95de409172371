"""Calls of Python functions from compiled XLA programs, on XLA's own memory: JAX's foreign-function interface by ctypes.

`jax.pure_callback` copies what goes in and what comes out, some 50 ms for 64 MB; here ndarrays are made on the buffers
themselves, and results are written into XLA's. The structures are those of xla/ffi/api/c_api.h, which jax ships
(`jax.ffi.include_dir()`), as of version 0 of that interface: a field that is added goes behind those read here.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import jax as _jax
import numpy as np

__all__ = ["call"]

_METADATA = 1  # type of the extension with which XLA asks for an interface version
_EXECUTE = 3  # stage of a call that runs
_INTERNAL = 13  # error code
_TARGET = "numgumbel"

_Pointer, _Size, _Int64, _Int32 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int32


def _structure(name: str, *fields: tuple[str, Any]) -> Any:
    return type(name, (ctypes.Structure,), {"_fields_": [("size", _Size), ("extension", _Pointer), *fields]})


class _Version(ctypes.Structure):
    _fields_ = [("size", _Size), ("extension", _Pointer), ("major", _Int32), ("minor", _Int32)]


class _Extension(ctypes.Structure):
    _fields_ = [("size", _Size), ("type", _Int32), ("next", _Pointer), ("metadata", _Pointer)]


class _Metadata(ctypes.Structure):
    _fields_ = [("size", _Size), ("version", _Version), ("traits", ctypes.c_uint32), ("state", _Int64)]


class _Scalar(ctypes.Structure):
    _fields_ = [("dtype", _Int32), ("value", _Pointer)]


_Buffer = _structure("_Buffer", ("dtype", _Int32), ("data", _Pointer), ("rank", _Int64), ("dims", ctypes.POINTER(_Int64)))
_Values = _structure("_Values", ("count", _Int64), ("types", _Pointer), ("values", ctypes.POINTER(_Pointer)))
_Named = _structure("_Named", ("count", _Int64), ("types", _Pointer), ("names", _Pointer), ("values", ctypes.POINTER(_Pointer)))
_Api = _structure("_Api", ("version", _Version), ("internal", _Pointer), ("create_error", _Pointer))
_Error = _structure("_Error", ("message", ctypes.c_char_p), ("code", _Int32))
_Frame = _structure(
    "_Frame", ("api", ctypes.POINTER(_Api)), ("context", _Pointer), ("stage", _Int32),
    ("arguments", _Values), ("results", _Values), ("attributes", _Named),
)  # fmt: skip

_CREATE_ERROR = ctypes.CFUNCTYPE(_Pointer, ctypes.POINTER(_Error))


@functools.cache
def _dtypes() -> dict[int, np.dtype]:
    import ml_dtypes as _ml_dtypes

    numbers = {1: np.bool_, 2: np.int8, 4: np.int32, 5: np.int64, 6: np.uint8, 8: np.uint32, 9: np.uint64, 10: np.float16}
    numbers |= {11: np.float32, 12: np.float64, 16: _ml_dtypes.bfloat16}
    return {number: np.dtype(kind) for number, kind in numbers.items()}


def _array(pointer: int) -> np.ndarray:
    """The memory of one of XLA's buffers."""
    buffer = _Buffer.from_address(pointer)
    shape, dtype = tuple(buffer.dims[: buffer.rank]), _dtypes()[buffer.dtype]
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer((ctypes.c_char * size).from_address(buffer.data), dtype).reshape(shape)


# What programs call, by the number that they have for it.
_functions: list[Callable[[list[np.ndarray], list[np.ndarray]], None]] = []


@ctypes.CFUNCTYPE(_Pointer, _Pointer)  # type: ignore[untyped-decorator]
def _handler(pointer: int) -> int | None:
    """XLA's call: a question for the version, or the function of a number on arguments and results."""
    frame = _Frame.from_address(pointer)
    extension = _Extension.from_address(frame.extension) if frame.extension else None
    if extension is not None and extension.type == _METADATA:
        metadata = _Metadata.from_address(extension.metadata)
        metadata.version.major, metadata.version.minor = frame.api.contents.version.major, frame.api.contents.version.minor
        metadata.traits = metadata.state = 0
        return None
    if frame.stage != _EXECUTE:
        return None
    try:
        number = ctypes.cast(_Scalar.from_address(frame.attributes.values[0]).value, ctypes.POINTER(_Int64))[0]
        given, wanted = ([_array(part.values[i]) for i in range(part.count)] for part in (frame.arguments, frame.results))
        _functions[number](given, wanted)
    except BaseException as problem:  # it becomes XLA's, and that JAX's, which raises
        error = _Error(ctypes.sizeof(_Error), None, str(problem).encode() or type(problem).__name__.encode(), _INTERNAL)
        return _CREATE_ERROR(frame.api.contents.create_error)(ctypes.byref(error))
    return None


@functools.cache
def _registered() -> None:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, (_Pointer, ctypes.c_char_p, _Pointer)
    address = ctypes.cast(_handler, _Pointer).value
    _jax.ffi.register_ffi_target(_TARGET, make(address, None, None), platform="cpu")


@functools.cache
def _number_of(function: Callable[..., None], options: tuple[tuple[str, Any], ...]) -> int:
    """The number of a function with its options, which programs that are traced alike share."""
    _functions.append(functools.partial(function, dict(options)))
    return len(_functions) - 1


def call(function: Callable[..., None], options: dict[str, Any], results: list[Any], *operands: Any) -> list[Any]:
    """What a function writes, as a part of whatever JAX traces.

    Parameters
    ----------
    function : callable
        (options, arrays given, arrays to write) on the memory of XLA. Under `vmap`, all have the axes mapped over in front.
    options : dict
        Hashable values, the same whenever the program runs.
    results : list of jax.ShapeDtypeStruct
        What it writes.
    *operands : array
        What it is given.

    Raises
    ------
    TypeError
        Where the program is for another device than the CPU.
    """
    _registered()
    device = _jax.config.jax_default_device
    platform = device.platform if hasattr(device, "platform") else device or _jax.default_backend()
    if platform != "cpu":
        raise TypeError(
            f"numgumbel.jax works on the CPU, and JAX on {platform}: run it under jax.default_device(jax.devices('cpu')[0]), "
            "or hand the array to CuPy by DLPack and call numgumbel on that"
        )
    number = np.int64(_number_of(function, tuple(sorted(options.items()))))
    return list(_jax.ffi.ffi_call(_TARGET, results, vmap_method="broadcast_all")(*operands, number=number))
