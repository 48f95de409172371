"""The field over tiles and rows: bits of many columns at once, then E and G lane by lane.

Eight neighbouring columns share one Philox call a domain, so the bits of a tile are made in groups of eight, packed lanes
across groups; two 32-bit values leave in one 64-bit store. The rare tail (b32 < 256) is noticed by a minimum over the tile and
evaluated afterwards, one column at a time.
"""

import numpy as np
from numba import types
from numpy import float32, float64, int64, uint32, uint64

from ..elementary import fma
from ..field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    DOMAIN_TAIL_HIGH,
    DOMAIN_TAIL_LOW,
    TAIL_BELOW,
    counter_of_step,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    field_b32,
    field_tail,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
    key_of_step,
)
from ..jit import by_precision, loop, row_kernel, sink, view
from ..philox import philox4x32_wide
from .cells import HAS_COLS, HAS_ROWS, TILE, store_tile

LOW_16 = uint64(0xFFFF)
HIGH_16 = uint64(0xFFFF0000)
LOW_32 = uint64(0xFFFFFFFF)


@loop
def row_address(k0, k1, step, rows, flags, outer, inner, position):
    """(k0, k1, c3, r0, r1): all of an address but the column.

    The row's id is `rows[outer, inner]` under `HAS_ROWS`, else its position; steps from 2^30 on fold the key.
    """
    row = rows[outer, inner] if flags & HAS_ROWS else position
    k0, k1 = key_of_step(k0, k1, step)
    return k0, k1, counter_of_step(step, DOMAIN_COARSE), uint32(row), uint32(uint64(row) >> uint64(32))


@loop
def fill_noise(g, bits, address, cols, flags, outer, inner, start):
    """G of one tile of one row.

    Parameters
    ----------
    g : OUT real[n], contiguous
        Standard Gumbel values. The buffer behind it has `TILE` places: lanes beyond n may be written.
    bits : scratch uint64[TILE], contiguous
    address : tuple
        From `row_address`.
    cols : IN int64[outer, inner, K]
        Column ids, looked at under `HAS_COLS` only.
    flags, outer, inner, start : int64
        What is given; the row; the first column, a multiple of 8.
    """
    n = g.shape[0]
    if flags & HAS_COLS:
        ids = cols[outer, inner, start : start + n]
        _bits_of_ids(g, bits, address, ids)
        if _gumbel_of_bits(g, bits):
            for j in range(n):
                _mend_tail(g, bits, address, j, ids[j])
    else:
        _bits_of_range(g, bits, address, start, n)
        if _gumbel_of_bits(g, bits):
            for j in range(n):
                _mend_tail(g, bits, address, j, start + j)


@loop
def _pair(coarse, fine):
    """Two b32, of an even and the next odd column, from one coarse and one fine word with dirty high halves."""
    even = ((coarse & LOW_16) << uint64(16)) | (fine & LOW_16)
    odd = ((coarse & HIGH_16) << uint64(32)) | ((fine & HIGH_16) << uint64(16))
    return even | odd


@loop
def _bits_of_range_f32(g, bits, address, start, n):
    """b32 of columns start .. start + n, two in a uint64; lanes are filled up to whole vectors of groups."""
    k0, k1, c3, r0, r1 = address
    groups = uint32((((n + 7) >> 3) + 7) & ~7)
    base = uint32(start >> 3)
    for i in range(groups):
        c0 = uint32(base + uint32(i))
        a0, a1, a2, a3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_COARSE), k0, k1)
        f0, f1, f2, f3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_FINE), k0, k1)
        at = uint64(i) * uint64(4)  # unsigned: a negative-index test would keep the loop scalar
        bits[at] = _pair(a0, f0)
        bits[at + uint64(1)] = _pair(a1, f1)
        bits[at + uint64(2)] = _pair(a2, f2)
        bits[at + uint64(3)] = _pair(a3, f3)


@loop
def _bits_of_range_f64(g, bits, address, start, n):
    """All 64 bits of columns start .. start + n, one in a uint64."""
    k0, k1, c3, r0, r1 = address
    groups = uint32((((n + 7) >> 3) + 7) & ~7)
    base = uint32(start >> 3)
    for i in range(groups):
        c0 = uint32(base + uint32(i))
        a0, a1, a2, a3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_COARSE), k0, k1)
        f0, f1, f2, f3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_FINE), k0, k1)
        at = uint64(i) * uint64(8)
        p0, p1, p2, p3 = _pair(a0, f0), _pair(a1, f1), _pair(a2, f2), _pair(a3, f3)
        bits[at] = p0 << uint64(32)
        bits[at + uint64(1)] = p0 & ~LOW_32
        bits[at + uint64(2)] = p1 << uint64(32)
        bits[at + uint64(3)] = p1 & ~LOW_32
        bits[at + uint64(4)] = p2 << uint64(32)
        bits[at + uint64(5)] = p2 & ~LOW_32
        bits[at + uint64(6)] = p3 << uint64(32)
        bits[at + uint64(7)] = p3 & ~LOW_32
    for i in range(groups):
        c0 = uint32(base + uint32(i))
        t0, t1, t2, t3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_TAIL_LOW), k0, k1)
        t4, t5, t6, t7 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_TAIL_HIGH), k0, k1)
        at = uint64(i) * uint64(8)
        bits[at] |= t0 & LOW_32
        bits[at + uint64(1)] |= t1 & LOW_32
        bits[at + uint64(2)] |= t2 & LOW_32
        bits[at + uint64(3)] |= t3 & LOW_32
        bits[at + uint64(4)] |= t4 & LOW_32
        bits[at + uint64(5)] |= t5 & LOW_32
        bits[at + uint64(6)] |= t6 & LOW_32
        bits[at + uint64(7)] |= t7 & LOW_32


