"""Every operation of every backend, index for index and bit for bit, against the dense oracle; and against plain NumPy.

`CASES` has one entry for each entry of the operation x backend table; a new operation without one fails the suite.
"""

import itertools

import dense
import numpy as np
import oracle
import pytest

import numgumbel as ng
from numgumbel.backends import cpu

# Around every boundary of vectors, Philox groups, summation lanes and tiles.
COLUMNS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1000, 1023, 1024, 1025, 2047, 2049, 3071, 5000]
REALS = [np.float32, np.float64]
KEY = ng.key(2024, "operations")


def logits_of(columns, dtype, rows=7, seed=0):
    """Rows of different character: flat, spread, peaked, with exclusions, constant, sorted, huge."""
    rng = np.random.default_rng([columns, seed])
    x = rng.normal(size=(rows, columns))
    x[1] *= 20
    x[2, rng.integers(columns)] += 30
    x[3, rng.random(columns) < 0.7] = -np.inf
    x[3, rng.integers(columns)] = 0.5  # at least one is left
    x[4] = 1.25
    x[5] = np.sort(x[5])
    x[6] *= 1e30
    return x.astype(dtype)


def uniform_of(key):
    return lambda step, row: int(oracle.uniform_bits(key.words, step, row))


def check_categorical(x, **given):
    cells = dense.cells(x, mask=given.pop("mask", None))
    return dense.categorical(KEY, cells, **given)


def check_inverse_cdf(x, cols=None, **given):
    cells = dense.cells(x, mask=given.pop("mask", None))
    return dense.inverse_cdf(KEY, cells, uniform=uniform_of(KEY), **given)


def check_topk(x, k, **given):
    cells = dense.cells(x, mask=given.pop("mask", None))
    return dense.topk(KEY, cells, k, **given)


def check_softmax(x, temperature=1.0, **given):
    cells = dense.cells(x, mask=given.pop("mask", None))
    given.pop("invalid", None)
    return dense.softmax(KEY, cells, temperature, **given)


def same(left, right):
    """Equal to the bit, NaN included, zero signs included."""
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype, (left.dtype, right.dtype)
    np.testing.assert_array_equal(left, right)
    if left.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(left), np.signbit(right))


def run_categorical(x, **given):
    same(ng.categorical(KEY, x, invalid="raise", **given), check_categorical(x, **given))


def run_plain_categorical(x, **given):
    """The short way, for calls that give no more than a step and a temperature."""
    x = np.where(np.isnan(x), x.dtype.type(0), x)
    for step, temperature in ((0, 1.0), (2**40 + 3, 0.3), (5, 0.0)):
        wanted = check_categorical(x, step=step, temperature=temperature)
        same(ng.categorical(KEY, x, step=step, temperature=temperature), wanted)
        same(ng.categorical(KEY, x[0], step=step, temperature=temperature), wanted[0])
        same(ng.categorical(KEY, x[None], step=step, temperature=temperature), wanted[None])


def run_inverse_cdf(x, **given):
    wanted = check_inverse_cdf(x, **given)
    same(ng.categorical(KEY, x, method="inverse_cdf", **given), wanted)
    same(ng.categorical(KEY, x, method="inverse_cdf", n=12, **given)[0], wanted)


def run_ragged(x, cols=None, **given):
    """Rows of one length, one behind the other: the same as `categorical`."""
    if "mask" in given:
        given["mask"] = np.broadcast_to(given["mask"], x.shape).reshape(-1)
    flat = None if cols is None else np.broadcast_to(cols, x.shape).reshape(-1)
    got = ng.categorical_ragged(KEY, x.reshape(-1), np.arange(len(x) + 1) * x.shape[1], cols=flat, **given)
    if "mask" in given:
        given["mask"] = given["mask"].reshape(x.shape)
    same(got, check_categorical(x, cols=cols, **given))


def run_topk(x, **given):
    for k in {1, min(5, x.shape[1]), x.shape[1]}:
        for got, wanted in zip(ng.gumbel_topk(KEY, x, k, **given), check_topk(x, k, **given), strict=True):
            same(got, wanted)


def run_softmax(x, temperature=1.0, **given):
    given["invalid"] = "raise"
    same(ng.gumbel_softmax(KEY, x, tau=temperature, **given), check_softmax(x, temperature, **given))
    same(ng.gumbel_softmax(KEY, x, tau=temperature, hard=True, **given), check_softmax(x, temperature, hard=True, **given))


