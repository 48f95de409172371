"""Categorical samples by the inverse CDF, one uniform a row, in integers.

w_i = floor(exp((l_i - max l) / T) 2^(62 - ceil(log2 K))) as uint64, so that the sum fits, any order of summation gives the same
sum, and the chosen index is the same on every backend: the smallest i with w_0 + ... + w_i > t, t = high 64 bits of u * sum(w).
"""

import numpy as np
from numba import types
from numpy import float64, int32, int64, uint64

from ..elementary import INF_F64, exp_f64, mulhi64
from ..field import uniform_bits_at
from ..jit import loop, real_of, row_kernel, sink, stack_array
from .cells import (
    NARROW,
    TILE,
    largest_of_row,
    note_invalid,
    row_of,
    row_types,
    step_of,
    temperature_of,
    tile_of,
)


@loop
def weight_scale(columns):
    """2^(62 - ceil(log2 K)) as float64."""
    bits = 0
    while (1 << bits) < columns:
        bits += 1
    return float64(int64(1) << (62 - bits))


@loop
def weigh_tile(w, x, largest, inverse, scale):
    """w = floor(exp((x - largest) / T) scale), 0 where x is -inf; returns their sum. OUT uint64[n], IN real[n]."""
    total = uint64(0)
    for j in range(x.shape[0]):
        weight = uint64(int64(exp_f64((float64(x[j]) - largest) * inverse) * scale))
        w[j] = weight
        total += weight
    return total


@row_kernel(
    lambda cell: types.void(
        *row_types(cell), types.int64, types.int64, sink(types.int64, 2), sink(types.int32, 2), sink(types.int64, 1)
    )
)
def inverse_cdf_rows(
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, index, narrow, invalid
):
    """index = smallest i whose cumulative weight exceeds u * total, over rows first .. last.

    Three passes over the row: maximum, sum of weights, search; weights are made again rather than stored.

    Parameters
    ----------
    As in `argmax_rows`; `cols` is not looked at, one uniform serves the whole row.
    """
    count, columns = cells.shape[1], cells.shape[2]
    x_buffer = stack_array(TILE, real_of(cells))
    w_buffer = stack_array(TILE, np.uint64)
    scale = weight_scale(columns)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        row = row_of(rows, flags, outer, inner, position)
        uniform = uniform_bits_at(k0, k1, step_of(step, steps, flags, outer, inner), row)
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        largest, greedy, _ = largest_of_row(x_buffer, cells, mask, flags, outer, inner, 0, columns)
        if greedy < 0:
            note_invalid(invalid, position)
            chosen = -1
        elif t == 0.0 or largest == INF_F64:
            chosen = greedy
        else:
            total = uint64(0)
            for start in range(0, columns, TILE):
                n = min(TILE, columns - start)
                x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
                total += weigh_tile(w_buffer[:n], x, largest, 1.0 / t, scale)
            target = mulhi64(uniform, total)
            below = uint64(0)
            start = 0
            found = -1
            while found < 0:
                n = min(TILE, columns - start)
                x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
                weight = weigh_tile(w_buffer[:n], x, largest, 1.0 / t, scale)
                if below + weight > target:
                    found = start
                    below += w_buffer[0]
                    while below <= target:
                        found += 1
                        below += w_buffer[found - start]
                else:
                    below += weight
                    start += n
            chosen = found
        if flags & NARROW:
            narrow[outer, inner] = int32(chosen)
        else:
            index[outer, inner] = chosen
