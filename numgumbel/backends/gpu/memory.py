"""Devices, streams, and the memory that drivers need beside the caller's arrays."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...device import DeviceView, device_view, record
from ...kernels.gpu.loading import SIMULATED, cuda

if not SIMULATED:
    from cuda.bindings import driver

    SUCCESS = driver.CUresult.CUDA_SUCCESS


def checked(answer: tuple[Any, ...], what: str) -> Any:
    """What a call of the CUDA driver gives, or RuntimeError."""
    error, *values = answer
    if error != SUCCESS:
        raise RuntimeError(f"CUDA could not {what}: {error.name}")
    return values[0] if values else None


def stream_of(view: Any) -> int:
    """The stream, by its handle, on which whoever made an array works: kernels are queued there, and nobody waits."""
    return stream_of_owner(view.owner)


def stream_of_owner(array: Any) -> int:
    """`stream_of`, of an array itself."""
    if SIMULATED:
        return 0
    module = type(array).__module__.split(".")[0]
    if module == "cupy":
        import cupy as _cupy

        return int(_cupy.cuda.get_current_stream().ptr)
    if module == "torch":
        import torch as _torch

        return int(_torch.cuda.current_stream(array.device).cuda_stream)
    if module == "numba":
        return 0 if array.stream == 0 else int(array.stream.handle or 0)
    told = getattr(array, "__cuda_array_interface__", {}).get("stream")
    return int(told or 0)


@functools.cache
def stream_handle(stream: int) -> Any:
    """A stream as the driver's Python interface takes it."""
    return driver.CUstream(stream)


def current_gpu() -> int:
    """Number of the GPU that this thread works on; the first call of a thread chooses one."""
    if SIMULATED:
        return 0
    error, number = driver.cuCtxGetDevice()
    if error != SUCCESS:
        cuda.current_context()
        number = checked(driver.cuCtxGetDevice(), "tell the current device")
    return int(number)


@contextlib.contextmanager
def on_device_of(view: Any) -> Iterator[None]:
    """Work meanwhile on the GPU that has an array."""
    gpu, now = getattr(view, "gpu", None), current_gpu()
    if gpu is None or gpu == now:
        yield
    else:
        with cuda.gpus[gpu]:
            yield


def is_captured(stream: int) -> bool:
    """Whether what is queued on a stream is recorded for a CUDA graph, and not run."""
    if SIMULATED:
        return False
    error, status = driver.cuStreamIsCapturing(stream_handle(stream))
    # The default stream may not even be asked while another is captured: the driver then says so in place of an answer.
    implicitly = error == driver.CUresult.CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
    return implicitly or bool(checked((error, status), "look at a stream"))


def allocated(shape: tuple[int, ...], dtype: Any, stream: int, why: str) -> DeviceView:
    """New memory on the current device. RuntimeError while the stream is captured, where the driver refuses it."""
    if is_captured(stream):
        raise RuntimeError(
            f"{why} is needed and the stream is being captured: make the same call once on this stream before the capture, or "
            "prepare it with numgumbel.plan and capture plan.launch()"
        )
    if SIMULATED:
        return of_host(np.empty(shape, dtype))
    array = cuda.device_array(shape, dtype)
    return device_view(array, array.device_ctypes_pointer.value, shape, array.strides, np.dtype(dtype), gpu=current_gpu())


def of_host(values: np.ndarray) -> DeviceView:
    """A view of host memory, which in the simulator is the device's."""
    return device_view(values, values.ctypes.data, values.shape, values.strides, values.dtype)


def sent(values: np.ndarray, stream: int, why: str) -> DeviceView:
    """Values in new memory on the current device."""
    view = allocated(values.shape, values.dtype, stream, why)
    if SIMULATED:
        view.view(np.ndarray)[...] = values
    elif values.size:
        # The call may return before the last bytes are there, and streams that do not wait for the default one would read them.
        checked(driver.cuMemcpyHtoD(view.ctypes.data, values.ctypes.data, values.nbytes), "copy to a device")
        checked(driver.cuStreamSynchronize(stream_handle(0)), "wait for a copy")
    return view