def run_plain_softmax(x, **given):
    x = np.where(np.isnan(x), x.dtype.type(0), x)
    for step, tau, hard in ((0, 1.0, False), (2**40 + 3, 0.3, False), (5, 0.0, False), (6, 2.0, True)):
        wanted = check_softmax(x, tau, step=step, hard=hard)
        same(ng.gumbel_softmax(KEY, x, step=step, tau=tau, hard=hard), wanted)
        same(ng.gumbel_softmax(KEY, x[0], step=step, tau=tau, hard=hard), wanted[0])
        same(ng.gumbel_softmax(KEY, x[None], step=step, tau=tau, hard=hard), wanted[None])


def run_softmax_vjp(x, temperature=1.0, **given):
    """The defined order of the dot product, with each product added fused, which float64 shows for float32."""
    positive = np.maximum(temperature, 0.25)
    c = np.random.default_rng(1).normal(size=x.shape).astype(x.dtype)
    got = ng.gumbel_softmax_vjp(KEY, x, c, tau=positive, **given)
    y = check_softmax(x, positive, **given).astype(np.float64)
    wanted = y * (c - (c * y).sum(axis=1, keepdims=True)) / np.broadcast_to(positive, (len(x),))[:, None]
    mask = given.get("mask")
    if mask is not None:
        assert (got[~np.broadcast_to(mask, x.shape).astype(bool)] == 0).all()
    scale = np.abs(y).max(axis=1, keepdims=True) * np.abs(c).max() / np.min(positive)
    assert (np.abs(got - wanted) <= 8 * np.finfo(x.dtype).eps * scale).all()
    kept = ng.gumbel_softmax(KEY, x, tau=positive, **given)
    same(ng.gumbel_softmax_vjp(KEY, x, c, sample=kept, tau=positive, **given), got)


def run_conditional(x, temperature=1.0, **given):
    """Any category that is allowed, or the first +inf; noise and scores, and several samples."""
    temperature = np.maximum(temperature, 0.25)
    cells = dense.cells(x, mask=given.get("mask"))
    address = {name: part for name, part in given.items() if name != "mask"}
    allowed = np.where(
        (cells == np.inf).any(axis=1, keepdims=True), np.arange(x.shape[1]) == cells.argmax(1)[:, None], cells > -np.inf
    )
    index = np.array([np.flatnonzero(row)[(7 * i) % row.sum()] for i, row in enumerate(allowed)])
    for scores in (False, True):
        wanted = dense.conditional(KEY, cells, index, temperature, scores=scores, **address)
        same(ng.conditional_gumbel(KEY, x, index, temperature=temperature, scores=scores, **given), wanted)
    wanted = np.stack([dense.conditional(KEY, cells, index, temperature, sample, **address) for sample in (5, 6)])
    same(ng.conditional_gumbel(KEY, x, index, temperature=temperature, sample=5, n=2, **given), wanted)


def run_plain_topk(x, **given):
    x = np.where(np.isnan(x), x.dtype.type(0), x)
    k = min(3, x.shape[1])
    for step, temperature in ((0, 1.0), (2**40 + 3, 0.3), (5, 0.0)):
        wanted = check_topk(x, k, step=step, temperature=temperature)
        for cells, pick in ((x, slice(None)), (x[0], 0), (x[None], None)):
            for got, expected in zip(ng.gumbel_topk(KEY, cells, k, step=step, temperature=temperature), wanted, strict=True):
                same(got, expected[pick])


def run_inclusion(x, temperature=1.0, **given):
    """Of what `gumbel_topk` gives, the formula in NumPy, at the indices and thresholds of the dense oracle."""
    k = (x.shape[1] + 1) // 2
    got = ng.inclusion_log_prob(x, ng.gumbel_topk(KEY, x, k, temperature=temperature, **given), temperature=temperature)
    index, _, threshold = check_topk(x, k, temperature=temperature, **given)
    t, kappa = np.broadcast_to(temperature, len(x))[:, None], threshold[:, None].astype(np.float64)
    limit, chosen = np.finfo(x.dtype).max, np.take_along_axis(x, index, 1)
    with np.errstate(all="ignore"):
        phi = np.clip(chosen.astype(np.float64) * (1 / t).astype(x.dtype), -limit, limit)
        wanted = oracle.log_inclusion(phi - kappa)
    wanted[(t == 0) | (kappa == -np.inf) | (chosen == np.inf)] = 0
    tolerance, tiny = (1e-6, 1e-38) if x.dtype == np.float32 else (1e-11, 1e-300)
    np.testing.assert_allclose(got, np.where(index < 0, -np.inf, wanted), rtol=tolerance, atol=tiny)


