"""Drivers of samples and of the field."""

from __future__ import annotations

import numpy as np

from ...arguments import Request
from ...kernels.gpu.argmax import argmax_join, argmax_parts, argmax_rows
from ...kernels.gpu.jit import THREADS, WARP
from ...kernels.gpu.memory import GROUP
from .launches import BUSY, Invalid, absent, launch, stream_of, workspace
from .layouts import both_of, layouts

# Up to this many categories a row is a warp's, or that of a part of one; longer rows are those of blocks.
SHORT = 8 * GROUP * WARP


def lanes_of(columns: int) -> int:
    """Lanes that share a short row: as many as have columns, a power of two."""
    return min(WARP, 1 << (-(-columns // GROUP) - 1).bit_length())


def parts_of(rows: int, columns: int) -> int:
    """Blocks that share a long row: more than one where rows alone leave multiprocessors idle."""
    turns = -(-columns // (GROUP * THREADS))
    return max(min(turns, -(-BUSY // rows)), 1)


def categorical(request: Request, index: np.ndarray) -> np.ndarray:
    """Gumbel-max. `index` OUT int64 or int32, leading + batch. Returns count and first positions of invalid rows."""
    stream, columns = stream_of(request.cells), request.columns
    invalid, unread = Invalid(request.raises, stream), absent(2, request.real)
    for rows, common, (target,) in layouts(request, ((index, 0),)):
        *places, narrow = both_of(target)
        common = (*common[:8], common[8] | narrow, *common[9:])
        if columns <= SHORT:
            lanes = lanes_of(columns)
            launch(argmax_rows, rows * lanes, stream, *common, 0, rows, lanes, *places, unread, invalid.array)
        else:
            parts = parts_of(rows, columns)
            indices, scores = workspace.arrays(stream, ((rows, parts), np.int64), ((rows, parts), request.real))
            launch(argmax_parts, rows * parts * THREADS, stream, *common, 0, rows, parts, indices, scores)
            count = target.shape[1]
            launch(argmax_join, rows, stream, scores, indices, narrow, count, 0, rows, *places, unread, invalid.array)
    return invalid.found()
