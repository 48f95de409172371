"""Categorical samples by Gumbel-max: the index of the largest logit / T + G of each row.

P(index = i) = exp(l_i / T) / sum_j exp(l_j / T) for independent standard Gumbel G (Gumbel, Statistical Theory of Extreme
Values, 1954; Maddison, Tarlow, Minka, "A* Sampling", NeurIPS 2014, arXiv:1411.0030).
"""

import numpy as np
from numba import types

from ..elementary import INF_F64
from ..jit import row_kernel, sink
from .cells import TILE, first_at_least, note_invalid, row_types, tile_max
from .noise import row_address
from .scores import fill_scores


@row_kernel(lambda real: types.void(*row_types(real), types.int64, types.int64, sink(types.int64, 2), sink(types.int64, 1)))
def argmax_rows(k0, k1, step, rows, cols, cells, mask, flags, temperature, first, last, index, invalid):
    """index = argmax(logits / T + G) over rows first .. last.

    Scores a tile at a time; the tile's maximum replaces the row's only when strictly larger, so the lowest index wins a tie.
    A row without an allowed category, or with a NaN in one, gets -1.

    Parameters
    ----------
    k0, k1 : uint32
        Key words.
    step : IN int64[outer, inner]
        Draw counter of each row.
    rows : IN int64[outer, inner]
        Row ids under `HAS_ROWS`.
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`.
    cells : IN real[outer, inner, K]
        Logits, or probabilities under `IS_PROBS`.
    mask : IN uint8[outer, inner, K]
        Nonzero where allowed, under `HAS_MASK`.
    flags : int64
        What is given.
    temperature : IN float64[outer, inner]
        0 or within [2^-64, 2^64].
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    index : OUT int64[outer, inner]
        Position along the row, or -1.
    invalid : INOUT int64[1 + n]
        Count and first positions of invalid rows.
    """
    count, columns = cells.shape[1], cells.shape[2]
    x_buffer = np.empty(TILE, cells.dtype)
    s_buffer = np.empty(TILE, cells.dtype)
    bits = np.empty(2 * TILE, np.uint32)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step[outer, inner], rows, flags, outer, inner, position)
        best = cells.dtype.type(-INF_F64)
        best_index = -1
        unordered = False
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            s = s_buffer[:n]
            unordered |= fill_scores(
                s, x_buffer[:n], bits, address, temperature[outer, inner], cols, cells, mask, flags, outer, inner, start
            )
            largest = tile_max(s)
            if largest > best:
                best = largest
                best_index = start + first_at_least(s, largest)
        if unordered or best_index < 0:
            best_index = -1
            note_invalid(invalid, position)
        index[outer, inner] = best_index