def run_noise(x, temperature=None, mask=None, **given):
    same(ng.gumbel(KEY, x.shape, dtype=x.dtype, **given), dense.gumbel(KEY, x.shape, x.dtype, **given))


def run_draw(x, **given):
    """Index, column id, score and what is known of it, and the same in two heads."""
    cells = dense.cells(x, mask=given.get("mask"))
    address = {name: given[name] for name in ("step", "rows", "cols") if name in given}
    temperature = given.get("temperature", 1.0)
    s = dense.scores(KEY, cells, temperature, **address)
    index = dense.largest(cells, s)
    known = dense.known(cells, index, temperature)
    drawn = ng.draw(KEY, x, want=("score", "log_prob", "logsumexp", "entropy"), invalid="mark", **given)
    same(drawn.index, index)
    ids = np.broadcast_to(given.get("cols", np.arange(x.shape[1])), x.shape)
    same(drawn.col, np.where(index < 0, -1, ids[np.arange(len(x)), index]))
    same(drawn.score, np.where(index < 0, known[1].astype(x.dtype), s[np.arange(len(x)), index]))
    for name, wanted in zip(("log_prob", "logsumexp", "entropy"), known, strict=True):
        same(getattr(drawn, name), wanted.astype(x.dtype))
    run_heads(x, **given)


def run_heads(x, **given):
    """Rows with one head, and with several, whose sizes come from the number of columns."""
    columns = x.shape[1]
    cells = dense.cells(x, mask=given.get("mask"))
    others = {name: value for name, value in given.items() if name != "mask"}
    for nvec in ([columns], [columns // 3, columns - columns // 3 - 1, 1]):
        if min(nvec) < 1:
            continue
        heads = np.cumsum([0, *nvec])
        for deterministic in (False, True):
            wanted = dense.actions(KEY, cells, heads, deterministic=deterministic, **others)
            got = ng.sample_actions(KEY, x, nvec=nvec, deterministic=deterministic, invalid="mark", **given)
            for a, b in zip(got, wanted, strict=True):
                same(a, b)
        again = {name: given[name] for name in ("mask", "temperature") if name in given}
        told = ng.log_prob_entropy(x, got.action, nvec=nvec, invalid="mark", **again)
        same(told.log_prob, got.log_prob)
        same(told.entropy, got.entropy)


def run_plain_draw(x, **given):
    x = np.where(np.isnan(x), x.dtype.type(0), x)
    for step, temperature, deterministic in ((0, 1.0, False), (2**40 + 3, 0.3, False), (5, 0.0, False), (0, 2.0, True)):
        heads = np.array([0, x.shape[1]])
        wanted = dense.actions(KEY, x, heads, temperature, deterministic, step=step)
        options = {"step": step, "temperature": temperature, "deterministic": deterministic}
        for got in (ng.sample_actions(KEY, x, **options), [a[0] for a in ng.sample_actions(KEY, x[None], **options)]):
            same(got[0], wanted[0][:, 0])
            same(got[1], wanted[1])
            same(got[2], wanted[2])


def run_log_prob_vjp(x, temperature=1.0, **given):
    """The formula in float64, with p and the entropy from the moments."""
    mask = given.get("mask")
    cells = dense.cells(x, mask=mask)
    positive = np.broadcast_to(np.maximum(temperature, 0.25), (len(x),)).astype(np.float64)
    index = dense.largest(cells, cells)
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, len(x))).astype(x.dtype)
    got = ng.log_prob_entropy_vjp(x, index, a, b, mask=mask, temperature=positive)
    certain = (cells == np.inf).any(axis=1)
    assert (got[certain] == 0).all()
    z = dense.tempered(np.where(certain[:, None], x.dtype.type(0), cells), positive).astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    log_p = np.maximum(z, -800) - np.log(np.exp(z).sum(axis=1, keepdims=True))
    h = -(p * log_p).sum(axis=1, keepdims=True)
    wanted = -p * (a[:, None] + b[:, None] * (log_p + h))
    wanted[np.arange(len(x)), index] += a
    wanted = wanted / positive[:, None]
    scale = np.finfo(x.dtype).eps * (1 + np.abs(a) + np.abs(b) * (1 + h[:, 0])) / positive
    assert (np.abs(got - wanted) <= 64 * scale[:, None])[~certain].all()
    if mask is not None:
        assert (got[~np.broadcast_to(mask, x.shape).astype(bool)] == 0).all()


