"""What must hold of draws, their log-probabilities, their shards and their gradients, whatever the logits (hypothesis)."""

import itertools

import dense
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numgumbel as ng
from numgumbel.backends.cpu import draws, layouts, pieces, plain

KEY = ng.key(12, "draw properties")
INF, NAN = np.inf, np.nan
REALS = [np.float32, np.float64]
KNOWN = ("score", "log_prob", "logsumexp", "entropy")
quick = settings(max_examples=80, deadline=None, derandomize=True)

integers = st.integers(0, 2**32 - 1)


def logits_of(rng, shape, dtype):
    """Flat, spread, peaked, tied and huge rows, some with exclusions."""
    x = rng.normal(size=shape) * rng.choice([0.0, 0.3, 3.0, 60.0], (*shape[:-1], 1))
    x += rng.choice([0.0, 0.0, 1e3, -1e30], (*shape[:-1], 1))
    x[rng.random(shape) < rng.choice([0, 0.4])] = -INF
    return x.astype(dtype)


@st.composite
def policies(draw, most=40):
    """(logits, heads, mask or None, temperature): any batch, every head with an action."""
    rng, dtype = np.random.default_rng(draw(integers)), draw(st.sampled_from(REALS))
    nvec = draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 17, most]), min_size=1, max_size=4))
    batch = tuple(draw(st.lists(st.integers(1, 5), max_size=3)))
    x = logits_of(rng, (*batch, sum(nvec)), dtype)
    mask = rng.random(x.shape) < 0.7 if draw(st.booleans()) else None
    for begin in np.cumsum([0, *nvec[:-1]]):
        x[..., begin] = np.maximum(x[..., begin], np.finfo(dtype).min)
        if mask is not None:
            mask[..., begin] = True
    kind = draw(st.sampled_from(["one", "some", "each"]))
    t = {"one": 1.0, "some": float(rng.choice([0.0, 0.3, 2.0])), "each": rng.choice([0.0, 0.1, 1.0, 7.0], batch)}[kind]
    return x, nvec, mask, t


# --- the update's ratio --------------------------------------------------------------------------------------------------


@quick
@given(policies(), st.sampled_from([0, 2**30 + 3]), st.booleans(), st.booleans())
def test_the_ratio_before_the_first_update_is_one(policy, step, deterministic, one_head):
    """The same bits from the sampler and from the update, whichever way through the package either takes."""
    x, nvec, mask, t = policy
    nvec = None if one_head else nvec
    mask = mask if mask is None or not one_head else mask & (np.arange(x.shape[-1]) >= 0)
    options = {"nvec": nvec, "mask": mask, "temperature": t}
    sampled = ng.sample_actions(KEY, x, step=step, deterministic=deterministic, **options)
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), NAN, x.dtype)[..., ::-2]
    wide[...] = x
    for logits, actions, more in (
        (x, sampled.action, {}),
        (wide, sampled.action.astype(np.int32), {"invalid": "raise"}),
        (np.moveaxis(wide, -1, 0), sampled.action if nvec is None else np.moveaxis(sampled.action, -1, 0), {"axis": 0}),
    ):
        turned = {"mask": np.moveaxis(mask, -1, 0)} if "axis" in more and mask is not None else {}
        told = ng.log_prob_entropy(logits, actions, **options | more | turned)
        np.testing.assert_array_equal(told.log_prob, sampled.log_prob)
        np.testing.assert_array_equal(told.entropy, sampled.entropy)
        with np.errstate(invalid="ignore"):
            assert (np.exp(told.log_prob - sampled.log_prob) == 1).all()
    assert (sampled.entropy >= 0).all()
    assert (sampled.log_prob <= 0).all()


