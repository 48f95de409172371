"""Machine code of the kernels: compiled once for a signature and a kind of GPU, and kept on disk beside the CPU's.

numba-cuda's own launches look at every argument anew and make an object of each, 4 to 90 us a launch. Here a signature is what
the drivers say, code is fetched by it, and a launch is one call of the CUDA driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import struct
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype

from ...kernels.gpu.jit import launch_bounds
from ...kernels.gpu.loading import cuda
from ...kernels.jit import cache_folder
from ...kernels.journal import CACHE_HIT, CACHE_MISS, CACHE_OFF, enter
from .memory import current_gpu

# One letter, or dtype and number of axes, an argument.
Signature = tuple[str, ...]

_SCALARS = {"u": types.uint32, "i": types.int64, "f": types.float64}
# Every parameter has 8 bytes of its own here; the driver reads as many as its type has.
_FORMATS = {"u": "I4x", "i": "q", "f": "d"}

_lock = threading.Lock()
_functions: dict[tuple[Any, Signature, tuple[int, int]], Any] = {}


def numba_types(signature: Signature) -> tuple[Any, ...]:
    """The argument types that a kernel is compiled for: arrays of any strides, so that one compilation serves all layouts."""

    def of(code: str) -> Any:
        if code in _SCALARS:
            return _SCALARS[code]
        dtype, axes = code.split(":")
        return types.Array(from_dtype(np.dtype(dtype)), int(axes), "A")

    return tuple(map(of, signature))


# Logits by what kernels read: halves are whole numbers of 16 bits.
_LOGITS = {"<f4": "float32", "<f8": "float64", "<u2": "float16", "<i2": "bfloat16"}


def dtype_of(signature: Signature) -> str | None:
    """Name of the dtype of the logits: the first array that may be of them; None for a kernel that has none."""
    return next((_LOGITS[code[:3]] for code in signature if code[:3] in _LOGITS), None)


@cache
def packing(signature: Signature) -> struct.Struct:
    """How parameters lie behind each other: of an array two words of nothing, size, item size, pointer, shape and strides."""
    pieces = [_FORMATS.get(code) or f"{5 + 2 * int(code.split(':')[1])}q" for code in signature]
    return struct.Struct("<" + "".join(pieces))


def function_of(kernel: Any, signature: Signature) -> Any:
    """A kernel's code for a signature, loaded for the current GPU, as the driver takes it."""
    place = kernel, signature, capability(current_gpu())
    function = _functions.get(place)
    if function is None:
        with _lock:
            function = _functions.get(place) or _loaded(*place)
            _functions[place] = function
    return function


@cache
def capability(gpu: int) -> tuple[int, int]:
    """Compute capability of a GPU."""
    return tuple(cuda.gpus[gpu].compute_capability)


def _loaded(kernel: Any, signature: Signature, cc: tuple[int, int]) -> Any:
    from cuda.bindings import driver
    from cuda.core import ObjectCode

    start, kept = time.perf_counter(), kept_at(kernel, signature, cc)
    found = _read(kept)
    cache = CACHE_OFF if kept is None else CACHE_MISS if found is None else CACHE_HIT
    if found is None:
        found = _compiled(kernel, signature)
        _write(kept, *found)
    entry, code = found
    loaded = ObjectCode.from_cubin(code, name=entry).get_kernel(entry)
    _alive.append(loaded)
    facts = dtype_of(signature), numba_types(signature), "gpu", time.perf_counter() - start, cache
    enter(kernel.py_func.__name__, *facts)
    return driver.CUfunction(int(loaded.handle))


_alive: list[Any] = []


def _compiled(kernel: Any, signature: Signature) -> tuple[str, bytes]:
    """Name and machine code, from Numba."""
    arguments = numba_types(signature)
    kernel.targetoptions["launch_bounds"] = launch_bounds(arguments)
    compiled = kernel.compile(arguments)
    return compiled.entry_name, bytes(compiled.library.get_cubin().code)


@cache
def _versions() -> bytes:
    names = "numba-cuda", "cuda-bindings", "nvidia-cuda-nvcc", "nvidia-nvjitlink", "nvidia-nvvm"
    found = {each.name: each.version for each in importlib.metadata.distributions() if each.name in names}
    return repr(sorted(found.items())).encode()


def kept_at(kernel: Any, signature: Signature, cc: tuple[int, int]) -> Path | None:
    """The file that has a kernel's code, or is to have it; None where nothing is kept."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.blake2b(repr((signature, cc)).encode() + _versions(), digest_size=12)
    return Path(folder) / f"{kernel.py_func.__name__}-{digest.hexdigest()}.cubin"


def _read(kept: Path | None) -> tuple[str, bytes] | None:
    """Name and code from a file: a digest, the name, the code. None where it is not there or not whole."""
    try:
        digest, entry, code = kept.read_bytes().split(b"\n", 2) if kept is not None else (b"", b"", b"")
    except (OSError, ValueError):
        return None
    return (entry.decode(), code) if digest == _digest(entry, code) else None


def _write(kept: Path | None, entry: str, code: bytes) -> None:
    """Keep code; a folder that cannot be written to costs a compilation in the next process, no more."""
    if kept is None:
        return
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / kept.name
        made.write_bytes(b"\n".join([_digest(entry.encode(), code), entry.encode(), code]))
        made.replace(kept)


def _digest(entry: bytes, code: bytes) -> bytes:
    return hashlib.blake2b(entry + b"\n" + code, digest_size=16).hexdigest().encode()
