"""Requests laid out as rows for kernels, without copying: what the CPU's drivers do, for arrays that nobody reads here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...arguments import Request
from ...kernels.cpu.cells import HAS_COLS, HAS_MASK, HAS_ROWS, HAS_STEPS, HAS_TEMPERATURES, IS_PROBS, NARROW
from ...kernels.gpu.cells import ALIGNED_IDS, PACKED
from ..cpu.layouts import as_pairs
from .launches import Invalid
from .memory import absent, constant, numbered, stream_of

INT32 = np.dtype(np.int32)

# Up to this many rows, several draws are one launch.
ROWS_OF_ONE_ROUND = 1 << 16


Outputs = tuple[np.ndarray | None, ...]


def rounds(request: Request, outputs: Outputs, stream: int, most: int = ROWS_OF_ONE_ROUND) -> Iterator[tuple[Request, Outputs]]:
    """The request as one or several without `draws`: draws of a small batch become rows, those of a large one come one by one.

    So does the first where invalid rows are to be told, since which they are does not depend on the draw; and so do all where
    each row has a step of its own, which the host cannot add to.
    """
    if request.draws is None:
        yield request, outputs
        return
    many = max(min(most, ROWS_OF_ONE_ROUND) // max(math.prod(request.batch), 1), 1) if request.steps is None else 1
    first = 0
    while first < request.draws:
        count = min(1 if request.raises and first == 0 else many, request.draws - first)
        part = replace(request, step=request.step + first, draws=None)
        if count == 1:
            yield part, tuple(None if output is None else output[first, ...] for output in outputs)
        else:
            placed = tuple(None if output is None else output[first : first + count] for output in outputs)
            yield _as_rows(part, count, stream), placed
        first += count


def _as_rows(request: Request, count: int, stream: int) -> Request:
    """So many draws of a request as one of as many times its rows: later steps, and the ids that the rows have in each."""
    batch, numbers = (count, *request.batch), numbered(ROWS_OF_ONE_ROUND, stream)
    ids: Any = numbers[: math.prod(request.batch)].reshape(request.batch) if request.rows is None else request.rows
    later: Any = numbers[:count].reshape(count, *(1 for _ in request.batch))
    ids, later = (np.broadcast_to(each, batch, subok=True) for each in (ids, later))
    return replace(request, batch=batch, steps=later, rows=ids)


def layouts(
    request: Request, outputs: tuple[tuple[np.ndarray | None, int], ...], more: int = 0
) -> Iterator[tuple[int, int, tuple[Any, ...], tuple[Any, ...]]]:
    """For every block of rows: position of the first, how many, arguments that sampling kernels share, outputs or None.

    `outputs` are views and the number of their axes behind the batch.
    """
    trailing = (0, 0, 0, 1, 1, 1, *(behind for _, behind in outputs))
    inputs = (request.steps, request.temperatures, request.rows, request.cols, request.mask, request.cells)
    operands = (*inputs, *(output for output, _ in outputs))
    for offset, shape, views in as_pairs(request.batch, operands, trailing):
        steps, temperatures, rows, cols, mask, cells, *results = views
        address, flags = addressed(request, offset, steps, rows, cols)
        flags |= more | (IS_PROBS if request.is_probs else 0) | (PACKED if is_packed(cells) else 0)
        mask, temperatures, given = optional(mask, temperatures)
        common = (*address, cells, mask, flags | given, request.temperature, temperatures)
        yield offset, shape[0] * shape[1], common, tuple(results)


def run(
    request: Request,
    outputs: tuple[tuple[np.ndarray | None, int], ...],
    queue: Callable[[Any, int, tuple[Any, ...], tuple[Any, ...], Any], None],
    more: int = 0,
    most: int = ROWS_OF_ONE_ROUND,
) -> np.ndarray:
    """Queue kernels for every draw and block of rows; count and some first positions of invalid rows.

    `queue` gets the stream, the number of rows, arguments that sampling kernels share, outputs, and where invalid rows go:
    which they are does not depend on the draw, and those of the first are counted. No launch has more than `most` rows of
    several draws.
    """
    stream = stream_of(request.cells)
    invalid = Invalid(request.raises, stream)
    for draw, (part, targets) in enumerate(rounds(request, tuple(output for output, _ in outputs), stream, most)):
        placed = tuple((target, behind) for target, (_, behind) in zip(targets, outputs, strict=True))
        for offset, rows, common, results in layouts(part, placed, more):
            queue(stream, rows, common, results, invalid.array if draw == 0 else invalid.nowhere)
            if draw == 0:
                invalid.collect(offset)
    return invalid.found()


def with_flags(common: tuple[Any, ...], more: int) -> tuple[Any, ...]:
    """Shared arguments with flags beside those of what is given."""
    return (*common[:8], common[8] | more, *common[9:])


def is_packed(cells: np.ndarray) -> bool:
    """Whether eight columns of a row lie in whole pieces of 16 bytes, from any multiple of eight on."""
    rows = [stride for stride, size in zip(cells.strides[:2], cells.shape[:2], strict=True) if size > 1]
    return cells.strides[2] == cells.itemsize and all(place % 16 == 0 for place in (cells.ctypes.data, *rows))


def addressed(
    request: Request, offset: int, steps: np.ndarray | None, rows: np.ndarray | None, cols: np.ndarray | None
) -> tuple[tuple[Any, ...], int]:
    """What a kernel takes of an address, and the flags of what is given."""
    flags = (steps is not None) * HAS_STEPS | (rows is not None) * HAS_ROWS | (cols is not None) * HAS_COLS
    flags |= ALIGNED_IDS if cols is None and request.first_col % 8 == 0 else 0
    places = (
        absent(2, np.int64) if steps is None else steps,
        constant(offset, np.int64, (1, 1)) if rows is None else rows,
        constant(request.first_col, np.int64, (1, 1, 1)) if cols is None else cols,
    )
    k0, k1 = request.words
    return (np.uint32(k0), np.uint32(k1), request.step, *places), flags


def optional(mask: np.ndarray | None, temperatures: np.ndarray | None) -> tuple[Any, Any, int]:
    """A mask and temperatures as kernels take them, and the flags of which of them are given."""
    flags = (0 if mask is None else HAS_MASK) | (0 if temperatures is None else HAS_TEMPERATURES)
    mask = absent(3, np.uint8) if mask is None else mask
    return mask, absent(2, np.float64) if temperatures is None else temperatures, flags


def both_of(index: np.ndarray, axes: int = 2) -> tuple[Any, Any, int]:
    """An index as kernels take it, for int64 and int32, and the flag of which it is."""
    if index.dtype == INT32:
        return absent(axes, np.int64), index, NARROW
    return index, absent(axes, np.int32), 0
