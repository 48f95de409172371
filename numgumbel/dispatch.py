"""From the type of an array to its family, and from operation and backend to the driver.

An array *family* (NumPy, torch, ...) says how its arrays become views that a backend understands, and how a result becomes an
array of the family again. The look-up is a dictionary by exact type; a type seen for the first time is shown to the registered
recognisers, which know foreign types by name and import nothing. A new family is one `register` call.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .device import DeviceView, device_view, record

__all__ = ["Family", "backends", "families", "family_of", "host_view", "known_family", "operation", "register"]


@dataclass(frozen=True)
class Family:
    """One kind of array.

    Attributes
    ----------
    name : str
        For messages.
    backend : str
        Key of the backend that works on its memory: ``"cpu"`` or ``"gpu"``.
    recognises : callable
        type -> bool, asked once a type; may raise TypeError to refuse a relative that would give wrong results.
    view : callable
        array -> numpy.ndarray on the same memory (a copy only where the family has no memory, as a list).
    wrap : callable
        numpy.ndarray -> array of the family on the same memory.
    empty : callable
        (shape, dtype, like) -> numpy.ndarray on new memory, where the array that `like` is a view of has its own.
    of : callable, optional
        array -> the family that it is of, where a type has arrays in the memory of hosts and of GPUs.
    """

    name: str
    backend: str
    recognises: Callable[[type], bool]
    view: Callable[[Any], np.ndarray]
    wrap: Callable[[np.ndarray], Any]
    empty: Callable[[tuple[int, ...], Any, Any], np.ndarray] = lambda shape, dtype, like: np.empty(shape, dtype)
    of: Callable[[Any], Family] | None = None

    @property
    def is_host(self) -> bool:
        """Whether its arrays are in host memory."""
        return self.backend in _HOST

    def new(self, shape: tuple[int, ...], dtype: Any, like: Any) -> np.ndarray:
        """An array for results, with its memory where `like` has its own."""
        array = self.empty(shape, dtype, like)
        made = record()
        if made is not None and isinstance(array, DeviceView):
            made.created.append((array.owner, shape, np.dtype(dtype)))
        return array


# What to do with types that are taken by some functions and arguments only, by their package.
_ADVICE = {
    "dask": "; call .compute() for NumPy's, or have a dask.array where the function takes one",
    "pandas": "; call .to_numpy()",
    "polars": "; call .to_numpy()",
}

_families: list[Family] = []
_by_type: dict[type, Family] = {}

# Backends are imported when the first array for them arrives.
_BACKENDS = {"cpu": "numgumbel.backends.cpu", "gpu": "numgumbel.backends.gpu"}
_HOST = {"cpu"}


def register(family: Family) -> None:
    """Add an array family. Families registered later are asked first."""
    _families.insert(0, family)
    _by_type.clear()


def families() -> list[str]:
    """Names of the registered array families."""
    return [family.name for family in _families]


def backends() -> list[str]:
    """Names of the backends."""
    return list(_BACKENDS)


def family_of(array: object, name: str) -> Family:
    """The family of an array.

    Raises
    ------
    TypeError
        Naming the argument `name`, for a type that no family recognises.
    """
    kind = type(array)
    family = _by_type.get(kind)
    if family is None:
        for family in _families:
            if family.recognises(kind):
                break
        else:
            known = ", ".join(sorted(family.name for family in _families))
            advice = _ADVICE.get(kind.__module__.partition(".")[0], "")
            raise TypeError(f"{name} is a {kind.__module__}.{kind.__qualname__}, which is none of: {known}{advice}")
        _by_type[kind] = family
    return family if family.of is None else family.of(array)


def known_family(array: object) -> Family | None:
    """The family of an array of a type that has been seen before."""
    family = _by_type.get(type(array))
    return family if family is None or family.of is None else family.of(array)


def host_view(array: object, name: str, beside: Family) -> np.ndarray:
    """A second argument as an ndarray, where `beside` is the family of the logits: any mixture of host families will do.

    Raises
    ------
    TypeError
        If one is in host memory and the other is not.
    """
    family = family_of(array, name)
    if family.is_host != beside.is_host:
        raise TypeError(f"{name} is a {family.name} array and the logits are a {beside.name} array: move one to the other")
    return family.view(array)


def operation(name: str, backend: str) -> Callable[..., Any]:
    """The driver of one operation: an entry of the operation x backend table."""
    return _table(backend)[name]


@functools.cache
def _table(backend: str) -> dict[str, Callable[..., Any]]:
    return importlib.import_module(_BACKENDS[backend]).OPERATIONS


def _is_numpy(kind: type) -> bool:
    if issubclass(kind, np.ma.MaskedArray):
        raise TypeError(
            "a numpy masked array is not taken, its mask would be lost: pass array.filled(-np.inf), or array.data with "
            "mask=~array.mask"
        )
    return issubclass(kind, (np.ndarray, np.generic))


def _from_python(values: Any) -> np.ndarray:
    array = np.asarray(values)
    # Python numbers carry no precision: they are read as float64. Text, objects, complex and bool are refused later, by dtype.
    return array.astype(np.float64) if array.dtype.kind in "iuf" else array


def _of_interface(array: Any) -> DeviceView:
    """The view that an array's ``__cuda_array_interface__`` tells of."""
    told = array.__cuda_array_interface__
    if told.get("mask") is not None:
        raise TypeError("a masked array on a GPU is not taken: pass its data, and its mask in mask=")
    dtype, shape = _dtype_of(told["typestr"]), tuple(told["shape"])
    strides = told.get("strides") or _packed(shape, dtype.itemsize)
    gpu = getattr(getattr(array, "device", None), "id", None)  # as CuPy has it
    return device_view(array, told["data"][0], shape, strides, dtype, bool(told["data"][1]), gpu)


