"""The field given an observed choice: the choice comes out of it, it is the posterior, and counterfactuals are consistent."""

import dense
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import numgumbel as ng
from numgumbel.backends.cpu import draws, pieces

KEY = ng.key(9, "conditional")
INF, NAN = np.inf, np.nan
REALS = [np.float32, np.float64]


# --- the largest score is at the index ------------------------------------------------------------------------------------


@st.composite
def observations(draw):
    """(logits, mask or None, temperatures, index): rows of any size, spread and ties, with an allowed index each."""
    dtype = draw(st.sampled_from(REALS))
    limit = float(np.finfo(dtype).max)
    rows, columns = draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 3, 4, 9, 40, 2049]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(size=(rows, columns))
    for row in x:
        kind = draw(st.sampled_from(["flat", "normal", "wide", "peaked", "rounded", "large", "huge", "at the end"]))
        row *= {"flat": 0, "wide": 100, "large": 1e6, "huge": limit / 1e3}.get(kind, 1)
        if kind == "peaked":
            row[rng.integers(columns)] += 1e4
        elif kind == "rounded":
            row[:] = np.round(row) * 1e7
        elif kind == "at the end":
            row[:] = rng.choice([limit, -limit, limit / 2, -limit / 2, 0.0, -INF], columns)
    x = x.astype(dtype)
    x[rng.random(x.shape) < draw(st.sampled_from([0, 0.4]))] = -INF
    mask = rng.random(x.shape) < 0.7 if draw(st.booleans()) else None
    index = rng.integers(columns, size=rows)
    x[np.arange(rows), index] = np.maximum(x[np.arange(rows), index], -limit)
    if mask is not None:
        mask[np.arange(rows), index] = True
    temperature = draw(st.sampled_from([1.0, 0.5, 3.0, 2.0**-64, 2.0**64, None]))
    return x, mask, 2.0 ** rng.uniform(-64, 64, rows) if temperature is None else np.full(rows, temperature), index


def strictly_largest(scores):
    """Index of the largest score, -1 where another is equal to it."""
    best = scores.max(axis=1, keepdims=True)
    return np.where((scores == best).sum(axis=1) == 1, scores.argmax(axis=1), -1)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(observations(), st.sampled_from([0, 2**30 + 1]), st.integers(0, 2**63 - 1))
def test_the_largest_score_is_at_the_index(observed, step, sample):
    x, mask, temperature, index = observed
    given = {"mask": mask, "temperature": temperature, "step": step, "sample": sample}
    noise = ng.conditional_gumbel(KEY, x, index, **given)
    assert not np.isnan(noise).any()
    cells = dense.cells(x, mask=mask)
    scores = dense.scores_of_noise(cells, noise, temperature)
    np.testing.assert_array_equal(strictly_largest(scores), index)
    np.testing.assert_array_equal(ng.conditional_gumbel(KEY, x, index, scores=True, **given), scores)
    if (temperature == 1).all():
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal((cells + noise).argmax(axis=1), index)
    # Whatever fits into the range has finite noise.
    wide, limit = np.where(cells > -INF, cells, 0).astype(np.longdouble), np.finfo(x.dtype).max
    fits = (np.abs(wide) / temperature[:, None] < limit / 4).all(axis=1)
    assert np.isfinite(noise[fits]).all()
    wanted = dense.conditional(KEY, cells, index, temperature, sample=sample, step=step)
    np.testing.assert_array_equal(noise, wanted)


@pytest.mark.parametrize("dtype", REALS)
def test_noise_that_rounding_swallows(dtype):
    """Logits 1e6 apart, and equal ones so large that no noise shows: without lowering, another category would be chosen."""
    x = np.array([[0, 1e6, 1e6, -1e6], [1e30, 1e30, 1e30, 1e30], [0, 0, -300, 0], [-1e30, 0, 1e30, 2e30]], dtype)
    for at in range(4):
        index = np.full(4, at)
        noise = ng.conditional_gumbel(KEY, x, index)
        assert np.isfinite(noise).all()
        assert ((x + noise).argmax(axis=1) == at).all()
        assert (strictly_largest(ng.conditional_gumbel(KEY, x, index, scores=True)) == at).all()
    plain = textbook(KEY, x, np.full(4, 3))
    assert ((x + plain.astype(dtype)).argmax(axis=1) != 3).any()


# --- the formula ----------------------------------------------------------------------------------------------------------


