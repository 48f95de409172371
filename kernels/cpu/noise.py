"""The field over tiles and rows: bits of many columns at once, then E and G lane by lane.

Eight neighbouring columns share one Philox call a domain, so the bits of a tile are made in groups of eight, packed lanes
across groups; two 32-bit values leave in one 64-bit store. The rare tail (b32 < 256) is noticed by a minimum over the tile and
evaluated afterwards, one column at a time.
"""

import numpy as np
from numba import types
from numpy import int64, uint32, uint64

from ..elementary import fma
from ..field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    DOMAIN_TAIL_HIGH,
    DOMAIN_TAIL_LOW,
    TAIL_BELOW,
    address_of,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    field_b32,
    field_tail,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
)
from ..jit import by_precision, loop, row_kernel, sink
from ..philox import philox4x32_wide
from .cells import ADDRESS_TYPES, HAS_COLS, HAS_ROWS, TILE, store_tile

LOW_16 = uint64(0xFFFF)
HIGH_16 = uint64(0xFFFF0000)
LOW_32 = uint64(0xFFFFFFFF)


@loop
def row_address(k0, k1, step, rows, flags, outer, inner, position):
    """(k0, k1, c3, r0, r1): all of an address but the column.

    The row's id is `rows[outer, inner]` under `HAS_ROWS`, else its position; steps from 2^30 on fold the key.
    """
    return address_of(k0, k1, step, rows[outer, inner] if flags & HAS_ROWS else position)


