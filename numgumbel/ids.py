"""Stable 64-bit row ids from the columns that name a row."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np

from .kernels.cpu.row_ids import TAG_BYTES, TAG_TEXT, fold_bytes, fold_integers
from .keys import key

__all__ = ["row_ids"]


def row_ids(*columns: Any) -> np.ndarray:
    """One 64-bit id a row from one or more columns: a stable hash, the same on every machine.

    Give the result as ``rows=`` and the noise belongs to the household, the person, the trip, wherever the row stands.

    Parameters
    ----------
    *columns : array or sequence of int, str, bytes or uuid.UUID
        Columns of one shape; a single value counts for every row. Their order counts, and so does their kind: 1 is not "1".
        The width of an integer or string dtype does not.

    Returns
    -------
    numpy.ndarray of int64
        Ids in the columns' shape. Two different rows share one with probability 2^-64: among a million rows, a pair is expected
        once in 40 million data sets.

    Raises
    ------
    TypeError
        Without columns, or for floats, booleans, dates, missing values and anything else that is not named above.
    ValueError
        For columns of different shapes.

    Notes
    -----
    The state starts at the words of ``key("row_ids")``. An integer is folded in whole (tag 16); a text as UTF-8 (tag 17) and
    bytes or a UUID as they are (tag 19) in little-endian groups of 8, then their length (tag 18, 20). See `fold`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> household, person = np.array([1, 1, 2]), ["ann", "bob", "ann"]
    >>> ids = ng.row_ids(household, person)
    >>> len(set(ids.tolist()))
    3
    """
    if not columns:
        raise TypeError("row_ids takes one or more columns, got none")
    arrays = [_as_array(values) for values in columns]
    shapes = {array.shape for array in arrays if array.ndim}
    if len(shapes) > 1:
        raise ValueError(f"columns must have one shape, got {', '.join(str(array.shape) for array in arrays)}")
    shape = shapes.pop() if shapes else ()
    size = int(np.prod(shape, dtype=np.int64))
    low, high = (np.full(size, word, np.uint32) for word in key("row_ids").words)
    for number, array in enumerate(arrays):
        flat = np.broadcast_to(array, shape).reshape(-1)
        if size == 0:
            continue
        if _holds_integers(flat):
            fold_integers[None](_as_uint64(flat), low, high)
        else:
            tag, parts = _as_bytes(flat, f"column {number}")
            offsets = np.zeros(size + 1, np.int64)
            np.cumsum([len(part) for part in parts], out=offsets[1:])
            fold_bytes[None](np.frombuffer(b"".join(parts), np.uint8), offsets, np.uint32(tag), low, high)
    return ((high.astype(np.uint64) << np.uint64(32)) | low).view(np.int64).reshape(shape)


def _as_array(values: Any) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError("a column is a numpy masked array: fill or drop its missing values")
    if isinstance(values, (list, tuple)) and all(isinstance(value, int) for value in values):
        return np.array(values, object)  # as NumPy's own integers, [-1, 2**63] would become floats and [True, 2] integers
    array = np.asarray(values)
    if array.dtype.kind in "SU" and not isinstance(values, (np.ndarray, np.generic)):
        return np.array(values, object)  # NumPy's own text and bytes drop NULs at the end
    return array


def _holds_integers(flat: np.ndarray) -> bool:
    if flat.dtype.kind in "iu":
        return True
    return flat.dtype.kind == "O" and all(
        isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in flat
    )


def _as_uint64(flat: np.ndarray) -> np.ndarray:
    """Integers modulo 2^64: an id is the same whether it came as int8, int64 or uint64."""
    if flat.dtype.kind == "O":
        if not all(-(1 << 63) <= value < 1 << 64 for value in flat):
            raise ValueError("integer ids must be from -2^63 to 2^64 - 1")
        return np.array([int(value) % (1 << 64) for value in flat], np.uint64)
    return flat.astype(np.uint64)


def _as_bytes(flat: np.ndarray, name: str) -> tuple[int, list[bytes]]:
    """(tag, bytes of each element) of a column of text, bytes or UUIDs."""
    values = flat.tolist() if flat.dtype.kind in "USTO" else None
    if values is not None and all(isinstance(value, str) for value in values):
        return TAG_TEXT, [value.encode() for value in values]
    if values is not None and all(isinstance(value, (bytes, uuid.UUID)) for value in values):
        return TAG_BYTES, [value if isinstance(value, bytes) else value.bytes for value in values]
    kinds = flat.dtype if values is None else ", ".join(sorted({type(value).__name__ for value in values}))
    raise TypeError(f"{name} must hold integers, text, bytes or UUIDs, all of one kind, got {kinds}")
