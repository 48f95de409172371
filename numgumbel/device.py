"""Arrays in a GPU's memory as the face and the drivers see them: shape, strides, dtype and address, never a value."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["DeviceView", "device_view", "record", "recording"]


class DeviceView(np.ndarray):
    """A view of a GPU's memory that can be cut, turned and broadcast like any ndarray, but not read.

    Attributes
    ----------
    owner : object
        The array that it is a view of, which keeps the memory.
    """

    owner: Any

    __array_ufunc__ = None  # type: ignore[assignment]  # as NumPy has it for what takes no part

    def __array_finalize__(self, other: Any) -> None:
        self.owner = getattr(other, "owner", None)

    def __repr__(self) -> str:
        return f"<device memory, {self.dtype}, shape {self.shape}, strides {self.strides}>"

    __str__ = __repr__

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("an array in a GPU's memory was to be read by the host")

    def astype(self, *arguments: Any, **options: Any) -> Any:
        """Refused: it would read."""
        raise TypeError("an array in a GPU's memory was to be converted by the host")

    def copy(self, *arguments: Any, **options: Any) -> Any:
        """Refused: it would read."""
        raise TypeError("an array in a GPU's memory was to be copied by the host")


def device_view(
    owner: Any, pointer: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, readonly: bool = False
) -> DeviceView:
    """A view of device memory that belongs to `owner`."""
    base = np.asarray(SimpleNamespace(__array_interface__=_interface(pointer, shape, strides, dtype, readonly), owner=owner))
    view = base.view(dtype).view(DeviceView) if base.dtype != dtype else base.view(DeviceView)
    view.owner = owner
    return view


def _interface(
    pointer: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, readonly: bool
) -> dict[str, Any]:
    kind = np.dtype(np.uint16).str if dtype.kind == "V" else dtype.str
    # An empty array may have no memory; NumPy takes no null pointer.
    return {"shape": shape, "strides": strides, "typestr": kind, "data": (pointer or 16, readonly), "version": 3}


class _Records(threading.local):
    launches: list[Any] | None = None


_records = _Records()


@contextlib.contextmanager
def recording() -> Iterator[list[Any]]:
    """Launches of this thread while the block lasts, in a list."""
    before, _records.launches = _records.launches, []
    try:
        yield _records.launches
    finally:
        _records.launches = before


def record() -> list[Any] | None:
    """Where launches of this thread are to be recorded, or None."""
    return _records.launches