def _dtype_of(kind: str) -> np.dtype:
    """A dtype from the text that an interface has for it: bfloat16, which has none, is told as two bytes of anything."""
    if kind.lstrip("<>|=") == "V2":
        import ml_dtypes as _ml_dtypes

        return np.dtype(_ml_dtypes.bfloat16)
    return np.dtype(kind)


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of a C-contiguous array."""
    strides = [itemsize]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides)) if shape else ()


def _from(module: str, name: str) -> Callable[[type], bool]:
    """Whether a type is one of a package, by its names: nothing is imported."""
    return lambda kind: kind.__module__.split(".")[0] == module and kind.__name__ == name


def _late(module: str) -> Callable[[str], Callable[..., Any]]:
    """From a name to a function of a module, which is imported when an array for it has arrived."""
    return lambda name: lambda *arguments: getattr(importlib.import_module(module), name)(*arguments)


_backend = _late("numgumbel.backends.gpu.families")
_tensors = _late("numgumbel.backends.cpu.tensors")


def _is_torch(kind: type) -> bool:
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in kind.__mro__)


def _torch_family(tensor: Any) -> Family:
    """That of a tensor by its device."""
    place = tensor.device.type
    if place not in _TORCH:
        raise TypeError(f"torch tensors are taken on cpu and cuda, got one on {place}: move it with tensor.cpu()")
    return _TORCH[place]


_TORCH = {
    "cpu": Family("torch", "cpu", _is_torch, _tensors("view"), _tensors("wrap")),
    "cuda": Family("torch CUDA", "gpu", _is_torch, _backend("view_torch"), _backend("wrap_torch"), _backend("empty_torch")),
}


_namespaces: dict[str, Family] = {}


def _is_jax(kind: type) -> bool:
    """Of JAX, whose arrays have the interface of GPUs on the CPU, too."""
    return kind.__module__.split(".")[0] in ("jax", "jaxlib")


def _is_exchanged(kind: type) -> bool:
    """Whether arrays of a type are to be had by DLPack; what JAX traces is none."""
    if _is_jax(kind) and "Tracer" in kind.__name__:
        raise TypeError("an array that JAX traces is taken by the functions of numgumbel.jax")
    return hasattr(kind, "__dlpack__") and hasattr(kind, "__dlpack_device__")


def _exchanged_family(array: Any) -> Family:
    """That of an array of the array API standard by its namespace, which makes the results."""
    device = int(array.__dlpack_device__()[0])
    if device != _DLPACK_CPU:
        raise TypeError(
            f"{type(array).__module__} arrays are taken in host memory, got one on DLPack device {device}: move it there, or "
            "hand it to CuPy by cupy.from_dlpack"
        )
    space = array.__array_namespace__() if hasattr(array, "__array_namespace__") else np
    name = space.__name__
    if name not in _namespaces:
        label = "JAX" if name == "jax.numpy" else name
        view = np.asarray if label == "JAX" else np.from_dlpack  # JAX's bfloat16 has no name in DLPack of NumPy's
        _namespaces[name] = Family(label, "cpu", _is_exchanged, view, space.asarray)
    return _namespaces[name]


_DLPACK_CPU = 1


def device_families() -> list[Family]:
    """The families in a GPU's memory, those asked first last."""
    return [
        Family(
            "CUDA",
            "gpu",
            lambda kind: hasattr(kind, "__cuda_array_interface__") and not _is_jax(kind),
            _of_interface,
            _backend("wrap_numba"),
            _backend("empty_numba"),
        ),
        Family(
            "Numba device",
            "gpu",
            lambda kind: kind.__module__.startswith("numba.cuda"),
            _backend("view_numba"),
            _backend("wrap_numba"),
            _backend("empty_numba"),
        ),
        replace(_TORCH["cuda"], name="torch", of=_torch_family),
        Family("CuPy", "gpu", _from("cupy", "ndarray"), _of_interface, _backend("wrap_cupy"), _backend("empty_cupy")),
    ]


register(Family("DLPack", "cpu", _is_exchanged, np.from_dlpack, np.asarray, of=_exchanged_family))
register(
    Family("Python sequence", "cpu", lambda kind: issubclass(kind, (list, tuple, range, int, float)), _from_python, np.asarray)
)
register(Family("NumPy", "cpu", _is_numpy, np.asarray, np.asarray))
for _family in device_families():
    register(_family)