def run_plain_log_prob_vjp(x, **given):
    """The short way gives what the general one does, which is held against the formula."""
    x = np.where(np.isnan(x), x.dtype.type(0), x)
    rng = np.random.default_rng(4)
    index = rng.integers(0, x.shape[1], len(x))
    a, b = rng.normal(size=(2, len(x))).astype(x.dtype)
    for temperature in (1.0, 0.3, 2.0):
        wanted = ng.log_prob_entropy_vjp(x, index, a, b, temperature=np.full(len(x), temperature))
        for allowed in (None, np.ones(x.shape, bool)):
            same(ng.log_prob_entropy_vjp(x, index, a, b, mask=allowed, temperature=temperature), wanted)
        same(ng.log_prob_entropy_vjp(x[None], index[None], a[None], b[None], temperature=temperature)[0], wanted)


def run_merge(x, **given):
    """Column shards, drawn apart and joined, against the oracle's whole rows."""
    cells = dense.cells(x, mask=given.get("mask"))
    ids = np.sort(np.broadcast_to(given.get("cols", np.arange(x.shape[1])), x.shape))  # so that ties go to the same place
    address = {name: given[name] for name in ("step", "rows") if name in given} | {"cols": ids}
    temperature = given.get("temperature", 1.0)
    s = dense.scores(KEY, cells, temperature, **address)
    index = dense.largest(cells, s)
    known = dense.known(cells, index, temperature)
    edges = np.unique([0, x.shape[1] // 5, x.shape[1] // 2, x.shape[1]])
    shards = []
    for begin, end in itertools.pairwise(edges):
        part = {name: value[:, begin:end] if name == "mask" else value for name, value in given.items()}
        part["cols"] = ids[:, begin:end]
        want = ("score", "log_prob", "logsumexp", "entropy")
        shards.append(ng.draw(KEY, x[:, begin:end], want=want, invalid="mark", **part))
    merged = ng.merge(shards, temperature=temperature)
    same(merged.index, np.where(index < 0, -1, ids[np.arange(len(x)), index]))
    same(merged.score, np.where(index < 0, known[1].astype(x.dtype), s[np.arange(len(x)), index]))
    ulp = np.finfo(x.dtype).eps * np.maximum(1, np.abs(known[1]))
    finite = np.isfinite(known[1])
    for name, wanted in zip(("log_prob", "logsumexp", "entropy"), known, strict=True):
        got = getattr(merged, name)
        same(np.isnan(got), np.isnan(wanted))
        bound = 8 * np.maximum(ulp, np.finfo(x.dtype).eps * np.abs(wanted))
        assert (np.abs(got[finite] - wanted[finite]) <= bound[finite]).all()
        same(got[~finite], wanted[~finite].astype(x.dtype))


CASES = {
    ("draw", "cpu"): run_draw,
    ("chosen_columns", "cpu"): run_draw,
    ("plain_draw", "cpu"): run_plain_draw,
    ("log_prob_vjp", "cpu"): run_log_prob_vjp,
    ("plain_log_prob_vjp", "cpu"): run_plain_log_prob_vjp,
    ("merge", "cpu"): run_merge,
    ("categorical", "cpu"): run_categorical,
    ("plain_categorical", "cpu"): run_plain_categorical,
    ("inverse_cdf", "cpu"): run_inverse_cdf,
    ("ragged", "cpu"): run_ragged,
    ("topk", "cpu"): run_topk,
    ("softmax", "cpu"): run_softmax,
    ("plain_softmax", "cpu"): run_plain_softmax,
    ("softmax_gradient", "cpu"): run_softmax_vjp,
    ("plain_topk", "cpu"): run_plain_topk,
    ("inclusion", "cpu"): run_inclusion,
    ("softmax_vjp", "cpu"): run_softmax_vjp,
    ("noise", "cpu"): run_noise,
    ("conditional", "cpu"): run_conditional,
}


def test_every_entry_of_the_table_has_a_case():
    assert {(operation, "cpu") for operation in cpu.OPERATIONS} == set(CASES)


each = pytest.mark.parametrize("run", CASES.values(), ids=[name for name, _ in CASES])


@each
@pytest.mark.parametrize("dtype", REALS)
def test_equals_the_dense_oracle(run, dtype):
    for columns in COLUMNS:
        run(logits_of(columns, dtype))


@each
@pytest.mark.parametrize("dtype", REALS)
def test_with_every_argument(run, dtype):
    rng = np.random.default_rng(5)
    for columns in (1, 6, 70, 1030):
        x = logits_of(columns, dtype)
        mask = rng.random(x.shape) < 0.8
        mask[np.arange(7), np.where(x == -np.inf, 0, 1).argmax(axis=1)] = True
        x[~mask & (rng.random(x.shape) < 0.5)] = np.nan  # a masked cell is never looked at
        run(
            x,
            mask=mask,
            step=rng.integers(0, 2**40, 7),
            rows=rng.integers(-(2**63), 2**63 - 1, 7),
            temperature=np.array([1, 0.5, 2, 1, 0, 3, 0.1]),
            **({"cols": rng.integers(0, 2**35 - 16, x.shape)}),
        )
        run(np.abs(logits_of(columns, dtype)), cols=rng.permutation(columns), step=2**30 - 1)


@each
def test_a_wrong_kernel_is_noticed(run, monkeypatch):
    """The comparison itself: one row of one step later, and it must fail."""
    genuine = cpu.OPERATIONS.copy()

    def shifted(name):
        def driver(request, *rest, **named):
            if name in ("merge", "chosen_columns", "inclusion"):  # they draw nothing: what they get is that of another step
                return genuine[name](request, *rest)
            if name.startswith("plain"):
                place = {"plain_draw": 3, "plain_topk": 2, "plain_log_prob_vjp": 2}.get(name, 1)
                return genuine[name](request, *rest[:place], rest[place] + 1, *rest[place + 1 :])
            if name.endswith("_vjp"):
                request.temperatures, request.temperature = None, 1 + 1e-4
            elif request.steps is None:
                request.steps = np.where(np.arange(request.batch[0]) == 4, request.step + 1, request.step)
            return genuine[name](request, *rest, **named)

        return driver

    for name in genuine:
        monkeypatch.setitem(cpu.OPERATIONS, name, shifted(name))
    with pytest.raises(AssertionError):
        run(logits_of(1000, np.float64))


@pytest.mark.parametrize("dtype", REALS)
def test_equals_plain_numpy_where_no_two_scores_are_close(dtype):
    """An oracle with nothing of the package in it: equal wherever the two best scores differ by more than 1e-5."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(4000, 40)).astype(dtype)
    rows = rng.integers(-(2**63), 2**63 - 1, len(x))
    words = oracle.key_words(2024, "operations")
    for step in (0, 5, 2**30 + 3):
        s = x.astype(np.float64) / 0.7 + oracle.gumbel(words, step, rows[:, None], np.arange(40), dtype)
        best = np.sort(s, axis=1)
        clear = best[:, -1] - best[:, -2] > 1e-5
        assert clear.mean() > 0.999
        index = ng.categorical(KEY, x, step=step, rows=rows, temperature=0.7)
        np.testing.assert_array_equal(index[clear], s.argmax(axis=1)[clear])
        assert not np.array_equal(index, ng.categorical(KEY, x, step=step + 1, rows=rows, temperature=0.7))


@pytest.mark.parametrize("dtype", REALS)
def test_field_equals_plain_numpy(dtype):
    rows = np.array([0, 1, -1, 2**63 - 1, -(2**63)])
    cols = np.array([0, 1, 7, 8, 1023, 1024, 2**31, 2**35 - 17])
    words = oracle.key_words(2024, "operations")
    for step in (0, 2**30 - 1, 2**30, 2**62):
        got = ng.gumbel(KEY, rows=rows, cols=cols, step=step, dtype=dtype)
        wanted = oracle.gumbel(words, step, rows[:, None], cols, dtype)
        bound = (2.0**-21 if dtype == np.float32 else 2.0**-50) * np.maximum(1, np.abs(wanted))
        assert (np.abs(got - wanted) <= bound).all()


def test_tail_addresses_are_exact():
    """Addresses with b32 < 256, where the float32 field reads its tail, found by search over one row."""
    key = ng.key(4, "tail")  # a key whose first row has one early: they come once in 2^24
    g = ng.gumbel(key, (1, 1_300_000), dtype=np.float32)[0]
    b32, _tail = oracle.bits(key.words, 0, 0, np.arange(1_300_000))
    found = np.flatnonzero(b32 < 256)
    assert len(found) >= 1
    expected = dense.gumbel(key, (1, len(found)), np.float32, cols=found)[0]
    np.testing.assert_array_equal(g[found], expected)
    np.testing.assert_allclose(expected, oracle.gumbel(key.words, 0, 0, found, np.float32), rtol=2**-21)
    assert (expected > 16.6).all()


def test_loc_and_scale():
    plain = ng.gumbel(KEY, (5, 70))
    np.testing.assert_array_equal(ng.gumbel(KEY, (5, 70), loc=1.5, scale=0), np.full((5, 70), 1.5))
    np.testing.assert_allclose(ng.gumbel(KEY, (5, 70), loc=1.5, scale=2), 1.5 + 2 * plain, rtol=1e-15, atol=1e-15)
