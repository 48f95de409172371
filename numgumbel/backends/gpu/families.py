"""Array families in a GPU's memory: from an array to a view of it, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import DeviceView, device_view
from ...kernels.gpu.loading import SIMULATED, cuda

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

    def view_numba(array: Any) -> DeviceView:
        """The memory of one of Numba's device arrays."""
        pointer = array.device_ctypes_pointer.value or 0
        return device_view(array, pointer, array.shape, array.strides, array.dtype)

    def wrap_numba(view: DeviceView) -> Any:
        """One of Numba's device arrays on the same memory, without waiting for any stream."""
        return cuda.from_cuda_array_interface(interface_of(view), owner=view.owner, sync=False)

    def empty_numba(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
        """New memory on the current device."""
        return view_numba(cuda.device_array(shape, dtype))


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
    owner = view.owner
    places = tuple(stride // view.itemsize for stride in view.strides)
    first = (view.ctypes.data - owner.data_ptr()) // view.itemsize if view.size else 0
    return owner.as_strided(view.shape, places, owner.storage_offset() + first)


def empty_torch(shape: tuple[int, ...], dtype: Any, like: DeviceView) -> DeviceView:
    """New memory from torch's pool, on the device of another tensor."""
    import torch as _torch

    name = np.dtype(dtype).name
    return view_torch(_torch.empty(shape, dtype=getattr(_torch, name), device=like.owner.device))
