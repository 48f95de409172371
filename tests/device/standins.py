"""As much of CuPy and of torch's CUDA tensors as the package asks for, on the emulated GPU, whose memory is the host's.

Neither works there itself: both bring a CUDA runtime of their own. What is asked of them is in `backends/gpu`.
"""

import contextlib
import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
from numba import cuda


class _Memory:
    """Device memory, kept as long as any array has it."""

    def __init__(self, size):
        self.array = cuda.device_array(max(size, 1), np.uint8)
        self.ptr, self.device_id = self.array.device_ctypes_pointer.value, cuda.current_context().device.id


class _Pointer:
    def __init__(self, memory, ptr):
        self.mem, self.ptr, self.device_id = memory, ptr, memory.device_id

    def __add__(self, offset):
        return _Pointer(self.mem, self.ptr + offset)


def host(ptr, shape, strides, dtype):
    """The memory as a NumPy array, which on the emulated GPU it is."""
    if 0 in shape:
        return np.empty(shape, dtype)
    first = sum(min((size - 1) * stride, 0) for size, stride in zip(shape, strides, strict=True))
    last = sum(max((size - 1) * stride, 0) for size, stride in zip(shape, strides, strict=True)) + dtype.itemsize
    memory = (ctypes.c_char * (last - first)).from_address(ptr + first)
    return np.ndarray(shape, dtype, memory, -first, strides)


class ndarray:  # CuPy's name
    """CuPy's array."""

    __module__ = "cupy"

    def __init__(self, shape, dtype=np.float64, memptr=None, strides=None):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.strides = strides or np.empty(self.shape, self.dtype).strides
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        memory = None if memptr is not None else _Memory(size)
        self.data = memptr if memptr is not None else _Pointer(memory, memory.ptr)

    @property
    def device(self):
        return SimpleNamespace(id=self.data.device_id)

    @property
    def __cuda_array_interface__(self):
        data = self.data.ptr, False
        return {"shape": self.shape, "strides": self.strides, "typestr": self.dtype.str, "data": data, "version": 3}

    def get(self):
        return np.array(host(self.data.ptr, self.shape, self.strides, self.dtype))

    def turned(self):
        """The transposed array, on the same memory."""
        return ndarray(self.shape[::-1], self.dtype, self.data, self.strides[::-1])


def cupy():
    """A module that stands in for CuPy."""
    module = ModuleType("cupy")
    module.ndarray = ndarray
    module.empty = lambda shape, dtype: ndarray(shape, dtype)

    def asarray(values):
        values = np.asarray(values)
        array = ndarray(values.shape, values.dtype)
        host(array.data.ptr, array.shape, array.strides, array.dtype)[...] = values
        return array

    module.asarray = asarray
    module.stream = SimpleNamespace(ptr=0)
    module.cuda = SimpleNamespace(get_current_stream=lambda: module.stream, Device=lambda number: contextlib.nullcontext())
    return module


_NAMES = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "int32": np.int32,
    "bool": np.bool_,
    "float16": np.float16,
}


class _Dtype:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"


class Tensor:
    """torch's CUDA tensor."""

    __module__ = "torch"
    is_cuda, requires_grad = True, False

    def __init__(self, module, shape, dtype, memory=None, stride=None, offset=0):
        self._module, self.shape, self.dtype = module, tuple(shape), dtype
        self._numpy = np.dtype(_NAMES.get(dtype.name, np.int16))
        packed = np.empty(self.shape, self._numpy).strides
        self._stride = tuple(each // self._numpy.itemsize for each in packed) if stride is None else tuple(stride)
        self._memory = memory or _Memory(int(np.prod(self.shape)) * self._numpy.itemsize)
        self._offset = offset
        self.device = SimpleNamespace(index=self._memory.device_id, type="cuda")

    def data_ptr(self):
        return self._memory.ptr + self._offset * self._numpy.itemsize

    def stride(self):
        return self._stride

    def storage_offset(self):
        return self._offset

    def element_size(self):
        return self._numpy.itemsize

    def get_device(self):
        return self.device.index

    def as_strided(self, shape, stride, offset):
        return Tensor(self._module, shape, self.dtype, self._memory, stride, offset)

    def numpy(self):
        strides = tuple(each * self._numpy.itemsize for each in self._stride)
        return np.array(host(self.data_ptr(), self.shape, strides, self._numpy))


def torch():
    """A module that stands in for torch."""
    module = ModuleType("torch")
    module.Tensor = Tensor
    for name in (*_NAMES, "bfloat16"):
        setattr(module, name, _Dtype(name))
    module.empty = lambda shape, dtype, device: Tensor(module, shape, dtype)

    def tensor(values, dtype=None):
        values = np.asarray(values)
        made = Tensor(module, values.shape, dtype or getattr(module, values.dtype.name))
        strides = tuple(each * made.element_size() for each in made.stride())
        host(made.data_ptr(), made.shape, strides, values.dtype)[...] = values
        return made

    module.tensor = tensor
    module.stream = SimpleNamespace(cuda_stream=0)
    module.cuda = SimpleNamespace(current_stream=lambda device: module.stream)
    return module


@contextlib.contextmanager
def installed(name, module):
    """The module in place of what is installed by this name, if anything is."""
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield module
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
