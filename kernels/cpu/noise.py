"""The field over tiles and rows: bits of many columns at once, then E and G lane by lane.

The rare tail (b32 < 256) is noticed by a minimum over the tile and evaluated afterwards, one column at a time.
"""

from numba import types
from numpy import uint16, uint32, uint64

from ..elementary import fma
from ..field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    TAIL_BELOW,
    address_of,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
)
from ..jit import by_precision, loop, row_kernel, scalar, sink, stack_array
from .bits import HALVES, TAILS, b32_of, fill_tails, fill_words, groups_of, join_halves, phase_of, scratch_of, tail_of
from .cells import ADDRESS_TYPES, HAS_COLS, TILE, row_of, step_of, store_tile


@loop
def row_address(k0, k1, step, steps, rows, flags, outer, inner, position):
    """(k0, k1, c3, r0, r1): all of an address but the column.

    Steps from 2^30 on fold the key.
    """
    return address_of(k0, k1, step_of(step, steps, flags, outer, inner), row_of(rows, flags, outer, inner, position))


@scalar
def column_id(cols, flags, outer, inner, position):
    """Id of the column at a position in the row."""
    return cols[outer, inner, position] if flags & HAS_COLS else cols[0, 0, 0] + position


@loop
def fill_exponentials(e, scratch, address, cols, flags, outer, inner, start):
    """E of one tile of one row.

    Parameters
    ----------
    e : OUT real[n], contiguous
        Standard exponential values.
    scratch : tuple
        From `scratch_of`.
    address : tuple
        From `row_address`.
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`; otherwise its first element is the id of the first column, and the others follow.
    flags, outer, inner, start : int64
        What is given; the row; the first column, a multiple of 8.
    """
    n = e.shape[0]
    coarse_pairs, fine_pairs, _, coarse, fine, tails = scratch
    if flags & HAS_COLS:
        bits_of_ids(e, coarse, fine, tails, address, cols[outer, inner, start : start + n])
    else:
        first = cols[0, 0, 0] + start
        phase = phase_of(first)
        groups = groups_of(n + phase)
        fill_words(coarse_pairs, address, DOMAIN_COARSE, first, groups)
        fill_words(fine_pairs, address, DOMAIN_FINE, first, groups)
        tails_of_range(e, scratch, address, first, groups)
        coarse, fine, tails = coarse[phase:], fine[phase:], tails[phase:]
    if exponentials_of_bits(e, coarse, fine, tails):
        for j in range(n):
            b32 = join_halves(coarse[j], fine[j])
            if b32 < TAIL_BELOW:
                e[j] = exponential_of_tail(e[j], address, b32, column_id(cols, flags, outer, inner, start + j))


@loop
def fill_noise(g, scratch, address, cols, flags, outer, inner, start):
    """G of one tile of one row. OUT real[n], contiguous; the rest as in `fill_exponentials`.

    E and G are made in loops apart: both polynomials in one take more registers than there are.
    """
    fill_exponentials(g, scratch, address, cols, flags, outer, inner, start)
    for j in range(g.shape[0]):
        g[j] = gumbel_of_exponential(g[j])


@loop
def _tails_of_range_f32(g, scratch, address, first, groups):
    """The float32 field reads tails one by one, where they are needed."""


@loop
def _tails_of_range_f64(g, scratch, address, first, groups):
    fill_tails(scratch[2], address, first, groups)


@loop
def _bits_of_ids_f32(g, coarse, fine, tails, address, ids):
    """Arbitrary column ids: two Philox calls a column."""
    for j in range(ids.shape[0]):
        b32 = b32_of(address, ids[j])
        coarse[j] = uint16(b32 >> uint32(16))
        fine[j] = uint16(b32)


@loop
def _bits_of_ids_f64(g, coarse, fine, tails, address, ids):
    """Arbitrary column ids: three Philox calls a column."""
    for j in range(ids.shape[0]):
        b32 = b32_of(address, ids[j])
        coarse[j] = uint16(b32 >> uint32(16))
        fine[j] = uint16(b32)
        tails[j] = tail_of(address, ids[j])


@loop
def _exponentials_of_bits_f32(e, coarse, fine, tails):
    """E from b32 alone; True where some b32 asks for its tail."""
    least = uint32(0xFFFFFFFF)
    for j in range(e.shape[0]):
        b32 = join_halves(coarse[j], fine[j])
        least = b32 if b32 < least else least
        e[j] = exponential_f32(b32)
    return least < TAIL_BELOW


@loop
def _exponentials_of_bits_f64(e, coarse, fine, tails):
    """E from all 64 bits: nothing is left to mend."""
    for j in range(e.shape[0]):
        whole = (uint64(join_halves(coarse[j], fine[j])) << uint64(32)) | uint64(tails[j])
        e[j] = exponential_f64(whole)
    return False


@loop
def _exponential_of_tail_f32(e, address, b32, column):
    """E with all 64 bits."""
    return exponential_tail_f32(b32, tail_of(address, column))


@loop
def _exponential_of_tail_f64(e, address, b32, column):
    """The float64 field has used its tail already."""
    return e


tails_of_range = by_precision(_tails_of_range_f32, _tails_of_range_f64)
bits_of_ids = by_precision(_bits_of_ids_f32, _bits_of_ids_f64)
exponentials_of_bits = by_precision(_exponentials_of_bits_f32, _exponentials_of_bits_f64)
exponential_of_tail = by_precision(_exponential_of_tail_f32, _exponential_of_tail_f64)
gumbel_of_exponential = by_precision(gumbel_of_exponential_f32, gumbel_of_exponential_f64)


@row_kernel(
    lambda real: types.void(*ADDRESS_TYPES, types.int64, types.float64, types.float64, types.int64, types.int64, sink(real, 3))
)
def noise_rows(k0, k1, step, steps, rows, cols, flags, loc, scale, first, last, out):
    """out = loc + scale * G over rows first .. last.

    A tile of the field, one fused multiply-add, one store; nothing else is kept.

    Parameters
    ----------
    k0, k1 : uint32
        Key words.
    step : int64
        Draw counter.
    steps : IN int64[outer, inner]
        Under `HAS_STEPS`, what is to be added to it for each row.
    rows : IN int64[outer, inner]
        Row ids under `HAS_ROWS`; otherwise its first element is the id of the first row, and the others follow.
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`; otherwise its first element is the id of the first column, and the others follow.
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
    buffer = stack_array(TILE, out.dtype)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        for start in range(0, columns, TILE):
            g = buffer[: min(TILE, columns - start)]
            fill_exponentials(g, scratch, address, cols, flags, outer, inner, start)
            for j in range(g.shape[0]):
                g[j] = fma(gumbel_of_exponential(g[j]), real(scale), real(loc))
            store_tile(out[outer, inner, start : start + g.shape[0]], g)