def textbook(key, x, index, sample=0, tag=2, **address):
    """Conditional noise from its definition, in NumPy and float64: -log(w_j T_j), T_i = E_i / sum(w), T_j = T_i + E_j / w_j."""
    folded = ng.fold(key, sample, tag=tag) if tag else key
    e = np.exp(-ng.gumbel(folded, x.shape, dtype=x.dtype, **address).astype(np.float64))
    w = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    rows = np.arange(len(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (e[rows, index] / w.sum(axis=1))[:, None] + e / w
        t[rows, index] = e[rows, index] / w.sum(axis=1)
        return np.where(w > 0, -np.log(t) - np.log(w), -np.log(e))


@pytest.mark.parametrize("dtype", REALS)
def test_equals_the_definition_in_plain_numpy(dtype):
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(500, 60)) * rng.choice([0.1, 1, 5], (500, 1))).astype(dtype)
    x[rng.random(x.shape) < 0.2] = -INF
    index = np.where(x == -INF, -1, rng.random(x.shape)).argmax(axis=1)
    wanted = textbook(KEY, x, index, sample=3, step=5)
    bound = (2.0**-20 if dtype == np.float32 else 2.0**-47) * np.maximum(1, np.abs(wanted))
    off = np.abs(ng.conditional_gumbel(KEY, x, index, sample=3, step=5) - wanted) > bound
    assert off.sum() == 0
    assert (np.abs(ng.conditional_gumbel(KEY, x, index, sample=4, step=5) - wanted) > bound).mean() > 0.99


# --- the distribution -----------------------------------------------------------------------------------------------------

P = np.array([0.05, 0.15, 0.5, 0.3])
# Functions of a row's noise whose distributions are compared.
VIEWS = [
    *(lambda g, j=j: g[:, j] for j in range(4)),
    *(lambda g, pair=pair: g[:, pair[0]] - g[:, pair[1]] for pair in [(0, 1), (0, 3), (1, 2), (2, 3)]),
    *(lambda g, pair=pair: g[:, pair[0]] + g[:, pair[1]] for pair in [(0, 1), (0, 2), (1, 3), (2, 3)]),
    lambda g: g.sum(axis=1),
    lambda g: (np.log(P) + g).max(axis=1),
]


def smallest_p(left, right):
    """The least p-value of two-sample Kolmogorov-Smirnov tests over all views."""
    return min(stats.ks_2samp(view(left), view(right)).pvalue for view in VIEWS)


def accepted(at, rows=400_000):
    """Noise of the rows of the field whose sample is `at`: rejection sampling of the posterior."""
    g = ng.gumbel(ng.key(1, "rejection"), (rows, 4))
    return g[(np.log(P) + g).argmax(axis=1) == at]


@pytest.mark.parametrize("at", range(4))
def test_it_is_the_posterior(at):
    """28 p-values over two precisions and 14 views; wrong noise has none above 1e-12 in all."""
    wanted = accepted(at)
    logits = np.broadcast_to(np.log(P), (30_000, 4))
    for dtype in REALS:
        got = ng.conditional_gumbel(KEY, logits.astype(dtype), np.full(30_000, at))
        assert smallest_p(got, wanted) > 1e-3
    assert smallest_p(ng.gumbel(KEY, (30_000, 4)), wanted) < 1e-12  # unconditioned
    assert smallest_p(ng.conditional_gumbel(KEY, logits, np.full(30_000, (at + 1) % 4)), wanted) < 1e-12  # another choice
    shifted = np.log(np.roll(P, 1))
    assert smallest_p(ng.conditional_gumbel(KEY, shifted + np.zeros((30_000, 1)), np.full(30_000, at)), wanted) < 1e-12


def test_other_samples_are_independent():
    logits, index = np.broadcast_to(np.log(P), (20_000, 4)), np.full(20_000, 2)
    a, b = ng.conditional_gumbel(KEY, logits, index, n=2)
    assert smallest_p(a, b) > 1e-3
    for j in range(4):
        assert abs(stats.spearmanr(a[:, j], b[:, j]).statistic) < 5 / np.sqrt(20_000)
    again = ng.conditional_gumbel(KEY, logits, index)
    assert stats.spearmanr(a[:, 0], again[:, 0]).statistic == pytest.approx(1)


def of_a_gumbel(noise):
    """Least p-value of: each category's noise is standard Gumbel; no two are correlated in rank."""
    columns = noise.shape[1]
    marginal = [stats.kstest(noise[:, j], stats.gumbel_r.cdf).pvalue for j in range(columns)]
    pairs = [stats.spearmanr(noise[:, j], noise[:, k]).pvalue for j in range(columns) for k in range(j)]
    return min(marginal + pairs)


