"""`numgumbel verify`: every check passes on the package and rejects a subject that is wrong in one way; table, file, exit code.

A check that never rejected anything shows nothing, so each is handed functions that are wrong on purpose in the place of the
package's own. Golden values are computed again from `oracle`, in plain NumPy.
"""

import dataclasses
import functools
import itertools
import json
import math
from pathlib import Path

import numpy as np
import oracle
import pytest

import numgumbel as ng
from numgumbel import threads, verify
from numgumbel.verify import distribution, exactness, generator, golden, outcome
from numgumbel.verify.outcome import (
    CHI_SQUARE,
    PART,
    STATISTICS,
    TAIL,
    Outcome,
    chernoff,
    chi_square,
    equal,
    joined,
    kolmogorov,
)

RIGHT = verify.Subject()


def wrong(**functions):
    """The package with some of its functions replaced."""
    return dataclasses.replace(RIGHT, **functions)


def spoilt(name, when=lambda *given, **named: True):
    """A subject one of whose functions gives a wrong first number on the calls that `when` tells."""
    right = getattr(ng, name)

    def function(*given, **named):
        result = right(*given, **named)
        if not when(*given, **named):
            return result
        whole = result if isinstance(result, tuple) else (result,)
        changed = whole[0].copy()
        first = (0,) * changed.ndim
        changed[first] = changed[first] + changed.dtype.type(1)
        return result._replace(**{result._fields[0]: changed}) if isinstance(result, tuple) else changed

    return wrong(**{name: function})


# --- the outcome, and its bounds -----------------------------------------------------------------------------------------


def test_quantiles_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy: pip install scipy")
    for freedom, (low, high) in CHI_SQUARE.items():
        assert low == pytest.approx(stats.chi2.ppf(PART / 2, freedom), rel=1e-5)
        assert high == pytest.approx(stats.chi2.isf(PART / 2, freedom), rel=1e-5)


def test_bounds_leave_no_more_than_the_level():
    """Chernoff's for counts of any chances, the constant of Massart for a distribution: exact tails are below them."""
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy: pip install scipy")
    for expected in (25.0, 60.7, 1048.6, 5e5):
        counts = np.arange(int(expected + 10 * math.sqrt(expected)))
        rejected = [k for k in counts.tolist() if not chernoff("", k, expected, 10**9).right]
        low = max((k for k in rejected if k < expected), default=-1)
        high = min(k for k in rejected if k > expected)
        for distribution_ in (stats.poisson(expected), stats.binom(2 * int(expected), 0.5 * expected / int(expected))):
            assert distribution_.cdf(low) <= PART / 2
            assert distribution_.sf(high - 1) <= PART / 2
        assert stats.poisson(expected).sf(high - 1) > PART / 1e3  # and it is not idle
    assert 0.99 * TAIL < 2 * pytest.importorskip("scipy.special").kolmogi(PART) ** 2 <= TAIL * 1.000001
    u = np.random.default_rng(0).random(5000)
    assert kolmogorov("", u).statistic == pytest.approx(2 * 5000 * stats.kstest(u, "uniform").statistic ** 2)
    counts = np.array([10, 20, 30, 40])
    even = np.full(4, 0.25)
    assert chi_square("", counts, even).statistic == pytest.approx(stats.chisquare(counts).statistic)


