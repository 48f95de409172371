"""Samples of ten million hard rows, each compared with a dense evaluation of its scores, index for index.

The dense evaluation is NumPy's: G from `ng.gumbel`, scores, argmax. Some rows of every kind in every batch are also compared
with `oracle`, which shares nothing with the package: there the index must be the same wherever the best score is clear of the
second. And wrong samplers are shown to the same comparison, which must notice each.
"""

from collections import Counter

import dense
import hard_rows
import numpy as np
import oracle
import pytest
from hard_rows import INF, KEY, KINDS, REQUESTS, batch

import numgumbel as ng
from numgumbel.backends.cpu import samples
from numgumbel.kernels.cpu import bound

EDGES = (8, 16, 64, 128, 192, samples.SHORT_OF_CELL_IDS, *samples.SHORT.values(), 1024, 2048, 4096)
COLUMNS = sorted({*range(1, 41)} | {edge + beside for edge in EDGES for beside in (-1, 0, 1, 7)})
REALS = np.float32, np.float64

# The independent oracle decides where the best score is ahead by this much, relative to max(1, |score|).
CLEAR = 1e-4

# Kinds whose two best scores are that close by chance only.
SPREAD = (hard_rows.flat, hard_rows.peaked, hard_rows.rising, hard_rows.falling, hard_rows.constant, hard_rows.stretches)


@pytest.fixture(autouse=True)
def two_threads():
    before = ng.get_num_threads()
    ng.set_num_threads(2)
    yield
    ng.set_num_threads(before)


def batches(small, middle, large, share=1):
    """A batch of every number of columns, precision and request, or of every `share`-th request, another in turn.

    Three numbers of rows of each kind, by the number of columns.
    """
    for number, columns in enumerate(COLUMNS):
        for dtype in REALS:
            for request in REQUESTS[number % share :: share]:
                yield batch(columns, dtype, request, small if columns <= 40 else middle if columns < 1000 else large)


def logits(case):
    """Logits in effect."""
    probs = case.cells if case.is_probs else None
    return dense.cells(case.cells, probs, case.given.get("mask"))


def scores(x, g, temperature):
    """Scores in the working precision: plain NumPy at temperature 1, the package's scalar elsewhere."""
    if np.any(temperature != 1):
        return dense.scores_of_noise(x, g, temperature)
    limit = np.finfo(x.dtype).max
    with np.errstate(over="ignore"):
        return np.where(np.isinf(x), x, np.clip(x + g, -limit, limit))


def dense_index(case):
    """What `categorical` must give, draws in front where there are any."""
    x = logits(case)
    index = [dense.largest(x, scores(x, g, case.temperature)) for g in case.noise]
    return np.stack(index) if "n" in case.given else index[0]


def wrong_rows(got, wanted):
    """Positions of rows where two results differ."""
    assert got.shape == wanted.shape
    different = got != wanted
    return np.unique(np.nonzero(different)[different.ndim - 1])


def explain(case, wrong):
    kinds = Counter(KINDS[k].__name__ for k in case.kind[wrong])
    return f"{len(wrong)} rows of {case.name} differ, {dict(kinds)}: row {', '.join(map(str, wrong[:5]))}"