@loop
def fill_noise(g, bits, address, cols, flags, outer, inner, start):
    """G of one tile of one row.

    Parameters
    ----------
    g : OUT real[n], contiguous
        Standard Gumbel values.
    bits : scratch uint32[2 * TILE], contiguous
        First the 32 leading bits of every column, then (float64) the 32 below.
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
        _bits_of_range(g, bits, address, start)
        if _gumbel_of_bits(g, bits):
            for j in range(n):
                _mend_tail(g, bits, address, j, start + j)


@loop
def _groups(n):
    """Groups of eight columns to make for n columns: whole vectors of eight groups, which the tile has room for."""
    return uint32((((n + 7) >> 3) + 7) & ~7)


@loop
def _join_halves(coarse, fine):
    """b32 of an even and the next odd column in one uint64, from a coarse and a fine word with dirty high halves."""
    even = ((coarse & LOW_16) << uint64(16)) | (fine & LOW_16)
    odd = ((coarse & HIGH_16) << uint64(32)) | ((fine & HIGH_16) << uint64(16))
    return even | odd


@loop
def _join_words(even, odd):
    """Two words with dirty high halves in one uint64."""
    return (even & LOW_32) | (odd << uint64(32))


@loop
def _b32_of_range(bits, address, start, n):
    """The leading bits of columns start .. start + n. OUT uint32[TILE]."""
    k0, k1, c3, r0, r1 = address
    pairs = bits.view(uint64)
    base = uint32(start >> 3)
    for i in range(_groups(n)):
        c0 = uint32(base + uint32(i))
        a0, a1, a2, a3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_COARSE), k0, k1)
        f0, f1, f2, f3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_FINE), k0, k1)
        at = uint64(i) * uint64(4)  # unsigned: a negative-index test would keep the loop scalar
        pairs[at] = _join_halves(a0, f0)
        pairs[at + uint64(1)] = _join_halves(a1, f1)
        pairs[at + uint64(2)] = _join_halves(a2, f2)
        pairs[at + uint64(3)] = _join_halves(a3, f3)


@loop
def _tails_of_range(bits, address, start, n):
    """The bits below, in the same order. OUT uint32[TILE]."""
    k0, k1, c3, r0, r1 = address
    pairs = bits.view(uint64)
    base = uint32(start >> 3)
    for i in range(_groups(n)):
        c0 = uint32(base + uint32(i))
        t0, t1, t2, t3 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_TAIL_LOW), k0, k1)
        t4, t5, t6, t7 = philox4x32_wide(c0, r0, r1, uint32(c3 | DOMAIN_TAIL_HIGH), k0, k1)
        at = uint64(i) * uint64(4)
        pairs[at] = _join_words(t0, t1)
        pairs[at + uint64(1)] = _join_words(t2, t3)
        pairs[at + uint64(2)] = _join_words(t4, t5)
        pairs[at + uint64(3)] = _join_words(t6, t7)


@loop
def _bits_of_range_f32(g, bits, address, start):
    _b32_of_range(bits[:TILE], address, start, g.shape[0])


@loop
def _bits_of_range_f64(g, bits, address, start):
    _b32_of_range(bits[:TILE], address, start, g.shape[0])
    _tails_of_range(bits[TILE:], address, start, g.shape[0])


@loop
def _bits_of_ids_f32(g, bits, address, ids):
    """Arbitrary column ids: two Philox calls a column."""
    k0, k1, c3, r0, r1 = address
    for j in range(ids.shape[0]):
        bits[j] = field_b32(k0, k1, c3, r0, r1, ids[j])


@loop
def _bits_of_ids_f64(g, bits, address, ids):
    """Arbitrary column ids: three Philox calls a column."""
    k0, k1, c3, r0, r1 = address
    tails = bits[TILE:]
    for j in range(ids.shape[0]):
        bits[j] = field_b32(k0, k1, c3, r0, r1, ids[j])
        tails[j] = field_tail(k0, k1, c3, r0, r1, ids[j])


@loop
def _gumbel_of_bits_f32(g, bits):
    """G from b32 alone; True where some b32 asks for its tail."""
    least = uint32(0xFFFFFFFF)
    for j in range(g.shape[0]):
        b32 = bits[j]
        least = b32 if b32 < least else least
        g[j] = gumbel_of_exponential_f32(exponential_f32(b32))
    return least < TAIL_BELOW


@loop
def _gumbel_of_bits_f64(g, bits):
    """G from all 64 bits: nothing is left to mend."""
    tails = bits[TILE:]
    for j in range(g.shape[0]):
        g[j] = gumbel_of_exponential_f64(exponential_f64((uint64(bits[j]) << uint64(32)) | uint64(tails[j])))
    return False


@loop
def _mend_tail_f32(g, bits, address, j, column):
    """Replace g[j] by the value with all 64 bits where b32 < 256."""
    k0, k1, c3, r0, r1 = address
    if bits[j] < TAIL_BELOW:
        tail = field_tail(k0, k1, c3, r0, r1, int64(column))
        g[j] = gumbel_of_exponential_f32(exponential_tail_f32(bits[j], tail))


@loop
def _mend_tail_f64(g, bits, address, j, column):
    """The float64 field has used its tail already."""


_bits_of_range = by_precision(_bits_of_range_f32, _bits_of_range_f64)
_bits_of_ids = by_precision(_bits_of_ids_f32, _bits_of_ids_f64)
_gumbel_of_bits = by_precision(_gumbel_of_bits_f32, _gumbel_of_bits_f64)
_mend_tail = by_precision(_mend_tail_f32, _mend_tail_f64)


@row_kernel(
    lambda real: types.void(*ADDRESS_TYPES, types.int64, types.float64, types.float64, types.int64, types.int64, sink(real, 3))
)
def noise_rows(k0, k1, step, rows, cols, flags, loc, scale, first, last, out):
    """out = loc + scale * G over rows first .. last.

    A tile of the field, one fused multiply-add, one store; nothing else is kept.

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
    bits = np.empty(2 * TILE, np.uint32)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step[outer, inner], rows, flags, outer, inner, position)
        for start in range(0, columns, TILE):
            g = buffer[: min(TILE, columns - start)]
            fill_noise(g, bits, address, cols, flags, outer, inner, start)
            for j in range(g.shape[0]):
                g[j] = fma(g[j], real(scale), real(loc))
            store_tile(out[outer, inner, start : start + g.shape[0]], g)
