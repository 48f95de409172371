"""Whether samples are distributed as they should be. Seeds are given, so that a run repeats to the digit.

Statistics are Pearson's chi-square between quantiles of it, and where few of many are counted, or a whole distribution is
compared, numbers with bounds that hold for any sample: see `chernoff` and `kolmogorov`. A right package fails one of these
checks for one in a billion seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .outcome import Outcome, chernoff, chi_square, joined, kolmogorov
from .subject import Subject

__all__ = ["actions", "gumbel_max", "inverse_cdf", "neighbours", "noise", "race", "rare", "softmax", "tail", "topk"]

SKEWED = (0.0, 3.0, -1.5, 1.0, -4.0, 2.0)
NVEC = (2, 4)

# Values of noise that the tail is looked for in, in pieces that stay small: of 24-bit uniforms none lies beyond 25 log 2.
TAIL_VALUES, TAIL_PIECE = {np.float32: 1 << 30, np.float64: 1 << 28}, (1 << 10, 1 << 10)
TAIL_BITS = (8, 13, 18, 22, 25)

# Rare categories: so many, each of this probability, beside one that has the rest.
RARE, RARE_CHANCE = 1000, 1e-6

# The race: one category against so many, each of which lies this far below it. Noise that ends at 17.3 never gets there where
# the favourite's is above -2.2.
OTHERS, GAP = 262_144, 19.5


def _softmax(logits: Any) -> np.ndarray:
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return weights / weights.sum()


def _repeated(row: Any, draws: int, dtype: type) -> np.ndarray:
    """A row, as many times, without a copy."""
    row = np.asarray(row, dtype)
    return np.broadcast_to(row, (draws, row.size))


# --- the noise -----------------------------------------------------------------------------------------------------------


def noise(subject: Subject, seed: int) -> Outcome:
    """A million values of each precision against the Gumbel distribution."""
    found = []
    for dtype in (np.float32, np.float64):
        g = subject.gumbel(subject.key(seed, "verify", "noise"), (1 << 12, 1 << 8), step=1, dtype=dtype)
        found.append(kolmogorov(np.dtype(dtype).name, np.exp(-np.exp(-g.astype(np.float64)))))
    return joined(found)


def tail(subject: Subject, seed: int) -> Outcome:
    """How many of a billion values lie beyond b log 2, of which each does with a chance of 1 - exp(-2^-b)."""
    found, levels = [], [bits * math.log(2) for bits in TAIL_BITS]
    for dtype, values in TAIL_VALUES.items():
        key = subject.key(seed, "verify", "tail")
        block, beyond = np.empty(TAIL_PIECE, dtype), np.zeros(len(TAIL_BITS), np.int64)
        for step in range(values // block.size):
            subject.gumbel(key, block.shape, step=step, dtype=dtype, out=block)
            large = block[block > levels[0]]
            beyond += [np.count_nonzero(large > level) for level in levels]
        name = np.dtype(dtype).name
        for bits, count in zip(TAIL_BITS, beyond.tolist(), strict=True):
            expected = values * -math.expm1(-(2.0**-bits))
            found.append(chernoff(f"{name} beyond {bits} log 2", count, expected, values))
    return dataclasses.replace(joined(found), compared=sum(TAIL_VALUES.values()))


def neighbours(subject: Subject, seed: int) -> Outcome:
    """Pairs of neighbouring columns, rows, steps and keys, each number in one of 16 classes: all pairs are as likely."""
    keys = [subject.key(seed, "verify", "neighbours", number) for number in range(2)]
    values = [[subject.gumbel(key, (1 << 10, 1 << 8), step=step, dtype=np.float32) for step in range(2)] for key in keys]
    place = np.minimum(16 * np.exp(-np.exp(-np.array(values, np.float64))), 15).astype(np.int64)
    pairs = {
        "columns": (place[..., ::2], place[..., 1::2]),
        "columns of two Philox calls": (place[..., 7:-1:8], place[..., 8::8]),
        "rows": (place[:, :, ::2], place[:, :, 1::2]),
        "steps": (place[:, 0], place[:, 1]),
        "keys": (place[0], place[1]),
    }
    even = np.full(256, 1 / 256)
    return joined(
        chi_square(name, np.bincount((16 * one + other).ravel(), minlength=256), even) for name, (one, other) in pairs.items()
    )


# --- samples -------------------------------------------------------------------------------------------------------------


def _requests() -> Iterator[tuple[str, np.ndarray, dict[str, Any], np.ndarray]]:
    """(name, logits, arguments, chances): short and long rows, both precisions, temperatures, a mask."""
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        yield f"6 categories, {name}", _repeated(SKEWED, 1 << 19, dtype), {}, _softmax(SKEWED)
        many = 2 * np.sin(np.arange(100.0))
        yield f"100 categories, {name}", _repeated(many, 1 << 17, dtype), {}, _softmax(many)
    most = np.cos(np.arange(1000.0))
    yield "1000 categories", _repeated(most, 1 << 16, np.float32), {}, _softmax(most)
    yield "temperature 0.5", _repeated(SKEWED, 1 << 19, np.float32), {"temperature": 0.5}, _softmax(np.multiply(SKEWED, 2))
    mask = np.array([True, False, True, True, False, True])
    yield "mask", _repeated(SKEWED, 1 << 19, np.float32), {"mask": mask}, _softmax(np.where(mask, SKEWED, -np.inf))


def _categorical(subject: Subject, seed: int, method: str) -> Outcome:
    found = []
    for name, x, arguments, chances in _requests():
        index = subject.categorical(subject.key(seed, "verify", method, name), x, method=method, **arguments)
        found.append(chi_square(name, np.bincount(index, minlength=chances.size), chances))
    return joined(found)


def gumbel_max(subject: Subject, seed: int) -> Outcome:
    """Samples of `categorical` against softmax."""
    return _categorical(subject, seed, "gumbel")


def inverse_cdf(subject: Subject, seed: int) -> Outcome:
    """The same by the inverse CDF, and many draws of one row."""
    many = 2 * np.sin(np.arange(100.0))
    index = subject.categorical(subject.key(seed, "verify", "many"), many, n=1 << 20, method="inverse_cdf")
    drawn = chi_square("many draws", np.bincount(index, minlength=many.size), _softmax(many))
    return joined([drawn, _categorical(subject, seed, "inverse_cdf")])


def topk(subject: Subject, seed: int) -> Outcome:
    """Ordered pairs without replacement, against p_i p_j / (1 - p_i)."""
    logits = np.array([0.5, -0.3, 1.0, 0.0, -1.0])
    p = _softmax(logits)
    chances = p[:, None] * p / (1 - p[:, None])
    np.fill_diagonal(chances, 0)
    found = []
    for dtype in (np.float32, np.float64):
        x = _repeated(logits, 1 << 18, dtype)
        pair = subject.gumbel_topk(subject.key(seed, "verify", "topk"), x, 2).index
        counts = np.bincount(pair[:, 0] * p.size + pair[:, 1], minlength=chances.size)
        found.append(chi_square(np.dtype(dtype).name, counts, chances))
    return joined(found)


def actions(subject: Subject, seed: int) -> Outcome:
    """Joint actions of two heads, which are independent."""
    first, second = _softmax(SKEWED[: NVEC[0]]), _softmax(SKEWED[NVEC[0] :])
    found = []
    for dtype in (np.float32, np.float64):
        x = _repeated(SKEWED, 1 << 19, dtype)
        action = subject.sample_actions(subject.key(seed, "verify", "actions"), x, nvec=NVEC).action
        counts = np.bincount(action[:, 0] * NVEC[1] + action[:, 1], minlength=NVEC[0] * NVEC[1])
        found.append(chi_square(np.dtype(dtype).name, counts, np.outer(first, second)))
    return joined(found)


def softmax(subject: Subject, seed: int) -> Outcome:
    """Relaxed samples: the largest samples softmax, and of two categories tau log(y_0 / y_1) is logistic."""
    key, found = subject.key(seed, "verify", "softmax"), []
    for tau in (0.3, 1.0):
        y = subject.gumbel_softmax(key, _repeated(SKEWED, 1 << 18, np.float32), tau=tau)
        counts = np.bincount(y.argmax(axis=1), minlength=len(SKEWED))
        found.append(chi_square(f"largest, tau {tau}", counts, _softmax(SKEWED)))
    for tau in (0.7, 3.0):
        y = subject.gumbel_softmax(key, _repeated((0.4, -0.3), 1 << 18, np.float64), tau=tau)
        ratio = tau * (np.log(y[:, 0]) - np.log(y[:, 1]))
        found.append(kolmogorov(f"logistic, tau {tau}", 1 / (1 + np.exp(0.7 - ratio))))
    return joined(found)


# --- what is rare --------------------------------------------------------------------------------------------------------


def rare(subject: Subject, seed: int) -> Outcome:
    """A thousand categories of probability 1e-6 each, beside one that has the rest: how often is one of them drawn?"""
    row = np.full(1 + RARE, math.log(RARE_CHANCE))
    row[0] = math.log1p(-RARE * RARE_CHANCE)
    chance, key = RARE * RARE_CHANCE, subject.key(seed, "verify", "rare")
    batch, steps = 1 << 16, 16
    drawn = sum(
        int(np.count_nonzero(subject.categorical(key, _repeated(row, batch, np.float32), step=step))) for step in range(steps)
    )
    n = 1 << 22
    inverse = int(np.count_nonzero(subject.categorical(key, row, n=n, method="inverse_cdf")))
    return joined(
        [
            chernoff("Gumbel-max", drawn, batch * steps * chance, batch * steps),
            chernoff("inverse CDF", inverse, n * chance, n),
        ]
    )


def race(subject: Subject, seed: int) -> Outcome:
    """The tail race: one category against 262,144, each of which lies 19.5 below it; how often does it lose?

    The noise can be looked up, so the favourite's is looked up first; given that it is x, the others win with probability
    1 - exp(-262144 exp(-19.5 - x)). Only draws with x < -log 4 are run, one in 55, where one in 220 is lost.
    """
    key, rows = subject.key(seed, "verify", "race"), np.arange(750_000)
    favourite = subject.gumbel(key, rows=rows, cols=[0], dtype=np.float32)[:, 0].astype(np.float64)
    rows, favourite = rows[favourite < -math.log(4)], favourite[favourite < -math.log(4)]
    row = np.full(1 + OTHERS, -GAP)
    row[0] = 0
    lost = 0
    for first in range(0, rows.size, 1000):
        some = rows[first : first + 1000]
        lost += int(np.count_nonzero(subject.categorical(key, _repeated(row, some.size, np.float32), rows=some)))
    chances = -np.expm1(-OTHERS * np.exp(-GAP - favourite))
    return chernoff("races lost", lost, float(chances.sum()), rows.size)
