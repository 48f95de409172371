"""Gumbel-top-k: the k largest scores of each row, a sample of k categories without replacement, in order.

Vieira, "Gumbel-max trick and weighted reservoir sampling" (2014); Kool, van Hoof, Welling, "Stochastic beams and where to find
them", ICML 2019, arXiv:1903.06059, for the threshold (the k+1-th score).
"""

from numba import types
from numpy import int32, uint64

from ..elementary import INF_F64, NAN_F64
from ..jit import loop, real_of, row_kernel, sink, stack_array, working
from .bits import HALVES, TAILS, scratch_of
from .bound import PIECE, PIECES, below_range, exact_score, fill_bounds, next_at_least
from .cells import NARROW, TILE, first_at_least, largest_of, note_invalid, row_types, temperature_of, tile_of
from .noise import column_id, row_address
from .scores import fill_scores


@loop
def ranks_below(score_a, index_a, score_b, index_b):
    """True where a comes after b: smaller score, or the same score and a larger index."""
    return score_a < score_b or (score_a == score_b and index_a > index_b)


@loop
def sift_down(scores, indices, at, size):
    """Restore the heap whose root is the last-ranked entry, after entry `at` has changed."""
    score, index = scores[at], indices[at]
    child = 2 * at + 1
    while child < size:
        if child + 1 < size and ranks_below(scores[child + 1], indices[child + 1], scores[child], indices[child]):
            child += 1
        if not ranks_below(scores[child], indices[child], score, index):
            break
        scores[at], indices[at] = scores[child], indices[child]
        at = child
        child = 2 * at + 1
    scores[at], indices[at] = score, index


@loop
def sift_up(scores, indices, at):
    """Restore the heap after an entry was appended at `at`."""
    score, index = scores[at], indices[at]
    while at > 0:
        parent = (at - 1) >> 1
        if not ranks_below(score, index, scores[parent], indices[parent]):
            break
        scores[at], indices[at] = scores[parent], indices[parent]
        at = parent
    scores[at], indices[at] = score, index


# Up to this many entries, a heap is filled from the largest bounds of a tile, 0.1 us each; a tile of scores takes 2 us.
SEEDS = 17


@loop
def seed_heap(heap_score, heap_index, x, bound, tops, inverse, address, cols, flags, outer, inner, start):
    """Fill an empty heap with exact scores of the categories of the largest bounds of a tile; False where there are too few.

    What is taken loses its bound. INOUT real[k + 1], int64[k + 1]; IN real[n]; INOUT real[n], real[PIECES].
    """
    n, wanted, real = x.shape[0], heap_score.shape[0], x.dtype.type
    pieces = (n + PIECE - 1) // PIECE
    for size in range(wanted):
        piece = 0
        for p in range(1, pieces):
            piece = p if tops[p] > tops[piece] else piece
        if below_range(tops[piece]):
            return False
        part = bound[piece * PIECE : min((piece + 1) * PIECE, n)]
        at = first_at_least(part, tops[piece])
        j = piece * PIECE + at
        heap_score[size] = exact_score(x[j], inverse, address, column_id(cols, flags, outer, inner, start + j))
        heap_index[size] = start + j
        sift_up(heap_score, heap_index, size)
        part[at] = real(-INF_F64)
        tops[piece] = largest_of(part)[0]
    return not below_range(heap_score[0])


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
    score,
    threshold,
    heap_score,
    heap_index,
    invalid,
):
    """The k largest scores of rows first .. last, largest first, and the next one.

    A heap of k + 1 entries with the worst at its root, filled from the largest bounds of the first tile or from all its scores;
    then scores are computed only where the upper bound reaches the root (see `bound`). Sorting the heap in place leaves the
    entries in order.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`.
    index, narrow : OUT int64[outer, inner, k], int32[outer, inner, k]
        Positions along the row, best first; -1 where fewer than k are allowed. In one of them, as in `argmax_rows`.
    score : OUT real[outer, inner, k]
        Their scores; -inf behind the allowed ones, NaN in an invalid row.
    threshold : OUT real[outer, inner]
        The k+1-th score; -inf where there is none, NaN in an invalid row.
    heap_score, heap_index : scratch real[k + 1], int64[k + 1]
    """
    count, columns, k = cells.shape[1], cells.shape[2], score.shape[2]
    real = real_of(cells)
    x_buffer = stack_array(TILE, real)
    s_buffer, tops = stack_array(TILE, real), stack_array(PIECES, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    pairs, coarse = scratch[0], scratch[3]
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        inverse = real(1.0) if t == 0.0 else real(1.0 / t)
        size = 0
        unordered = False
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            s = s_buffer[:n]
            x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
            seeding = size == 0 and k < SEEDS and n >= PIECE
            if t != 0.0 and (size > k or seeding):
                largest, nan = fill_bounds(s, tops, x, pairs, coarse, address, inverse, cols, flags, outer, inner, start)
                unordered |= nan
                if unordered or (not seeding and largest < heap_score[0]):
                    continue
                if seeding and seed_heap(
                    heap_score, heap_index, x, s, tops, inverse, address, cols, flags, outer, inner, start
                ):
                    size = k + 1
                if size > k and not below_range(largest):
                    j = next_at_least(s, tops, heap_score[0], 0, n)
                    while j < n:
                        exact = exact_score(x[j], inverse, address, column_id(cols, flags, outer, inner, start + j))
                        if ranks_below(heap_score[0], heap_index[0], exact, start + j):
                            heap_score[0], heap_index[0] = exact, start + j
                            sift_down(heap_score, heap_index, 0, size)
                        j = next_at_least(s, tops, heap_score[0], j + 1, n)
                    continue
            fill_scores(s, x, scratch, address, t, cols, flags, outer, inner, start)
            largest, nan = largest_of(s)
            unordered |= nan
            if unordered or (size > k and not largest > heap_score[0]):
                continue
            for j in range(n):
                if size <= k:
                    if s[j] > real(-INF_F64):  # an excluded category never enters
                        heap_score[size], heap_index[size] = s[j], start + j
                        sift_up(heap_score, heap_index, size)
                        size += 1
                elif s[j] > heap_score[0]:
                    heap_score[0], heap_index[0] = s[j], start + j
                    sift_down(heap_score, heap_index, 0, size)
        if unordered or size == 0:
            note_invalid(invalid, position)
            for place in range(k):
                if flags & NARROW:
                    narrow[outer, inner, place] = int32(-1)
                else:
                    index[outer, inner, place] = -1
                score[outer, inner, place] = real(NAN_F64)
            threshold[outer, inner] = real(NAN_F64)
            continue
        found = size
        while size > 1:  # the last-ranked of what is left goes behind it
            size -= 1
            heap_score[0], heap_score[size] = heap_score[size], heap_score[0]
            heap_index[0], heap_index[size] = heap_index[size], heap_index[0]
            sift_down(heap_score, heap_index, 0, size)
        for place in range(k):
            chosen = heap_index[place] if place < found else -1
            if flags & NARROW:
                narrow[outer, inner, place] = int32(chosen)
            else:
                index[outer, inner, place] = chosen
            score[outer, inner, place] = heap_score[place] if place < found else real(-INF_F64)
        threshold[outer, inner] = heap_score[k] if found > k else real(-INF_F64)