def test_given_its_own_sample_the_noise_is_gumbel_again():
    """Averaged over the index, a posterior is the prior, also where the index was drawn under the same key, step and rows.

    Not so from the noise that drew the index: that at the index is large already, and would count twice.
    """
    logits = np.broadcast_to(np.log(P), (100_000, 4))
    index = ng.categorical(KEY, logits, step=3)
    assert of_a_gumbel(ng.conditional_gumbel(KEY, logits, index, step=3)) > 1e-3
    assert of_a_gumbel(textbook(KEY, logits, index, step=3)) > 1e-3
    assert of_a_gumbel(textbook(KEY, logits, index, step=3, tag=None)) < 1e-12


# --- what it must not depend on -------------------------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch):
    """Split the smallest call."""
    monkeypatch.setattr(pieces, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(pieces, "LEAST_PIECE", 1)
    before = ng.get_num_threads()
    yield
    ng.set_num_threads(before)


@pytest.mark.parametrize("dtype", REALS)
def test_threads_chunks_layouts_and_draws(eager, dtype):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 2, 5, 70)).astype(dtype).transpose(2, 0, 3, 1)  # categories along axis 2
    index = rng.integers(70, size=(5, 3, 2))
    ids = rng.integers(-(2**63), 2**63 - 1, (5, 3, 2))
    given = {"axis": 2, "rows": ids, "step": rng.integers(0, 2**40, (5, 3, 2))}
    ng.set_num_threads(1)
    wanted = ng.conditional_gumbel(KEY, x, index, n=4, sample=2, **given)
    assert wanted.shape == (4, *x.shape)
    for threads in (2, 5):
        ng.set_num_threads(threads)
        np.testing.assert_array_equal(ng.conditional_gumbel(KEY, x, index, n=4, sample=2, **given), wanted)
    for d in range(4):
        np.testing.assert_array_equal(ng.conditional_gumbel(KEY, x, index, sample=2 + d, **given), wanted[d])
    alone = [
        ng.conditional_gumbel(
            KEY, x[p[0], p[1], :, p[2]], index[p], rows=ids[p], step=int(given["step"][p]), sample=2, invalid="raise"
        )
        for p in np.ndindex(5, 3, 2)
    ]
    np.testing.assert_array_equal(np.moveaxis(wanted[0], 2, -1).reshape(-1, 70), alone)
    packed = np.ascontiguousarray(x)
    assert ng.conditional_gumbel(KEY, packed, index.astype(np.int32), sample=2, out=packed, **given) is packed
    np.testing.assert_array_equal(packed, wanted[0])
    # By position, rows have the ids 0, 1, ... in every draw.
    flat = x[:, :, :, 0].reshape(15, 70)
    by_place = ng.conditional_gumbel(KEY, flat, index[:, :, 0].reshape(15), n=3)
    named = ng.conditional_gumbel(KEY, flat[::-1], index[:, :, 0].reshape(15)[::-1], n=3, rows=np.arange(15)[::-1])
    np.testing.assert_array_equal(by_place, named[:, ::-1])


def test_probabilities_are_logits_of_their_logarithm():
    p = np.random.default_rng(1).random((30, 8))
    index = np.arange(30) % 8
    np.testing.assert_array_equal(
        ng.conditional_gumbel(KEY, probs=p, index=index), ng.conditional_gumbel(KEY, dense.log(p), index)
    )


def test_many_rows_and_many_samples_come_in_rounds(monkeypatch):
    x, index = np.random.default_rng(2).normal(size=(20, 6)), np.arange(20) % 6
    wanted = ng.conditional_gumbel(KEY, x, index, n=7)
    for size in (1, 20, 50):
        monkeypatch.setattr(draws, "ROWS_OF_ONE_ROUND", size)
        np.testing.assert_array_equal(ng.conditional_gumbel(KEY, x, index, n=7), wanted)
    assert ng.conditional_gumbel(KEY, x, index, n=0).shape == (0, 20, 6)
    assert ng.conditional_gumbel(KEY, x[:0], index[:0]).shape == (0, 6)


# --- counterfactuals ------------------------------------------------------------------------------------------------------


