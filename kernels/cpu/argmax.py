"""Categorical samples by Gumbel-max: the index of the largest logit / T + G of each row.

P(index = i) = exp(l_i / T) / sum_j exp(l_j / T) for independent standard Gumbel G (Gumbel, Statistical Theory of Extreme
Values, 1954; Maddison, Tarlow, Minka, "A* Sampling", NeurIPS 2014, arXiv:1411.0030).

An upper bound decides, the exact value is computed for a handful of categories: see `bound`. A flat row of n tiles evaluates
about 2 + ln(n) scores exactly.
"""

from numba import types
from numpy import int32, uint16, uint64

from ..elementary import INF_F64, NAN_F64, fma
from ..jit import as_contiguous, by_format, loop, real_of, reinterpret, row_kernel, sink, stack_array, working
from .bits import HALVES
from .bound import PIECES, below_range, exact_score, fill_bounds, next_at_least
from .cells import (
    HAS_MASK,
    IS_PROBS,
    NARROW,
    TILE,
    WANT_SCORE,
    as_real,
    first_at_least,
    largest_of,
    note_invalid,
    row_types,
    temperature_of,
    tile_of,
)
from .noise import column_id, row_address

# The largest G is 65 ln 2 = 45.05: no category of a tile wins whose largest logit / T is further than this below the best.
REACH = 45.1

# A row whose best score is this far above the bounds of a tile is taken for peaked: the next tile's logits are looked at first,
# which is 0.02 ns a category more where Philox is needed after all, and 0.25 less where it is not.
PEAKED = 20.0


@loop
def visit(at, best, best_index, x, inverse, address, cols, flags, outer, inner, start):
    """The best score and its index after one more exact evaluation; a tie goes to the lower index."""
    s = exact_score(as_real(x[at]), inverse, address, column_id(cols, flags, outer, inner, start + at))
    index = start + at
    if s > best or (s == best and index < best_index):
        return s, index
    return best, best_index


@loop
def argmax_of_tile(
    best, best_index, peaked, x, bound, tops, pairs, coarse, address, greedy, inverse, cols, flags, outer, inner, start
):
    """One more tile of a row: its best score and index so far, whether it is peaked, and whether an allowed cell is NaN.

    A tile whose largest bound is below the best score so far is passed over. Otherwise the category with the largest bound is
    evaluated exactly first, as it is the likely winner, and then every other whose bound still reaches the best.

    Parameters
    ----------
    best, best_index, peaked
        What the tiles before gave: -inf, -1 and False before the first.
    x : IN cell[n], contiguous
        The tile's logits, from `tile_of`.
    bound, tops : scratch real[TILE], [PIECES]
    pairs, coarse : scratch uint64[HALVES], and a view of it as uint16
        Coarse half-words.
    address : tuple
        From `row_address`.
    greedy : bool
        No noise: a score is the logit itself.
    inverse : real
        1 / T.
    cols, flags
        As in `argmax_rows`.
    outer, inner, start : int64
        The row; the tile's first column.
    """
    real, n = real_of(x), x.shape[0]
    if greedy or peaked:
        largest, unordered = largest_of(x)
        if unordered:
            return best, -1, peaked, True
        if greedy:
            if largest > best:
                return largest + real(0.0), start + first_at_least(x, largest), peaked, False
            return best, best_index, peaked, False
        if fma(largest, inverse, real(REACH)) < best:
            return best, best_index, peaked, False
    b = bound[:n]
    largest, unordered = fill_bounds(b, tops, x, pairs, coarse, address, inverse, cols, flags, outer, inner, start)
    if unordered:
        return best, -1, peaked, True
    peaked = largest + real(PEAKED) < best
    if largest < best:
        return best, best_index, peaked, False
    first = next_at_least(b, tops, largest, 0, n)
    best, best_index = visit(first, best, best_index, x, inverse, address, cols, flags, outer, inner, start)
    if below_range(best):  # others may be clamped to the same score, with a bound of -inf
        for j in range(n):
            if as_real(x[j]) > real(-INF_F64):
                best, best_index = visit(j, best, best_index, x, inverse, address, cols, flags, outer, inner, start)
        return best, best_index, peaked, False
    b[first] = real(-INF_F64)
    at = next_at_least(b, tops, best, 0, n)
    while at < n:
        best, best_index = visit(at, best, best_index, x, inverse, address, cols, flags, outer, inner, start)
        at = next_at_least(b, tops, best, at + 1, n)
    return best, best_index, peaked, False