def test_outcomes():
    assert equal("", [1.0, np.nan], [1.0, np.nan]).right
    found = equal("x", np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]))
    assert (found.right, found.first) == (False, "x: 2.0 in place of 2.5 at (0, 1)")
    assert equal("", np.float32([1]), np.float64([1])).first == ": float32[1] in place of float64[1]"
    assert not equal("", np.ones((0, 2)), np.ones(0)).right
    assert not equal("", np.ones(0), np.ones(0)).right
    assert not equal("", None, None).right
    assert equal("x", np.zeros(2), np.array([0.0, -0.0])).first == "x: 0.0 in place of -0.0 at (1,)"
    assert not Outcome(1, 0, math.nan, (0.0, 1.0)).right
    assert Outcome(1, 0, 0.5, (0.0, 1.0)).right
    assert not Outcome(1, 0, 0.5, (0.7, 1.0)).right
    assert not Outcome(1, 1, 0.5, (0.0, 1.0)).right
    several = joined([Outcome(2, 0, 3.0, (0.0, 9.0), "a"), Outcome(3, 0, 1.0, (2.0, 9.0), "b"), Outcome(4, 0, first="c")])
    assert (several.compared, several.first, several.right) == (9, "b", False)
    assert joined([Outcome(2, 0, 3.0, (0.0, 9.0), "a"), Outcome(3, 2, first="b")]).first == "b"
    # A category without probability must not be seen.
    assert not chi_square("", np.array([25, 25, 24, 26, 1]), np.array([0.25, 0.25, 0.25, 0.25, 0])).right


def test_sums_in_ulp():
    one = np.array([1.0, 300.0], np.float32)
    assert verify.differing(one, one, True) == (0, 0.0)
    assert verify.differing(one + np.spacing(one) * 8, one, True) == (0, 8.0)
    assert verify.differing(one + np.spacing(one) * 9, one, True) == (2, 9.0)
    assert verify.differing(one * np.float32(np.nan), one, True) == (2, np.inf)
    assert verify.differing(one[:1], one, True) == (2, np.inf)


def test_a_function_that_raises_is_wrong_and_the_others_still_run(monkeypatch):
    monkeypatch.setattr(golden, "QUICK_CELLS", 100)

    def broken(*given, **named):
        raise ZeroDivisionError("seen")

    found = list(verify.run(verify.checks(["generator", "golden"]), wrong(key=broken)))
    assert [one.right for one in found] == [True, False, False, False, True]
    assert found[1].first == "ZeroDivisionError: seen"


# --- known answers and golden values -------------------------------------------------------------------------------------


def philox_with(multiplier):
    """Philox4x32-10 in Python's integers, whose first multiplier may be another."""

    def philox(counter, key):
        (a, b, c, d), (k0, k1) = counter, key
        for _ in range(10):
            p, q = a * multiplier, c * 0xCD9E8D57
            a, b, c, d = q >> 32 ^ b ^ k0, q & 0xFFFFFFFF, p >> 32 ^ d ^ k1, p & 0xFFFFFFFF
            k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
        return a, b, c, d

    return philox


def test_known_answers():
    assert generator.known_answers(RIGHT, 0).right
    assert generator.known_answers(wrong(philox=philox_with(0xD2511F53)), 0).right
    found = generator.known_answers(wrong(philox=philox_with(0xD2511F55)), 0)
    assert found.different >= 8
    assert "in place of" in found.first


def test_golden_values_are_those_of_the_definition():
    words = oracle.key_words(42, "golden")
    for parts, key in golden.KEYS:
        low, high = oracle.key_words(*parts)
        assert high << 32 | low == key
    for seed, x, tag, key in golden.FOLDS:
        low, high = oracle.fold(oracle.key_words(seed), x, tag)
        assert high << 32 | low == key
    for step, row, column, single, double in golden.NOISE:
        for dtype, text, error in ((np.float32, single, 2.0**-21), (np.float64, double, 2.0**-50)):
            g, wanted = float.fromhex(text), float(oracle.gumbel(words, step, row, column, dtype))
            assert abs(g - wanted) <= error * max(1, abs(wanted))
            assert g == dtype(g)
    assert min(int(oracle.bits(words, s, r, c)[0]) for s, r, c, _, _ in golden.NOISE) < 256  # the tail is among them


