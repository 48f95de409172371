"""Inclusion probabilities of top-k samples: exact ones by enumeration, weights without bias, accuracy in both tails."""

import itertools

import mpmath
import numpy as np
import oracle
import pytest
from numba import njit

import numgumbel as ng
from numgumbel.kernels.cpu.inclusion import log_inclusion

KEY = ng.key(3, "inclusion")
P = np.array([0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
F = np.array([1.0, -2.0, 3.0, 0.5, 10.0, -30.0])
DRAWS = 200_000
NAN, INF = np.nan, np.inf
REALS = np.float32, np.float64
TOLERANCE = {np.float32: 5e-7, np.float64: 1e-12}


# --- what is drawn, and with which probability --------------------------------------------------------------------------------


def exact_inclusion(p, k):
    """P(i is among k drawn in turn without replacement), by enumeration of all ordered selections."""
    included = np.zeros(len(p))
    for order in itertools.permutations(range(len(p)), k):
        probability, left = 1.0, 1.0
        for i in order:
            probability *= p[i] / left
            left -= p[i]
        included[list(order)] += probability
    return included


def sampled(p, k, temperature=1.0):
    """A sample of many draws from logits whose softmax at this temperature is p."""
    logits = (np.log(p) + 1.5) * temperature
    return logits, ng.gumbel_topk(KEY, logits, k, n=DRAWS, temperature=temperature)


def misses(values, wanted):
    """By how many standard errors the mean over draws is off, the most of all columns."""
    error = np.maximum(values.std(axis=0), 1e-12) / np.sqrt(len(values))
    return np.max(np.abs(values.mean(axis=0) - wanted) / error)


def spread(top, values):
    """Values of the chosen at their categories, 0 elsewhere: draws x categories."""
    full = np.zeros((len(top.index), len(P)))
    np.put_along_axis(full, top.index, values, axis=1)
    return full


def weight_misses(top, log_q):
    """Of 1 / q at every category, whose mean is 1, and of the estimate of sum p f."""
    weights = spread(top, np.exp(-log_q))
    return max(misses(weights, 1.0), misses((weights * P * F).sum(axis=1, keepdims=True), P @ F))


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_frequencies_and_weights(k, temperature):
    logits, top = sampled(P, k, temperature)
    log_q = ng.inclusion_log_prob(logits, top, temperature=temperature)
    wanted = exact_inclusion(P, k)
    assert abs(wanted.sum() - k) < 1e-12
    assert misses(spread(top, np.ones(top.index.shape)), wanted) < 4.5
    assert weight_misses(top, log_q) < 4.5


@pytest.mark.parametrize("k", range(1, 6))
def test_wrong_probabilities_are_noticed(k):
    """The k-th score for a threshold, no threshold, another temperature: none has weights without bias."""
    logits, top = sampled(P, k)
    last = top._replace(threshold=top.score[:, -1])
    assert weight_misses(top, ng.inclusion_log_prob(logits, last)) > 6
    assert weight_misses(top, ng.inclusion_log_prob(logits, top, temperature=0.9)) > 6
    if k > 1:  # a lone one is chosen with its probability
        assert weight_misses(top, np.log(P)[top.index]) > 6
        assert misses(spread(top, np.ones(top.index.shape)), k * P) > 6


# --- accuracy -----------------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def _log_inclusion(d, out):
    for i in range(d.size):
        out[i] = log_inclusion(d[i])


def exact_log_inclusion(d):
    with mpmath.workprec(2400):
        return mpmath.log(-mpmath.expm1(-mpmath.exp(mpmath.mpf(float(d)))))


def ulps(got, wanted):
    with mpmath.workprec(200):
        return float(abs(mpmath.mpf(float(got)) - wanted) / mpmath.mpf(float(np.spacing(abs(float(wanted))))))


def test_accurate_in_both_tails():
    rng = np.random.default_rng(1)
    parts = rng.uniform(-5, 3, 1500), rng.uniform(-740, 6, 300), np.log(1.0986122886681098) + rng.normal(0, 1e-3, 300)
    d = np.concatenate([*parts, [0.0, -0.0, 1e-300, -1e-300, -36.7, -37.5]])
    got = np.empty_like(d)
    _log_inclusion(d, got)
    allowed = 2.5 + np.where(np.exp(d) > 1, np.exp(d), 0)
    used = [ulps(g, exact_log_inclusion(x)) / a for x, g, a in zip(d, got, allowed, strict=True)]
    print(f"largest error {max(used):.2f} of what is stated")
    assert max(used) < 1
    naive = np.log(1 - np.exp(-np.exp(-36.7)))
    assert ulps(naive, exact_log_inclusion(-36.7)) > 100


def test_ends_of_the_range():
    d = np.array([INF, 800.0, 6.7, -INF, -800.0, NAN])
    got = np.empty_like(d)
    _log_inclusion(d, got)
    np.testing.assert_array_equal(got, [0, 0, 0, -INF, -800, NAN])
    assert not np.signbit(got[:3]).any()


# --- special input ------------------------------------------------------------------------------------------------------------


def plain(x, top, temperature=1.0):
    """The formula in NumPy's float64."""
    index = top.index
    x = np.broadcast_to(x, (*index.shape[:-1], x.shape[-1]))
    with np.errstate(all="ignore"):
        t = np.broadcast_to(temperature, index.shape[:-1])[..., None]
        phi = np.take_along_axis(x, index, -1).astype(float) * (1 / t).astype(x.dtype)
        log_q = oracle.log_inclusion(phi - np.asarray(top.threshold)[..., None].astype(float))
        log_q = np.where((t == 0) | (phi == INF) | (np.asarray(top.threshold)[..., None] == -INF), 0.0, log_q)
    return np.where(np.isnan(top.threshold)[..., None], NAN, np.where(index < 0, -INF, log_q))


@pytest.mark.parametrize("dtype", REALS)
def test_special_rows(dtype):
    x = np.random.default_rng(2).normal(size=(8, 6)).astype(dtype)
    x[1, 2:] = -INF  # two allowed
    x[2, 3] = NAN
    x[3, [0, 4]] = INF
    x[4, :5] = INF  # more than k
    x[5] = -INF
    x[6, 1:] = np.finfo(dtype).min
    for temperature in (1.0, 0.0, np.array([1, 0, 2, 1, 1, 1, 1e-3, 0.5])):
        top = ng.gumbel_topk(KEY, x, 3, temperature=temperature, invalid="mark")
        got = ng.inclusion_log_prob(x, top, temperature=temperature)
        assert got.dtype == dtype
        ordinary = [0, 1, 2, 3, 4, 5, 7]
        temperatures = np.broadcast_to(temperature, 8)[ordinary]
        wanted = plain(x[ordinary], ng.TopK(*(part[ordinary] for part in top)), temperatures)
        np.testing.assert_allclose(got[ordinary], wanted, rtol=TOLERANCE[dtype], atol=1e-38)
        np.testing.assert_array_equal(got[1], [0, 0, -INF])
        np.testing.assert_array_equal(got[3, :2], [0, 0])
        np.testing.assert_array_equal(got[4], [0, 0, 0])
        assert np.isnan(got[[2, 5]]).all()
        assert np.isfinite(got[6]).all()  # scores clamped to the smallest float: a weight that is a number
    everything = ng.gumbel_topk(KEY, x[:1], 6)
    np.testing.assert_array_equal(ng.inclusion_log_prob(x[:1], everything), np.zeros((1, 6)))


@pytest.mark.parametrize("dtype", REALS)
def test_shapes_axes_draws_and_strides(dtype):
    x = np.random.default_rng(3).normal(size=(4, 9, 5)).astype(dtype)
    temperature = np.random.default_rng(4).uniform(0.5, 2, (4, 5))
    top = ng.gumbel_topk(KEY, x, 3, axis=1, n=6, temperature=temperature)
    got = ng.inclusion_log_prob(x, top, axis=1, temperature=temperature)
    assert got.shape == top.index.shape == (6, 4, 3, 5)
    last = ng.TopK(np.moveaxis(top.index, 2, -1), None, top.threshold)
    wanted = plain(np.moveaxis(x, 1, -1), last, temperature)
    np.testing.assert_allclose(np.moveaxis(got, 2, -1), wanted, rtol=TOLERANCE[dtype], atol=1e-38)
    for draw in range(6):
        one = ng.TopK(*(part[draw] for part in top))
        np.testing.assert_array_equal(ng.inclusion_log_prob(x, one, axis=1, temperature=temperature), got[draw])
    narrow = top._replace(index=top.index.astype(np.int32))
    out = np.empty((3, 5, 6, 4), dtype).transpose(2, 3, 0, 1)
    assert ng.inclusion_log_prob(x, narrow, axis=-2, temperature=temperature, out=out) is out
    np.testing.assert_array_equal(out, got)
    vector = ng.gumbel_topk(KEY, x[0, :, 0], 2)
    assert ng.inclusion_log_prob(x[0, :, 0], vector).shape == (2,)
    empty = ng.gumbel_topk(KEY, x[:0], 2)
    assert ng.inclusion_log_prob(x[:0], empty).shape == (0, 9, 2)


def test_threads_do_not_show():
    x = np.random.default_rng(5).normal(size=(3000, 40))
    top = ng.gumbel_topk(KEY, x, 10)
    before = ng.get_num_threads()
    try:
        ng.set_num_threads(1)
        alone = ng.inclusion_log_prob(x, top)
        ng.set_num_threads(2)
        np.testing.assert_array_equal(ng.inclusion_log_prob(x, top), alone)
    finally:
        ng.set_num_threads(before)


X = np.zeros((2, 5))
TOP = ng.gumbel_topk(KEY, X, 2)
REFUSED = {
    "no TopK": (lambda: ng.inclusion_log_prob(X, TOP.index), TypeError, "top must be a TopK"),
    "integer logits": (lambda: ng.inclusion_log_prob(X.astype(int), TOP), TypeError, "logits must be float32, float64"),
    "scalar": (lambda: ng.inclusion_log_prob(np.float64(1), TOP), ValueError, "logits must have at least one axis"),
    "index of floats": (lambda: ng.inclusion_log_prob(X, TOP._replace(index=X[:, :2])), TypeError, "top.index must be int64"),
    "other precision": (lambda: ng.inclusion_log_prob(X.astype(np.float32), TOP), TypeError, "top.threshold must be float32"),
    "other rows": (lambda: ng.inclusion_log_prob(X[:1], TOP), ValueError, "top.index must have shape"),
    "one threshold": (lambda: ng.inclusion_log_prob(X, TOP._replace(threshold=X[0, 0])), ValueError, "top.threshold must have"),
    "beyond": (
        lambda: ng.inclusion_log_prob(X, TOP._replace(index=TOP.index + 4)),
        ValueError,
        "top.index must be from -1",
    ),
    "below": (
        lambda: ng.inclusion_log_prob(X, TOP._replace(index=TOP.index - 6)),
        ValueError,
        "top.index must be from -1",
    ),
    "temperature": (lambda: ng.inclusion_log_prob(X, TOP, temperature=-1.0), ValueError, "temperature must be 0 or from"),
    "axis": (lambda: ng.inclusion_log_prob(X, TOP, axis=2), ValueError, "axis 2 is out of range"),
    "shape of out": (lambda: ng.inclusion_log_prob(X, TOP, out=X), ValueError, "out must have shape"),
    "overlap": (lambda: ng.inclusion_log_prob(X, TOP, out=X[:, :2]), ValueError, "out overlaps an input"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call, error, message):
    before = X.copy()
    with pytest.raises(error, match=message):
        call()
    np.testing.assert_array_equal(X, before)
