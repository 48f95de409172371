"""Launches: kernels queued on the caller's stream, and how invalid rows come back."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np

from ...device import DeviceView, record
from ...kernels.gpu.jit import THREADS, WARP
from ...kernels.gpu.loading import SIMULATED
from ...kernels.jit import is_bfloat16
from .memory import absent, cleared, counting, fetched, is_captured, stream_handle

if not SIMULATED:
    from cuda.bindings import driver

    from .compiled import Signature, function_of, packing

# How many invalid rows a message can name.
NAMED_ROWS = 5

# Blocks that keep a large GPU busy: two for each of some 132 multiprocessors.
BUSY = 264


@cache
def stored_as(dtype: np.dtype) -> np.dtype:
    """The dtype of what kernels read: halves as whole numbers of 16 bits, float16 unsigned and bfloat16 signed."""
    if dtype.itemsize == 2 and dtype.kind in "fV":
        return np.dtype(np.int16 if is_bfloat16(dtype) else np.uint16)
    return dtype


class Launch:
    """A kernel with all that it is launched with, which may be launched again.

    Attributes
    ----------
    values : list of int and float
        Its parameters, as `compiled.packing` has them.
    places : list of (int, view)
        Which of the values are addresses, and of what.
    named : dict of str to int
        Where among the values each argument starts.
    """

    def __init__(self, kernel: Any, blocks: int, block: int, stream: int, arguments: tuple[Any, ...]) -> None:
        self.kernel, self.blocks, self.block, self.stream = kernel, blocks, block, stream
        self.values: list[Any] = []
        self.places: list[tuple[int, Any]] = []
        self._arguments = arguments  # their memory
        names = kernel.py_func.__code__.co_varnames[: len(arguments)]
        self.named: dict[str, int] = {}
        signature: Signature = tuple(self._add(name, each) for name, each in zip(names, arguments, strict=True))
        self._function, self._packing = function_of(kernel, signature), packing(signature)
        slots = np.zeros(len(self.values), np.uint64)
        self._room = slots.data.cast("B")
        self._parameters = slots.ctypes.data + 8 * np.arange(len(slots), dtype=np.uint64)
        self._address, self._lock = self._parameters.ctypes.data, threading.Lock()

    def _add(self, name: str, argument: Any) -> str:
        """Take an argument in; its code in the signature."""
        self.named[name] = len(self.values)
        if isinstance(argument, np.ndarray):
            self.places.append((len(self.values) + 4, argument))
            pointer = argument.ctypes.data if argument.size else 0
            self.values += [0, 0, argument.size, argument.itemsize, pointer, *argument.shape, *argument.strides]
            return f"{stored_as(argument.dtype).str}:{argument.ndim}"
        code = "u" if isinstance(argument, np.uint32) else "f" if isinstance(argument, float) else "i"
        self.values.append(argument)
        return code

    def queue(self, values: list[Any]) -> None:
        """Queue it with these values in place of its own."""
        with self._lock:
            self._packing.pack_into(self._room, 0, *values)
            (error,) = driver.cuLaunchKernel(
                self._function, self.blocks, 1, 1, self.block, 1, 1, 0, stream_handle(self.stream), self._address, 0
            )
        if error != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"CUDA could not launch {self.kernel.py_func.__name__}: {error.name}")

    def keep(self, views: list[DeviceView]) -> None:
        """Hold no memory but this: for whoever fills in the addresses of the rest."""
        self._arguments, self.places = tuple(views), []

    def again(self, later: int = 0) -> None:
        """Queue it once more, some steps later."""
        values = self.values
        if later and "step" in self.named:
            values = [*values]
            values[self.named["step"]] += later
        self.queue(values)


class _SimulatedLaunch:
    """A launch in Numba's simulator, which runs at once."""

    def __init__(self, kernel: Any, blocks: int, block: int, stream: int, arguments: tuple[Any, ...]) -> None:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        self._configured = kernel[blocks, block]
        self._step = kernel.fn.__code__.co_varnames.index("step") if "step" in kernel.fn.__code__.co_varnames else None
        self._arguments = [
            FakeCUDAArray(each.view(np.ndarray).view(stored_as(each.dtype))) if isinstance(each, np.ndarray) else each
            for each in arguments
        ]

    def again(self, later: int = 0) -> None:
        arguments = [*self._arguments]
        if later and self._step is not None and self._step < len(arguments):
            arguments[self._step] += later
        self._configured(*arguments)


def launch(kernel: Any, threads: int, stream: int, *arguments: Any, block: int = THREADS) -> None:
    """Queue a kernel with so many threads, in whole warps; nothing for no threads."""
    if threads <= 0:
        return
    threads = -(-threads // WARP) * WARP
    block = min(block, threads)
    prepared = (_SimulatedLaunch if SIMULATED else Launch)(kernel, -(-threads // block), block, stream, arguments)
    prepared.again()
    made = record()
    if made is not None:
        made.launches.append(prepared)


class Invalid:
    """The invalid rows of a call: counted on the device where somebody wants to know, which waits for the stream in the end.

    Attributes
    ----------
    array : DeviceView
        Where kernels note them: a count and some first positions, or nothing.
    """

    def __init__(self, raises: bool, stream: int) -> None:
        self._counts, self._stream, self._raises = np.zeros(1 + NAMED_ROWS, np.int64), stream, raises
        if raises and record() is not None:
            raise ValueError('invalid must be None or "mark" in a plan on a GPU: "raise" would wait for every launch')
        if raises and is_captured(stream):
            raise RuntimeError('invalid="raise" would wait for the stream, which is being captured: pass invalid="mark"')
        self.nowhere: Any = absent(1, np.int64, stream)[:0]
        self.array: Any = self.nowhere
        if raises:
            self.array = counting(stream, self._counts.shape)
            cleared(self.array, stream)

    def collect(self, offset: int) -> None:
        """Add what was noted of a block of rows, of which the first is at a position, and start anew."""
        if self._raises:
            found = fetched(self.array, self._stream)
            known, count = int(self._counts[0]), int(found[0])
            places = found[1 : 1 + min(count, NAMED_ROWS)] + offset
            room = self._counts[1 + min(known, NAMED_ROWS) :]
            room[: len(places)] = places[: len(room)]
            self._counts[0] += count
            cleared(self.array, self._stream)

    def found(self) -> np.ndarray:
        """Count and some first positions."""
        return self._counts