@quick
@given(policies(most=60))
def test_probabilities_of_all_actions_add_up_to_one(policy):
    """And their mean logarithm is the entropy; head by head, and over pairs of two heads."""
    x, nvec, mask, t = policy
    first, mask = x[..., : nvec[0]], None if mask is None else mask[..., : nvec[0]]
    count = nvec[0]
    every = np.broadcast_to(np.arange(count).reshape(-1, *(1 for _ in x.shape[:-1])), (count, *x.shape[:-1]))
    told = ng.log_prob_entropy(
        np.broadcast_to(first, (count, *first.shape)),
        every,
        mask=mask,
        temperature=t if np.ndim(t) == 0 else np.broadcast_to(t, every.shape),
    )
    log_p = told.log_prob.astype(np.float64)
    p = np.exp(log_p)
    # What is likely is near the largest logits / T, and that is rounded once, in the working precision.
    allowed = np.where(True if mask is None else mask, first.astype(np.float64), -INF)
    largest = np.abs(allowed.max(axis=-1)) / np.where(np.asarray(t) == 0, INF, t)
    size = 8 * np.finfo(x.dtype).eps * (1 + largest)
    assert (np.abs(p.sum(axis=0) - 1) <= size).all()
    entropy = -(p * np.where(p > 0, log_p, 0)).sum(axis=0)
    assert (np.abs(told.entropy[0] - entropy) <= 4 * size * (1 + np.log(count))).all()
    np.testing.assert_array_equal(told.entropy, np.broadcast_to(told.entropy[0], told.entropy.shape))


def test_a_log_probability_that_is_off_is_noticed():
    """The sums above can fail: at another temperature, or without the mask, they are not those of the actions."""
    x = np.random.default_rng(0).normal(size=(1, 6))
    mask = np.arange(6) != x.argmax()
    right, wrong = (
        np.exp(ng.log_prob_entropy(np.repeat(x, 6, axis=0), np.arange(6), mask=m).log_prob[mask]).sum() for m in (mask, None)
    )
    assert abs(right - 1) < 1e-15
    assert abs(wrong - 1) > 1e-2


# --- shards --------------------------------------------------------------------------------------------------------------


@st.composite
def sharded(draw):
    """(logits, temperature one a row, shards as lists of columns, a random generator)."""
    rng, dtype = np.random.default_rng(draw(integers)), draw(st.sampled_from(REALS))
    rows, columns = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3, 9, 40, 600, 1100]))
    x = logits_of(rng, (rows, columns), dtype)
    if draw(st.booleans()):
        x[rng.integers(rows)] = -INF
    if draw(st.booleans()):
        x[:, rng.integers(0, columns, 2)] = INF
    if draw(st.booleans()):
        x[rng.integers(rows), rng.integers(columns)] = NAN
    t = rng.choice([1.0, 0.5, 4.0, 0.0], rows)
    owner = rng.integers(0, draw(st.integers(1, 8)), columns)
    shards = [np.flatnonzero(owner == number) for number in rng.permutation(np.unique(owner))]
    return x, t, shards, rng


def any_tree(draws, rng, merge):
    """One draw of all, joined two or three at a time in any order."""
    draws = list(draws)
    while len(draws) > 1:
        some = [draws.pop(rng.integers(len(draws))) for _ in range(min(len(draws), rng.integers(2, 4)))]
        draws.append(merge(some))
    return draws[0]


def compare_with_unsharded(x, t, shards, rng, merge):
    whole = ng.draw(KEY, x, want=KNOWN, temperature=t, invalid="mark")
    parts = [ng.draw(KEY, x[:, c], cols=c, want=KNOWN, temperature=t, invalid="mark") for c in shards]
    nothing = np.full((len(x), 3), -INF, x.dtype)
    parts += [ng.draw(KEY, nothing, cols=[5, 6, 7], want=KNOWN, temperature=t, invalid="mark")] * int(rng.integers(3))
    joined = any_tree(parts, rng, merge)
    bad = np.isnan(x).any(axis=1) | (x == -INF).all(axis=1)
    np.testing.assert_array_equal(joined.index, whole.index)
    np.testing.assert_array_equal(joined.col, whole.col)
    np.testing.assert_array_equal(joined.score, whole.score)
    certain = bad | (t == 0) | (x == INF).any(axis=1)
    largest = np.where(certain[:, None], 0, np.where(x > -INF, np.abs(x.astype(np.float64)), 0)).max(axis=1)
    ulp = np.finfo(x.dtype).eps * np.maximum(1, largest / np.where(t == 0, 1, t))
    for name in KNOWN[1:]:
        got, wanted = getattr(joined, name), getattr(whole, name)
        np.testing.assert_array_equal(got[certain], wanted[certain])
        assert (np.abs(got[~certain] - wanted[~certain]) <= 8 * ulp[~certain]).all(), name
    return joined


