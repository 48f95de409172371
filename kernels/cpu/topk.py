"""Gumbel-top-k: the k largest scores of each row, a sample of k categories without replacement, in order.

Vieira, "Gumbel-max trick and weighted reservoir sampling" (2014); Kool, van Hoof, Welling, "Stochastic beams and where to find
them", ICML 2019, arXiv:1903.06059, for the threshold (the k+1-th score).
"""

from numba import types
from numpy import int32, int64, uint64

from ..elementary import INF_F64, NAN_F64
from ..field import TAIL_BELOW
from ..jit import as_contiguous, larger, loop, real_of, row_kernel, sink, stack_array, working
from .bits import HALVES, TAILS, join_halves, scratch_of
from .bound import PIECE, PIECES, fill_bounds, score_at_least
from .cells import (
    HAS_COLS,
    NARROW,
    TILE,
    as_real,
    fill_row,
    largest_number,
    largest_of,
    note_invalid,
    row_types,
    temperature_of,
    tile_of,
)
from .noise import bits_of_ids, exponential_of_tail, exponentials_of_bits, gumbel_of_exponential, row_address
from .scores import fill_scores, score
from .selection import collect, cut, insert_all, keep, sort

# Candidates are evaluated in whole vectors, and wait until they fill one: less than that takes as long.
VECTOR = 16
WAITING = TILE + VECTOR

# Rows of up to this many categories are evaluated in full, and so are tiles of which more than one in six is likely to be
# wanted: a score is 1.1 ns in its turn, 5 ns apart, and a bound 0.36.
FULL, SHARE = 256, 6

# Up to this many categories, the best are found by insertion.
FEW = 16

# Up to this many scores, lower bounds raise the limit before any score is known, so that hardly more are evaluated than wanted.
SMALL = 16

# How far below its bound a score is taken to be at a first guess; where that is wrong, the first tile is looked at twice.
BELOW = 0.125


@loop
def gather(xs, at, size, known, x, start):
    """Logits of columns that were appended to a list of `known`. OUT real[>= size]; IN uint64[>= size], real[n] of the tile."""
    for j in range(known, size):
        xs[uint64(j)] = x[at[uint64(j)] - uint64(start)]


@loop
def assure(assured, us, limit, s, x, at, known, size, start, inverse):
    """The limit, raised by lower bounds of candidates that were appended to a list of `known`.

    Parameters
    ----------
    assured : INOUT real[places], contiguous
        The largest lower bounds of a row's scores so far, in falling order: the last is a limit.
    us : OUT real[>= size], contiguous
        Upper bounds of the candidates.
    limit : real
    s, x : IN real[n], cell[n], contiguous
        Upper bounds and logits of the tile.
    at : IN uint64[>= size], contiguous
    known, size, start : int64
    inverse : real
    """
    real, last = assured.dtype.type, assured.shape[0] - 1
    for j in range(known, size):
        i = at[uint64(j)] - uint64(start)
        us[j] = s[i]
        low = real(score_at_least(s[i], as_real(x[i]) * inverse))
        if low > assured[last]:
            place = last
            while place > 0 and assured[place - 1] < low:
                assured[place] = assured[place - 1]
                place -= 1
            assured[place] = low
    return larger(limit, assured[last])


@loop
def drop(us, xs, at, size, limit):
    """Drop candidates whose bound is below the limit; returns how many are left. INOUT real[>= size] twice, uint64[>= size]."""
    to = uint64(0)
    for j in range(size):
        u = us[j]
        us[to], xs[to], at[to] = u, xs[j], at[j]
        to += uint64(u >= limit)
    return int64(to)