def test_whoever_switches_switches_to_what_got_better():
    """With the noise kept; with fresh noise many switch otherwise."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(5000, 7))
    observed = rng.integers(7, size=5000)
    better = x.copy()
    better[:, [1, 4]] += 0.5
    noise = ng.conditional_gumbel(KEY, x, observed)
    after = (better + noise).argmax(axis=1)
    moved = after != observed
    assert 0.02 < moved.mean() < 0.5
    assert np.isin(after[moved], [1, 4]).all()
    fresh = (better + ng.gumbel(KEY, x.shape)).argmax(axis=1)
    assert not np.isin(fresh[fresh != observed], [1, 4]).all()


# --- what comes of special input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", REALS)
def test_impossible_choices_are_invalid(dtype):
    x = np.zeros((12, 5), dtype)
    index = np.array([0, 5, -1, -(2**40), 2**40, 2, 3, 1, 0, 4, 2, 1])
    mask = np.ones(x.shape, bool)
    x[5, 2] = -INF
    mask[6, 3] = False
    x[7, 4] = NAN
    x[8, 1] = INF
    x[9, [1, 4]] = INF
    x[10] = -INF
    bad = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    for scores in (False, True):
        marked = ng.conditional_gumbel(KEY, x, index, mask=mask, invalid="mark", scores=scores)
        assert np.isnan(marked[bad]).all()
        assert np.isfinite(marked[[0, 11]]).all()
        out = np.zeros_like(x)
        with pytest.raises(
            ValueError, match=r"conditional_gumbel: 10 of 12 rows .*or an impossible index\): row 1, 2, 3, 4, 5, "
        ):
            ng.conditional_gumbel(KEY, x, index, mask=mask, out=out, scores=scores)
        np.testing.assert_array_equal(out, marked)
    with pytest.raises(ValueError, match=r"conditional_gumbel: 1 of 2 rows invalid .*: row 1;"):
        ng.conditional_gumbel(KEY, x[:2], index[:2], n=5)


@pytest.mark.parametrize("dtype", REALS)
def test_what_was_certain_says_nothing(dtype):
    """The only category, or the first +inf: noise as it comes, for all; and none for excluded categories."""
    x = np.array([[1, INF, 0, INF], [-INF, -INF, 2, -INF]], dtype)
    noise = ng.conditional_gumbel(KEY, x, np.array([1, 2]))
    unconditioned = ng.gumbel(ng.fold(KEY, 0, tag=2), x.shape, dtype=dtype)
    np.testing.assert_array_equal(noise[0], unconditioned[0])
    np.testing.assert_allclose(noise[1], unconditioned[1], rtol=1e-6)
    scores = ng.conditional_gumbel(KEY, x, np.array([1, 2]), scores=True)
    assert (scores.argmax(axis=1) == [1, 2]).all()
    assert (scores[x == INF] == INF).all()
    assert (scores[x == -INF] == -INF).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"index": None}, TypeError, "index is missing"),
        ({"index": [0.0, 1.0]}, TypeError, "index must be integers, got float64"),
        ({"index": [True, False]}, TypeError, "index must be integers, got bool"),
        ({"index": [0]}, ValueError, r"index must hold one choice a row, shape \(2,\), got shape \(1,\)"),
        ({"index": 0}, ValueError, r"got shape \(\)"),
        ({"temperature": 0}, ValueError, "temperature must be positive for conditional noise"),
        ({"temperature": [1.0, 0.0]}, ValueError, "temperature must be positive for conditional noise"),
        ({"temperature": -1}, ValueError, "temperature must be 0 or from"),
        ({"sample": -1}, ValueError, "sample must be 0 or more and, with those that follow, below 2\\^63, got -1"),
        ({"sample": 2**63 - 1, "n": 2}, ValueError, "sample must be 0 or more"),
        ({"sample": 1.0}, TypeError, "sample must be an integer"),
        ({"n": -1}, ValueError, "n must be 0 or more"),
        ({"invalid": "drop"}, ValueError, "invalid must be"),
        ({"out": np.zeros((2, 3), np.float32)}, TypeError, "out must be float64"),
        ({"out": np.zeros((3, 2))}, ValueError, "out must have shape"),
    ],
)
def test_wrong_arguments(change, error, message):
    given = {"logits": np.zeros((2, 3)), "index": [0, 1]} | change
    with pytest.raises(error, match=message):
        ng.conditional_gumbel(KEY, **given)


def test_an_output_that_is_an_input():
    x, index = np.zeros((2, 3)), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.conditional_gumbel(KEY, x, index, out=x, n=2) if x.ndim == 3 else ng.conditional_gumbel(
            KEY, x[:, ::-1], index, out=x
        )
    memory = np.zeros(8)
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.conditional_gumbel(KEY, x, memory[:2].view(np.int64), out=memory[:6].reshape(2, 3))