@quick
@given(sharded())
def test_any_tree_of_merges_is_the_unsharded_draw(case):
    """Any partition of the columns, any order, empty shards, -inf, +inf, NaN and ties."""
    x, t, shards, rng = case
    compare_with_unsharded(x, t, shards, rng, lambda some: ng.merge(some, temperature=t))


def wrong_on_ties(some, t):
    """The first of equal scores, in place of the lowest column."""
    merged = ng.merge(some, temperature=t)
    scores = np.stack([np.where(d.index < 0, -INF, d.score) for d in some])
    col = np.stack([d.col for d in some])[scores.argmax(axis=0), np.arange(scores.shape[1])]
    return merged._replace(index=col, col=col)


def wrong_mass(some, t):
    """The largest logsumexp, in place of all."""
    return ng.merge(some, temperature=t)._replace(logsumexp=np.max([d.logsumexp for d in some], axis=0))


@pytest.mark.parametrize("wrong", [wrong_on_ties, wrong_mass])
def test_a_wrong_merge_is_noticed(wrong):
    x, t = np.zeros((2, 6)), np.array([0.0, 1.0])
    shards = [np.array([3, 4, 5]), np.array([0, 1, 2])]
    compare_with_unsharded(x, t, shards, np.random.default_rng(0), lambda some: ng.merge(some, temperature=t))
    one_of = lambda seeds: [compare_with_unsharded(x, t, shards, rng, lambda some: wrong(some, t)) for rng in seeds]
    with pytest.raises(AssertionError):
        one_of(map(np.random.default_rng, range(10)))


# --- the gradient --------------------------------------------------------------------------------------------------------