@loop
def argmax_of_row(cells, bound, tops, buffer, pairs, coarse, address, temperature, cols, mask, flags, outer, inner, begin, end):
    """(best score, its index or -1, whether an allowed cell is NaN) over columns begin .. end of one row.

    Parameters
    ----------
    bound, tops, pairs, coarse, address
        As in `argmax_of_tile`.
    buffer : scratch real[TILE], or IN half[K]
        For a tile; or the row itself, where it is packed halves with nothing to be done to them.
    temperature : float64
        Of this row.
    cells, cols, mask, flags
        As in `argmax_rows`.
    outer, inner : int64
        The row.
    begin, end : int64
        Columns, begin a multiple of TILE.
    """
    real = real_of(buffer)
    greedy = temperature == 0.0
    inverse = real(1.0) if greedy else real(1.0 / temperature)
    best, best_index, peaked = real(-INF_F64), -1, False
    for start in range(begin, end, TILE):
        x = tile_of(buffer, cells, mask, flags, outer, inner, start, min(TILE, end - start))
        best, best_index, peaked, unordered = argmax_of_tile(
            best, best_index, peaked, x, bound, tops, pairs, coarse, address, greedy, inverse, cols, flags, outer, inner, start
        )
        if unordered:
            return best, -1, True
    return best, best_index, False


@loop
def _argmax_of_halves(
    cells, bound, tops, buffer, pairs, coarse, address, temperature, cols, mask, flags, outer, inner, begin, end
):
    """The same of halves, read without a buffer where that can be: a copy of all of a tile waits for memory, 0.05 ns a cell."""
    row = cells[outer, inner]
    if flags & (IS_PROBS | HAS_MASK) == 0 and row.strides[0] == row.itemsize:
        packed = as_contiguous(row)
        return argmax_of_row(
            cells, bound, tops, packed, pairs, coarse, address, temperature, cols, mask, flags, outer, inner, begin, end
        )
    return argmax_of_row(
        cells, bound, tops, buffer, pairs, coarse, address, temperature, cols, mask, flags, outer, inner, begin, end
    )


argmax_of_any_row = by_format(argmax_of_row, _argmax_of_halves, _argmax_of_halves)


@row_kernel(
    lambda cell: types.int64(
        *row_types(cell),
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        sink(types.int64, 2),
        sink(types.int32, 2),
        sink(working(cell), 2),
        sink(types.int64, 1),
    )
)
def argmax_rows(
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
    index,
    narrow,
    score,
    invalid,
):
    """index = argmax(logits / T + G) over rows first .. last and columns begin .. end.

    A row without an allowed category, or with a NaN in one, gets -1.

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
    cells : IN cell[outer, inner, K]
        Logits, or probabilities under `IS_PROBS`.
    mask : IN uint8[outer, inner, K]
        Nonzero where allowed, under `HAS_MASK`.
    flags : int64
        What is given.
    temperature : float64
        0 or within [2^-64, 2^64].
    temperatures : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    begin, end : int64
        Columns to look at, begin a multiple of TILE.
    index, narrow : OUT int64[outer, inner], int32[outer, inner]
        Position along the row, or -1: in one of them, `narrow` under `NARROW`.
    score : OUT real[outer, inner]
        The largest score, under `WANT_SCORE`: NaN where a NaN was met, -inf where nothing is allowed.
    invalid : INOUT int64[1 + n]
        Count and first positions of invalid rows.

    Returns
    -------
    int64
        How many rows are invalid.
    """
    count, real = cells.shape[1], real_of(cells)
    buffer = stack_array(TILE, real)
    bound, tops = stack_array(TILE, real), stack_array(PIECES, real)
    pairs = stack_array(HALVES, uint64)
    coarse = reinterpret(pairs, uint16)
    bad = 0
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        best, at, unordered = argmax_of_any_row(
            cells, bound, tops, buffer, pairs, coarse, address, t, cols, mask, flags, outer, inner, begin, end
        )
        if at < 0:
            bad += note_invalid(invalid, position)
        if flags & NARROW:
            narrow[outer, inner] = int32(at)
        else:
            index[outer, inner] = at
        if flags & WANT_SCORE:
            score[outer, inner] = real(NAN_F64) if unordered else best
    return bad
