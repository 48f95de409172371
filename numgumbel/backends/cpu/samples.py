"""Drivers of samples and of the field: indices, relaxed samples, top-k."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...arguments import Request
from ...kernels.cpu.argmax import argmax_rows
from ...kernels.cpu.cells import IS_PROBS, NARROW, TILE, WANT_SCORE
from ...kernels.cpu.inverse_cdf import inverse_cdf_rows
from ...kernels.cpu.inverse_cdf_draws import UNKNOWN, inverse_cdf_draws
from ...kernels.cpu.lanes import argmax_short_rows
from ...kernels.cpu.lanes_of_ids import argmax_short_rows_of_ids
from ...kernels.cpu.noise import noise_rows
from ...kernels.cpu.ragged import argmax_ragged
from ...kernels.cpu.softmax import GRADIENT, HARD, SOFT, softmax_rows, softmax_vjp_rows
from ...kernels.cpu.topk import topk_rows
from ...threads import get_num_threads, run
from . import pieces
from .absent import FLOAT32, INT32, NO_CELLS, NO_NARROW, NO_REALS, NO_SPARE, UNREAD
from .layouts import Values, addressed, as_pairs, both_of, layouts, optional, rounds, run_kernel
from .pieces import COST, NAMED_ROWS, ends_of, gather, over_rows, row_cost

# Rows of up to this many categories are sampled side by side, longer ones by bound. Both take 0.35 us a row there in float32,
# 0.42 in float64 (400 rows).
SHORT = {np.dtype(np.float32): 512, np.dtype(np.float64): 400}

# The same where each cell has a column id: 0.75 us a row either way at 256 categories. Where each column has one, `SHORT` holds
# as it does without ids: at 400 in float32 both take 0.8 us a row.
SHORT_OF_CELL_IDS = 256

# Draws of a row from which its cumulative weights are made once and searched, which takes as long as one or two draws by
# themselves up to a million categories, and nearly three beyond the caches, where the sums are written to new memory. A search
# takes 3 to 10 ns. Draws of many short rows are made in stretches: what eight neighbouring rows write to, 64 bytes a draw, is
# still in the second-level cache when the next row comes (3.7 ms against 4.5 for 10,000 draws of 100 rows of 50).
DRAWS_BY_TABLE, COST_OF_SEARCH, STRETCH = 3, 5.0, 1 << 12


def categorical(request: Request, index: np.ndarray) -> np.ndarray:
    """Gumbel-max. `index` OUT int64 or int32, leading + batch. Returns count and first positions of invalid rows."""
    cols, first_col = request.cols, request.first_col
    if request.columns <= (SHORT[request.real] if cols is None or cols.ndim == 1 else SHORT_OF_CELL_IDS):
        if cols is None and not first_col:
            return run_kernel(request, argmax_short_rows, (Values(index, 0),))
        if cols is None:
            request = replace(request, cols=np.arange(first_col, first_col + request.columns), first_col=0)
        return run_kernel(request, argmax_short_rows_of_ids, (Values(index, 0),))
    if _shares_columns(request):
        return _share_columns(request, index)
    return run_kernel(request, argmax_rows, (Values(index, 0),), (0, request.columns), (NO_REALS[request.real][0],))


def _shares_columns(request: Request) -> bool:
    """Whether there are fewer rows than threads, and work for several."""
    rows = math.prod(request.batch) * (1 if request.draws is None else request.draws)
    worth = rows * row_cost(argmax_rows, request) >= pieces.WORTH_A_THREAD
    return 0 < rows < get_num_threads() and worth and request.columns >= 2 * TILE


def _share_columns(request: Request, index: np.ndarray) -> np.ndarray:
    """`categorical` of few long rows: parts of the columns on several threads, then the best of the parts."""
    compiled = argmax_rows[request.dtype]
    invalid, cost = np.zeros(1 + NAMED_ROWS, np.int64), row_cost(argmax_rows, request)
    for rows, offset, common, (target, narrow) in layouts(request, (Values(index, 0),)):
        address, cells, mask, flags, *temperatures = common[:6], *common[6:]
        ends = [min(tile * TILE, request.columns) for tile in ends_of(-(-request.columns // TILE), cost * rows)]
        pieces = len(ends) - 1
        shape, unread = (pieces, *cells.shape[:2]), np.zeros((pieces, 1), np.int64)
        indices, scores = np.empty(shape, np.int64), np.empty(shape, request.real)
        shared = (*address, cells, mask, flags & ~NARROW | WANT_SCORE, *temperatures)

        def work(
            p: int,
            shared: Any = shared,
            rows: int = rows,
            ends: Any = ends,
            indices: Any = indices,
            scores: Any = scores,
            unread: Any = unread,
        ) -> None:
            compiled(*shared, 0, rows, ends[p], ends[p + 1], indices[p], NO_NARROW, scores[p], unread[p])

        run(work, pieces)
        # A NaN anywhere is the largest for argmax, and has index -1; the first of equal scores has the lowest columns.
        best = np.take_along_axis(indices, scores.argmax(0)[None], 0)[0]
        (narrow if flags & NARROW else target)[...] = best
        bad = np.flatnonzero(best < 0)
        named = bad[:NAMED_ROWS]
        gather(invalid, np.array([len(bad), *named]), offset)
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def inverse_cdf(request: Request, index: np.ndarray) -> np.ndarray:
    """Inverse CDF; as `categorical`."""
    draws, rows, threads = request.draws or 1, math.prod(request.batch), get_num_threads()
    if draws * min(rows, threads) >= DRAWS_BY_TABLE * threads and request.columns < 1 << 31:
        return _inverse_cdf_draws(request, index, draws)
    return run_kernel(request, inverse_cdf_rows, (Values(index, 0),))


def _inverse_cdf_draws(request: Request, index: np.ndarray, draws: int) -> np.ndarray:
    """`inverse_cdf` of many draws a row: threads share rows, or the draws of a row where there are few rows and much to do.

    Tables take 8 bytes a category and 4 a part, of which there are no more than twice the categories or draws: one for each
    thread where rows are shared, one in all where draws are.
    """
    compiled, columns = inverse_cdf_draws[request.dtype], request.columns
    parts = 1 << min((columns - 1).bit_length(), draws.bit_length())
    search, invalid = COST_OF_SEARCH * draws, np.zeros(1 + NAMED_ROWS, np.int64)
    stretch = max(STRETCH, 16 * columns)

    def tables() -> tuple[np.ndarray, np.ndarray]:
        return np.empty(columns, np.uint64), np.empty(parts + 1, np.uint32)

    for rows, offset, common, results in layouts(replace(request, draws=None), (Values(np.moveaxis(index, 0, -1), 1),)):
        block = np.zeros_like(invalid)
        if rows < 8 * get_num_threads() and search >= pieces.WORTH_A_THREAD:
            shared = tables()
            for row in range(rows):
                chosen = compiled(*common, row, row + 1, 0, 0, UNKNOWN, *results, *shared, block)
                behind = (chosen, *results, *shared, UNREAD)

                def share(begin: int, end: int, _: Any, row: int = row, common: Any = common, behind: Any = behind) -> None:
                    compiled(*common, row, row + 1, begin, end, *behind)

                over_rows(share, draws, search)
        else:

            def call(first: int, last: int, block: np.ndarray, common: Any = common, results: Any = results) -> None:
                behind = (UNKNOWN, *results, *tables())
                for begin in range(0, draws, stretch):
                    noted = block if begin == 0 else UNREAD
                    compiled(*common, first, last, begin, min(begin + stretch, draws), *behind, noted)

            block = over_rows(call, rows, (search + COST[inverse_cdf_draws] * columns) * rows)
        gather(invalid, block, offset)
    return invalid


def ragged(request: Request, offsets: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`categorical` of rows that are stretches of one vector. `cells`, `mask` and `cols` of the request have one a value.

    `offsets` IN int64, one more than rows; `index` OUT int64 or int32, leading + batch. Returns invalid rows.
    """
    compiled, rows = argmax_ragged[request.dtype], request.batch[0]
    per_row = [None if array is None else array[None] for array in (request.steps, request.rows, request.temperatures)]
    per_value = [None if array is None else array[None, None] for array in (request.cols, request.mask, request.cells)]
    (steps, ids, temperatures), (cols, mask, cells) = per_row, per_value
    flags = (IS_PROBS if request.is_probs else 0) | (NARROW if index.dtype == INT32 else 0)
    mask, temperatures, beside = optional(mask, temperatures)
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    for draw, target in enumerate(index if request.draws is not None else index[None]):
        address, given = addressed(replace(request, step=request.step + draw), 0, steps, ids, cols)
        common = (*address, cells, mask, flags | beside | given, request.temperature, temperatures, offsets)
        both = both_of(target[None], 0)

        def call(first: int, last: int, block: np.ndarray, common: Any = common, both: Any = both) -> None:
            compiled(*common, first, last, *both, block)

        gather(invalid, over_rows(call, rows, COST[argmax_ragged] * request.real.itemsize / 4 * (request.columns + rows)), 0)
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def topk(request: Request, index: np.ndarray, score: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Top-k. OUT int64 or int32 and real, leading + batch + (k,); OUT real, leading + batch. Returns invalid rows."""
    columns, k = request.columns, score.shape[-1]
    outputs = Values(index, 1), Values(score, 1), Values(threshold, 0)
    return run_kernel(request, topk_rows, outputs, scratch=lambda: pool_of(k, columns, request.real))


def pool_of(k: int, columns: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Scratch of `topk_rows`, for one thread."""
    room = min(3 * (k + 1) + 2 * TILE, 2 * columns)
    return np.empty(room, dtype), np.empty(room, np.int64)


def softmax(request: Request, hard: bool, sample: np.ndarray) -> np.ndarray:
    """Relaxed samples. `sample` OUT of the logits' dtype, leading + batch + (columns,). Returns invalid rows."""
    spare = spare_row(request.dtype, request.columns)
    wanted = HARD if hard else SOFT
    return run_kernel(request, softmax_rows, (Values(sample, 1),), (wanted, NO_CELLS[request.dtype.itemsize]), scratch=spare)


def spare_row(dtype: np.dtype, columns: int) -> Callable[[], tuple[np.ndarray]]:
    """A maker of rows in float32 for kernels whose results are halves; kernels of reals do not look at it."""
    if dtype.itemsize > 2:
        unread = (NO_SPARE[dtype],)
        return lambda: unread
    return lambda: (np.empty(columns, FLOAT32),)


def softmax_gradient(request: Request, cotangent: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient of the relaxed samples that `softmax` gives. IN, OUT of the logits' dtype, batch + (columns,); invalid rows.

    The samples lie in the result meanwhile; halves, which would be rounded there, in the row at work.
    """
    if request.dtype == request.real:
        marked = softmax(request, False, gradient)
        softmax_vjp(request, gradient, cotangent, gradient)
        return marked
    spare = spare_row(request.dtype, request.columns)
    return run_kernel(request, softmax_rows, (Values(cotangent, 1), Values(gradient, 1)), (GRADIENT,), scratch=spare)


def softmax_vjp(request: Request, sample: np.ndarray, cotangent: np.ndarray, gradient: np.ndarray) -> None:
    """Gradient of relaxed samples that are there. IN, IN, OUT (may be `sample`) of the logits' dtype, batch + (columns,)."""
    kernel = softmax_vjp_rows[request.dtype]
    operands = (sample, cotangent, request.mask, request.temperatures, gradient)
    for _offset, shape, (y, c, mask, taus, result) in as_pairs(request.batch, operands, (1, 1, 1, 0, 1)):
        mask, taus, flags = optional(mask, taus)
        common = (y, c, mask, flags, request.temperature, taus)

        def call(first: int, last: int, _: np.ndarray, common: Any = common, result: Any = result) -> None:
            kernel(*common, first, last, result)

        over_rows(call, math.prod(shape), row_cost(softmax_vjp_rows, request) * math.prod(shape))


def noise(request: Request, loc: float, scale: float, out: np.ndarray) -> None:
    """The field. `out` OUT real, leading + batch + (columns,)."""
    kernel = noise_rows[request.dtype]
    for part, (target,) in rounds(request, (out,)):
        operands = (part.steps, part.rows, part.cols, target)
        for offset, shape, (steps, rows, cols, values) in as_pairs(part.batch, operands, (0, 0, 1, 1)):
            address, flags = addressed(part, offset, steps, rows, cols)
            common = (*address, flags, loc, scale)

            def call(first: int, last: int, _: np.ndarray, common: Any = common, values: Any = values) -> None:
                kernel(*common, first, last, values)

            over_rows(call, math.prod(shape), COST[noise_rows] * values.nbytes / 4)
