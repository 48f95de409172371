"""Requests laid out as rows for the kernels, without copying.

Kernels take every per-row and per-cell argument as a view with two batch axes (outer, inner). Batches of more axes are merged
as far as the strides of all operands allow; what remains in front is looped over here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...arguments import Request
from ...kernels.cpu.cells import HAS_COLS, HAS_MASK, HAS_ROWS, HAS_STEPS, HAS_TEMPERATURES, IS_PROBS, NARROW
from .absent import INT32, INT64, NO_COLS, NO_INDEX, NO_MASK, NO_REALS, NO_ROWS, NO_STEPS, NO_TEMPERATURES
from .pieces import NAMED_ROWS, gather, over_rows, row_cost

# Up to this many rows, several draws are one kernel call: a call costs some 10 us, as much as thousands of small rows.
ROWS_OF_ONE_ROUND = 1 << 15


@functools.cache
def numbers() -> np.ndarray:
    """0, 1, 2, ..., as many as rows of one round: the positions of rows and of draws, made once."""
    table = np.arange(ROWS_OF_ONE_ROUND, dtype=np.int64)
    table.flags.writeable = False
    return table


class Values:
    """An output array, or None for one that is not wanted, and the number of its axes behind the batch."""

    def __init__(self, array: np.ndarray | None, trailing: int) -> None:
        self.array = array
        self.trailing = trailing


def run_kernel(
    request: Request,
    kernel: Any,
    outputs: tuple[Values, ...],
    extra: tuple[Any, ...] = (),
    unused: tuple[np.ndarray, ...] = (),
    scratch: Callable[[], tuple[np.ndarray, ...]] = tuple,
    more: int = 0,
) -> np.ndarray:
    """Run a sampling kernel for every draw and every block of rows; count and first positions of invalid rows.

    `more` are flags beside those of what is given.
    """
    compiled, cost = kernel[request.dtype], row_cost(kernel, request)
    invalid = np.zeros(1 + NAMED_ROWS, np.int64)
    for rows, offset, common, results in layouts(request, outputs, more):

        def call(first: int, last: int, block: np.ndarray, common: Any = common, results: Any = results) -> None:
            compiled(*common, first, last, *extra, *results, *unused, *scratch(), block)

        gather(invalid, over_rows(call, rows, cost * rows), offset)
    # Which rows are invalid does not depend on the draw, and those of the first draw were met first.
    invalid[0] //= max(request.draws or 1, 1)
    return invalid


def layouts(
    request: Request, outputs: tuple[Values, ...], more: int = 0
) -> Iterator[tuple[int, int, tuple[Any, ...], tuple[np.ndarray, ...]]]:
    """For every draw and block of rows: how many rows, position of the first, arguments that sampling kernels share, outputs.

    An index comes as two, for int64 and int32, one of which is not written to.
    """
    given = more | (IS_PROBS if request.is_probs else 0)
    first = outputs[0].array
    given |= NARROW if first is not None and first.dtype == INT32 else 0
    trailing = (0, 0, 0, 1, 1, 1, *(output.trailing for output in outputs))
    for part, targets in rounds(request, tuple(output.array for output in outputs)):
        inputs = (part.steps, part.temperatures, part.rows, part.cols, part.mask, part.cells)
        for offset, shape, views in as_pairs(part.batch, (*inputs, *targets), trailing):
            steps, temperatures, rows, cols, mask, cells, *results = views
            address, flags = addressed(part, offset, steps, rows, cols)
            mask, temperatures, beside = optional(mask, temperatures)
            common = (*address, cells, mask, flags | beside | given, part.temperature, temperatures)
            both: list[np.ndarray] = []
            for result, output in zip(results, outputs, strict=True):
                both += both_of(NO_REALS[request.real][output.trailing] if result is None else result, output.trailing)
            yield shape[0] * shape[1], offset, common, tuple(both)


def optional(mask: np.ndarray | None, temperatures: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    """A mask and temperatures as kernels take them, and the flags of which of them are given."""
    flags = (0 if mask is None else HAS_MASK) | (0 if temperatures is None else HAS_TEMPERATURES)
    return NO_MASK if mask is None else mask, NO_TEMPERATURES if temperatures is None else temperatures, flags


def both_of(result: np.ndarray, trailing: int) -> tuple[np.ndarray, ...]:
    """An index as kernels take it, for int64 and int32; any other result as it is."""
    if result.dtype == INT64:
        return result, NO_INDEX[INT32][trailing]
    if result.dtype == INT32:
        return NO_INDEX[INT64][trailing], result
    return (result,)


def rounds(request: Request, outputs: tuple[np.ndarray | None, ...]) -> Iterator[tuple[Request, tuple[np.ndarray | None, ...]]]:
    """The request as one or several without `draws`: draws of a small batch become rows, larger batches come draw by draw."""
    if request.draws is None:
        yield request, outputs
        return
    size = math.prod(request.batch)
    if size > ROWS_OF_ONE_ROUND:
        for draw in range(request.draws):
            yield replace(request, step=request.step + draw, draws=None), _parts(outputs, draw)
        return
    rows = numbers()[:size].reshape(request.batch) if request.rows is None else request.rows
    many = max(ROWS_OF_ONE_ROUND // max(size, 1), 1)
    for first in range(0, request.draws, many):
        count = min(many, request.draws - first)
        batch = (count, *request.batch)
        later = numbers()[:count].reshape(-1, *(1 for _ in request.batch))
        steps = np.broadcast_to(later, batch) if request.steps is None else later + request.steps
        ids = np.broadcast_to(rows, batch)
        part = replace(request, batch=batch, draws=None, step=request.step + first, steps=steps, rows=ids)
        yield part, _parts(outputs, slice(first, first + count))


def _parts(outputs: tuple[np.ndarray | None, ...], draws: Any) -> tuple[np.ndarray | None, ...]:
    return tuple(None if output is None else output[draws] for output in outputs)


def addressed(
    request: Request, offset: int, steps: np.ndarray | None, rows: np.ndarray | None, cols: np.ndarray | None
) -> tuple[tuple[Any, ...], int]:
    """What a kernel takes of an address, and the flags of what is given; rows are the caller's, or run on from `offset`."""
    flags = 0
    if steps is None:
        steps = NO_STEPS
    else:
        flags |= HAS_STEPS
    if rows is None:
        rows = np.full((1, 1), offset, INT64) if offset else NO_ROWS
    else:
        flags |= HAS_ROWS
    if cols is None:
        cols = np.full((1, 1, 1), request.first_col, INT64) if request.first_col else NO_COLS
    else:
        flags |= HAS_COLS
    return (*request.words, request.step, steps, rows, cols), flags


def as_pairs(
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
                operand = np.broadcast_to(operand, (*batch, *operand.shape[operand.ndim - behind :]), subok=True)
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
                operand, shape + operand.shape[len(batch) :], strides + operand.strides[len(batch) :], subok=True
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
