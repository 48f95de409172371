"""Reductions over the lanes that share a row: a warp, or a half, a quarter, ... of one.

All lanes of a warp take part in every exchange, whether they have a row or not: then no lane waits for one that is elsewhere.
"""

from numpy import uint64

from .jit import ALL, device
from .loading import cuda


@device
def best_of_lanes(score, index, lanes):
    """(score, index) of the largest score of each `lanes` lanes, the lowest index of equal ones; -1 is no index.

    `lanes` is a power of two; real, int64.
    """
    step = lanes >> 1
    while step > 0:
        other = cuda.shfl_xor_sync(ALL, score, step)
        other_index = cuda.shfl_xor_sync(ALL, index, step)
        if other > score or (other == score and other_index >= 0 and (index < 0 or other_index < index)):
            score, index = other, other_index
        step >>= 1
    return score, index


@device
def any_of_lanes(found, lanes):
    """Whether one of each `lanes` lanes has found something."""
    votes = cuda.ballot_sync(ALL, found)
    first = cuda.laneid & ~(lanes - 1)
    return (uint64(votes) >> uint64(first)) & ((uint64(1) << uint64(lanes)) - uint64(1)) != uint64(0)


@device
def sum_of_lanes(number, lanes):
    """Sum of an int64 or float64 over each `lanes` lanes, the same in all of them."""
    step = lanes >> 1
    while step > 0:
        number += cuda.shfl_xor_sync(ALL, number, step)
        step >>= 1
    return number