def test_golden_noise_is_a_part_of_the_golden_file():
    """To the bit, which the definition in plain NumPy does not tell."""
    entries = json.loads((Path(__file__).parent / "golden.json").read_text())["field"]
    known = {(e["step"], e["row"], e["column"]): (float.fromhex(e["G32"]), float.fromhex(e["G64"])) for e in entries}
    for *place, single, double in golden.NOISE:
        assert known[tuple(place)] == (float.fromhex(single), float.fromhex(double))


def test_golden_indices_are_those_of_the_definition():
    """From scores in float64, whose best lie further apart than either precision rounds."""
    words = oracle.key_words(42, "golden")
    for dtype in (np.float32, np.float64):
        x = golden.golden_logits(np.float64)
        rows, columns = x.shape
        z = x + oracle.gumbel(words, 0, np.arange(rows)[:, None], np.arange(columns), dtype)
        order = np.argsort(-z, axis=1)
        assert np.diff(np.sort(z, axis=1)[:, -4:]).min() > 1e-3
        assert golden.DRAWS["categorical"] == golden.DRAWS["softmax"] == order[:, 0].tolist()
        assert golden.DRAWS["top-k"] == order[:, :3].tolist()
        ends = [0, *np.cumsum(golden.NVEC)]
        heads = [z[:, a:b].argmax(axis=1).tolist() for a, b in itertools.pairwise(ends)]
        assert golden.DRAWS["actions"] == [list(pair) for pair in zip(*heads, strict=True)]
    for row, values in enumerate(x):
        weights = [math.floor(math.exp(v) * 2 ** (62 - 4)) for v in values - values.max()]
        target = oracle.uniform_bits(words, 0, row) * sum(weights) >> 64
        assert golden.DRAWS["inverse CDF"][row] == next(i for i in range(columns) if sum(weights[: i + 1]) > target)


def low_word(rows):
    return np.asarray(rows) & 0xFFFFFFFF


GOLDEN_WRONG = {
    "stream ignored": (golden.keys, wrong(key=lambda seed, *stream: ng.key(seed))),
    "tag ignored": (golden.keys, wrong(fold=lambda key, x, tag: ng.fold(key, x, tag=0))),
    "one precision rounded from the other": (
        golden.noise,
        wrong(gumbel=lambda *a, dtype, **o: ng.gumbel(*a, dtype=np.float64, **o).astype(dtype)),
    ),
    "steps of 30 bits": (golden.noise, wrong(gumbel=lambda *a, step, **o: ng.gumbel(*a, step=step % 2**30, **o))),
    "rows of 32 bits": (golden.noise, wrong(gumbel=lambda *a, rows, **o: ng.gumbel(*a, rows=low_word(rows), **o))),
    "columns of 32 bits": (golden.noise, wrong(gumbel=lambda *a, cols, **o: ng.gumbel(*a, cols=low_word(cols), **o))),
    "a tail cut off": (golden.noise, wrong(gumbel=lambda *a, **o: np.minimum(ng.gumbel(*a, **o), 17))),
    "categorical": (golden.draws, spoilt("categorical")),
    "inverse CDF": (golden.draws, spoilt("categorical", lambda *a, method="gumbel", **o: method == "inverse_cdf")),
    "top-k": (golden.draws, spoilt("gumbel_topk")),
    "softmax": (golden.draws, wrong(gumbel_softmax=lambda key, x, **o: np.asarray(x))),
    "actions": (golden.draws, spoilt("sample_actions", lambda key, x, **o: x.dtype == np.float64)),
}


@pytest.mark.parametrize(("check", "subject"), GOLDEN_WRONG.values(), ids=GOLDEN_WRONG)
def test_golden_values_reject(check, subject):
    assert check(RIGHT, 0).right
    found = check(subject, 0)
    assert not found.right
    assert found.first