@loop
def scores_at(e, ids, xs, at, size, scratch, address, inverse, cols, flags, outer, inner):
    """Exact scores of any columns.

    Parameters
    ----------
    e : OUT real[WAITING], contiguous
    ids : scratch int64[WAITING], contiguous
    xs : IN real[WAITING], contiguous
        Logits of the columns.
    at : INOUT uint64[WAITING], contiguous
        Columns; the last is repeated behind `size` up to whole vectors.
    scratch, address, cols, flags, outer, inner
        As in `fill_exponentials`.
    """
    coarse, fine, tails = scratch[3], scratch[4], scratch[5]
    whole = (size + VECTOR - 1) // VECTOR * VECTOR
    e, ids = e[:whole], ids[:whole]
    for j in range(size, whole):
        at[j] = at[size - 1]
    if flags & HAS_COLS:
        row = cols[outer, inner]
        for j in range(whole):
            ids[j] = row[at[j]]
    else:
        first = cols[0, 0, 0]
        for j in range(whole):
            ids[j] = first + int64(at[j])
    bits_of_ids(e, coarse, fine, tails, address, ids)
    if exponentials_of_bits(e, coarse, fine, tails):
        for j in range(whole):
            b32 = join_halves(coarse[j], fine[j])
            if b32 < TAIL_BELOW:
                e[j] = exponential_of_tail(e[j], address, b32, ids[j])
    for j in range(whole):
        e[j] = score(xs[j], inverse, gumbel_of_exponential(e[j]))


@loop
def append(pool, pool_index, size, values, at, number, limit):
    """Append the values of a list that reach a limit, and their columns, to the pool; returns its size.

    INOUT real[>= size + number], int64[>= size + number]; IN real[>= number], uint64[>= number].
    """
    to = uint64(size)
    for j in range(number):
        pool[to], pool_index[to] = values[j], int64(at[j])
        to += uint64(values[j] >= limit)
    return int64(to)


