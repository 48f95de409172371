"""Drivers of samples with what is known of them, of their gradients, and of what follows from a sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...arguments import Request
from ...device import DeviceView
from ...kernels.cpu.cells import (
    DETERMINISTIC,
    GIVEN,
    IS_PROBS,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
)
from ...kernels.gpu.cells import PACKED
from ...kernels.gpu.column_ids import chosen_columns as chosen_columns_rows
from ...kernels.gpu.column_ids import copy_rows
from ...kernels.gpu.conditional import conditional_rows
from ...kernels.gpu.draw import draw_rows
from ...kernels.gpu.inclusion import inclusion_rows
from ...kernels.gpu.log_prob import log_prob_vjp_rows
from ...kernels.gpu.merging import merge_rows
from ..cpu.layouts import as_pairs
from .launches import Invalid, launch
from .layouts import addressed, both_of, is_packed, optional, run, with_flags
from .memory import absent, constant, current_gpu, on_device_of, sent, stream_of, workspace
from .samples import threads_of

KNOWN = ("score", "log_prob", "logsumexp", "entropy")

_heads: dict[tuple[int, ...], DeviceView] = {}


def heads_on_device(heads: np.ndarray, stream: int) -> DeviceView:
    """Starts of heads in a GPU's memory, sent once."""
    place = current_gpu(), *heads.tolist()
    if place not in _heads:
        _heads[place] = sent(heads, stream, "where heads start, in the device's memory,")
    return _heads[place]


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
    outputs = ((index, 1), (score, 1), (logsumexp, 1), (log_prob, 0), (entropy, 0))
    flags = (DETERMINISTIC if deterministic else 0) | (GIVEN if given else 0)
    for (array, _), flag in zip(outputs[1:], (WANT_SCORE, WANT_LOGSUMEXP, WANT_LOG_PROB, WANT_ENTROPY), strict=True):
        flags |= 0 if array is None else flag
    threads, starts = threads_of(request.columns), heads_on_device(heads, stream_of(request.cells))

    def queue(stream: Any, rows: int, common: Any, results: Any, invalid: Any) -> None:
        *places, narrow = both_of(results[0], 3)
        known = [
            absent(2 + behind, request.real) if result is None else result
            for result, (_, behind) in zip(results[1:], outputs[1:], strict=True)
        ]
        common = with_flags(common, narrow)
        launch(draw_rows, rows * threads, stream, *common, 0, rows, threads, starts, *places, *known, invalid)

    return run(request, outputs, queue, flags)


def log_prob_vjp(
    request: Request,
    heads: np.ndarray,
    index: np.ndarray,
    log_prob: np.ndarray,
    entropy: np.ndarray,
    gradient: np.ndarray,
) -> np.ndarray:
    """Gradient of log-probability and entropy. IN int64, batch + (H,), IN real, batch, twice; OUT of the logits' dtype."""
    stream, threads = stream_of(request.cells), threads_of(request.columns)
    starts = heads_on_device(heads, stream)
    invalid = Invalid(request.raises, stream)
    slopes = [each if isinstance(each, DeviceView) else None for each in (log_prob, entropy)]
    numbers = [0.0 if isinstance(each, DeviceView) or not each.size else float(each.flat[0]) for each in (log_prob, entropy)]
    operands = (request.cells, request.mask, request.temperatures, index, *slopes, gradient)
    for offset, shape, views in as_pairs(request.batch, operands, (1, 1, 0, 1, 0, 0, 1)):
        cells, mask, temperatures, at, a, b, result = views
        mask, temperatures, flags = optional(mask, temperatures)
        rows = math.prod(shape)
        both = [constant(0, request.real, shape) if each is None else each for each in (a, b)]
        flags |= PACKED if is_packed(cells) else 0
        common = (cells, mask, flags, request.temperature, temperatures, 0, rows, threads, starts)
        behind = (at, *both, *numbers, result, invalid.array)
        launch(log_prob_vjp_rows, rows * threads, stream, *common, *behind)
        invalid.collect(offset)
    return invalid.found()


def copy(stream: Any, source: np.ndarray, target: Any) -> None:
    """The elements of a view in C order, to a packed vector."""
    for offset, shape, (values,) in as_pairs(source.shape, (source,), (0,)):
        rows = math.prod(shape)
        launch(copy_rows, rows, stream, values, target[offset : offset + rows].reshape(shape))


