"""Many draws of the same row by the inverse CDF: the same samples as `inverse_cdf`, from cumulative weights made once.

A guide table says for each of B equal parts of the uniform's range which index its first value gives, so that a search starts
there: with about as many parts as categories it takes less than one step in the mean, whatever the weights (Chen and Asau, "On
generating random variates from an empirical distribution", AIIE Trans. 6 (1974); Devroye, Non-Uniform Random Variate
Generation, 1986, III.2.4). Many categories in one part, as under a peak, are searched by halves.
"""

from numba import types
from numpy import int32, int64, uint32, uint64

from ..elementary import INF_F64, mulhi64
from ..field import DOMAIN_COARSE, counter_of_step, key_of_step
from ..jit import as_contiguous, loop, real_of, row_kernel, sink, stack_array
from ..philox import COUNTER_UNIFORM
from .bits import philox4x32_pairs
from .cells import NARROW, TILE, largest_of_row, note_invalid, row_of, row_types, step_of, temperature_of, tile_of
from .inverse_cdf import weigh_tile, weight_scale

# Draws made in one go: their targets and places, 12 KiB, stay in the first-level cache beside a small table.
TILE_OF_DRAWS = 1024

# In place of the index that all draws of a row have: they differ, and the tables tell; nothing is known yet.
BY_TABLE, UNKNOWN = -2, -3


@loop
def fill_sums(sums, buffer, cells, mask, flags, outer, inner, largest, inverse):
    """sums[i] = w_0 + ... + w_i of one row. OUT uint64[K], scratch real[TILE]; the rest as in `argmax_rows`."""
    columns = cells.shape[2]
    scale = weight_scale(columns)
    total = uint64(0)
    for start in range(0, columns, TILE):
        n = min(TILE, columns - start)
        x = tile_of(buffer, cells, mask, flags, outer, inner, start, n)
        part = sums[start : start + n]
        weigh_tile(part, x, largest, inverse, scale)
        for j in range(n):
            total += part[j]
            part[j] = total


@loop
def bits_of_parts(guide):
    """log2 B of a guide table uint32[B + 1]."""
    bits = 0
    while (1 << bits) < guide.shape[0] - 1:
        bits += 1
    return bits


@loop
def fill_guide(guide, sums):
    """guide[b] = the index that u = b 2^64 / B gives, and behind them the last index that any gives.

    A draw whose uniform is in part b then has an index from guide[b] to guide[b + 1]. OUT uint32[B + 1], B a power of two; IN
    uint64[K].
    """
    shift, total = 64 - bits_of_parts(guide), sums[sums.shape[0] - 1]
    i = uint64(0)
    for b in range(guide.shape[0] - 1):
        start = mulhi64(uint64(b) << uint64(shift), total) if b else uint64(0)
        while sums[i] <= start:
            i += uint64(1)
        guide[b] = uint32(i)
    while sums[i] < total:
        i += uint64(1)
    guide[guide.shape[0] - 1] = uint32(i)


@loop
def fill_targets(targets, places, k0, k1, step, row, bits, total):
    """t = high 64 bits of u * total, and the part that u is in, for draws at step, step + 1, ..., all of one part above 2^30.

    OUT uint64[n], uint32[n].
    """
    k0, k1 = key_of_step(k0, k1, step)
    low, high = uint32(row), uint32(uint64(row) >> uint64(32))
    c3 = uint64(counter_of_step(step, DOMAIN_COARSE))
    shift = uint64(63 - bits)
    for d in range(targets.shape[0]):
        u, _ = philox4x32_pairs(uint64(COUNTER_UNIFORM), low, high, c3 + (uint64(d) << uint64(2)), k0, k1)
        targets[d] = mulhi64(u, total)
        places[d] = uint32((u >> uint64(1)) >> shift)