@loop
def _bits_of_ids_f32(g, bits, address, ids):
    """b32 of arbitrary column ids: two Philox calls a column."""
    k0, k1, c3, r0, r1 = address
    b32 = bits.view(uint32)
    for j in range(ids.shape[0]):
        b32[j] = field_b32(k0, k1, c3, r0, r1, ids[j])


@loop
def _bits_of_ids_f64(g, bits, address, ids):
    """All 64 bits of arbitrary column ids: three Philox calls a column."""
    k0, k1, c3, r0, r1 = address
    for j in range(ids.shape[0]):
        b32 = field_b32(k0, k1, c3, r0, r1, ids[j])
        bits[j] = (uint64(b32) << uint64(32)) | uint64(field_tail(k0, k1, c3, r0, r1, ids[j]))


@loop
def _gumbel_of_bits_f32(g, bits):
    """G from b32 alone; True where some b32 asks for its tail."""
    b32 = bits.view(uint32)[: g.shape[0]]
    least = uint32(0xFFFFFFFF)
    for j in range(g.shape[0]):
        least = b32[j] if b32[j] < least else least
        g[j] = gumbel_of_exponential_f32(exponential_f32(b32[j]))
    return least < TAIL_BELOW


@loop
def _gumbel_of_bits_f64(g, bits):
    """G from all 64 bits: nothing is left to mend."""
    whole = bits[: g.shape[0]]
    for j in range(g.shape[0]):
        g[j] = gumbel_of_exponential_f64(exponential_f64(whole[j]))
    return False


@loop
def _mend_tail_f32(g, bits, address, j, column):
    """Replace g[j] by the value with all 64 bits where b32 < 256."""
    k0, k1, c3, r0, r1 = address
    b32 = bits.view(uint32)[j]
    if b32 < TAIL_BELOW:
        tail = field_tail(k0, k1, c3, r0, r1, int64(column))
        g[j] = gumbel_of_exponential_f32(exponential_tail_f32(b32, tail))


@loop
def _mend_tail_f64(g, bits, address, j, column):
    """The float64 field has used its tail already."""


_bits_of_range = by_precision(_bits_of_range_f32, _bits_of_range_f64)
_bits_of_ids = by_precision(_bits_of_ids_f32, _bits_of_ids_f64)
_gumbel_of_bits = by_precision(_gumbel_of_bits_f32, _gumbel_of_bits_f64)
_mend_tail = by_precision(_mend_tail_f32, _mend_tail_f64)


@row_kernel(
    lambda real: types.void(
        types.uint32, types.uint32, types.int64, view(types.int64, 2), view(types.int64, 2), view(types.int64, 3),
        types.int64, types.float64, types.float64, types.int64, types.int64, sink(real, 3),
    )
)  # fmt: skip
def noise_rows(k0, k1, draw, step, rows, cols, flags, loc, scale, first, last, out):
    """out = loc + scale * G over rows first .. last.

    A tile of the field, one fused multiply-add, one store; nothing else is kept.

    Parameters
    ----------
    k0, k1 : uint32
        Key words.
    draw : int64
        Added to every step.
    step : IN int64[outer, inner]
        Draw counter of each row.
    rows : IN int64[outer, inner]
        Row ids under `HAS_ROWS`.
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`.
    flags : int64
        What is given.
    loc, scale : float64
        Location and scale.
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    out : OUT real[outer, inner, K]
        Gumbel values.
    """
    count, columns = out.shape[1], out.shape[2]
    real = out.dtype.type
    buffer = np.empty(TILE, out.dtype)
    bits = np.empty(TILE, np.uint64)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step[outer, inner] + draw, rows, flags, outer, inner, position)
        for start in range(0, columns, TILE):
            g = buffer[: min(TILE, columns - start)]
            fill_noise(g, bits, address, cols, flags, outer, inner, start)
            for j in range(g.shape[0]):
                g[j] = fma(g[j], real(scale), real(loc))
            store_tile(out[outer, inner, start : start + g.shape[0]], g)
