"""Launches: where work goes, what of an array a kernel is given, and how invalid rows come back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...device import record
from ...kernels.gpu.jit import THREADS, WARP
from ...kernels.gpu.loading import SIMULATED, cuda
from ...kernels.jit import is_bfloat16
from .families import interface_of

# How many invalid rows a message can name.
NAMED_ROWS = 5

# Blocks that keep a large GPU busy: two for each of some 132 multiprocessors.
BUSY = 264


def stream_of(view: Any) -> Any:
    """The stream on which whoever made an array works: kernels are queued there, and nobody waits."""
    if SIMULATED:
        return 0
    owner = view.owner
    module = type(owner).__module__.split(".")[0]
    if module == "cupy":
        import cupy as _cupy

        return cuda.external_stream(_cupy.cuda.get_current_stream().ptr)
    if module == "torch":
        import torch as _torch

        return cuda.external_stream(_torch.cuda.current_stream(owner.device).cuda_stream)
    told = getattr(owner, "__cuda_array_interface__", {}).get("stream")
    return cuda.external_stream(told) if told else cuda.default_stream()


@contextlib.contextmanager
def on_device_of(view: Any) -> Iterator[None]:
    """Work meanwhile on the GPU that has an array."""
    gpu = getattr(view, "gpu", None)
    if SIMULATED or gpu is None:
        yield
        return
    with cuda.gpus[gpu]:
        yield


if not SIMULATED:
    from numba import types
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.np.numpy_support import from_dtype

    class AnyLayout(DeviceNDArray):  # type: ignore[misc]  # Numba ships no type hints
        """A device array of any strides, as far as kernels know: one compilation serves all layouts of their arguments."""

        @property
        def _numba_type_(self) -> Any:
            return types.Array(from_dtype(self.dtype), self.ndim, "A")


def stored_as(dtype: np.dtype) -> np.dtype:
    """The dtype of what kernels read: halves as whole numbers of 16 bits, float16 unsigned and bfloat16 signed."""
    if dtype.itemsize == 2 and dtype.kind in "fV":
        return np.dtype(np.int16 if is_bfloat16(dtype) else np.uint16)
    return dtype


def as_argument(view: np.ndarray) -> Any:
    """What a kernel takes for a view."""
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        return FakeCUDAArray(view.view(np.ndarray).view(stored_as(view.dtype)))
    return cuda.from_cuda_array_interface(interface_of(view), owner=view, sync=False)


class Workspace(threading.local):
    """Memory of a thread for each device and stream, which grows when more is asked for and is used again and again."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], Any] = {}

    def arrays(self, stream: Any, *wanted: tuple[tuple[int, ...], Any]) -> list[Any]:
        """Arrays of (shape, dtype), one behind the other; what they hold is anything."""
        sizes = [-(-int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize // 256) * 256 for shape, dtype in wanted]
        block = self._block(stream, sum(sizes))
        arrays, at = [], 0
        for (shape, dtype), size in zip(wanted, sizes, strict=True):
            used = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            arrays.append(block[at : at + used].view(dtype).reshape(shape))
            at += size
        return arrays

    def _block(self, stream: Any, size: int) -> Any:
        place = (0, 0) if SIMULATED else (cuda.current_context().device.id, int(getattr(stream, "handle", 0) or 0))
        block = self._blocks.get(place)
        if block is None or block.shape[0] < size:
            block = self._blocks[place] = cuda.device_array(max(size, 1 << 16), np.uint8)
        return block


_workspace = Workspace()


def workspace(stream: Any, *wanted: tuple[tuple[int, ...], Any]) -> list[Any]:
    """Arrays of (shape, dtype) for kernels to pass numbers to each other; a recorded call has memory of its own."""
    return (_workspace if record() is None else Workspace()).arrays(stream, *wanted)


class Launch:
    """A kernel with all that it is launched with."""

    def __init__(self, kernel: Any, blocks: int, block: int, stream: Any, arguments: tuple[Any, ...]) -> None:
        if not SIMULATED:
            for argument in arguments:
                if type(argument) is DeviceNDArray:  # all are views made here
                    argument.__class__ = AnyLayout
        self._configured, self._arguments = kernel[blocks, block, stream], list(arguments)
        names = kernel.py_func.__code__.co_varnames if hasattr(kernel, "py_func") else kernel.fn.__code__.co_varnames
        self._place = names.index("step") if "step" in names[: len(arguments)] else None

    def queue(self, later: int = 0) -> None:
        """Queue it, some steps later."""
        arguments = self._arguments
        if later and self._place is not None:
            arguments = [*arguments]
            arguments[self._place] += later
        self._configured(*arguments)


def launch(kernel: Any, threads: int, stream: Any, *arguments: Any, block: int = THREADS) -> None:
    """Queue a kernel with so many threads, in whole warps; nothing for no threads."""
    if threads <= 0:
        return
    threads = -(-threads // WARP) * WARP
    block = min(block, threads)
    prepared = Launch(kernel, -(-threads // block), block, stream, arguments)
    prepared.queue()
    launches = record()
    if launches is not None:
        launches.append(prepared)


class Invalid:
    """The invalid rows of a call: counted on the device where somebody wants to know, which waits for the stream in the end."""

    def __init__(self, raises: bool, stream: Any) -> None:
        if raises and record() is not None:
            raise ValueError('invalid must be None or "mark" in a plan on a GPU: "raise" would wait for every launch')
        self._stream = stream
        self._counts = np.zeros(1 + NAMED_ROWS, np.int64) if raises else np.zeros(0, np.int64)
        self.array = cuda.to_device(self._counts, stream=stream) if raises else absent(1, np.int64)[:0]

    def found(self) -> np.ndarray:
        """Count and some first positions."""
        if not self._counts.size:
            return np.zeros(1 + NAMED_ROWS, np.int64)
        return np.asarray(self.array.copy_to_host(stream=self._stream)) if SIMULATED else self._fetched()

    def _fetched(self) -> np.ndarray:
        counts = self.array.copy_to_host(stream=self._stream)
        self._stream.synchronize()
        return counts


_absent: dict[tuple[int, int, str], Any] = {}


def absent(axes: int, dtype: Any, value: int = 0) -> Any:
    """A stand-in, one element, for an array that is not given; `value` is the first id where ids run on."""
    if value:
        return cuda.to_device(np.full((1,) * axes, value, dtype))
    place = (0 if SIMULATED else cuda.current_context().device.id, axes, np.dtype(dtype).str)
    if place not in _absent:
        _absent[place] = cuda.to_device(np.zeros((1,) * axes, dtype))
    return _absent[place]


def constant(value: float, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The same number for all places of an array in a GPU's memory, which holds it once."""
    place = (0 if SIMULATED else cuda.current_context().device.id, value, np.dtype(dtype).str)
    if place not in _constants:
        if len(_constants) >= MOST_CONSTANTS:
            _constants.clear()
        _constants[place] = cuda.to_device(np.full(1, value, dtype))
    one = _constants[place]
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        return FakeCUDAArray(np.broadcast_to(one._ary, shape))
    told = {**one.__cuda_array_interface__, "shape": shape, "strides": (0,) * len(shape)}
    return cuda.from_cuda_array_interface(told, owner=one, sync=False)


MOST_CONSTANTS = 256
_constants: dict[tuple[int, float, str], Any] = {}
