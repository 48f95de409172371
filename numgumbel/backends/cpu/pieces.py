"""Work cut in pieces: what a row costs, on how many threads it pays, and the invalid rows of all pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arguments import Request
from ...kernels.cpu.argmax import argmax_rows
from ...kernels.cpu.conditional import conditional_rows
from ...kernels.cpu.draw import draw_rows
from ...kernels.cpu.draw_short import draw_short_rows
from ...kernels.cpu.inclusion import inclusion_rows
from ...kernels.cpu.inverse_cdf import inverse_cdf_rows
from ...kernels.cpu.inverse_cdf_draws import inverse_cdf_draws
from ...kernels.cpu.lanes import argmax_short_rows
from ...kernels.cpu.lanes_of_ids import argmax_short_rows_of_ids
from ...kernels.cpu.log_prob import log_prob_vjp_rows
from ...kernels.cpu.noise import noise_rows
from ...kernels.cpu.ragged import argmax_ragged
from ...kernels.cpu.softmax import softmax_rows, softmax_vjp_rows
from ...kernels.cpu.topk import topk_rows
from ...threads import get_num_threads, run

# How many invalid rows a message can name.
NAMED_ROWS = 5

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


def row_cost(kernel: Any, request: Request) -> float:
    """Nanoseconds a row on one thread, roughly."""
    return COST[kernel] * request.real.itemsize / 4 * request.columns


def over_rows(call: Callable[[int, int, np.ndarray], Any], rows: int, cost: float, worth: float | None = None) -> np.ndarray:
    """``call(first, last, invalid)`` over all rows, in pieces on several threads where that pays; returns invalid rows."""
    if rows < 2 or cost < (WORTH_A_THREAD if worth is None else worth) or get_num_threads() == 1:
        invalid = np.zeros(1 + NAMED_ROWS, np.int64)
        call(0, rows, invalid)
        return invalid
    ends = ends_of(rows, cost)
    blocks = np.zeros((len(ends) - 1, 1 + NAMED_ROWS), np.int64)
    run(lambda p: call(ends[p], ends[p + 1], blocks[p]), len(blocks))
    total = np.zeros(1 + NAMED_ROWS, np.int64)
    for block in blocks:
        gather(total, block, 0)
    return total


def ends_of(units: int, cost: float) -> list[int]:
    """Where the pieces of so many units end, 0 first: each has half a thread's share of what is left, but is worth a hand-over.

    Large pieces first and small ones last, so that threads end together and seldom ask for the interpreter at the same time.
    """
    share, least = 2 * get_num_threads(), max(math.ceil(LEAST_PIECE / cost * units), 1)
    ends = [0]
    while ends[-1] < units:
        size = max((units - ends[-1]) // share, least)
        ends.append(min(ends[-1] + size, units))
    return ends


def gather(total: np.ndarray, block: np.ndarray, offset: int) -> None:
    """Add the invalid rows of one block, whose positions start at `offset`."""
    if not block[0]:
        return
    room = len(total) - 1
    listed = min(int(total[0]), room)
    new = block[1 : 1 + min(int(block[0]), room - listed)]
    total[1 + listed : 1 + listed + len(new)] = new + offset
    total[0] += block[0]
