"""Array families in a GPU's memory: from an array to a view of it, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...device import DeviceView, device_view
from ...dispatch import Family
from ...kernels.gpu.loading import SIMULATED, cuda
from .memory import on_device_of

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    def view_numba(array: Any) -> DeviceView:
        """The memory of a simulated device array, which is the host's."""
        values = array._ary
        return device_view(array, values.ctypes.data, values.shape, values.strides, values.dtype)

    def wrap_numba(view: DeviceView) -> Any:
        """A simulated device array."""
        return FakeCUDAArray(view.view(np.ndarray))

    def empty_numba(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
        """New memory."""
        return view_numba(FakeCUDAArray(np.empty(shape, dtype)))

else:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    def view_numba(array: Any) -> DeviceView:
        """The memory of one of Numba's device arrays."""
        pointer = array.device_ctypes_pointer.value or 0
        gpu = array.gpu_data.context.device.id if pointer else None
        return device_view(array, pointer, array.shape, array.strides, array.dtype, gpu=gpu)

    def wrap_numba(view: DeviceView) -> Any:
        """One of Numba's device arrays on the same memory, without waiting for any stream."""
        if isinstance(view.owner, DeviceNDArray) and _is_whole(view, view.owner):
            return view.owner
        array = cuda.from_cuda_array_interface(interface_of(view), owner=view.owner, sync=False)
        return array if array.dtype == view.dtype else array.view(view.dtype)

    def empty_numba(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
        """New memory, on the device of another array."""
        with on_device_of(like):
            words = np.dtype(dtype) if np.dtype(dtype).kind != "V" else np.dtype(np.int16)
            array = cuda.device_array(shape, words)
        return view_numba(array if words == dtype else array.view(np.dtype(dtype)))


def _is_whole(view: DeviceView, owner: Any) -> bool:
    """Whether a view is all of what its owner is, element for element: the owner itself can then stand for it."""
    return bool(view.shape == owner.shape and view.strides == owner.strides and view.dtype == owner.dtype)


def interface_of(view: np.ndarray) -> dict[str, Any]:
    """What ``__cuda_array_interface__`` says of a view; halves are told as whole numbers of their size."""
    kind = {"V": np.dtype(np.int16).str}.get(view.dtype.kind, view.dtype.str)
    kind = np.dtype(np.uint16).str if view.dtype == np.float16 else kind
    strides = view.strides if view.size else None
    return {"shape": view.shape, "strides": strides, "typestr": kind, "data": (view.ctypes.data, False), "version": 3}


def wrap_cupy(view: DeviceView) -> Any:
    """A CuPy array on the same memory."""
    import cupy as _cupy

    owner = view.owner
    if _is_whole(view, owner):
        return owner
    memory = owner.data + (view.ctypes.data - owner.data.ptr if view.size else 0)
    return _cupy.ndarray(view.shape, view.dtype, memory, view.strides)


def empty_cupy(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
    """New memory from CuPy's pool, on the device of another array."""
    import cupy as _cupy

    with _cupy.cuda.Device(like.owner.device.id):
        array = _cupy.empty(shape, dtype)
    return device_view(array, array.data.ptr, array.shape, array.strides, array.dtype, gpu=array.device.id)


_TORCH = {
    "torch.float32": "float32",
    "torch.float64": "float64",
    "torch.float16": "float16",
    "torch.int64": "int64",
    "torch.int32": "int32",
    "torch.bool": "bool",
    "torch.int8": "int8",
    "torch.uint8": "uint8",
    "torch.uint64": "uint64",
}


def view_torch(tensor: Any) -> DeviceView:
    """The memory of a CUDA tensor; its gradient is the caller's matter."""
    name = str(tensor.dtype)
    if name == "torch.bfloat16":
        import ml_dtypes as _ml_dtypes

        dtype = np.dtype(_ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(_TORCH.get(name, np.complex128))  # refused by whoever looks at the dtype
    strides = tuple(stride * tensor.element_size() for stride in tensor.stride())
    return device_view(tensor, tensor.data_ptr(), tuple(tensor.shape), strides, dtype, gpu=tensor.device.index)


def wrap_torch(view: DeviceView) -> Any:
    """A tensor on the same memory."""
    owner, places = view.owner, tuple(stride // view.itemsize for stride in view.strides)
    if view.shape == owner.shape and places == owner.stride() and not owner.requires_grad:
        return owner
    first = (view.ctypes.data - owner.data_ptr()) // view.itemsize if view.size else 0
    return owner.as_strided(view.shape, places, owner.storage_offset() + first)


def empty_torch(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
    """New memory from torch's pool, on the device of another tensor."""
    import torch as _torch

    name = np.dtype(dtype).name
    return view_torch(_torch.empty(shape, dtype=getattr(_torch, name), device=like.owner.device))


# --- arrays without views: what a repeated call looks at ----------------------------------------------------------------------


def _layout_interface(array: Any) -> tuple[Any, int]:
    told = array.__cuda_array_interface__
    pointer, readonly = told["data"]
    device = getattr(getattr(array, "device", None), "id", None)
    return (told["shape"], told.get("strides"), told["typestr"], readonly, device), pointer


def _layout_numba(array: Any) -> tuple[Any, int]:
    return (array.shape, array.strides, array.dtype, array.gpu_data.context.device.id), array.device_ctypes_pointer.value


def _layout_cupy(array: Any) -> tuple[Any, int]:
    data = array.data
    return (array.shape, array.strides, array.dtype, data.device_id), data.ptr


def _layout_torch(tensor: Any) -> tuple[Any, int]:
    return (tensor.shape, tensor.stride(), tensor.dtype, tensor.get_device(), tensor.requires_grad), tensor.data_ptr()


_LAYOUTS = {"CUDA": _layout_interface, "Numba device": _layout_numba, "CuPy": _layout_cupy, "torch CUDA": _layout_torch}


def layout_of(family: Family) -> Callable[[Any], tuple[Any, int]]:
    """From an array of a family to all that its layout is, hashable, and its address."""
    return _LAYOUTS[family.name]


def _maker_numba(shape: tuple[int, ...], dtype: np.dtype, like: Any) -> Callable[[], tuple[Any, int]]:
    words = np.dtype(np.int16) if dtype.kind == "V" else dtype

    def make() -> tuple[Any, int]:
        array = cuda.device_array(shape, words)
        return array if words == dtype else array.view(dtype), array.device_ctypes_pointer.value or 0

    return make


def _maker_cupy(shape: tuple[int, ...], dtype: np.dtype, like: Any) -> Callable[[], tuple[Any, int]]:
    import cupy as _cupy

    def make() -> tuple[Any, int]:
        array = _cupy.empty(shape, dtype)
        return array, array.data.ptr

    return make


def _maker_torch(shape: tuple[int, ...], dtype: np.dtype, like: Any) -> Callable[[], tuple[Any, int]]:
    import torch as _torch

    kind, device = getattr(_torch, dtype.name), like.device

    def make() -> tuple[Any, int]:
        tensor = _torch.empty(shape, dtype=kind, device=device)
        return tensor, tensor.data_ptr()

    return make


_MAKERS = {"CUDA": _maker_numba, "Numba device": _maker_numba, "CuPy": _maker_cupy, "torch CUDA": _maker_torch}


def makers(family: Family) -> Callable[[tuple[int, ...], np.dtype, Any], Callable[[], tuple[Any, int]]]:
    """From shape, dtype and an array beside it to what makes arrays like that on the current GPU, with their addresses."""
    return _MAKERS[family.name]
