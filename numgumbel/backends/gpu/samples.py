"""Drivers of samples and of the field."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...arguments import Request
from ...kernels.cpu.cells import IS_PROBS
from ...kernels.cpu.softmax import GRADIENT, HARD, SOFT
from ...kernels.gpu.argmax import argmax_join, argmax_parts, argmax_rows
from ...kernels.gpu.cells import PACKED
from ...kernels.gpu.inverse_cdf import inverse_cdf_rows
from ...kernels.gpu.jit import THREADS, WARP
from ...kernels.gpu.memory import GROUP, KEPT
from ...kernels.gpu.noise import noise_rows
from ...kernels.gpu.ragged import argmax_ragged
from ...kernels.gpu.softmax import softmax_long_rows, softmax_rows, softmax_vjp_rows
from ...kernels.gpu.topk import topk_rows
from ..cpu.layouts import as_pairs
from .launches import BUSY, Invalid, launch, stored_as
from .layouts import ROWS_OF_ONE_ROUND, addressed, both_of, optional, rounds, run, with_flags
from .memory import absent, stream_of, workspace

# Up to this many categories a row is a warp's, or that of a part of one; longer rows are those of blocks.
SHORT = 8 * GROUP * WARP


def lanes_of(columns: int) -> int:
    """Lanes that share a short row: as many as have columns, a power of two."""
    return min(WARP, 1 << (-(-columns // GROUP) - 1).bit_length())


def threads_of(columns: int) -> int:
    """Threads that share a row: lanes of a warp, or a block. It depends on the columns only, so that sums do."""
    return lanes_of(columns) if columns <= SHORT else THREADS


def parts_of(rows: int, columns: int) -> int:
    """Blocks that share a long row: more than one where rows alone leave multiprocessors idle."""
    turns = -(-columns // (GROUP * THREADS))
    return max(min(turns, -(-BUSY // rows)), 1)


def categorical(request: Request, index: np.ndarray) -> np.ndarray:
    """Gumbel-max. `index` OUT int64 or int32, leading + batch. Returns count and first positions of invalid rows."""
    columns, unread = request.columns, absent(2, request.real)

    def queue(stream: Any, rows: int, common: Any, results: Any, invalid: Any) -> None:
        (target,) = results
        *places, narrow = both_of(target)
        common = with_flags(common, narrow)
        if columns <= SHORT:
            lanes = lanes_of(columns)
            launch(argmax_rows, rows * lanes, stream, *common, 0, rows, lanes, *places, unread, invalid)
            return
        parts = parts_of(rows, columns)
        indices, scores = workspace(stream, ((rows, parts), np.int64), ((rows, parts), request.real))
        launch(argmax_parts, rows * parts * THREADS, stream, *common, 0, rows, parts, indices, scores)
        launch(argmax_join, rows, stream, scores, indices, narrow, target.shape[1], 0, rows, *places, unread, invalid)

    return run(request, ((index, 0),), queue)


def inverse_cdf(request: Request, index: np.ndarray) -> np.ndarray:
    """Inverse CDF; as `categorical`."""
    threads = threads_of(request.columns)

    def queue(stream: Any, rows: int, common: Any, results: Any, invalid: Any) -> None:
        *places, narrow = both_of(results[0])
        common = with_flags(common, narrow)
        launch(inverse_cdf_rows, rows * threads, stream, *common, 0, rows, threads, *places, invalid)

    return run(request, ((index, 0),), queue)


def ragged(request: Request, offsets: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`categorical` of rows that are stretches of one vector. `cells`, `mask` and `cols` of the request have one a value.

    `offsets` IN int64, one more than rows; `index` OUT int64 or int32, leading + batch. Returns invalid rows.
    """
    stream, rows, cells = stream_of(request.cells), request.batch[0], request.cells
    assert cells is not None
    invalid = Invalid(request.raises, stream)
    threads = threads_of(-(-request.columns // max(rows, 1)))
    flags = (IS_PROBS if request.is_probs else 0) | (
        PACKED if cells.ctypes.data % 16 == 0 and cells.strides[0] == cells.itemsize else 0
    )
    values = cells[None, None]
    mask, cols = (None if each is None else each[None, None] for each in (request.mask, request.cols))
    per_row = (None if each is None else each[None] for each in (request.steps, request.rows, request.temperatures))
    steps, ids, temperatures = per_row
    mask, temperatures, given = optional(mask, temperatures)
    for draw, (part, (target,)) in enumerate(rounds(request, (index,), stream, 1)):
        assert target is not None
        address, there = addressed(part, 0, steps, ids, cols)
        *places, narrow = both_of(target[None])
        common = (*address, values, mask, flags | given | there | narrow, request.temperature, temperatures)
        behind = (offsets, 0, rows, threads, *places, invalid.array if draw == 0 else invalid.nowhere)
        launch(argmax_ragged, rows * threads, stream, *common, *behind)
        if draw == 0:
            invalid.collect(0)
    return invalid.found()


def noise(request: Request, loc: float, scale: float, out: np.ndarray) -> None:
    """The field. `out` OUT real, leading + batch + (columns,)."""
    stream, groups = stream_of(out), -(-request.columns // GROUP)
    for part, (target,) in rounds(request, (out,), stream):
        operands = (part.steps, part.rows, part.cols, target)
        for offset, shape, (steps, rows, cols, values) in as_pairs(part.batch, operands, (0, 0, 1, 1)):
            address, flags = addressed(part, offset, steps, rows, cols)
            count = math.prod(shape)
            launch(noise_rows, count * groups, stream, *address, flags, loc, scale, 0, count, values)


def softmax(request: Request, hard: bool, sample: np.ndarray) -> np.ndarray:
    """Relaxed samples. `sample` OUT of the logits' dtype, leading + batch + (columns,). Returns invalid rows."""
    return _relaxed(request, HARD if hard else SOFT, sample, None)


def softmax_gradient(request: Request, cotangent: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient of the relaxed samples that `softmax` gives. IN, OUT of the logits' dtype, batch + (columns,); invalid rows."""
    return _relaxed(request, GRADIENT, gradient, cotangent)


def _relaxed(request: Request, wanted: int, sample: np.ndarray, cotangent: np.ndarray | None) -> np.ndarray:
    """What `softmax_rows` gives, or `softmax_long_rows` where a row is longer than what threads keep."""
    threads, unread = kept_by(request.columns, request.real), absent(3, stored_as(request.dtype))

    def queue(stream: Any, rows: int, common: Any, results: Any, invalid: Any) -> None:
        target, given = results
        beside = unread if given is None else given
        if threads:
            launch(softmax_rows, rows * threads, stream, *common, 0, rows, threads, wanted, beside, target, invalid)
        else:
            launch(softmax_long_rows, rows * THREADS, stream, *common, 0, rows, wanted, beside, target, invalid)

    return run(request, ((sample, 1), (cotangent, 1)), queue)


def kept_by(columns: int, real: Any) -> int:
    """Threads that share a row which they can keep: lanes of a warp, or a block; 0 where they cannot."""
    each = KEPT // THREADS // np.dtype(real).itemsize
    return lanes_of(columns) if columns <= each * WARP else THREADS if columns <= each * THREADS else 0


def softmax_vjp(request: Request, sample: np.ndarray, cotangent: np.ndarray, gradient: np.ndarray) -> None:
    """Gradient of relaxed samples that are there. IN, IN, OUT (may be `sample`) of the logits' dtype, batch + (columns,)."""
    stream, threads = stream_of(request.cells), threads_of(request.columns)
    operands = (sample, cotangent, request.mask, request.temperatures, gradient)
    for _offset, shape, (y, c, mask, taus, result) in as_pairs(request.batch, operands, (1, 1, 1, 0, 1)):
        mask, taus, flags = optional(mask, taus)
        rows = math.prod(shape)
        common = (y, c, mask, flags, request.temperature, taus, 0, rows, threads)
        launch(softmax_vjp_rows, rows * threads, stream, *common, result)


def topk(request: Request, index: np.ndarray, score: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Top-k. OUT int64 or int32 and real, leading + batch + (k,); OUT real, leading + batch. Returns invalid rows."""
    threads, size = block_of(request.columns), 1 << score.shape[-1].bit_length()

    def queue(stream: Any, rows: int, common: Any, results: Any, invalid: Any) -> None:
        at, values, limit = results
        *places, narrow = both_of(at, 3)
        common, behind = with_flags(common, narrow), (*places, values, limit)
        pool = workspace(stream, ((rows, size), request.real), ((rows, size), np.int64))
        launch(topk_rows, rows * threads, stream, *common, 0, rows, *behind, *pool, invalid, block=threads)

    return run(request, ((index, 1), (score, 1), (threshold, 0)), queue, most=ROWS_OF_ONE_ROUND // size)


def block_of(columns: int) -> int:
    """Threads of a block that has a row: whole warps, as many as have columns."""
    return min(THREADS, -(-columns // (GROUP * WARP)) * WARP)