def test_one_golden_value_that_is_off(monkeypatch):
    step, row, column, single, double = golden.NOISE[3]
    other = float(np.nextafter(float.fromhex(double), 9)).hex()
    monkeypatch.setattr(golden, "NOISE", (*golden.NOISE[:3], (step, row, column, single, other), *golden.NOISE[4:]))
    found = golden.noise(RIGHT, 0)
    assert found.different == 1
    assert found.first.startswith(f"float64, step {step}, row {row}, column {column}: ")


def test_a_workload_whose_answer_is_off(monkeypatch):
    monkeypatch.setattr(golden, "QUICK_CELLS", 100)
    assert golden.workloads(RIGHT, 0).right
    assert golden.workloads(RIGHT, 0).compared == 3

    def run(workload):
        result = workload.run()
        return 5 - result if workload.id == "rl.b8_a6.f32" else result

    found = golden.workloads(wrong(workload=run), 0)
    assert found.different == 1
    assert found.first.startswith("rl.b8_a6.f32: ")


# --- distributions -------------------------------------------------------------------------------------------------------


def of_noise(change):
    """Noise that is a function of the right one."""

    def gumbel(*given, out=None, **named):
        g = change(ng.gumbel(*given, **named))
        if out is None:
            return g
        out[...] = g
        return out

    return wrong(gumbel=gumbel)


def address(**changed):
    """Noise that is read at another step, or for another key."""
    return wrong(gumbel=lambda key, shape, **o: ng.gumbel(changed.get("key", key), shape, **{**o, **changed.get("more", {})}))


def biased(*given, method="gumbel", n=None, **named):
    """One sample in forty is made the second category."""
    index = ng.categorical(*given, method=method, n=n, **named)
    return np.where(np.arange(index.size) % 40 == 0, 1, index)


def stratified(key, x, n=None, **named):
    """Frequencies that are as near to the probabilities as whole numbers can be."""
    p = np.exp(np.float64(x[0] if x.ndim == 2 else x))
    draws = len(x) if n is None else n
    return np.minimum(np.searchsorted(np.cumsum(p / p.sum()), (np.arange(draws) + 0.5) / draws), p.size - 1)


def with_replacement(key, x, k):
    index = ng.categorical(key, x, n=k).T
    return ng.TopK(index, index.astype(x.dtype), None)


def rest_uniform(key, x, k):
    top = ng.gumbel_topk(key, x, k)
    shift = np.random.default_rng(0).integers(1, x.shape[1], len(x))
    return top._replace(index=np.stack([top.index[:, 0], (top.index[:, 0] + shift) % x.shape[1]], axis=1))


def heads_of_one_noise(key, x, nvec):
    heads = [ng.categorical(key, x[:, : nvec[0]]), ng.categorical(key, x[:, nvec[0] :])]
    return ng.Actions(np.stack(heads, axis=1), None, None)