def cleared(view: DeviceView, stream: int) -> DeviceView:
    """Memory filled with zeros, in the order of the stream."""
    if SIMULATED:
        view.view(np.ndarray)[...] = 0
    else:
        checked(driver.cuMemsetD8Async(view.ctypes.data, 0, view.nbytes, stream_handle(stream)), "fill memory")
    return view


def fetched(view: DeviceView, stream: int) -> np.ndarray:
    """What memory holds once all that is queued on the stream has run."""
    if SIMULATED:
        return np.array(view.view(np.ndarray))
    values = np.empty(view.shape, view.dtype)
    handle = stream_handle(stream)
    checked(driver.cuMemcpyDtoHAsync(values.ctypes.data, view.ctypes.data, values.nbytes, handle), "copy from a device")
    checked(driver.cuStreamSynchronize(handle), "wait for a stream")
    return values


class Workspace(threading.local):
    """Memory of a thread for each device and stream, which grows when more is asked for and is used again and again."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], DeviceView] = {}
        self._captured: list[DeviceView] = []

    def arrays(self, stream: int, *wanted: tuple[tuple[int, ...], Any]) -> list[DeviceView]:
        """Arrays of (shape, dtype), one behind the other; what they hold is anything."""
        bytes_of = [int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in wanted]
        block, at, arrays = self._block(stream, sum(-(-size // 256) * 256 for size in bytes_of)), 0, []
        for (shape, dtype), size in zip(wanted, bytes_of, strict=True):
            arrays.append(block[at : at + size].view(dtype).reshape(shape))
            at += -(-size // 256) * 256
        return arrays

    def block(self, stream: int) -> DeviceView | None:
        """The memory for a stream, if there is any yet."""
        return self._blocks.get((current_gpu(), stream))

    def _block(self, stream: int, size: int) -> DeviceView:
        place = current_gpu(), stream
        block = self._blocks.get(place)
        if block is None or block.shape[0] < size:
            block = allocated((max(size, 1 << 16),), np.uint8, stream, f"a workspace of {size} bytes")
            self._blocks[place] = block
        if is_captured(stream):
            self._captured.append(block)  # a graph goes on using it when a larger one has taken its place
        return block


_workspace, _counting = Workspace(), Workspace()


def workspace(stream: int, *wanted: tuple[tuple[int, ...], Any]) -> list[DeviceView]:
    """Arrays of (shape, dtype) for kernels to pass numbers to each other; a prepared call has memory of its own."""
    made = record()
    return (Workspace() if made is not None and made.owns else _workspace).arrays(stream, *wanted)


_numbers: dict[tuple[int, int], DeviceView] = {}


def numbered(count: int, stream: int) -> DeviceView:
    """0, 1, 2, ..., so many, in a GPU's memory."""
    place = current_gpu(), count
    if place not in _numbers:
        _numbers[place] = sent(np.arange(count), stream, "a table of numbers in the device's memory")
    return _numbers[place]


def workspace_block(stream: int) -> DeviceView | None:
    """The memory that `workspace` gives pieces of in this thread, if it has any yet."""
    return _workspace.block(stream)


def counting(stream: int, shape: tuple[int, ...]) -> DeviceView:
    """Memory in which kernels count, apart from what they pass to each other."""
    (view,) = _counting.arrays(stream, (shape, np.int64))
    return view


def absent(axes: int, dtype: Any, stream: int = 0) -> DeviceView:
    """A stand-in, one element, for an array that is not given."""
    return constant(0, dtype, (1,) * axes, stream)


_constants: dict[tuple[int, float, str], DeviceView] = {}


def constant(value: float, dtype: Any, shape: tuple[int, ...], stream: int = 0) -> DeviceView:
    """The same number for all places of an array in a GPU's memory, which holds it once, and for good.

    What may differ from call to call is an argument of kernels, not a constant: there are few of them.
    """
    place = current_gpu(), value, np.dtype(dtype).str
    one = _constants.get(place)
    if one is None:
        one = _constants[place] = sent(np.full(1, value, dtype), stream, "a constant in the device's memory")
    view: DeviceView = np.broadcast_to(one, shape, subok=True)  # type: ignore[assignment]
    return view