@row_kernel(
    lambda cell: types.void(
        *row_types(cell),
        types.int64,
        types.int64,
        sink(types.int64, 3),
        sink(types.int32, 3),
        sink(working(cell), 3),
        sink(working(cell), 2),
        sink(working(cell), 1),
        sink(types.int64, 1),
        sink(types.int64, 1),
    )
)
def topk_rows(
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
    index,
    narrow,
    scores,
    threshold,
    pool_scores,
    pool_indices,
    invalid,
):
    """The k largest scores of rows first .. last, largest first, and the next one.

    A tile's categories whose bounds (see `bound`) reach a limit, of which k + 1 scores are known to be no less, are put on a
    list; a vector full of them is evaluated exactly, and scores that reach the limit go to a pool. When the pool is twice as
    large as wanted it is cut, which raises the limit. A row's first limit comes from the largest bounds of its first tile, and
    the exact scores of their categories. A flat row evaluates about k + k ln(K / k) scores. At the end the pool is sorted.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`.
    index, narrow : OUT int64[outer, inner, k], int32[outer, inner, k]
        Positions along the row, best first; -1 where fewer than k are allowed. In one of them, as in `argmax_rows`.
    scores : OUT real[outer, inner, k]
        Their scores; -inf behind the allowed ones, NaN in an invalid row.
    threshold : OUT real[outer, inner]
        The k+1-th score; -inf where there is none, NaN in an invalid row.
    pool_scores, pool_indices : scratch real[n], int64[n], packed
        n is 3 (k + 1) + 2 TILE, or 2 K where that is less.
    """
    count, columns, k = cells.shape[1], cells.shape[2], scores.shape[2]
    real = real_of(cells)
    places = k + 1
    spare, enough = places // 4 + 2, 2 * places + VECTOR
    x_buffer, s_buffer, tops = stack_array(TILE, real), stack_array(TILE, real), stack_array(PIECES, real)
    xs, e = stack_array(WAITING, real), stack_array(WAITING, real)
    ids, at = stack_array(WAITING, int64), stack_array(WAITING, uint64)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    pairs, halves = scratch[0], scratch[3]
    pool, pool_index = as_contiguous(pool_scores), as_contiguous(pool_indices)
    least, small = -largest_number(real(0.0)), places <= SMALL
    us, assured = stack_array(WAITING, real), stack_array(SMALL, real)[: min(places, SMALL)]
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        inverse = real(1.0) if t == 0.0 else real(1.0 / t)
        size, waiting, limit, unordered = 0, 0, least, False
        fill_row(assured, real(-INF_F64))
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
            full = t == 0.0 or columns <= FULL or SHARE * places > start + n  # then so were all tiles before
            # Loops over whole vectors of what is not a column's id are faster by the remainders they do not have.
            whole = n if flags & HAS_COLS or not full else (n + VECTOR - 1) // VECTOR * VECTOR
            s = s_buffer[:whole]
            if full:
                fill_scores(s, x, scratch, address, t, cols, flags, outer, inner, start)
                for j in range(n, whole):
                    s[j] = real(-INF_F64)
                largest, nan = largest_of(s)
            else:
                largest, nan = fill_bounds(s, tops, x, pairs, halves, address, inverse, cols, flags, outer, inner, start)
            unordered |= nan
            if unordered:
                continue
            if columns <= FEW:
                size = insert_all(pool, pool_index, places, s, n, start)
                continue
            seeding = size + waiting == 0 and places < n
            guess = limit
            if seeding:
                pieces = (n + PIECE - 1) // PIECE
                guess = cut(s if full or places > pieces else tops[:pieces], least, largest, places, spare)[0]
                if full:
                    limit = guess
                elif guess > least:  # scores are mostly not lower than bounds by more than this
                    guess = larger(guess - real(BELOW), least)
            if not full and guess <= least:  # clamped scores may hide below any bound
                for j in range(n):
                    s[j] = real(INF_F64) if x[j] > real(-INF_F64) else real(-INF_F64)
                largest = real(INF_F64)
                for piece in range(PIECES):
                    tops[piece] = largest
            if full:
                for piece in range(PIECES):
                    tops[piece] = largest
            last_tile = start + n == columns
            while True:
                if largest >= guess:
                    known, waiting = waiting, collect(at, waiting, s_buffer, tops, guess, n, start)
                    gather(xs, at, waiting, known, s if full else x, start)
                    if small and not full:
                        limit = assure(assured, us, limit, s, x, at, known, waiting, start, inverse)
                        if seeding and limit > least:
                            seeding = False
                            if limit < guess:
                                guess, waiting = limit, 0
                                fill_row(assured, real(-INF_F64))
                                continue
                        if waiting >= VECTOR or last_tile:
                            waiting = drop(us, xs, at, waiting, limit)
                elif small and last_tile and not full:
                    waiting = drop(us, xs, at, waiting, limit)
                if waiting == 0 or not (full or seeding or last_tile or waiting >= VECTOR):
                    break
                if not full:
                    scores_at(e, ids, xs, at, waiting, scratch, address, inverse, cols, flags, outer, inner)
                    if seeding:
                        seeding = False
                        limit = cut(e[:waiting], least, largest, places, spare)[0]
                        if limit < guess:  # something between the two may have been missed
                            guess, waiting = limit, 0
                            fill_row(assured, real(-INF_F64))
                            continue
                size, waiting = append(pool, pool_index, size, xs if full else e, at, waiting, limit), 0
                break
            if size > (places + spare if last_tile else enough):
                limit, equals = cut(pool[:size], limit, largest_of(pool[:size])[0], places, spare)
                size = keep(pool, pool_index, size, limit, equals)
        if unordered or size == 0:
            note_invalid(invalid, position)
            for place in range(k):
                if flags & NARROW:
                    narrow[outer, inner, place] = int32(-1)
                else:
                    index[outer, inner, place] = -1
                scores[outer, inner, place] = real(NAN_F64)
            threshold[outer, inner] = real(NAN_F64)
            continue
        at_end = size if sort(pool[:size], pool_index[:size], pool[size : 2 * size], pool_index[size : 2 * size]) else 0
        best, best_index = pool[at_end:], pool_index[at_end:]
        for place in range(k):
            chosen = best_index[place] if place < size else -1
            if flags & NARROW:
                narrow[outer, inner, place] = int32(chosen)
            else:
                index[outer, inner, place] = chosen
            scores[outer, inner, place] = best[place] if place < size else real(-INF_F64)
        threshold[outer, inner] = best[k] if size > k else real(-INF_F64)