def tau_on_noise(key, x, tau):
    z = x + ng.gumbel(key, x.shape, dtype=x.dtype) / x.dtype.type(tau)
    y = np.exp(z - z.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def no_upsets(key, x, rows):
    """What noise of 24-bit uniforms gives: nobody wins who needs more than 25 log 2."""
    index = ng.categorical(key, x, rows=rows)
    own = np.array([ng.gumbel(key, rows=rows[i], cols=[j], dtype=x.dtype)[0] for i, j in enumerate(index)])
    return np.where(own > 25 * math.log(2), 0, index)


def never_rare(*given, **named):
    return np.zeros_like(ng.categorical(*given, **named))


def twice_as_rare(key, x, n=None, **named):
    row = x[0] if x.ndim == 2 else x
    likelier = row + np.where(np.arange(row.size) > 0, math.log(2), 0).astype(row.dtype)
    return ng.categorical(key, np.broadcast_to(likelier, x.shape), n=n, **named)


DISTRIBUTION_WRONG = {
    "scale": (distribution.noise, of_noise(lambda g: g * g.dtype.type(1.02))),
    "sign": (distribution.noise, of_noise(lambda g: -g)),
    "one precision only": (distribution.noise, of_noise(lambda g: g if g.dtype == np.float32 else g + 0.01)),
    "NaN": (distribution.noise, of_noise(lambda g: np.where(np.arange(g.size).reshape(g.shape) == 7, np.nan, g))),
    "columns in pairs": (distribution.neighbours, of_noise(lambda g: np.repeat(g[:, ::2], 2, axis=1))),
    "columns of the next call": (distribution.neighbours, of_noise(lambda g: np.repeat(g[:, 7::8], 8, axis=1))),
    "rows in pairs": (distribution.neighbours, of_noise(lambda g: np.repeat(g[::2], 2, axis=0))),
    "step ignored": (distribution.neighbours, address(more={"step": 0})),
    "key ignored": (distribution.neighbours, address(key=ng.key(1))),
    "bias": (distribution.gumbel_max, wrong(categorical=biased)),
    "temperature ignored": (
        distribution.gumbel_max,
        wrong(categorical=lambda *a, temperature=1.0, **o: ng.categorical(*a, **o)),
    ),
    "mask ignored": (distribution.gumbel_max, wrong(categorical=lambda *a, mask=None, **o: ng.categorical(*a, **o))),
    "bias, inverse CDF": (distribution.inverse_cdf, wrong(categorical=biased)),
    "stratified": (distribution.inverse_cdf, wrong(categorical=stratified)),
    "with replacement": (distribution.topk, wrong(gumbel_topk=with_replacement)),
    "rest uniform": (distribution.topk, wrong(gumbel_topk=rest_uniform)),
    "heads of one noise": (distribution.actions, wrong(sample_actions=heads_of_one_noise)),
    "tau on the noise": (distribution.softmax, wrong(gumbel_softmax=tau_on_noise)),
    "never rare": (distribution.rare, wrong(categorical=never_rare)),
    "twice as rare": (distribution.rare, wrong(categorical=twice_as_rare)),
    "no upsets": (distribution.race, wrong(categorical=no_upsets)),
}


@pytest.mark.parametrize(("check", "subject"), DISTRIBUTION_WRONG.values(), ids=DISTRIBUTION_WRONG)
def test_distributions_reject(check, subject):
    found = check(subject, 0)
    assert not found.right
    assert found.first


def test_a_tail_that_is_cut_off(monkeypatch):
    """At 25 log 2, where float32 noise of 24-bit uniforms ends; the values before it are left out here."""
    monkeypatch.setattr(distribution, "TAIL_VALUES", {np.float32: 1 << 30})
    monkeypatch.setattr(distribution, "TAIL_PIECE", (1 << 10, 1 << 12))
    end = np.float32(25 * math.log(2))

    def gumbel(*given, out, **named):
        ng.gumbel(*given, out=out, **named)
        if out.max() > end:
            np.minimum(out, end, out=out)
        return out

    found = distribution.tail(wrong(gumbel=gumbel), 0)
    assert not found.right
    assert found.first.startswith("float32 beyond 25 log 2: 0 seen, 32.0 expected")


# --- exactness -----------------------------------------------------------------------------------------------------------

SMALL = (7, 9), (3, 40)

# Functions that the checks of exactness call, and when each check is to notice that they go wrong.
SPOILT = [
    "categorical",
    "categorical_ragged",
    "conditional_gumbel",
    "draw",
    "gumbel",
    "gumbel_softmax",
    "gumbel_softmax_vjp",
    "gumbel_topk",
    "inclusion_log_prob",
    "log_prob_entropy",
    "log_prob_entropy_vjp",
    "sample_actions",
]


def arrays(given):
    return [each for each in given if isinstance(each, np.ndarray)]


SPOILERS = {
    exactness.thread_counts: lambda *a, **o: ng.get_num_threads() == 3,
    exactness.pieces_of_rows: lambda *a, **o: any(len(each) == 2 for each in arrays((*a, o.get("rows")))),
    exactness.layouts: lambda *a, **o: not all(each.flags.writeable for each in arrays(a)[:1]),
    exactness.halves: lambda *a, **o: any(each.dtype == np.float16 for each in arrays(a)),
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(exactness, "SHAPES", SMALL)
    monkeypatch.setattr(exactness, "LARGE", SMALL)


@pytest.mark.parametrize("check", SPOILERS, ids=lambda check: check.__name__)
def test_exactness_rejects_every_operation_that_changes(small, check):
    assert check(RIGHT, 0).right
    deaf = {
        exactness.pieces_of_rows: {"categorical_ragged"},  # pieces of rows are of rows of one length; it is permuted below
        exactness.layouts: {"categorical_ragged", "gumbel"},  # these take no logits in rows
        exactness.halves: {"gumbel"},
    }
    for name in SPOILT:
        found = check(spoilt(name, SPOILERS[check]), 0)
        assert found.right == (name in deaf.get(check, ())), name
        assert found.right or name in found.first


EXACTNESS_WRONG = {
    "row ids ignored": (exactness.pieces_of_rows, wrong(categorical=lambda *a, rows, **o: ng.categorical(*a, **o))),
    "ragged row ids ignored": (
        exactness.pieces_of_rows,
        wrong(categorical_ragged=lambda *a, rows, **o: ng.categorical_ragged(*a, **o)),
    ),
    "column ids ignored": (exactness.pieces_of_columns, wrong(draw=lambda *a, cols=None, **o: ng.draw(*a, **o))),
    "columns of the noise ignored": (
        exactness.pieces_of_columns,
        wrong(gumbel=lambda *a, cols, **o: ng.gumbel(*a, cols=np.arange(len(cols)), **o)),
    ),
    "a shard forgotten": (exactness.pieces_of_columns, wrong(merge=lambda parts: ng.merge(parts[1:]))),
    "sums joined badly": (
        exactness.pieces_of_columns,
        wrong(merge=lambda parts: (m := ng.merge(parts))._replace(log_prob=m.log_prob * m.log_prob.dtype.type(1 + 1e-5))),
    ),
    "NaN in a sum": (
        exactness.pieces_of_columns,
        wrong(merge=lambda parts: (m := ng.merge(parts))._replace(entropy=m.entropy * np.nan)),
    ),
    "halves by float64": (
        exactness.halves,
        wrong(draw=lambda key, x, **o: ng.draw(key, x.astype(float) if x.dtype.itemsize == 2 else x, **o)),
    ),
    "halves that are not rounded": (
        exactness.halves,
        wrong(gumbel_softmax=lambda key, x, **o: ng.gumbel_softmax(key, x.astype(np.float32), **o)),
    ),
}


@pytest.mark.parametrize(("check", "subject"), EXACTNESS_WRONG.values(), ids=EXACTNESS_WRONG)
def test_exactness_rejects(small, check, subject):
    assert check(RIGHT, 0).right
    found = check(subject, 0)
    assert not found.right
    assert found.first


def test_large_calls_are_shared_among_threads(monkeypatch):
    """Otherwise to compare numbers of threads would compare nothing."""
    shared = []
    offer = threads._Pool.offer
    monkeypatch.setattr(threads._Pool, "offer", lambda *given: shared.append(None) or offer(*given))
    before = ng.get_num_threads()
    try:
        ng.set_num_threads(2)
        for shape in exactness.LARGE:
            shared.clear()
            x, rows = exactness._logits(0, shape, "float32"), exactness._row_ids(0, shape[0])
            calls = sum(1 for _ in exactness.operations(RIGHT, 0, x, rows))
            assert len(shared) > (1 if shape[0] == 1 else calls / 4), shape
    finally:
        ng.set_num_threads(before)


def test_an_input_that_is_written_to(small):
    def categorical(key, x, **named):
        index = ng.categorical(key, x, **named)
        if x.flags.writeable and not x.flags.c_contiguous:
            x[0, 1] = 5
        return index

    assert not exactness.layouts(wrong(categorical=categorical), 0).right


def test_threads_are_set_back_whatever_happens(small):
    before = ng.get_num_threads()

    def categorical(*given, **named):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exactness.thread_counts(wrong(categorical=categorical), 0)
    assert ng.get_num_threads() == before


def test_without_ml_dtypes(small, monkeypatch):
    both = exactness.halves(RIGHT, 0).compared
    monkeypatch.setattr(exactness.importlib.util, "find_spec", lambda name: None)
    assert exactness.halves(RIGHT, 0).compared == both / 2
    monkeypatch.setattr(verify.device, "device_arrays", lambda device: (None, None))
    assert {check.dtype for check in verify.device_checks()} == {"float32", "float64", "float16"}


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, command_line, monkeypatch):
    """Run the command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(command_line, "verify")


@pytest.fixture
def no_device(monkeypatch):
    def none(device):
        raise RuntimeError("no CUDA device: none in this test")

    monkeypatch.setattr(verify.device, "device_arrays", none)


def test_everything_passes(run, tmp_path, no_device, monkeypatch):
    """And no check of chance has more statistics than share its level."""
    several = []
    monkeypatch.setattr(distribution, "joined", lambda parts: several.append(len(parts := list(parts))) or joined(parts))
    code, out, err = run("--json", "all.json")
    assert max(several) == STATISTICS
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["group", "check", "found", "result", "s"]
    assert all(len(line) <= 80 for line in lines[: len(verify.CHECKS) + 1])
    assert [line.split()[-2] for line in lines[1 : len(verify.CHECKS) + 1]] == ["ok"] * len(verify.CHECKS)
    assert [line.split()[0] for line in lines if line[:1].strip()][1:5] == list(verify.GROUPS[:4])
    assert lines[-2] == "left out: a GPU beside the CPU: no CUDA device: none in this test"
    assert lines[-1].startswith(f"{len(verify.CHECKS)} of {len(verify.CHECKS)} checks passed in ")
    results = json.loads((tmp_path / "all.json").read_text())
    assert results["machine"]["threads"] == ng.get_num_threads()
    assert {"cpu", "numba", "numpy", "python"} <= set(results["machine"])
    assert results["passed"] == len(results["checks"]) == len(verify.CHECKS)
    assert [(each["group"], each["name"]) for each in results["checks"]] == [(c.group, c.name) for c in verify.CHECKS]
    for each in results["checks"]:
        assert each["right"]
        assert each["compared"] > 0
        assert each["different"] == 0
        if each["group"] == "distribution":
            assert each["bounds"][0] <= each["statistic"] <= each["bounds"][1]


def test_what_fails_is_named(run, monkeypatch, tmp_path):
    monkeypatch.setattr(golden, "NOISE", ((0, 0, 0, "0x0p+0", "0x0p+0"),))
    right = verify.CHECKS[0]
    unlikely = verify.Check("distribution", "noise", lambda subject, seed: Outcome(9, 0, math.inf, (0.0, 9.0), "float32"))
    monkeypatch.setattr(verify, "CHECKS", (right, verify.CHECKS[2], unlikely))
    code, out, _ = run("--device", "cpu", "--json", "some.json")
    assert code == 1
    assert "WRONG: golden, noise, ends of ranges and tail: float32, step 0, row 0, column 0: -0.83" in out
    assert "WRONG: distribution, noise: float32: inf not in 0..9" in out
    assert out.splitlines()[-1].startswith("1 of 3 checks passed in ")
    results = json.loads((tmp_path / "some.json").read_text())
    assert [each["right"] for each in results["checks"]] == [True, False, False]
    assert results["checks"][2]["statistic"] == "inf"
    assert results["passed"] == 1


def test_groups(run, no_device, monkeypatch):
    monkeypatch.setattr(golden, "QUICK_CELLS", 100)
    code, out, _ = run("--group", "generator", "--group", "golden")
    assert code == 0
    assert "left out" not in out
    assert out.splitlines()[-1].startswith("5 of 5 checks passed")


def test_a_device_beside_the_cpu(run, monkeypatch):
    """Here the device is the CPU itself, so that all is equal; and then one that gives another index."""
    monkeypatch.setattr(verify.device, "device_arrays", lambda device: (lambda array: array, lambda array: array))
    few = [dataclasses.replace(case, dtypes=case.dtypes[:1]) for case in verify.CASES]
    monkeypatch.setattr(verify.device, "CASES", few)
    code, out, _ = run("--group", "gpu", "--device", "cuda", "--rows", "4", "--columns", "5", "--columns", "3")
    assert code == 0
    assert out.splitlines()[-1].startswith(f"{len(few)} of {len(few)} checks passed")
    assert all(len(line) <= 80 for line in out.splitlines())
    calls = []

    def drifting(key, x, array):
        calls.append(None)
        return {"index": ng.categorical(key, x, step=len(calls)), "soft": ng.gumbel_softmax(key, x, step=len(calls))}

    monkeypatch.setattr(verify.device, "CASES", [dataclasses.replace(few[0], run=drifting, dtypes=("float32", "bfloat16"))])
    (first, second) = verify.verify(rows=50, columns=(6,))
    assert (first.dtype, second.dtype) == ("float32", "bfloat16")
    assert not first.right
    assert not second.right
    assert first.different > 50


def test_progress_is_for_people(run, monkeypatch):
    _, _, err = run("--group", "generator")
    assert err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    _, out, err = run("--group", "generator")
    assert "Philox" in err
    assert "1/1" in err
    assert "1/1" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda"], "no CUDA device: none in this test"),
        (["--group", "gpu"], "no CUDA device: none in this test"),
        (["--device", "cuda", "--group", "golden"], "--device cuda is for the group gpu, which --group leaves out"),
        (["--device", "cpu", "--group", "gpu"], "--group gpu needs a device, and --device cpu takes none"),
        (["--group", "all"], "'all' is not one of"),
        (["--rows", "0"], "0 is not in the range"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["--json", "nowhere/x.json"], "there is no folder nowhere"),
    ],
)
def test_wrong_input(run, no_device, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("numgumbel: error: ")
    assert words in err


def test_every_check_is_rejected_by_something():
    """Each check of the command stands in one of the tables of wrong subjects above, or in a test of its own."""
    rejected = {check for table in (GOLDEN_WRONG, DISTRIBUTION_WRONG, EXACTNESS_WRONG) for check, _ in table.values()}
    rejected |= set(SPOILERS) | {generator.known_answers, golden.workloads, distribution.tail}
    assert {check.run for check in verify.CHECKS} == rejected
    assert outcome.LEVEL == pytest.approx(STATISTICS * PART) == 1e-9


def test_the_sign_of_a_zero_is_a_bit():
    """Of results that hang on layouts or on threads in nothing else."""

    def soft(key, x, **given):
        y = np.array(ng.gumbel_softmax(key, x, **given))
        y[y == 0] = -0.0 if x.flags.c_contiguous else 0.0
        return y

    def slope(key, x, cotangent, **given):
        g = np.array(ng.gumbel_softmax_vjp(key, x, cotangent, **given))
        return np.where(g == 0, -g, g).astype(g.dtype) if ng.get_num_threads() > 1 else g

    checks = {check.run: check for check in verify.CHECKS}
    for check, subject in (
        (exactness.layouts, wrong(gumbel_softmax=soft)),
        (exactness.thread_counts, wrong(gumbel_softmax_vjp=slope)),
    ):
        assert [found.right for found in verify.run([checks[check]], subject)] == [False]
