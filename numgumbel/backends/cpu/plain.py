"""Short ways for plain calls: logits with one to three axes, a whole step, and all else left out.

No `Request`: the general way takes 10 us to lay out all that may be given, and several times that when a large array has driven
the interpreter out of the caches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.cpu.argmax import argmax_rows
from ...kernels.cpu.cells import (
    DETERMINISTIC,
    GIVEN,
    HAS_MASK,
    HAS_ROWS,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
)
from ...kernels.cpu.draw import draw_rows
from ...kernels.cpu.draw_short import draw_short_rows
from ...kernels.cpu.lanes import argmax_short_rows
from ...kernels.cpu.log_prob import log_prob_vjp_rows
from ...kernels.cpu.softmax import HARD, SOFT, softmax_rows
from ...kernels.cpu.topk import topk_rows
from ...threads import get_num_threads
from .absent import (
    FLOAT32,
    INT32,
    INT64,
    NO_COLS,
    NO_INDEX,
    NO_MASK,
    NO_NARROW,
    NO_REALS,
    NO_ROWS,
    NO_STEPS,
    NO_TEMPERATURES,
    UNREAD,
)
from .draws import WANT, are_short
from .pieces import COST, WORTH_A_WATCHER, over_rows
from .samples import SHORT, pool_of, spare_row

# Plain calls on up to this much are one kernel call: no more than 0.2 ms. Halves count as float32, in which their work is done.
PLAIN_BYTES = 1 << 19

# The same of a draw with its log-probability and entropy.
PLAIN_DRAW_BYTES = 1 << 18


def plain_categorical(
    key: int,
    cells: np.ndarray,
    step: int,
    temperature: float,
    ids: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray | None:
    """`categorical`; None for invalid rows, or columns to be shared. `ids` IN int64, one a row; mask of the logits' shape."""
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
    named, allowed, flags = NO_ROWS, NO_MASK, 0
    if ids is not None:
        named, flags = ids[(None,) * (3 - axes)], HAS_ROWS
    if mask is not None:
        allowed, flags = mask.view(np.uint8)[(None,) * (3 - axes)], flags | HAS_MASK
    if size > PLAIN_BYTES:
        if rows < 2 * get_num_threads():
            return None
        behind = (target, NO_NARROW) if short else (0, columns, target, NO_NARROW, NO_REALS[real][0])
        bad = _plain_rows(
            argmax_short_rows if short else argmax_rows, key, block, step, t, behind, tuple, named, allowed, flags
        )
    # Spelt out, since tuples joined for a common part cost 0.2 us.
    elif short:
        bad = argmax_short_rows[dtype](
            k0, k1, step, NO_STEPS, named, NO_COLS, block, allowed, flags, t, NO_TEMPERATURES, 0, rows,
            target, NO_NARROW, UNREAD,
        )  # fmt: skip
    else:
        bad = argmax_rows[dtype](
            k0, k1, step, NO_STEPS, named, NO_COLS, block, allowed, flags, t, NO_TEMPERATURES, 0, rows,
            0, columns, target, NO_NARROW, NO_REALS[real][0], UNREAD,
        )  # fmt: skip
    return None if bad else index


def plain_softmax(key: int, cells: np.ndarray, step: int, tau: float, hard: bool) -> np.ndarray | None:
    """`softmax` of logits with one to three axes, all else left out, in the same way; None where a row is invalid."""
    sample = np.empty(cells.shape, cells.dtype)
    front = (None,) * (3 - cells.ndim)
    spare, unread = spare_row(cells.dtype, cells.shape[-1]), cells[front]
    bad = _plain_rows(softmax_rows, key, cells[front], step, tau, (HARD if hard else SOFT, unread, sample[front]), spare)
    return None if bad else sample


def plain_topk(key: int, cells: np.ndarray, k: int, step: int, temperature: float) -> tuple[np.ndarray, ...] | None:
    """`topk` of logits with one to three axes, all else left out: index, score and threshold; None where a row is invalid."""
    batch, real = cells.shape[:-1], cells.dtype if cells.dtype.itemsize > 2 else FLOAT32
    top = np.empty((*batch, k), INT64), np.empty((*batch, k), real), np.empty(batch, real)
    front = (None,) * (3 - cells.ndim)
    index, score, threshold = (part[front] for part in top)
    block = cells[front]
    behind = index, NO_INDEX[INT32][1], score, threshold
    bad = _plain_rows(topk_rows, key, block, step, temperature, behind, lambda: pool_of(k, block.shape[2], real))
    return None if bad else top


