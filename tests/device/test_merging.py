"""The GPU's merged shards against the CPU's: column and score to the bit, sums within 8 ulp."""

import itertools

import numpy as np
import pytest
from launching import launch

import numgumbel as ng
from numgumbel.kernels.gpu import merging

KEY = ng.key(8, "simulated merging")
REALS = np.float32, np.float64
KNOWN = ("score", "log_prob", "logsumexp", "entropy")


def run(draws, temperature=1.0):
    """The kernel's result for draws of one row each element, by name."""
    cols = np.stack([part.col for part in draws]).astype(np.int64)
    known = [np.stack([getattr(part, name) for part in draws]) for name in KNOWN]
    rows, real = cols.shape[1], known[0].dtype
    greedy = np.array(np.broadcast_to(np.float64(temperature), (rows,)))
    col, results = np.full(rows, -7), {name: np.full(rows, 7, real) for name in KNOWN}
    launch(merging.merge_rows, rows, cols, *known, greedy, col, *results.values())
    return {"col": col, **results}


def compare(got, want):
    """Scores to the bit, the others within 8 ulp, the entropy of the size of the logsumexp."""
    np.testing.assert_array_equal(got["col"], want.col)
    np.testing.assert_array_equal(got["score"], want.score)
    size = np.maximum(1, np.abs(np.where(np.isfinite(want.logsumexp), want.logsumexp, 1)))
    for name in KNOWN[1:]:
        value = getattr(want, name)
        np.testing.assert_array_equal(np.isnan(got[name]), np.isnan(value), name)
        finite = np.isfinite(value)
        np.testing.assert_array_equal(got[name][~finite], value[~finite], name)
        scale = 8 * float(np.finfo(value.dtype).eps) * np.maximum(size, np.abs(value))[finite]
        assert (np.abs(got[name][finite] - value[finite]) <= scale).all(), name


def shards_of(x, cuts, **options):
    """Draws of the columns of x between cuts."""
    bounds = [0, *cuts, x.shape[1]]
    mask = options.pop("mask", None)
    return [
        ng.draw(
            KEY,
            x[:, begin:end],
            cols=np.arange(begin, end),
            want=KNOWN,
            mask=None if mask is None else mask[:, begin:end],
            invalid="mark",
            **options,
        )
        for begin, end in itertools.pairwise(bounds)
    ]


def logits(rows, columns, dtype):
    return np.random.default_rng([rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("cuts", [(), (1,), (12, 13), (5, 10, 15, 20, 25)])
def test_shards(dtype, cuts):
    x = logits(33, 30, dtype)
    draws = shards_of(x, cuts)
    got = run(draws)
    compare(got, ng.merge(draws))
    compare(got, ng.draw(KEY, x, want=KNOWN))
    compare(run(draws[::-1]), ng.merge(draws))


def test_a_wrong_shard_is_noticed():
    x = logits(33, 30, np.float64)
    draws = shards_of(x, (12, 20))
    with pytest.raises(AssertionError):
        compare(run(draws[:2]), ng.merge(draws))
    with pytest.raises(AssertionError):
        compare(run(draws, temperature=0.0), ng.merge(draws))


@pytest.mark.parametrize("dtype", REALS)
def test_numbers_at_the_ends(dtype):
    x, top = logits(10, 9, dtype), np.finfo(dtype).max
    x[0, :4], x[1, 4:], x[2] = -np.inf, -np.inf, -np.inf
    x[3, 1], x[4, 8], x[5, 2], x[6, [2, 7]] = np.nan, np.inf, np.inf, np.inf
    x[7], x[8], x[9, ::2] = top, -top, -top
    mask = np.ones(x.shape, bool)
    mask[3, 1] = mask[4, 8] = False
    for options in ({}, {"mask": mask}):
        draws = shards_of(x, (4, 6), **options)
        want = ng.merge(draws)
        assert want.col[2] == -1
        assert np.isneginf(want.score[2])
        assert (want.col[3] == -1) == (not options)
        compare(run(draws), want)


def test_temperatures():
    x = logits(8, 30, np.float64)
    x[5] = -np.inf
    temperatures = np.array([0, 0.5, 1, 2, 0, 0, 3, 1e9])
    for temperature in (0.0, 0.25, temperatures):
        draws = shards_of(x, (7, 21), temperature=temperature)
        compare(run(draws, temperature), ng.merge(draws, temperature=temperature))


def test_ties_go_to_the_lowest_column():
    """Equal scores in any order of the shards, and a shard without a sample among them."""
    cols = np.array([[9, 3, -1, 4], [3, 9, 8, -1], [12, 12, 2**40, -1]])
    scores = np.array([[1, 1, -np.inf, 2], [1, 1, 5, -np.inf], [1, 0.5, 5, -np.inf]])
    totals = np.where(cols < 0, -np.inf, 0.5)
    nothing = np.where(cols < 0, np.nan, -0.25)
    parts = zip(cols, scores, nothing, totals, -nothing, strict=True)
    draws = [ng.Draw(c, c, s, log_prob, total, entropy) for c, s, log_prob, total, entropy in parts]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        chosen = [draws[i] for i in order]
        got = run(chosen)
        np.testing.assert_array_equal(got["col"], [3, 3, 8, 4])
        compare(got, ng.merge(chosen))


def test_merged_draws_are_merged_again():
    x = logits(6, 30, np.float64)
    draws = shards_of(x, (5, 11, 20))
    left, right = run(draws[:2]), run(draws[2:])
    again = [ng.Draw(part["col"], part["col"], **{name: part[name] for name in KNOWN}) for part in (left, right)]
    compare(run(again), ng.merge(draws))
