"""Arrays in a GPU's memory as the face and the drivers see them: shape, strides, dtype and address, never a value."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["DeviceView", "Record", "check_one_device", "device_view", "record", "recording"]


class DeviceView(np.ndarray):
    """A view of a GPU's memory that can be cut, turned and broadcast like any ndarray, but not read.

    Attributes
    ----------
    owner : object
        The array that it is a view of, which keeps the memory.
    gpu : int or None
        Number of the GPU, None for whichever is current.
    """

    owner: Any
    gpu: int | None

    __array_ufunc__ = None  # type: ignore[assignment]  # as NumPy has it for what takes no part

    def __array_finalize__(self, other: Any) -> None:
        self.owner, self.gpu = getattr(other, "owner", None), getattr(other, "gpu", None)

    def __repr__(self) -> str:
        return f"<device memory, {self.dtype}, shape {self.shape}, strides {self.strides}>"

    __str__ = __repr__

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("an array in a GPU's memory was to be read by the host")

    def astype(self, *arguments: Any, **options: Any) -> Any:
        """Refused: it would read."""
        raise TypeError("an array in a GPU's memory was to be converted by the host")

    def __getitem__(self, place: Any) -> Any:
        """A part; refused where that would be a number rather than an array."""
        part = super().__getitem__(place)
        if not isinstance(part, DeviceView):
            raise TypeError("an array in a GPU's memory was to be read by the host")
        return part

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """Another shape of the same memory; refused where that would be a copy."""
        reshaped = super().reshape(*shape, **options)
        if not np.may_share_memory(self.view(np.ndarray), reshaped.view(np.ndarray)) and self.size:
            raise TypeError("an array in a GPU's memory was to be copied by the host")
        return reshaped

    def copy(self, *arguments: Any, **options: Any) -> Any:
        """Refused: it would read."""
        raise TypeError("an array in a GPU's memory was to be copied by the host")


def device_view(
    owner: Any,
    pointer: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
    readonly: bool = False,
    gpu: int | None = None,
) -> DeviceView:
    """A view of device memory that belongs to `owner`."""
    base = np.asarray(SimpleNamespace(__array_interface__=_interface(pointer, shape, strides, dtype, readonly), owner=owner))
    view = base.view(dtype).view(DeviceView) if base.dtype != dtype else base.view(DeviceView)
    view.owner, view.gpu = owner, gpu
    return view


def _interface(
    pointer: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, readonly: bool
) -> dict[str, Any]:
    kind = np.dtype(np.uint16).str if dtype.kind == "V" else dtype.str
    # An empty array may have no memory; NumPy takes no null pointer.
    return {"shape": shape, "strides": strides, "typestr": kind, "data": (pointer or 16, readonly), "version": 3}


def check_one_device(**arrays: Any) -> None:
    """TypeError if arrays, by the names of arguments, are on two GPUs; the first that there is has the logits."""
    known = {name: each.gpu for name, each in arrays.items() if getattr(each, "gpu", None) is not None}
    for name, gpu in known.items():
        first = next(iter(known))
        if gpu != known[first]:
            raise TypeError(f"{name} is on GPU {gpu} and {first} on GPU {known[first]}: move one to the other")


class Record:
    """What a call does on a GPU.

    Attributes
    ----------
    launches : list
        Kernels that it queues, in order.
    created : list of (object, tuple of int, numpy.dtype)
        Arrays that it makes for its results, with their shapes and dtypes.
    owns : bool
        Whether what kernels pass to each other is to have memory of its own, rather than that of the thread.
    """

    def __init__(self, owns: bool) -> None:
        self.launches: list[Any] = []
        self.created: list[tuple[Any, tuple[int, ...], np.dtype]] = []
        self.owns = owns


class _Records(threading.local):
    now: Record | None = None


_records = _Records()


@contextlib.contextmanager
def recording(owns: bool = True) -> Iterator[Record]:
    """A record of what this thread does while the block lasts."""
    before, made = _records.now, Record(owns)
    _records.now = made
    try:
        yield made
    finally:
        _records.now = before


def record() -> Record | None:
    """The record that is being made in this thread, or None."""
    return _records.now
