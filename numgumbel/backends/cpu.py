"""CPU driver: lays requests out as rows, makes output arrays' views and runs the row kernels over them, on several threads.

Kernels take every per-row and per-cell argument as a view with two batch axes (outer, inner). Batches of more axes are merged
as far as the strides of all operands allow, without copying; what remains in front is looped over here.

Threads share the rows of a kernel call; where there are fewer rows than threads, `categorical` shares columns instead and joins
the parts, largest score first. Neither shows in a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..arguments import Request
from ..kernels.cpu.argmax import argmax_rows
from ..kernels.cpu.cells import (
    DETERMINISTIC,
    GIVEN,
    HAS_COLS,
    HAS_MASK,
    HAS_ROWS,
    HAS_STEPS,
    HAS_TEMPERATURES,
    IS_PROBS,
    NARROW,
    TILE,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
)
from ..kernels.cpu.conditional import conditional_rows
from ..kernels.cpu.draw import draw_rows
from ..kernels.cpu.draw_short import draw_short_rows
from ..kernels.cpu.inclusion import inclusion_rows
from ..kernels.cpu.inverse_cdf import inverse_cdf_rows
from ..kernels.cpu.inverse_cdf_draws import UNKNOWN, inverse_cdf_draws
from ..kernels.cpu.lanes import argmax_short_rows
from ..kernels.cpu.lanes_of_ids import argmax_short_rows_of_ids
from ..kernels.cpu.log_prob import log_prob_vjp_rows
from ..kernels.cpu.merging import merge_rows
from ..kernels.cpu.noise import noise_rows
from ..kernels.cpu.ragged import argmax_ragged
from ..kernels.cpu.softmax import GRADIENT, HARD, SOFT, softmax_rows, softmax_vjp_rows
from ..kernels.cpu.topk import topk_rows
from ..threads import get_num_threads, run

# How many invalid rows a message can name.
NAMED_ROWS = 5

# Up to this many rows, several draws are one kernel call: a call costs some 10 us, as much as thousands of small rows. Their
# steps take 8 bytes a row.
ROWS_OF_ONE_ROUND = 1 << 15

# Rows of up to this many categories are sampled side by side, longer ones by bound. Both take 0.35 us a row there in float32,
# 0.42 in float64 (400 rows).
SHORT = {np.dtype(np.float32): 512, np.dtype(np.float64): 400}

# The same where each cell has a column id: 0.75 us a row either way at 256 categories. Where each column has one, `SHORT` holds
# as it does without ids: at 400 in float32 both take 0.8 us a row.
SHORT_OF_CELL_IDS = 256

# Nanoseconds a float32 cell on one thread, roughly: what a call is worth in threads.
COST = {
    argmax_rows: 0.5,
    argmax_short_rows: 0.7,
    draw_rows: 1.0,
    draw_short_rows: 1.6,
    log_prob_vjp_rows: 2.0,
    argmax_ragged: 1.5,
    argmax_short_rows_of_ids: 2.3,
    inverse_cdf_rows: 2.0,
    inverse_cdf_draws: 3.0,
    conditional_rows: 3.0,
    softmax_rows: 1.5,
    softmax_vjp_rows: 0.5,
    topk_rows: 0.6,
    inclusion_rows: 15.0,
    noise_rows: 1.0,
}

# From this much work on, in nanoseconds, a second thread is asked for; and the least a piece. A hand-over to a thread that
# watches takes 16 us, to one that sleeps 60.
WORTH_A_THREAD, LEAST_PIECE = 200_000, 25_000

# The same for calls that come in a stream, as an agent's do, so that a thread is likely to be watching.
WORTH_A_WATCHER = 100_000

# Draws of a row from which its cumulative weights are made once and searched, which takes as long as one or two draws by
# themselves up to a million categories, and nearly three beyond the caches, where the sums are written to new memory. A search
# takes 3 to 10 ns. Draws of many short rows are made in stretches: what eight neighbouring rows write to, 64 bytes a draw, is
# still in the second-level cache when the next row comes (3.7 ms against 4.5 for 10,000 draws of 100 rows of 50).
DRAWS_BY_TABLE, COST_OF_SEARCH, STRETCH = 3, 5.0, 1 << 12

# Plain calls on up to this much are one kernel call: no more than 0.2 ms. Halves count as float32, in which their work is done.
PLAIN_BYTES = 1 << 19

# The same of a draw with its log-probability and entropy.
PLAIN_DRAW_BYTES = 1 << 18

# Columns by position, as the lanes of short rows count them, in 16 bits.
POSITIONS = 1 << 16

# What stands in for an argument that is not given. The first row's and the first column's ids are 0.
_NO_ROWS = _NO_STEPS = np.zeros((1, 1), np.int64)
_NO_TEMPERATURES = np.zeros((1, 1))
_NO_COLS = np.zeros((1, 1, 1), np.int64)
_NO_MASK = np.zeros((1, 1, 1), np.uint8)
_UNREAD = np.zeros(1, np.int64)  # for invalid rows, where the kernel's count is enough
INT64, INT32 = np.dtype(np.int64), np.dtype(np.int32)
_NO_INDEX = {dtype: (np.zeros((1, 1), dtype), np.zeros((1, 1, 1), dtype)) for dtype in (INT64, INT32)}
_NO_NARROW = _NO_INDEX[INT32][0]
FLOAT32 = np.dtype(np.float32)
_NO_SCORE = {np.dtype(real): np.zeros((1, 1), real) for real in (np.float32, np.float64)}
_NO_SCORES = {dtype: array[None] for dtype, array in _NO_SCORE.items()}
_NO_SPARE = {dtype: unread[0] for dtype, unread in _NO_SCORE.items()}
_NO_CELLS = {real.itemsize: np.zeros((1, 1, 1), real) for real in (np.dtype(np.float16), *_NO_SCORE)}  # any of that size


def categorical(request: Request, index: np.ndarray) -> np.ndarray:
    """Gumbel-max. `index` OUT int64 or int32, leading + batch. Returns count and first positions of invalid rows."""
    cols, first_col = request.cols, request.first_col
    if request.columns <= (SHORT[request.real] if cols is None or cols.ndim == 1 else SHORT_OF_CELL_IDS):
        if cols is None and not first_col:
            return _sample(request, argmax_short_rows, (_Values(index, 0),))
        if cols is None:
            request = replace(request, cols=np.arange(first_col, first_col + request.columns), first_col=0)
        return _sample(request, argmax_short_rows_of_ids, (_Values(index, 0),))
    if _shares_columns(request):
        return _share_columns(request, index)
    return _sample(request, argmax_rows, (_Values(index, 0),), (0, request.columns), (_NO_SCORE[request.real],))


def plain_categorical(key: int, cells: np.ndarray, step: int, temperature: float) -> np.ndarray | None:
    """`categorical` of logits with one to three axes, all else left out; None for invalid rows, or columns to be shared.

    No `Request`: the general way takes 10 us to lay out all that may be given, and several times that when a large array has
    driven the interpreter out of the caches.
    """
    axes, dtype, size = cells.ndim, cells.dtype, cells.nbytes
    real = dtype
    if dtype.itemsize == 2:
        real, size = FLOAT32, 2 * size
    index = np.empty(cells.shape[:-1], INT64)
    if axes == 2:
        block, target = cells[None], index[None]
    elif axes == 3:
        block, target = cells, index
    else:
        block, target = cells[None, None], index[None, None]
    k0, k1, rows, columns, t = key & 0xFFFFFFFF, key >> 32, index.size, block.shape[2], temperature
    short = columns <= SHORT[real]
    if size > PLAIN_BYTES:
        if rows < 2 * get_num_threads():
            return None
        behind = (target, _NO_NARROW) if short else (0, columns, target, _NO_NARROW, _NO_SCORE[real])
        bad = _plain_rows(argmax_short_rows if short else argmax_rows, key, block, step, t, behind)
    # Spelt out, since tuples joined for a common part cost 0.2 us.
    elif short:
        bad = argmax_short_rows[dtype](
            k0, k1, step, _NO_STEPS, _NO_ROWS, _NO_COLS, block, _NO_MASK, 0, t, _NO_TEMPERATURES, 0, rows,
            target, _NO_NARROW, _UNREAD,
        )  # fmt: skip
    else:
        bad = argmax_rows[dtype](
            k0, k1, step, _NO_STEPS, _NO_ROWS, _NO_COLS, block, _NO_MASK, 0, t, _NO_TEMPERATURES, 0, rows,
            0, columns, target, _NO_NARROW, _NO_SCORE[real], _UNREAD,
        )  # fmt: skip
    return None if bad else index


def plain_softmax(key: int, cells: np.ndarray, step: int, tau: float, hard: bool) -> np.ndarray | None:
    """`softmax` of logits with one to three axes, all else left out, in the same way; None where a row is invalid."""
    sample = np.empty(cells.shape, cells.dtype)
    front = (None,) * (3 - cells.ndim)
    spare, unread = _spare_row(cells.dtype, cells.shape[-1]), cells[front]
    bad = _plain_rows(softmax_rows, key, cells[front], step, tau, (HARD if hard else SOFT, unread, sample[front]), spare)
    return None if bad else sample


def plain_topk(key: int, cells: np.ndarray, k: int, step: int, temperature: float) -> tuple[np.ndarray, ...] | None:
    """`topk` of logits with one to three axes, all else left out: index, score and threshold; None where a row is invalid."""
    batch, real = cells.shape[:-1], cells.dtype if cells.dtype.itemsize > 2 else FLOAT32
    top = np.empty((*batch, k), INT64), np.empty((*batch, k), real), np.empty(batch, real)
    front = (None,) * (3 - cells.ndim)
    index, score, threshold = (part[front] for part in top)
    block = cells[front]
    behind = index, _NO_INDEX[INT32][1], score, threshold
    bad = _plain_rows(topk_rows, key, block, step, temperature, behind, lambda: _pool(k, block.shape[2], real))
    return None if bad else top


def _plain_rows(
    kernel: Any,
    key: int,
    cells: np.ndarray,
    step: int,
    t: float,
    behind: tuple[Any, ...],
    scratch: Callable[[], tuple[np.ndarray, ...]] = tuple,
) -> int:
    """A plain call, on several threads where that pays; how many rows are invalid."""
    compiled = kernel[cells.dtype]
    address = key & 0xFFFFFFFF, key >> 32, step, _NO_STEPS, _NO_ROWS, _NO_COLS

    def call(first: int, last: int, invalid: np.ndarray) -> None:
        compiled(*address, cells, _NO_MASK, 0, t, _NO_TEMPERATURES, first, last, *behind, *scratch(), invalid)

    size = max(cells.itemsize, 4) * cells.size
    return int(_over_rows(call, cells.shape[0] * cells.shape[1], COST[kernel] * size / 4)[0])


def _spare_row(dtype: np.dtype, columns: int) -> Callable[[], tuple[np.ndarray]]:
    """A maker of rows in float32 for kernels whose results are halves; kernels of reals do not look at it."""
    if dtype.itemsize > 2:
        unread = (_NO_SPARE[dtype],)
        return lambda: unread
    return lambda: (np.empty(columns, FLOAT32),)


def draw(
    request: Request,
    heads: np.ndarray,
    index: np.ndarray,
    score: np.ndarray | None = None,
    logsumexp: np.ndarray | None = None,
    log_prob: np.ndarray | None = None,
    entropy: np.ndarray | None = None,
    deterministic: bool = False,
    given: bool = False,
) -> np.ndarray:
    """A sample a head, and what is wanted of it; None is not. Returns invalid rows.

    `heads` IN int64[H + 1]; `index` OUT int64 or int32, leading + batch + (H,), IN int64 where `given`; `score` and `logsumexp`
    OUT real of that shape; `log_prob` and `entropy` OUT real, leading + batch.
    """
    flags = (DETERMINISTIC if deterministic else 0) | (GIVEN if given else 0)
    wanted = (score, 1, WANT_SCORE), (logsumexp, 1, WANT_LOGSUMEXP), (log_prob, 0, WANT_LOG_PROB), (entropy, 0, WANT_ENTROPY)
    outputs = [_Values(index, 1)]
    for array, trailing, flag in wanted:
        if array is None:  # something of the right shape that is not written to
            array = np.broadcast_to(_NO_SCORE[request.real][0, 0], index.shape[: index.ndim - 1 + trailing])
        else:
            flags |= flag
        outputs.append(_Values(array, trailing))
    widest = int((heads[1:] - heads[:-1]).max())
    short = widest <= SHORT[request.real] and request.columns < POSITIONS and request.cols is None and not request.first_col
    return _sample(request, draw_short_rows if short else draw_rows, tuple(outputs), (heads,), more=flags)


def plain_draw(
    key: int,
    cells: np.ndarray,
    mask: np.ndarray | None,
    heads: np.ndarray,
    step: int,
    temperature: float,
    deterministic: bool,
    given: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """`draw` with log_prob and entropy, of logits with one to three axes and a mask of their shape, all else left out.

    Returns index, batch + (H,), log_prob and entropy; None for invalid rows. An index that is `given` is int64, batch + (H,).
    """
    dtype, batch, size = cells.dtype, cells.shape[:-1], cells.nbytes
    real = dtype
    if dtype.itemsize == 2:
        real, size = FLOAT32, 2 * size
    index = np.empty((*batch, len(heads) - 1), INT64) if given is None else given
    log_prob, entropy = np.empty(batch, real), np.empty(batch, real)
    front = (None,) * (3 - cells.ndim)
    block = cells[front]
    flags = WANT_LOG_PROB | WANT_ENTROPY | (DETERMINISTIC if deterministic else 0) | (0 if given is None else GIVEN)
    allowed, flags = (_NO_MASK, flags) if mask is None else (mask.view(np.uint8)[front], flags | HAS_MASK)
    kernel = draw_short_rows if block.shape[2] <= SHORT[real] else draw_rows
    compiled, rows = kernel[dtype], log_prob.size
    before = key & 0xFFFFFFFF, key >> 32, step, _NO_STEPS, _NO_ROWS, _NO_COLS, block, allowed, flags, temperature
    none = _NO_SCORES[real]
    behind = heads, index[front], _NO_INDEX[INT32][1], none, none, log_prob[front], entropy[front]
    if size <= PLAIN_DRAW_BYTES:
        bad = compiled(*before, _NO_TEMPERATURES, 0, rows, *behind, _UNREAD)
    else:

        def call(first: int, last: int, invalid: np.ndarray) -> None:
            compiled(*before, _NO_TEMPERATURES, first, last, *behind, invalid)

        bad = _over_rows(call, rows, COST[kernel] * size / 4, WORTH_A_WATCHER)[0]
    return None if bad else (index, log_prob, entropy)


def log_prob_vjp(
    request: Request,
    heads: np.ndarray,
    index: np.ndarray,
    log_prob: np.ndarray,
    entropy: np.ndarray,
    gradient: np.ndarray,
) -> np.ndarray:
    """Gradient of log-probabilities and entropies in the logits. Returns invalid rows.

    `index` IN int64, batch + (H,); `log_prob` and `entropy` IN real, batch: derivatives of the loss in them; `gradient` OUT
    real, batch + (columns,).
    """
    kernel = log_prob_vjp_rows[request.dtype]
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    operands = (request.cells, request.mask, request.temperatures, index, log_prob, entropy, gradient)
    for offset, shape, views in _as_pairs(request.batch, operands, (1, 1, 0, 1, 0, 0, 1)):
        cells, mask, temperatures, *others = views
        mask, flags = (_NO_MASK, 0) if mask is None else (mask, HAS_MASK)
        temperatures, more = (_NO_TEMPERATURES, 0) if temperatures is None else (temperatures, HAS_TEMPERATURES)
        common = (cells, mask, flags | more, request.temperature, temperatures)

        def call(first: int, last: int, block: np.ndarray, common: Any = common, others: Any = others) -> None:
            kernel(*common, first, last, heads, *others, block)

        rows = math.prod(shape)
        _gather(invalid, _over_rows(call, rows, _row_cost(log_prob_vjp_rows, request) * rows), offset)
    return invalid


def merge(parts: tuple[np.ndarray, ...], greedy: np.ndarray, results: tuple[np.ndarray, ...]) -> None:
    """Draws of column shards joined.

    `parts` IN int64 and real four times, (shards, rows): col, score, log_prob, logsumexp, entropy; `greedy` IN uint8, (rows,);
    `results` OUT as `parts`, (rows,).
    """
    merge_rows[results[1].dtype](*parts, greedy, *results)


def chosen_columns(request: Request, index: np.ndarray) -> np.ndarray:
    """Column ids of positions, -1 where a position is: `index` itself where ids are positions."""
    if request.cols is None and not request.first_col:
        return index
    place = np.maximum(index, 0)
    if request.cols is None:
        ids = place + request.first_col
    elif request.cols.ndim == 1:
        ids = request.cols[place]
    else:
        cells = np.broadcast_to(request.cols, (*request.leading, *request.batch, request.columns))
        ids = np.take_along_axis(cells, place[..., None], -1)[..., 0]
    return np.where(index < 0, -1, ids)


def inverse_cdf(request: Request, index: np.ndarray) -> np.ndarray:
    """Inverse CDF; as `categorical`."""
    draws, rows, threads = request.draws or 1, math.prod(request.batch), get_num_threads()
    if draws * min(rows, threads) >= DRAWS_BY_TABLE * threads and request.columns < 1 << 31:
        return _inverse_cdf_draws(request, index, draws)
    return _sample(request, inverse_cdf_rows, (_Values(index, 0),))


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

    for rows, offset, common, results in _layouts(replace(request, draws=None), (_Values(np.moveaxis(index, 0, -1), 1),)):
        block = np.zeros_like(invalid)
        if rows < 8 * get_num_threads() and search >= WORTH_A_THREAD:
            shared = tables()
            for row in range(rows):
                chosen = compiled(*common, row, row + 1, 0, 0, UNKNOWN, *results, *shared, block)
                behind = (chosen, *results, *shared, _UNREAD)

                def share(begin: int, end: int, _: Any, row: int = row, common: Any = common, behind: Any = behind) -> None:
                    compiled(*common, row, row + 1, begin, end, *behind)

                _over_rows(share, draws, search)
        else:

            def call(first: int, last: int, block: np.ndarray, common: Any = common, results: Any = results) -> None:
                behind = (UNKNOWN, *results, *tables())
                for begin in range(0, draws, stretch):
                    noted = block if begin == 0 else _UNREAD
                    compiled(*common, first, last, begin, min(begin + stretch, draws), *behind, noted)

            block = _over_rows(call, rows, (search + COST[inverse_cdf_draws] * columns) * rows)
        _gather(invalid, block, offset)
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
    flags |= (0 if mask is None else HAS_MASK) | (0 if temperatures is None else HAS_TEMPERATURES)
    temperatures, mask = _NO_TEMPERATURES if temperatures is None else temperatures, _NO_MASK if mask is None else mask
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    for draw, target in enumerate(index if request.draws is not None else index[None]):
        address, given = _address(replace(request, step=request.step + draw), 0, steps, ids, cols)
        common = (*address, cells, mask, flags | given, request.temperature, temperatures, offsets)
        both = _both(target[None], 0)

        def call(first: int, last: int, block: np.ndarray, common: Any = common, both: Any = both) -> None:
            compiled(*common, first, last, *both, block)

        _gather(invalid, _over_rows(call, rows, COST[argmax_ragged] * request.real.itemsize / 4 * (request.columns + rows)), 0)
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def softmax(request: Request, hard: bool, sample: np.ndarray) -> np.ndarray:
    """Relaxed samples. `sample` OUT of the logits' dtype, leading + batch + (columns,). Returns invalid rows."""
    spare = _spare_row(request.dtype, request.columns)
    wanted = HARD if hard else SOFT
    return _sample(request, softmax_rows, (_Values(sample, 1),), (wanted, _NO_CELLS[request.dtype.itemsize]), scratch=spare)