def check_topk(case, rows):
    """The first rows, k of several sizes. How many were compared."""
    given = {name: value for name, value in case.given.items() if name != "n"}
    for name in ("step", "rows", "temperature", "mask", "cols"):
        if np.ndim(given.get(name)) and len(given[name]) == len(case.cells) and (name != "cols" or given[name].ndim == 2):
            given[name] = given[name][:rows]
    x, columns = logits(case)[:rows], case.cells.shape[1]
    temperature = given.get("temperature", 1.0)
    s = scores(x, case.noise[0][:rows], temperature)
    given |= {"probs" if case.is_probs else "logits": case.cells[:rows]}
    for k in {1, (columns + 1) // 2, columns} if columns <= 40 else {1, 7, columns // 3}:
        got = ng.gumbel_topk(KEY, k=k, invalid="mark", **given)
        for part, wanted in zip(got, dense.k_largest(x, s, k), strict=True):
            assert np.array_equal(part, wanted, equal_nan=part.dtype.kind == "f"), f"top {k} of {case.name}[:{rows}]"
    return len(x)


def independent_index(case, picked):
    """(index, whether the best is clear of the second) of some rows by the oracle that shares nothing with the package."""
    dtype, words = case.cells.dtype, oracle.key_words(*hard_rows.KEY_PARTS)
    step, rows, cols = (ids[picked] for ids in case.ids())
    g = np.empty(cols.shape)
    for number in np.unique(step):
        here = step == number
        g[here] = oracle.gumbel(words, int(number), rows[here, None], cols[here], dtype)
    x = case.cells[picked].astype(np.longdouble)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(x) if case.is_probs else x
        if "mask" in case.given:
            x = np.where(case.given["mask"][picked], x, -INF)
        temperature = np.broadcast_to(case.temperature, len(case.cells))[picked, None].astype(np.longdouble)
        s = np.where(temperature == 0, x, x / np.where(temperature == 0, 1, temperature) + g)
        limit = np.finfo(dtype).max
        s = np.where(np.isinf(x), x, np.clip(s, -limit, limit))
        index = np.where(np.isnan(s).any(1) | (s == -INF).all(1), -1, s.argmax(1))
        second, best = (np.sort(s, axis=1) if s.shape[1] > 1 else np.insert(s, 0, -INF, 1))[:, -2:].T
        clear = best - second > CLEAR * np.maximum(1, abs(best))
    exact = (temperature[:, 0] == 0) & (not case.is_probs)  # nothing is rounded: ties go to the lowest index here too
    return index, clear | (index < 0) | (best == INF) | exact


class Tally:
    """Rows and categories compared, by kind."""

    def __init__(self):
        self.rows, self.cells, self.independent, self.close = (np.zeros(len(KINDS), np.int64) for _ in range(4))
        self.spread, self.spread_close, self.topk = 0, 0, 0

    def __str__(self):
        lines = [f"{'kind':14}{'rows':>12}{'categories':>14}{'independently':>15}{'too close':>11}"]
        totals = (part.sum() for part in (self.rows, self.cells, self.independent, self.close))
        parts = zip((k.__name__ for k in KINDS), self.rows, self.cells, self.independent, self.close, strict=True)
        for name, rows, cells, independent, close in (*parts, ("all", *totals)):
            lines.append(f"{name:14}{rows:12,}{cells:14,}{independent:15,}{close:11,}")
        return "\n".join([*lines, f"gumbel_topk: {self.topk:,} rows"])


def check(case, tally, independent, topk):
    """All comparisons of one batch; `independent` rows of every kind, and the first `topk` rows."""
    got = case.sample(ng.categorical)
    wrong = wrong_rows(got, dense_index(case))
    assert not len(wrong), explain(case, wrong)
    factor = case.given.get("n", 1)
    counts = np.bincount(case.kind, minlength=len(KINDS)) * factor
    tally.rows += counts
    tally.cells += counts * case.cells.shape[1]

    order = np.argsort(case.kind, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(case.kind[order], case.kind[order])
    picked = order[place < independent]
    index, clear = independent_index(case, picked)
    first = got[0] if factor > 1 else got
    wrong = picked[clear & (first[picked] != index)]
    assert not len(wrong), f"by the independent oracle, {explain(case, wrong)}"
    kinds = case.kind[picked]
    tally.independent += np.bincount(kinds, minlength=len(KINDS))
    tally.close += np.bincount(kinds[~clear], minlength=len(KINDS))
    distinct = (np.diff(np.sort(case.ids()[2][picked])) != 0).all(1)  # the noise of one id ties with itself
    chance = distinct & np.isin(kinds, [KINDS.index(kind) for kind in SPREAD])
    tally.spread += chance.sum()
    tally.spread_close += (chance & ~clear).sum()
    if topk:
        tally.topk += check_topk(case, topk)


def test_every_kind_under_every_request():
    tally = Tally()
    for case in batches(30, 6, 1, share=3):
        check(case, tally, independent=3 if case.cells.shape[1] < 100 else 1, topk=15 if case.cells.shape[1] < 1000 else 2)
    print(tally)
    assert tally.rows.sum() >= 200_000
    assert tally.spread_close < 0.01 * tally.spread


@pytest.mark.slow
def test_ten_million_rows():
    tally = Tally()
    for case in batches(600, 120, 8):
        check(case, tally, independent=2 if case.cells.shape[1] <= 40 else 1, topk=200 if case.cells.shape[1] < 1000 else 20)
    for request in REQUESTS:  # one row, long enough for threads to share its columns
        for kind in KINDS:
            check(batch(500_003, np.float32, request, 1, (kind,)), tally, independent=0, topk=0)
    print(tally)
    assert tally.rows.sum() >= 10_000_000
    assert tally.rows.min() >= 100_000
    assert tally.spread_close < 0.01 * tally.spread


# --- wrong on purpose ------------------------------------------------------------------------------------------------------


def by_bound(case, lowered):
    """The long-row method in NumPy: the category with the largest bound, then all whose bound reaches its score.

    The bound is that of the package less `lowered`. Only for one step and temperature 1.
    """
    x, g = logits(case), case.noise[0]
    step, rows, cols = case.ids()
    b32, _ = oracle.bits(oracle.key_words(*hard_rows.KEY_PARTS), int(step[0]), rows[:, None], cols)
    coarse = (b32 >> np.uint64(16)).astype(np.float32)
    limits = bound.SLOPE * coarse.view(np.int32).astype(np.float64) + bound.OFFSET - lowered
    limits, s = x + limits.astype(np.float32), scores(x, g, 1.0)
    clamped = s == -np.finfo(x.dtype).max
    reached = np.take_along_axis(s, np.where(np.isnan(limits), -INF, limits).argmax(1)[:, None], 1)
    return dense.largest(x, np.where((limits >= reached) | clamped, s, -INF))


def highest_index(case):
    """Ties go to the highest index."""
    x = logits(case)
    index = dense.largest(x[:, ::-1], scores(x, case.noise[0], case.temperature)[:, ::-1])
    return np.where(index < 0, -1, x.shape[1] - 1 - index)


def divided(case):
    """Divided by the temperature, not multiplied by its reciprocal, and rounded twice."""
    x, temperature = logits(case), np.broadcast_to(case.temperature, len(case.cells))[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        s = np.where(temperature == 0, x, (x / temperature.astype(x.dtype)).astype(x.dtype) + case.noise[0])
    limit = np.finfo(x.dtype).max
    return dense.largest(x, np.where(np.isinf(x), x, np.clip(s, -limit, limit)))


def overflowing(case):
    """Scores beyond the range become infinite, and excluded when negative."""
    x, temperature = logits(case), np.broadcast_to(case.temperature, len(case.cells))[:, None]
    s = scores(x, case.noise[0], case.temperature)
    limit = np.finfo(x.dtype).max
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        s = np.where((abs(s) == limit) & (temperature != 0), np.copysign(INF, s), s)
    return np.where((s == -INF).all(1), -1, dense.largest(x, s))


def positive_nan_only(case):
    """A NaN with its sign bit set goes unnoticed."""
    x = logits(case)
    x[np.isnan(x) & np.signbit(x)] = -INF
    return dense.largest(x, scores(x, case.noise[0], case.temperature))


def another_field(**changed):
    """A sampler that reads the field elsewhere."""

    def sample(case):
        ids = dict(zip(("step", "rows", "cols"), case.ids(), strict=True))
        for name, change in changed.items():
            ids[name] = change(ids[name])
        g = ng.gumbel(KEY, case.cells.shape, dtype=case.cells.dtype, **ids)
        x = logits(case)
        return dense.largest(x, scores(x, g, case.temperature))

    return sample


def looks_under_the_mask(case):
    x = case.cells
    bad = np.isnan(x).any(1)
    return np.where(bad, -1, dense_index(case))


WRONG = {
    "highest index": (hard_rows.plain, highest_index),
    "division": (hard_rows.one_temperature, divided),
    "overflow": (hard_rows.temperatures, overflowing),
    "sign of NaN": (hard_rows.plain, positive_nan_only),
    "step not folded": (hard_rows.steps, another_field(step=lambda step: step % 2**30)),
    "row ids of 32 bits": (hard_rows.row_ids, another_field(rows=lambda rows: rows % 2**32)),
    "columns from 0": (hard_rows.shifted_columns, another_field(cols=lambda cols: cols - cols.min())),
    "ids of a neighbour's cells": (hard_rows.cells_columns, another_field(cols=lambda cols: np.roll(cols, 1, axis=0))),
    "repeated columns apart": (hard_rows.repeated_columns, another_field(cols=lambda cols: cols ^ np.arange(cols.shape[1]))),
    "columns by eights": (hard_rows.shifted_columns, another_field(cols=lambda cols: cols & ~7)),
    "NaN under the mask": (hard_rows.masked, looks_under_the_mask),
    "bound a little low": (hard_rows.plain, lambda case: by_bound(case, 0.01)),
}


def some_batches(request, reals):
    return (batch(columns, dtype, request, 50) for columns in (1, 5, 8, 33, 200) for dtype in reals)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sampler_is_noticed(name):
    request, sampler = WRONG[name]
    reals = [np.float32] if "bound" in name else REALS
    for case in some_batches(request, reals):
        assert not len(wrong_rows(case.sample(ng.categorical), dense_index(case)))
    assert any(len(wrong_rows(sampler(case), dense_index(case))) for case in some_batches(request, reals))


def test_the_bound_of_the_package_misses_nothing():
    """The sampler that is wrong with a lower bound is right with the true one."""
    for case in some_batches(hard_rows.plain, [np.float32]):
        assert not len(wrong_rows(by_bound(case, 0), dense_index(case)))


@pytest.mark.parametrize("request_", [hard_rows.plain, hard_rows.draws], ids=["plain", "draws"])
def test_one_wrong_index_is_noticed(request_):
    case = batch(9, np.float32, request_, 5)
    index = dense_index(case)
    for row in range(index.shape[-1]):
        other = index.copy()
        other[..., row] += 1
        assert wrong_rows(other, index).tolist() == [row]


def test_the_independent_oracle_is_clear_and_right():
    """It tells a wrong index too: shifted by one, no clear row agrees with it."""
    case = batch(9, np.float32, hard_rows.plain, 20)
    picked = np.arange(len(case.cells))
    index, clear = independent_index(case, picked)
    assert clear.mean() > 0.7
    got = case.sample(ng.categorical)
    np.testing.assert_array_equal(got[clear], index[clear])
    assert (got[clear] + 1 != index[clear]).all()