def merge(
    ids: list[np.ndarray],
    fields: dict[str, list[np.ndarray]],
    temperature: float,
    temperatures: np.ndarray | None,
    col: np.ndarray,
    results: dict[str, np.ndarray],
) -> None:
    """Draws of column shards joined; as on the CPU. Shards are copied side by side first."""
    shards, rows, real, stream = len(ids), col.size, results["score"].dtype, stream_of(ids[0])
    wanted = [((shards, rows), np.int64), *[((shards, rows), real)] * 4, ((rows,), np.float64), *[((rows,), real)] * 4]
    with on_device_of(ids[0]):
        joined, *rest = workspace(stream, *wanted)
        parts, greedy, spare = rest[:4], rest[4], rest[5:]
        for shard, each in enumerate(ids):
            copy(stream, each, joined[shard])
        for name, part in zip(KNOWN, parts, strict=True):
            for shard, each in enumerate(fields.get(name, [])):
                copy(stream, each, part[shard])
        if temperatures is None:
            greedy = constant(temperature, np.float64, (rows,))
        else:
            copy(stream, temperatures, greedy)
        flat = [results[name].reshape(-1) if name in results else spare[i] for i, name in enumerate(KNOWN)]
        launch(merge_rows, rows, stream, joined, *parts, greedy, col.reshape(-1), *flat)


def chosen_columns(request: Request, index: np.ndarray) -> np.ndarray:
    """Column ids of positions, -1 where a position is: `index` itself where ids are positions."""
    if request.cols is None and not request.first_col:
        return index
    stream, ids = stream_of(request.cells), request.family.new(index.shape, np.dtype(np.int64), request.cells)
    for draw in range(request.draws or 1):
        here, there = (index, ids) if request.draws is None else (index[draw, ...], ids[draw, ...])
        for offset, shape, (cols, at, col) in as_pairs(request.batch, (request.cols, here, there), (1, 0, 0)):
            (*_, columns), flags = addressed(request, offset, None, None, cols)
            *places, narrow = both_of(at)
            launch(chosen_columns_rows, math.prod(shape), stream, columns, flags | narrow, *places, col)
    return ids


def inclusion(
    cells: np.ndarray,
    temperature: float,
    temperatures: np.ndarray | None,
    index: np.ndarray,
    threshold: np.ndarray,
    result: np.ndarray,
) -> None:
    """Log-probabilities of inclusion; as on the CPU."""
    with on_device_of(cells):
        stream = stream_of(cells)
        operands = (cells, temperatures, index, threshold, result)
        for _offset, shape, (x, ts, chosen, kappa, values) in as_pairs(index.shape[:-1], operands, (1, 0, 1, 0, 1)):
            _, ts, flags = optional(None, ts)
            rows = math.prod(shape)
            common = (x, flags, temperature, ts, chosen, kappa, 0, rows)
            launch(inclusion_rows, rows * index.shape[-1], stream, *common, values)


def conditional(request: Request, chosen: np.ndarray, sample: int, scores: bool, out: np.ndarray) -> np.ndarray:
    """The field given an index a row.

    `chosen` IN int64, batch; `out` OUT real, leading + batch + (columns,). Draws differ in the sample number, from `sample` on,
    and not in the step. Returns invalid rows.
    """
    stream, threads = stream_of(request.cells), threads_of(request.columns)
    invalid = Invalid(request.raises, stream)
    for draw, target in enumerate(out if request.draws is not None else out[None]):
        operands = (
            request.steps,
            request.rows,
            request.temperatures,
            chosen,
            request.cols,
            request.mask,
            request.cells,
            target,
        )
        for offset, shape, views in as_pairs(request.batch, operands, (0, 0, 0, 0, 1, 1, 1, 1)):
            steps, rows, temperatures, at, cols, mask, cells, values = views
            address, flags = addressed(request, offset, steps, rows, cols)
            mask, temperatures, given = optional(mask, temperatures)
            flags |= given | (IS_PROBS if request.is_probs else 0) | (PACKED if is_packed(cells) else 0)
            samples, count = constant(0, np.int64, shape), math.prod(shape)
            common = (*address, cells, mask, flags, request.temperature, temperatures, at, samples)
            behind = (sample + draw, 0, count, int(scores), threads, values, invalid.array if draw == 0 else invalid.nowhere)
            launch(conditional_rows, count * threads, stream, *common, *behind)
            if draw == 0:
                invalid.collect(offset)
    return invalid.found()