def softmax_gradient(request: Request, cotangent: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient of the relaxed samples that `softmax` gives. IN, OUT of the logits' dtype, batch + (columns,); invalid rows.

    The samples lie in the result meanwhile; halves, which would be rounded there, in the row at work.
    """
    if request.dtype == request.real:
        marked = softmax(request, False, gradient)
        softmax_vjp(request, gradient, cotangent, gradient)
        return marked
    spare = _spare_row(request.dtype, request.columns)
    return _sample(request, softmax_rows, (_Values(cotangent, 1), _Values(gradient, 1)), (GRADIENT,), scratch=spare)


def topk(request: Request, index: np.ndarray, score: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Top-k. OUT int64 or int32 and real, leading + batch + (k,); OUT real, leading + batch. Returns invalid rows."""
    columns, k = request.columns, score.shape[-1]
    outputs = _Values(index, 1), _Values(score, 1), _Values(threshold, 0)
    return _sample(request, topk_rows, outputs, scratch=lambda: _pool(k, columns, request.real))


def _pool(k: int, columns: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Scratch of `topk_rows`, for one thread."""
    room = min(3 * (k + 1) + 2 * TILE, 2 * columns)
    return np.empty(room, dtype), np.empty(room, np.int64)


def noise(request: Request, loc: float, scale: float, out: np.ndarray) -> None:
    """The field. `out` OUT real, leading + batch + (columns,)."""
    kernel = noise_rows[request.dtype]
    for part, (target,) in _rounds(request, (out,)):
        operands = (part.steps, part.rows, part.cols, target)
        for offset, shape, (steps, rows, cols, values) in _as_pairs(part.batch, operands, (0, 0, 1, 1)):
            address, flags = _address(part, offset, steps, rows, cols)
            common = (*address, flags, loc, scale)

            def call(first: int, last: int, _: np.ndarray, common: Any = common, values: Any = values) -> None:
                kernel(*common, first, last, values)

            _over_rows(call, math.prod(shape), COST[noise_rows] * values.nbytes / 4)


def softmax_vjp(request: Request, sample: np.ndarray, cotangent: np.ndarray, gradient: np.ndarray) -> None:
    """Gradient of relaxed samples that are there. IN, IN, OUT (may be `sample`) of the logits' dtype, batch + (columns,)."""
    kernel = softmax_vjp_rows[request.dtype]
    operands = (sample, cotangent, request.mask, request.temperatures, gradient)
    for _offset, shape, (y, c, mask, taus, result) in _as_pairs(request.batch, operands, (1, 1, 1, 0, 1)):
        mask, flags = (_NO_MASK, 0) if mask is None else (mask, HAS_MASK)
        taus, more = (_NO_TEMPERATURES, 0) if taus is None else (taus, HAS_TEMPERATURES)
        common = (y, c, mask, flags | more, request.temperature, taus)

        def call(first: int, last: int, _: np.ndarray, common: Any = common, result: Any = result) -> None:
            kernel(*common, first, last, result)

        _over_rows(call, math.prod(shape), _row_cost(softmax_vjp_rows, request) * math.prod(shape))


def conditional(request: Request, chosen: np.ndarray, sample: int, scores: bool, out: np.ndarray) -> np.ndarray:
    """The field given an index a row.

    `chosen` IN int64, batch; `out` OUT real, leading + batch + (columns,). Draws differ in the sample number, from `sample` on,
    and not in the step. Returns invalid rows.
    """
    compiled, draws = conditional_rows[request.dtype], 1 if request.draws is None else request.draws
    cost = _row_cost(conditional_rows, request)
    results = out if request.draws is not None else out[None]
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    size = math.prod(request.batch)
    many = max(ROWS_OF_ONE_ROUND // max(size, 1), 1)
    rows = np.arange(size).reshape(request.batch) if request.rows is None and min(many, draws) > 1 else request.rows
    given = (IS_PROBS if request.is_probs else 0) | (HAS_MASK if request.mask is not None else 0)
    given |= HAS_TEMPERATURES if request.temperatures is not None else 0
    for begin in range(0, draws, many):
        target = results[begin : begin + many]
        samples = np.arange(begin, begin + len(target), dtype=np.int64).reshape(-1, *(1 for _ in request.batch)) + sample
        batch = target.shape[:-1]
        operands = (
            *(None if part is None else np.broadcast_to(part, batch) for part in (request.steps, rows, request.temperatures)),
            *(np.broadcast_to(part, batch) for part in (chosen, samples)),
            *(request.cols, request.mask, request.cells, target),
        )
        for offset, shape, views in _as_pairs(batch, operands, (0, 0, 0, 0, 0, 1, 1, 1, 1)):
            steps, ids, temperatures, at, numbers, cols, mask, cells, values = views
            address, flags = _address(request, offset, steps, ids, cols)
            temperatures = _NO_TEMPERATURES if temperatures is None else temperatures
            mask = _NO_MASK if mask is None else mask
            common = (*address, cells, mask, flags | given, request.temperature, temperatures, at, numbers)
            behind = (int(scores), values)

            def call(first: int, last: int, block: np.ndarray, common: Any = common, behind: Any = behind) -> None:
                compiled(*common, first, last, *behind, block)

            _gather(invalid, _over_rows(call, math.prod(shape), cost * math.prod(shape)), offset)
    invalid[0] //= max(draws, 1)
    return invalid


def inclusion(
    cells: np.ndarray,
    temperature: float,
    temperatures: np.ndarray | None,
    index: np.ndarray,
    threshold: np.ndarray,
    result: np.ndarray,
) -> None:
    """Log-probabilities of inclusion.

    IN real, batch + (columns,); a temperature, or IN float64, batch; IN int64, leading + batch + (k,); IN real, leading +
    batch; OUT real, leading + batch + (k,).
    """
    kernel, batch = inclusion_rows[cells.dtype], index.shape[:-1]
    operands = (cells, temperatures, index, threshold, result)
    for _offset, shape, (x, ts, chosen, kappa, values) in _as_pairs(batch, operands, (1, 0, 1, 0, 1)):
        ts, flags = (_NO_TEMPERATURES, 0) if ts is None else (ts, HAS_TEMPERATURES)
        common = (x, flags, temperature, ts, chosen, kappa)

        def call(first: int, last: int, _: np.ndarray, common: Any = common, values: Any = values) -> None:
            kernel(*common, first, last, values)

        _over_rows(call, math.prod(shape), COST[inclusion_rows] * values.size)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "categorical": categorical,
    "draw": draw,
    "plain_draw": plain_draw,
    "log_prob_vjp": log_prob_vjp,
    "merge": merge,
    "chosen_columns": chosen_columns,
    "plain_categorical": plain_categorical,
    "plain_softmax": plain_softmax,
    "plain_topk": plain_topk,
    "inverse_cdf": inverse_cdf,
    "ragged": ragged,
    "softmax": softmax,
    "softmax_gradient": softmax_gradient,
    "softmax_vjp": softmax_vjp,
    "topk": topk,
    "inclusion": inclusion,
    "noise": noise,
    "conditional": conditional,
}


class _Values:
    """An output array and the number of its axes behind the batch."""

    def __init__(self, array: np.ndarray, trailing: int) -> None:
        self.array = array
        self.trailing = trailing


def _sample(
    request: Request,
    kernel: Any,
    outputs: tuple[_Values, ...],
    extra: tuple[Any, ...] = (),
    unused: tuple[np.ndarray, ...] = (),
    scratch: Callable[[], tuple[np.ndarray, ...]] = tuple,
    more: int = 0,
) -> np.ndarray:
    """Run a sampling kernel for every draw and every block of rows; count and first positions of invalid rows.

    `more` are flags beside those of what is given.
    """
    compiled, cost = kernel[request.dtype], _row_cost(kernel, request)
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    for rows, offset, common, results in _layouts(request, outputs, more):

        def call(first: int, last: int, block: np.ndarray, common: Any = common, results: Any = results) -> None:
            compiled(*common, first, last, *extra, *results, *unused, *scratch(), block)

        _gather(invalid, _over_rows(call, rows, cost * rows), offset)
    # Which rows are invalid does not depend on the draw, and those of the first draw were met first.
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def _row_cost(kernel: Any, request: Request) -> float:
    """Nanoseconds a row on one thread, roughly."""
    return COST[kernel] * request.real.itemsize / 4 * request.columns


def _share_columns(request: Request, index: np.ndarray) -> np.ndarray:
    """`categorical` of few long rows: parts of the columns on several threads, then the best of the parts."""
    compiled = argmax_rows[request.dtype]
    invalid, cost = np.zeros(1 + NAMED_ROWS, np.int64), _row_cost(argmax_rows, request)
    for rows, offset, common, (target, narrow) in _layouts(request, (_Values(index, 0),)):
        address, cells, mask, flags, *temperatures = common[:6], *common[6:]
        ends = [min(tile * TILE, request.columns) for tile in _ends(-(-request.columns // TILE), cost * rows)]
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
            compiled(*shared, 0, rows, ends[p], ends[p + 1], indices[p], _NO_NARROW, scores[p], unread[p])

        run(work, pieces)
        # A NaN anywhere is the largest for argmax, and has index -1; the first of equal scores has the lowest columns.
        best = np.take_along_axis(indices, scores.argmax(0)[None], 0)[0]
        (narrow if flags & NARROW else target)[...] = best
        bad = np.flatnonzero(best < 0)
        named = bad[:NAMED_ROWS]
        _gather(invalid, np.array([len(bad), *named]), offset)
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def _layouts(
    request: Request, outputs: tuple[_Values, ...], more: int = 0
) -> Iterator[tuple[int, int, tuple[Any, ...], tuple[np.ndarray, ...]]]:
    """For every draw and block of rows: how many rows, position of the first, arguments that sampling kernels share, outputs.

    An index comes as two, for int64 and int32, one of which is not written to.
    """
    given = more | (IS_PROBS if request.is_probs else 0) | (HAS_MASK if request.mask is not None else 0)
    given |= HAS_TEMPERATURES if request.temperatures is not None else 0
    given |= NARROW if outputs[0].array.dtype == INT32 else 0
    trailing = (0, 0, 0, 1, 1, 1, *(output.trailing for output in outputs))
    for part, targets in _rounds(request, tuple(output.array for output in outputs)):
        inputs = (part.steps, part.temperatures, part.rows, part.cols, part.mask, part.cells)
        for offset, shape, views in _as_pairs(part.batch, (*inputs, *targets), trailing):
            steps, temperatures, rows, cols, mask, cells, *results = views
            address, flags = _address(part, offset, steps, rows, cols)
            temperatures = _NO_TEMPERATURES if temperatures is None else temperatures
            mask = _NO_MASK if mask is None else mask
            common = (*address, cells, mask, flags | given, part.temperature, temperatures)
            both = [both for result, output in zip(results, outputs, strict=True) for both in _both(result, output.trailing)]
            yield shape[0] * shape[1], offset, common, tuple(both)


def _both(result: np.ndarray, trailing: int) -> tuple[np.ndarray, ...]:
    """An index as kernels take it, for int64 and int32; any other result as it is."""
    if result.dtype == INT64:
        return result, _NO_INDEX[INT32][trailing]
    if result.dtype == INT32:
        return _NO_INDEX[INT64][trailing], result
    return (result,)


def _over_rows(call: Callable[[int, int, np.ndarray], Any], rows: int, cost: float, worth: float | None = None) -> np.ndarray:
    """``call(first, last, invalid)`` over all rows, in pieces on several threads where that pays; returns invalid rows.

    It pays from a cost of `worth` nanoseconds on, by default `WORTH_A_THREAD`.
    """
    if rows < 2 or cost < (WORTH_A_THREAD if worth is None else worth) or get_num_threads() == 1:
        invalid = np.zeros(1 + NAMED_ROWS, np.int64)
        call(0, rows, invalid)
        return invalid
    ends = _ends(rows, cost)
    blocks = np.zeros((len(ends) - 1, 1 + NAMED_ROWS), np.int64)
    run(lambda p: call(ends[p], ends[p + 1], blocks[p]), len(blocks))
    total = np.zeros(1 + NAMED_ROWS, np.int64)
    for block in blocks:
        _gather(total, block, 0)
    return total


def _ends(units: int, cost: float) -> list[int]:
    """Where the pieces of so many units end, 0 first: each has half a thread's share of what is left, but is worth a hand-over.

    Large pieces first and small ones last, so that threads end together and seldom ask for the interpreter at the same time.
    """
    share, least = 2 * get_num_threads(), max(math.ceil(LEAST_PIECE / cost * units), 1)
    ends = [0]
    while ends[-1] < units:
        size = max((units - ends[-1]) // share, least)
        ends.append(min(ends[-1] + size, units))
    return ends


def _shares_columns(request: Request) -> bool:
    """Whether there are fewer rows than threads, and work for several."""
    rows = math.prod(request.batch) * (1 if request.draws is None else request.draws)
    worth = rows * _row_cost(argmax_rows, request) >= WORTH_A_THREAD
    return 0 < rows < get_num_threads() and worth and request.columns >= 2 * TILE


def _rounds(request: Request, outputs: tuple[np.ndarray, ...]) -> Iterator[tuple[Request, tuple[np.ndarray, ...]]]:
    """The request as one or several without `draws`: draws of a small batch become rows, larger batches come draw by draw."""
    if request.draws is None:
        yield request, outputs
        return
    size = math.prod(request.batch)
    if size > ROWS_OF_ONE_ROUND:
        for draw in range(request.draws):
            yield replace(request, step=request.step + draw, draws=None), tuple(output[draw] for output in outputs)
        return
    rows = np.arange(size, dtype=np.int64).reshape(request.batch) if request.rows is None else request.rows
    many = max(ROWS_OF_ONE_ROUND // max(size, 1), 1)
    for first in range(0, request.draws, many):
        count = min(many, request.draws - first)
        batch = (count, *request.batch)
        steps = np.arange(first, first + count, dtype=np.int64).reshape(-1, *(1 for _ in request.batch))
        steps = np.broadcast_to(steps, batch) if request.steps is None else steps + request.steps
        part = replace(request, batch=batch, draws=None, steps=steps, rows=np.broadcast_to(rows, batch))
        yield part, tuple(output[first : first + count] for output in outputs)


def _gather(total: np.ndarray, block: np.ndarray, offset: int) -> None:
    """Add the invalid rows of one block, whose positions start at `offset`."""
    if not block[0]:
        return
    room = len(total) - 1
    listed = min(int(total[0]), room)
    new = block[1 : 1 + min(int(block[0]), room - listed)]
    total[1 + listed : 1 + listed + len(new)] = new + offset
    total[0] += block[0]


def _address(
    request: Request, offset: int, steps: np.ndarray | None, rows: np.ndarray | None, cols: np.ndarray | None
) -> tuple[tuple[Any, ...], int]:
    """What a kernel takes of an address, and the flags of what is given; rows are the caller's, or run on from `offset`."""
    flags = 0
    if steps is None:
        steps = _NO_STEPS
    else:
        flags |= HAS_STEPS
    if rows is None:
        rows = np.full((1, 1), offset, INT64) if offset else _NO_ROWS
    else:
        flags |= HAS_ROWS
    if cols is None:
        cols = np.full((1, 1, 1), request.first_col, INT64) if request.first_col else _NO_COLS
    else:
        flags |= HAS_COLS
    return (*request.words, request.step, steps, rows, cols), flags


def _as_pairs(
    batch: tuple[int, ...], operands: tuple[np.ndarray | None, ...], trailing: tuple[int, ...]
) -> Iterator[tuple[int, tuple[int, ...], list[Any]]]:
    """(position of the first row, shape of the rows, operands as views with two batch axes), once or several times.

    Several times for strides that do not merge. Operands are broadcast over the batch with stride 0; `trailing` counts an
    operand's axes behind the batch. No data is copied.
    """
    if 0 in batch:
        return
    # Draws of one row are (n, 1): kernels want them as one row of n, not as n rows of one.
    merge = len(batch) > 2 or (len(batch) == 2 and batch[1] == 1 < batch[0])
    front = () if merge else (None,) * (2 - len(batch))
    full = []
    for operand, behind in zip(operands, trailing, strict=True):
        if operand is not None:
            if operand.ndim != len(batch) + behind:
                operand = np.broadcast_to(operand, (*batch, *operand.shape[operand.ndim - behind :]))
            operand = operand[front] if front else operand
        full.append(operand)
    if not merge:
        yield 0, ((1, 1, *batch)[-2:]), full
        return
    merged = _merged_axes(batch, [operand.strides for operand in full if operand is not None])
    shape = tuple(size for size, _ in merged)
    views = []
    for operand in full:
        if operand is not None:
            strides = tuple(operand.strides[axis] for _, axis in merged)
            operand = as_strided(
                operand, shape + operand.shape[len(batch) :], strides + operand.strides[len(batch) :], subok=False
            )
        views.append(operand)
    missing = (None,) * (2 - len(shape))
    last = (1, 1, *shape)[-2:]
    rows = math.prod(last)
    for number, place in enumerate(np.ndindex(*shape[:-2])):
        yield number * rows, last, [view if view is None else view[(*place, *missing, ...)] for view in views]


def _merged_axes(batch: tuple[int, ...], strides: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Batch axes merged where every operand allows: (size, axis whose strides hold), outermost first."""
    merged: list[tuple[int, int]] = []
    for axis in reversed(range(len(batch))):
        size = batch[axis]
        if size == 1:
            continue
        if merged:
            inner_size, inner = merged[-1]
            if all(s[axis] == s[inner] * inner_size for s in strides):
                merged[-1] = (inner_size * size, inner)
                continue
        merged.append((size, axis))
    return merged[::-1]
