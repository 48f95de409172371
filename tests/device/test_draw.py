"""The GPU's draws against the CPU's: index and score to the bit, sums within 8 ulp, head by head."""

import itertools

import numpy as np
import pytest
from launching import launch, rows_at_the_ends, sampling

import numgumbel as ng
from numgumbel.kernels.cpu.cells import (
    DETERMINISTIC,
    GIVEN,
    NARROW,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
)
from numgumbel.kernels.gpu import draw

KEY = ng.key(6, "simulated draws")
REALS = np.float32, np.float64
WANTED = ("score", "logsumexp", "log_prob", "entropy")
FLAGS = dict(zip(WANTED, (WANT_SCORE, WANT_LOGSUMEXP, WANT_LOG_PROB, WANT_ENTROPY), strict=True))
BLOCK = 256
UNTOUCHED = 7


def lanes_for(columns):
    return min(32, 1 << max(-(-columns // 8) - 1, 0).bit_length())


def starts_of(nvec):
    return np.concatenate([[0], np.cumsum(nvec)]).astype(np.int64)


def run(cells, nvec=None, threads=None, *, want=WANTED, narrow=False, deterministic=False, given=None, part=None, **request):
    """Results of the kernel by name, for cells of (rows, K) or (outer, inner, K); `part` is (first, last)."""
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner, columns = cells.shape
    heads = starts_of((columns,) if nvec is None else nvec)
    each = (outer, inner, len(heads) - 1)
    real = np.float64 if cells.dtype == np.float64 else np.float32
    flags = sum(FLAGS[name] for name in want) | narrow * NARROW | deterministic * DETERMINISTIC | (given is not None) * GIVEN
    index = np.full(each, UNTOUCHED) if given is None else np.array(given, np.int64).reshape(each)
    short, before = np.full(each, UNTOUCHED, np.int32), index.copy()
    known = {name: np.full(each if name in ("score", "logsumexp") else each[:2], UNTOUCHED, real) for name in WANTED}
    invalid = np.zeros(1 + outer * inner, np.int64)
    threads = threads or lanes_for(columns)
    first, last = part or (0, outer * inner)
    common = sampling(KEY, cells, flags=flags, **request)
    outputs = index, short, *known.values(), invalid
    launch(draw.draw_rows, (last - first) * threads, *common, first, last, threads, heads, *outputs)
    if narrow or given is not None:
        np.testing.assert_array_equal(index, before)
    if not narrow or given is not None:
        assert (short == UNTOUCHED).all()
    for name in set(WANTED) - set(want):
        assert (known[name] == UNTOUCHED).all()
    index = short if narrow else index
    result = {"index": index, **{name: known[name] for name in want}}
    flat = {name: value.reshape(outer * inner, *value.shape[2:]) for name, value in result.items()}
    return {**flat, "invalid": sorted(invalid[1 : 1 + invalid[0]].tolist())}


def near(got, want, name=""):
    """Within 8 ulp of 1, or of the number where that is larger; the same infinities and NaNs."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), name)
    eps = 8 * float(np.finfo(want.dtype).eps)
    np.testing.assert_allclose(got, want, rtol=eps, atol=eps, err_msg=name)


def compare(got, want):
    """The kernel's results for a row of one head against `ng.draw`'s."""
    np.testing.assert_array_equal(got["index"][:, 0], want.index)
    assert got["invalid"] == np.flatnonzero(want.index < 0).tolist()
    if "score" in got:
        np.testing.assert_array_equal(got["score"][:, 0], want.score)
    for name in ("logsumexp", "log_prob", "entropy"):
        if name in got:
            near(got[name][:, 0] if name == "logsumexp" else got[name], getattr(want, name), name)


def compare_heads(got, x, nvec, mask=None, temperature=1.0, **where):
    """Every head against a draw of its columns alone, at their ids; and log_prob and entropy against their sums."""
    sums = {name: np.zeros(len(x)) for name in ("log_prob", "entropy")}
    starts = starts_of(nvec)
    for head, (begin, end) in enumerate(itertools.pairwise(starts)):
        allowed = None if mask is None else mask[:, begin:end]
        options = {"mask": allowed, "temperature": temperature, "invalid": "mark", **where}
        want = ng.draw(KEY, x[:, begin:end], cols=np.arange(begin, end), want=WANTED, **options)
        np.testing.assert_array_equal(got["index"][:, head], want.index)
        np.testing.assert_array_equal(got["score"][:, head], want.score)
        near(got["logsumexp"][:, head], want.logsumexp, "logsumexp")
        for name in sums:
            sums[name] += getattr(want, name)
    for name, total in sums.items():
        near(got[name], total.astype(got[name].dtype), name)


def logits(rows, columns, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


def bits_of(values):
    return values.view(f"u{values.itemsize}")


@pytest.mark.parametrize("columns", [*range(1, 19), 31, 32, 33, 63, 64, 65, 70])
def test_every_length(columns):
    x = logits(3, columns, REALS[columns % 2])
    compare(run(x), ng.draw(KEY, x, want=WANTED))


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32, BLOCK])
def test_any_number_of_threads(threads):
    x = logits(1 if threads == BLOCK else 2, 70)
    compare(run(x, threads=threads), ng.draw(KEY, x, want=WANTED))


def test_a_block_has_a_long_row():
    x = logits(1, 2100, np.float64)
    x[0, 2090] = 9
    compare(run(x, threads=BLOCK), ng.draw(KEY, x, want=WANTED))
    x[0, 1500] = np.nan  # in another warp than the best
    compare(run(x, threads=BLOCK), ng.draw(KEY, x, want=WANTED, invalid="mark"))


def test_wrong_calls_are_noticed():
    x = logits(12, 18)
    want = ng.draw(KEY, x, want=WANTED)
    moved = run(x, step=1)
    assert (moved["index"][:, 0] != want.index).any()
    np.testing.assert_array_equal(bits_of(moved["entropy"]), bits_of(run(x)["entropy"]))
    with pytest.raises(AssertionError):
        compare(run(x, temperature=1.001), want)
    nvec = (9, 9)
    with pytest.raises(AssertionError):
        compare_heads(run(x, (8, 10)), x, nvec)


@pytest.mark.parametrize("nvec", [(1, 1, 1), (3, 11, 5), (8, 8, 3), (7, 9, 16), (1, 15, 1), (17, 30, 2), (5, 64, 1)])
def test_heads_begin_anywhere(nvec):
    x = logits(3, sum(nvec), REALS[len(nvec) % 2])
    compare_heads(run(x, nvec), x, nvec)
    want = ng.sample_actions(KEY, x, nvec=nvec)
    got = run(x, nvec, want=("log_prob", "entropy"))
    np.testing.assert_array_equal(got["index"], want.action)
    near(got["log_prob"], want.log_prob)
    near(got["entropy"], want.entropy)


def test_heads_of_a_block():
    nvec, x = (30, 4), logits(1, 34)
    compare_heads(run(x, nvec, threads=BLOCK), x, nvec)


def test_a_head_of_no_columns():
    """Its row has no sample; other heads have theirs."""
    x = logits(2, 16)
    for nvec in ((0, 16), (16, 0), (5, 0, 11), (8, 0, 8)):
        got = run(x, nvec)
        empty = nvec.index(0)
        assert got["invalid"] == [0, 1]
        np.testing.assert_array_equal(got["index"] < 0, np.arange(len(nvec)) == np.full((2, 1), empty))
        for name in ("score", "logsumexp"):
            np.testing.assert_array_equal(got[name][:, empty], -np.inf)
            assert np.isfinite(np.delete(got[name], empty, axis=1)).all()
        assert np.isnan(got["log_prob"]).all()
        assert np.isnan(got["entropy"]).all()


def test_what_is_not_wanted_is_not_written():
    x = logits(2, 12)
    x[1, 3] = np.inf
    whole = run(x)
    for number in range(len(WANTED) + 1):
        for want in itertools.combinations(WANTED, number):
            got = run(x, want=want)
            np.testing.assert_array_equal(got["index"], whole["index"])
            for name in want:
                np.testing.assert_array_equal(bits_of(got[name]), bits_of(whole[name]))


def test_addresses():
    x, r = logits(4, 21), np.random.default_rng(3)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 4), r.integers(0, 2**40, 4)
    cols = r.permutation(2**35 - 17 - np.arange(21))
    cells = r.integers(0, 2**35 - 16, (4, 21))
    for given in ({"rows": rows}, {"steps": steps}, {"cols": cols}, {"cols": cells}, {"first_col": 3}, {"first_col": 16}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        if "first_col" in given:
            public = {"cols": np.arange(21) + given["first_col"]}
        compare(run(x, **given), ng.draw(KEY, x, want=WANTED, **public))
    nvec = (6, 7, 8)
    for given in ({"rows": rows}, {"steps": steps}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        compare_heads(run(x, nvec, **given), x, nvec, **public)


def test_layouts():
    x = logits(6, 19)
    want = ng.draw(KEY, x, want=WANTED)
    compare(run(x, narrow=True), want)
    compare(run(np.asfortranarray(x)), want)
    compare(run(x[:, ::-1]), ng.draw(KEY, np.ascontiguousarray(x[:, ::-1]), want=WANTED))
    compare(run(x.reshape(2, 3, 19)), want)
    wide = np.full((6, 24), 9, np.float32)
    wide[:, :19] = x
    compare(run(wide[:, :19]), want)
    assert (run(x, step=1, narrow=True)["index"][:, 0] != want.index).any()


def test_halves():
    """They are what they are as float32."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    for dtype, columns in itertools.product((np.float16, ml_dtypes.bfloat16), (5, 16, 37)):
        x, nvec = logits(3, columns).astype(dtype), (2, columns - 2)
        compare(run(x), ng.draw(KEY, x.astype(np.float32), want=WANTED))
        compare_heads(run(x, nvec), x.astype(np.float32), nvec)


def test_temperatures_masks_and_probs():
    x, r = logits(8, 23, np.float64), np.random.default_rng(8)
    mask, nvec = r.random((8, 23)) < 0.4, (6, 9, 8)
    mask[:, [2, 5, 9, 20]] = True
    temperatures = np.array([0, 0.5, 1, 2, 1e-9, 1e9, 0, 3.0])
    for given in ({"mask": mask}, {"temperature": 0.3}, {"temperature": 0.0}):
        compare(run(x, **given), ng.draw(KEY, x, want=WANTED, **given))
        compare_heads(run(x, nvec, **given), x, nvec, **given)
    compare(run(x, temperatures=temperatures), ng.draw(KEY, x, want=WANTED, temperature=temperatures))
    compare_heads(run(x, nvec, temperatures=temperatures, mask=mask), x, nvec, mask, temperatures)
    p = np.exp(x)
    p[:, 3] = 0
    p[4, 7] = -1
    compare(run(p, probs=True), ng.draw(KEY, probs=p, want=WANTED, invalid="mark"))
    none = mask.copy()
    none[3, 6:15] = False
    compare_heads(run(x, nvec, mask=none), x, nvec, none)


def test_the_largest_logit():
    x, nvec = logits(4, 19), (4, 10, 5)
    x[0, 4], x[1, [1, 3]], x[2, :4] = np.inf, 30, -np.inf
    mask = np.random.default_rng(5).random((4, 19)) < 0.8
    for options in ({}, {"mask": mask}, {"temperature": 0.5}):
        want = ng.sample_actions(KEY, x, nvec=nvec, deterministic=True, invalid="mark", **options)
        got = run(x, nvec, deterministic=True, **options)
        np.testing.assert_array_equal(got["index"], want.action)
        near(got["log_prob"], want.log_prob)
        near(got["entropy"], want.entropy)
        scores = np.where(mask, x, -np.inf) if "mask" in options else x
        for head, (begin, end) in enumerate(itertools.pairwise(starts_of(nvec))):
            np.testing.assert_array_equal(got["score"][:, head], scores[:, begin:end].max(axis=1))


def test_given_actions():
    """Sampled ones have the bits that they were sampled with; forbidden ones -inf; those outside of their head mark the row."""
    x, nvec = logits(8, 19), (3, 11, 5)
    mask = np.random.default_rng(7).random((8, 19)) < 0.8
    mask[:, [0, 5, 17]] = True
    mask[2, :3] = False
    x[5, 4], x[6, 7] = np.nan, np.inf
    mask[5:7, [4, 7]] = True
    for options in ({}, {"mask": mask}, {"mask": mask, "temperature": 0.5}, {"temperature": 0.0}):
        sampled = run(x, nvec, want=("log_prob", "entropy"), **options)
        again = run(x, nvec, want=("log_prob", "entropy"), given=sampled["index"], **options)
        for name in ("log_prob", "entropy"):
            np.testing.assert_array_equal(bits_of(again[name]), bits_of(sampled[name]))
        assert again["invalid"] == sampled["invalid"]
        actions = np.maximum(sampled["index"], 0)
        actions[0, 1], actions[1, 2], actions[3, 0], actions[4, 1], actions[6, 1] = 11, -1, 2**62, -(2**62), 3
        want = ng.log_prob_entropy(x, actions, nvec=nvec, invalid="mark", **options)
        got = run(x, nvec, given=actions, **options)
        near(got["log_prob"], want.log_prob)
        near(got["entropy"], want.entropy)
        assert got["invalid"] == np.flatnonzero(np.isnan(want.log_prob)).tolist()
    forbidden = np.where(mask[:, :3].all(axis=1, keepdims=True), 0, mask[:, :3].argmin(axis=1, keepdims=True))
    want = ng.log_prob_entropy(x[:, :3], forbidden[:, 0], mask=mask[:, :3], invalid="mark")
    got = run(x[:, :3], given=forbidden, mask=mask[:, :3])
    assert np.isneginf(want.log_prob).any()
    near(got["log_prob"], want.log_prob)


def test_numbers_at_the_ends():
    for dtype in REALS:
        x = rows_at_the_ends(dtype)
        for temperature in (1.0, 0.0, 2.0**-64, 2.0**64):
            want = ng.draw(KEY, x, want=WANTED, temperature=temperature, invalid="mark")
            compare(run(x, temperature=temperature), want)
            compare(run(x, temperature=temperature, want=("score",)), want)
        negative = x.copy()
        negative[1, 1] = np.array([0xFFC00000], np.uint32).view(np.float32)[0]  # the NaN that 0 / 0 makes
        compare(run(negative), ng.draw(KEY, x, want=WANTED, invalid="mark"))
        masked = np.ones(x.shape, bool)
        masked[1, 1::3] = False
        compare(run(x, mask=masked), ng.draw(KEY, x, mask=masked, want=WANTED, invalid="mark"))


def test_a_nan_in_a_neighbouring_head():
    """Heads share groups of eight columns: what lies before or behind a head is not looked at."""
    x, nvec = logits(3, 12), (5, 2, 5)
    x[0, 4], x[1, 7], x[2, [4, 7]] = np.nan, np.nan, np.inf
    got = run(x, nvec)
    compare_heads(got, x, nvec)
    np.testing.assert_array_equal(got["index"] < 0, [[True, False, False], [False, False, True], [False] * 3])


def test_temperatures_out_of_range_mark_the_row():
    x = logits(5, 12)
    temperatures = np.array([1, -1, np.nan, 2.0**65, 2.0**-64])
    for options in ({}, {"given": np.zeros((5, 1))}, {"deterministic": True}):
        got = run(x, temperatures=temperatures, **options)
        assert got["invalid"] == [1, 2, 3]
        for name in WANTED:
            np.testing.assert_array_equal(np.isnan(got[name]).reshape(5), [False, True, True, True, False])


def test_a_row_has_the_same_bits_in_any_batch():
    x, nvec = logits(5, 40), (13, 27)
    whole = run(x, nvec)
    for row in range(5):
        alone = run(x[row : row + 1], nvec, rows=np.array([row]))
        for name in ("index", *WANTED):
            np.testing.assert_array_equal(alone[name][0], whole[name][row])
    some = run(x, nvec, part=(1, 4))
    for name in ("index", *WANTED):
        np.testing.assert_array_equal(some[name][1:4], whole[name][1:4])
        assert (some[name][[0, 4]] == UNTOUCHED).all()
