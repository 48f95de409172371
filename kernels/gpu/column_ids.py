"""Ids of the columns that were chosen."""

from numpy import int64

from ..cpu.cells import NARROW
from .cells import column_id
from .jit import row_kernel
from .loading import cuda


@row_kernel
def chosen_columns(cols, flags, index, narrow, col):
    """col = id of the column at each index, -1 where that is: a thread a row.

    Parameters
    ----------
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`; otherwise its first element is the id of the first column, and the others follow.
    flags : int64
        `HAS_COLS`, `NARROW`.
    index, narrow : IN int64[outer, inner], int32[outer, inner]
        Positions: in one of them, `narrow` under `NARROW`.
    col : OUT int64[outer, inner]
    """
    position = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    count = col.shape[1]
    if position < col.shape[0] * count:
        outer = position // count
        inner = position - outer * count
        at = int64(narrow[outer, inner]) if flags & NARROW else index[outer, inner]
        col[outer, inner] = column_id(cols, flags, outer, inner, at) if at >= 0 else int64(-1)


@row_kernel
def copy_rows(source, target):
    """target = source, element by element: a thread an element, of any strides. IN any[outer, inner], OUT any[outer, inner]."""
    position = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    count = target.shape[1]
    if position < target.shape[0] * count:
        outer = position // count
        inner = position - outer * count
        target[outer, inner] = source[outer, inner]