def worst_difference(x, nvec, mask, t, actions, vjp, h=1e-5):
    """Largest difference from central differences of a log_prob + b entropy over every allowed logit, by its size."""
    a, b = np.random.default_rng(1).normal(size=(2, *x.shape[:-1]))
    gradient = vjp(x, actions, a, b, nvec=nvec, mask=mask, temperature=t)
    allowed = np.isfinite(x) & (True if mask is None else mask)
    assert (gradient[~allowed] == 0).all()
    numeric = np.zeros_like(x)

    def loss(x):
        told = ng.log_prob_entropy(x, actions, nvec=nvec, mask=mask, temperature=t)
        return (a * told.log_prob + b * told.entropy).sum()

    for place in zip(*np.nonzero(allowed), strict=True):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        numeric[place] = (loss(up) - loss(down)) / (2 * h)
    return np.abs(gradient - numeric).max() / max(np.abs(numeric).max(), 1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_the_gradient_is_that_of_central_differences(data):
    rng = np.random.default_rng(data.draw(integers))
    nvec = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    x = rng.normal(size=(*data.draw(st.sampled_from([(), (2,), (2, 2)])), sum(nvec)))
    mask = rng.random(x.shape) < 0.8 if data.draw(st.booleans()) else None
    x[rng.random(x.shape) < 0.1] = -INF
    for begin in np.cumsum([0, *nvec[:-1]]):
        x[..., begin] = np.where(x[..., begin] == -INF, 0, x[..., begin])
        if mask is not None:
            mask[..., begin] = True
    t = data.draw(st.sampled_from([0.3, 1.0, 4.0]))
    t = t if data.draw(st.booleans()) else rng.choice([0.3, 1.0, 4.0], x.shape[:-1])
    actions = ng.sample_actions(KEY, x, nvec=nvec, mask=mask, temperature=t).action
    given = (x, nvec, mask, t, actions)
    assert worst_difference(*given, ng.log_prob_entropy_vjp) < 1e-7
    if len(nvec) > 1 or sum(nvec) > 1:
        doubled = lambda *args, **options: 2 * ng.log_prob_entropy_vjp(*args, **options)
        spread = np.abs(ng.log_prob_entropy_vjp(x, actions, np.ones(x.shape[:-1]), np.ones(x.shape[:-1]), nvec=nvec, mask=mask))
        assert spread.max() < 1e-3 or worst_difference(*given, doubled) > 1e-3


# --- threads and chunks --------------------------------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch):
    """Split the smallest call."""
    for module, name in ((pieces, "WORTH_A_THREAD"), (pieces, "LEAST_PIECE"), (plain, "WORTH_A_WATCHER")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(plain, "PLAIN_DRAW_BYTES", 0)
    counts = []
    genuine = pieces.run
    monkeypatch.setattr(pieces, "run", lambda work, count: (counts.append(count), genuine(work, count))[1])
    before = ng.get_num_threads()
    yield counts
    ng.set_num_threads(before)


@pytest.mark.parametrize("columns", [3, 70, 700])
@pytest.mark.parametrize("dtype", REALS)
def test_threads_and_rounds_do_not_matter(eager, monkeypatch, dtype, columns):
    rng = np.random.default_rng(columns)
    x = logits_of(rng, (3, 5, 4, columns), dtype).transpose(2, 0, 1, 3)
    x[..., 0] = np.where(x[..., 0] == -INF, 0, x[..., 0])
    x[..., -1] = np.where(x[..., -1] == -INF, 0, x[..., -1])
    nvec, index = [columns - 1, 1], x.argmax(axis=-1)
    steps, t = rng.integers(0, 2**40, x.shape[:-1]), rng.choice([0.5, 1.0, 2.0], x.shape[:-1])

    def everything():
        plain = np.ascontiguousarray(x[0])
        return [
            *ng.draw(KEY, x, want=KNOWN, n=3, step=steps, temperature=t),
            *ng.sample_actions(KEY, x, nvec=nvec, n=2, step=steps),
            *ng.sample_actions(KEY, plain, nvec=nvec),
            *ng.log_prob_entropy(plain, np.zeros((*plain.shape[:-1], 2), np.int64), nvec=nvec),
            ng.log_prob_entropy_vjp(x, index, np.ones(x.shape[:-1], dtype), np.ones(x.shape[:-1], dtype), temperature=t),
            ng.conditional_gumbel(KEY, x, index, n=3, step=steps, temperature=t),
        ]

    ng.set_num_threads(1)
    wanted = everything()
    assert not eager
    for threads, rows in ((2, 1 << 15), (5, 1 << 15), (3, 70), (2, 1)):
        ng.set_num_threads(threads)
        for module in (layouts, draws):
            monkeypatch.setattr(module, "ROWS_OF_ONE_ROUND", rows)
        for got, expected in zip(everything(), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)
        assert max(eager) > 1
    # And all is that of the dense oracle.
    flat = np.ascontiguousarray(x).reshape(-1, columns)
    drawn = ng.draw(KEY, x, want=KNOWN, step=steps, temperature=t)
    scores = dense.scores(KEY, flat, t.reshape(-1), step=steps.reshape(-1))
    np.testing.assert_array_equal(drawn.index.reshape(-1), dense.largest(flat, scores))
    known = dense.known(flat, drawn.index.reshape(-1), t.reshape(-1))
    for name, part in zip(KNOWN[1:], known, strict=True):
        np.testing.assert_array_equal(getattr(drawn, name).reshape(-1), part.astype(dtype))


@quick
@given(policies(), st.data())
def test_a_batch_is_its_rows(policy, data):
    """Rows one by one, with their ids, in any order, from any shape, give the bits of the batch."""
    x, nvec, mask, t = policy
    batch = x.shape[:-1]
    ids = np.random.default_rng(data.draw(integers)).integers(-(2**63), 2**63 - 1, batch)
    together = ng.sample_actions(KEY, x, nvec=nvec, mask=mask, temperature=t, rows=ids)
    drawn = ng.draw(KEY, x, want=KNOWN, mask=mask, temperature=t, rows=ids)
    for place in itertools.islice(np.ndindex(*batch), 6):
        at = t if np.ndim(t) == 0 else t[place]
        options = {"mask": None if mask is None else mask[place], "temperature": at, "rows": ids[place]}
        for got, wanted in zip(ng.sample_actions(KEY, x[place], nvec=nvec, **options), together, strict=True):
            np.testing.assert_array_equal(got, wanted[place])
        for got, wanted in zip(ng.draw(KEY, x[place], want=KNOWN, **options), drawn, strict=True):
            np.testing.assert_array_equal(got, wanted[place])