@loop
def search(places, targets, sums, guide):
    """places[d] = smallest i with sums[i] > targets[d].

    INOUT uint32[n], the parts, then the indices; IN uint64[n], uint64[K], uint32[B + 1].

    Two steps without a branch, which a processor would guess wrong every second time; further ones are seldom needed.
    """
    for d in range(places.shape[0]):
        target, part = targets[d], uint64(places[d])
        i = uint64(guide[part])
        i += uint64(sums[i] <= target)
        i += uint64(sums[i] <= target)
        if sums[i] <= target:
            i += uint64(1)
            end = uint64(guide[part + uint64(1)])
            while i < end:
                middle = (i + end) >> uint64(1)
                if sums[middle] <= target:
                    i = middle + uint64(1)
                else:
                    end = middle
        places[d] = uint32(i)


@row_kernel(
    lambda cell: types.int64(
        *row_types(cell),
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        sink(types.int64, 3),
        sink(types.int32, 3),
        types.Array(types.uint64, 1, "C"),
        types.Array(types.uint32, 1, "C"),
        sink(types.int64, 1),
    )
)
def inverse_cdf_draws(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    temperature,
    temperatures,
    first,
    last,
    begin,
    end,
    known,
    index,
    narrow,
    sums,
    guide,
    invalid,
):
    """index = smallest i whose cumulative weight exceeds u * total, for draws begin .. end of rows first .. last.

    Draw d of a row reads the uniform at the row's step + d. Row by row: cumulative weights, guide table, then tiles of draws.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `inverse_cdf_rows`; fewer than 2^31 categories.
    begin, end : int64
        Draws to do. With none, the tables of the last row are all that is done.
    known : int64
        `UNKNOWN`; or, for one row, what an earlier call has returned: its tables are then only read.
    index, narrow : OUT int64[outer, inner, n], int32[outer, inner, n]
        Position along the row, or -1, of draw d at [..., d]: in one of them, as in `argmax_rows`.
    sums : INOUT uint64[K]
        Cumulative weights of the last row.
    guide : INOUT uint32[B + 1]
        Its guide table, B a power of two.

    Returns
    -------
    int64
        `BY_TABLE`, or the index that all draws of the last row have, -1 for an invalid row; the tables are then not filled.
    """
    count = cells.shape[1]
    buffer = stack_array(TILE, real_of(cells))
    targets, places = stack_array(TILE_OF_DRAWS, uint64), stack_array(TILE_OF_DRAWS, uint32)
    bits = bits_of_parts(guide)
    chosen = known
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        if known == UNKNOWN:
            t = temperature_of(temperature, temperatures, flags, outer, inner)
            largest, chosen, _ = largest_of_row(buffer, cells, mask, flags, outer, inner, 0, cells.shape[2])
            if chosen < 0:
                note_invalid(invalid, position)
            elif t != 0.0 and largest < INF_F64:
                chosen = BY_TABLE
                fill_sums(sums, buffer, cells, mask, flags, outer, inner, largest, 1.0 / t)
                fill_guide(guide, sums)
        row, start = row_of(rows, flags, outer, inner, position), step_of(step, steps, flags, outer, inner)
        total = sums[sums.shape[0] - 1]
        done = begin
        while done < end:
            # A tile ends where the step's part above 2^30 changes, since it is folded into the key.
            n = min(TILE_OF_DRAWS, end - done, 0x40000000 - ((start + done) & 0x3FFFFFFF))
            at = places[:n]
            if chosen == BY_TABLE:
                fill_targets(targets[:n], at, k0, k1, start + done, row, bits, total)
                search(at, targets, sums, guide)
            else:
                for d in range(n):
                    at[d] = uint32(chosen)
            if flags & NARROW:
                for d in range(n):
                    narrow[outer, inner, done + d] = int32(at[d])
            else:
                wide = index[outer, inner, done : done + n]
                if wide.strides[0] == wide.itemsize:
                    packed = as_contiguous(wide)
                    for d in range(n):
                        packed[d] = int64(int32(at[d]))
                else:
                    for d in range(n):
                        wide[d] = int64(int32(at[d]))
            done += n
    return chosen
