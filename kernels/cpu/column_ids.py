"""What a vector of column ids is like: its ends, and whether it only counts on."""

from numba import types
from numpy import int64

from ..jit import row_kernel, view

BLOCK = 1 << 12


@row_kernel(lambda _: types.Tuple((types.int64, types.int64, types.boolean))(view(types.int64, 1)))
def survey_columns(ids):
    """(smallest, largest, whether each id is the one before it and 1) of one id or more. IN int64[n]."""
    smallest, largest, runs_on = ids[0], ids[0], True
    for start in range(0, ids.shape[0], BLOCK):
        block = ids[start : start + BLOCK]
        first = ids[0] + start
        for j in range(block.shape[0]):
            x = block[j]
            smallest = x if x < smallest else smallest
            largest = x if x > largest else largest
            runs_on &= x == int64(first + j)
    return smallest, largest, runs_on