def plain_draw(
    key: int,
    cells: np.ndarray,
    mask: np.ndarray | None,
    heads: np.ndarray,
    step: int,
    temperature: float,
    wanted: tuple[str, ...],
    deterministic: bool = False,
    ids: np.ndarray | None = None,
    given: np.ndarray | None = None,
) -> tuple[np.ndarray | None, ...] | None:
    """`draw` under a mask of the logits' shape; `wanted` are names of results. `ids` IN int64, one a row.

    Returns index, score, logsumexp, log_prob and entropy, None for one that is not wanted; or None for invalid rows. An index
    that is `given` is int64, batch + (H,).
    """
    dtype, batch, size = cells.dtype, cells.shape[:-1], cells.nbytes
    real = dtype
    if dtype.itemsize == 2:
        real, size = FLOAT32, 2 * size
    flags, places = 0, (*batch, len(heads) - 1)
    for name in wanted:
        flags |= WANT[name]
    front = (None,) * (3 - cells.ndim)
    per_row, per_head = NO_REALS[real]
    index = np.empty(places, INT64) if given is None else given
    score = np.empty(places, real) if flags & WANT_SCORE else None
    logsumexp = np.empty(places, real) if flags & WANT_LOGSUMEXP else None
    log_prob = np.empty(batch, real) if flags & WANT_LOG_PROB else None
    entropy = np.empty(batch, real) if flags & WANT_ENTROPY else None
    behind = (
        heads,
        index[front],
        NO_INDEX[INT32][1],
        per_head if score is None else score[front],
        per_head if logsumexp is None else logsumexp[front],
        per_row if log_prob is None else log_prob[front],
        per_row if entropy is None else entropy[front],
    )
    flags |= (0 if given is None else GIVEN) | (DETERMINISTIC if deterministic else 0)
    allowed, flags = (NO_MASK, flags) if mask is None else (mask.view(np.uint8)[front], flags | HAS_MASK)
    named, flags = (NO_ROWS, flags) if ids is None else (ids[front], flags | HAS_ROWS)
    block = cells[front]
    kernel = draw_short_rows if are_short(heads, block.shape[2], real) else draw_rows
    compiled, rows = kernel[dtype], block.shape[0] * block.shape[1]
    before = key & 0xFFFFFFFF, key >> 32, step, NO_STEPS, named, NO_COLS, block, allowed, flags, temperature
    if size <= PLAIN_DRAW_BYTES:
        bad = compiled(*before, NO_TEMPERATURES, 0, rows, *behind, UNREAD)
    else:

        def call(first: int, last: int, invalid: np.ndarray) -> None:
            compiled(*before, NO_TEMPERATURES, first, last, *behind, invalid)

        bad = over_rows(call, rows, COST[kernel] * size / 4, WORTH_A_WATCHER)[0]
    return None if bad else (index, score, logsumexp, log_prob, entropy)


def plain_log_prob_vjp(
    cells: np.ndarray,
    mask: np.ndarray | None,
    heads: np.ndarray,
    temperature: float,
    index: np.ndarray,
    log_prob: np.ndarray,
    entropy: np.ndarray,
) -> np.ndarray | None:
    """`log_prob_vjp` under a mask of the logits' shape; None for invalid rows. `index` IN int64, batch + (H,); `log_prob` and
    `entropy` IN real, batch.
    """
    gradient = np.empty(cells.shape, cells.dtype)
    front = (None,) * (3 - cells.ndim)
    allowed, flags = (NO_MASK, 0) if mask is None else (mask.view(np.uint8)[front], HAS_MASK)
    compiled, block = log_prob_vjp_rows[cells.dtype], cells[front]
    before = block, allowed, flags, temperature, NO_TEMPERATURES
    behind = heads, index[front], log_prob[front], entropy[front], gradient[front]

    def call(first: int, last: int, invalid: np.ndarray) -> None:
        compiled(*before, first, last, *behind, invalid)

    size = max(cells.itemsize, 4) * cells.size
    bad = over_rows(call, block.shape[0] * block.shape[1], COST[log_prob_vjp_rows] * size / 4)[0]
    return None if bad else gradient


def _plain_rows(
    kernel: Any,
    key: int,
    cells: np.ndarray,
    step: int,
    t: float,
    behind: tuple[Any, ...],
    scratch: Callable[[], tuple[np.ndarray, ...]] = tuple,
    named: np.ndarray = NO_ROWS,
    allowed: np.ndarray = NO_MASK,
    flags: int = 0,
) -> int:
    """A plain call, on several threads where that pays; how many rows are invalid."""
    compiled = kernel[cells.dtype]
    address = key & 0xFFFFFFFF, key >> 32, step, NO_STEPS, named, NO_COLS

    def call(first: int, last: int, invalid: np.ndarray) -> None:
        compiled(*address, cells, allowed, flags, t, NO_TEMPERATURES, first, last, *behind, *scratch(), invalid)

    size = max(cells.itemsize, 4) * cells.size
    return int(over_rows(call, cells.shape[0] * cells.shape[1], COST[kernel] * size / 4)[0])
