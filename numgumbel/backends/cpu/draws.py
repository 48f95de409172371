"""Drivers of samples with what is known of them, of their gradients, and of what follows from a sample."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...arguments import Request
from ...kernels.cpu.cells import (
    DETERMINISTIC,
    GIVEN,
    IS_PROBS,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
)
from ...kernels.cpu.conditional import conditional_rows
from ...kernels.cpu.draw import draw_rows
from ...kernels.cpu.draw_short import draw_short_rows
from ...kernels.cpu.inclusion import inclusion_rows
from ...kernels.cpu.log_prob import log_prob_vjp_rows
from ...kernels.cpu.merging import merge_rows
from .absent import INT64
from .layouts import ROWS_OF_ONE_ROUND, Values, addressed, as_pairs, numbers, optional, run_kernel
from .pieces import COST, NAMED_ROWS, gather, over_rows, row_cost
from .samples import SHORT, categorical

# What may be wanted of a draw, in the order in which kernels take it.
WANT = {"score": WANT_SCORE, "logsumexp": WANT_LOGSUMEXP, "log_prob": WANT_LOG_PROB, "entropy": WANT_ENTROPY}

# Columns by position, as the lanes of short rows count them, in 16 bits.
POSITIONS = 1 << 16


def are_short(heads: np.ndarray, columns: int, real: np.dtype) -> bool:
    """Whether all heads of rows with so many columns are for `draw_short_rows`. `heads` IN int64[H + 1]."""
    return columns <= SHORT[real] or (columns < POSITIONS and int((heads[1:] - heads[:-1]).max()) <= SHORT[real])


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
    outputs = [Values(index, 1), Values(score, 1), Values(logsumexp, 1), Values(log_prob, 0), Values(entropy, 0)]
    for output, flag in zip(outputs[1:], WANT.values(), strict=True):
        flags |= 0 if output.array is None else flag
    named = request.cols is not None or request.first_col != 0
    short = are_short(heads, request.columns, request.real)
    if short and named and len(heads) == 2 and score is None and not (deterministic or given) and index.dtype == INT64:
        # Short rows with column ids have lanes of their own; what is known of a sample does not depend on ids.
        categorical(request, index[..., 0])
        request, flags, named = replace(request, cols=None, first_col=0), flags | GIVEN, False
    return run_kernel(request, draw_short_rows if short and not named else draw_rows, tuple(outputs), (heads,), more=flags)


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
    for offset, shape, views in as_pairs(request.batch, operands, (1, 1, 0, 1, 0, 0, 1)):
        cells, mask, temperatures, *others = views
        mask, temperatures, flags = optional(mask, temperatures)
        common = (cells, mask, flags, request.temperature, temperatures)

        def call(first: int, last: int, block: np.ndarray, common: Any = common, others: Any = others) -> None:
            kernel(*common, first, last, heads, *others, block)

        rows = math.prod(shape)
        gather(invalid, over_rows(call, rows, row_cost(log_prob_vjp_rows, request) * rows), offset)
    return invalid


# What is merged beside the column ids, in the kernel's order.
KNOWN = ("score", "log_prob", "logsumexp", "entropy")


def merge(
    ids: list[np.ndarray],
    fields: dict[str, list[np.ndarray]],
    temperature: float,
    temperatures: np.ndarray | None,
    col: np.ndarray,
    results: dict[str, np.ndarray],
) -> None:
    """Draws of column shards joined.

    `ids` IN int64, one array a shard; `fields` IN real, those of `KNOWN` that there are; `temperature`, or `temperatures` IN
    float64; `col` OUT int64 and `results` OUT real as `fields`; all of one shape.
    """
    shards, shape, real = len(ids), col.shape, results["score"].dtype
    greedy = np.broadcast_to(temperature if temperatures is None else temperatures, shape) == 0.0
    missing = np.zeros((shards, col.size), real)
    parts = [np.stack(ids).reshape(shards, -1)]
    parts += [np.stack(fields[name]).reshape(shards, -1) if name in fields else missing for name in KNOWN]
    flat = [results[name].reshape(-1) if name in results else np.empty(col.size, real) for name in KNOWN]
    merge_rows[real](*parts, greedy.reshape(-1).view(np.uint8), col.reshape(-1), *flat)


def chosen_columns(request: Request, index: np.ndarray) -> np.ndarray:
    """Column ids of positions, -1 where a position is: `index` itself where ids are positions."""
    if request.cols is None and not request.first_col:
        return index
    place = np.maximum(index, 0, dtype=np.int64)  # ids are wider than an int32 index
    if request.cols is None:
        ids = place + request.first_col
    elif request.cols.ndim == 1:
        ids = request.cols[place]
    else:
        cells = np.broadcast_to(request.cols, (*request.leading, *request.batch, request.columns))
        ids = np.take_along_axis(cells, place[..., None], -1)[..., 0]
    return np.where(index < 0, -1, ids)


def conditional(request: Request, chosen: np.ndarray, sample: int, scores: bool, out: np.ndarray) -> np.ndarray:
    """The field given an index a row.

    `chosen` IN int64, batch; `out` OUT real, leading + batch + (columns,). Draws differ in the sample number, from `sample` on,
    and not in the step. Returns invalid rows.
    """
    compiled, draws = conditional_rows[request.dtype], 1 if request.draws is None else request.draws
    cost = row_cost(conditional_rows, request)
    results = out if request.draws is not None else out[None]
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    size = math.prod(request.batch)
    many = max(ROWS_OF_ONE_ROUND // max(size, 1), 1)
    rows = numbers()[:size].reshape(request.batch) if request.rows is None and min(many, draws) > 1 else request.rows
    given = IS_PROBS if request.is_probs else 0
    for begin in range(0, draws, many):
        target = results[begin : begin + many]
        samples = np.arange(begin, begin + len(target), dtype=np.int64).reshape(-1, *(1 for _ in request.batch)) + sample
        batch = target.shape[:-1]
        operands = (
            *(None if part is None else np.broadcast_to(part, batch) for part in (request.steps, rows, request.temperatures)),
            *(np.broadcast_to(part, batch) for part in (chosen, samples)),
            *(request.cols, request.mask, request.cells, target),
        )
        for offset, shape, views in as_pairs(batch, operands, (0, 0, 0, 0, 0, 1, 1, 1, 1)):
            steps, ids, temperatures, at, sample_numbers, cols, mask, cells, values = views
            address, flags = addressed(request, offset, steps, ids, cols)
            mask, temperatures, beside = optional(mask, temperatures)
            common = (*address, cells, mask, flags | beside | given, request.temperature, temperatures, at, sample_numbers)
            behind = (int(scores), values)

            def call(first: int, last: int, block: np.ndarray, common: Any = common, behind: Any = behind) -> None:
                compiled(*common, first, last, *behind, block)

            gather(invalid, over_rows(call, math.prod(shape), cost * math.prod(shape)), offset)
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
    for _offset, shape, (x, ts, chosen, kappa, values) in as_pairs(batch, operands, (1, 0, 1, 0, 1)):
        _, ts, flags = optional(None, ts)
        common = (x, flags, temperature, ts, chosen, kappa)

        def call(first: int, last: int, _: np.ndarray, common: Any = common, values: Any = values) -> None:
            kernel(*common, first, last, values)

        over_rows(call, math.prod(shape), COST[inclusion_rows] * values.size)
