"""Many draws of a row by the inverse CDF: searched in a table, and the same to the bit as each draw alone."""

import dense
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numgumbel as ng
from numgumbel.backends.cpu import pieces, samples
from numgumbel.kernels.cpu import inverse_cdf_draws as draws_kernel
from numgumbel.kernels.cpu.inverse_cdf import inverse_cdf_rows

KEY = ng.key(5, "inverse cdf")
INF, NAN = np.inf, np.nan


@pytest.fixture(params=["rows shared", "draws shared", "as it comes"])
def way(request, monkeypatch):
    """Small calls take every way through the driver."""
    if request.param != "as it comes":
        monkeypatch.setattr(pieces, "WORTH_A_THREAD", 1 if request.param == "draws shared" else 1 << 62)
        monkeypatch.setattr(pieces, "LEAST_PIECE", 1)
        monkeypatch.setattr(samples, "STRETCH", 64)
    monkeypatch.setattr(samples, "DRAWS_BY_TABLE", 0)
    before = ng.get_num_threads()
    ng.set_num_threads(3)
    yield request.param
    ng.set_num_threads(before)


@pytest.fixture
def only_by_table(monkeypatch):
    monkeypatch.delitem(inverse_cdf_rows, np.dtype(np.float64), raising=False)
    monkeypatch.setattr(type(inverse_cdf_rows), "__missing__", lambda kernel, dtype: pytest.fail("drawn one by one"))


def weights_of(kind, columns, rng):
    """Logits of one row: ordinary, and hard for a table."""
    if kind == "normal":
        return rng.normal(size=columns)
    if kind == "equal":
        return np.full(columns, 2.5)
    if kind == "one holds nearly all":  # all others are in one part of the guide
        x = rng.normal(size=columns)
        x[rng.integers(columns)] = 25
        return x
    if kind == "halves":  # weights 2^-i: any uniform below the last few bits is in part 0
        return -np.log(2) * rng.permutation(columns)
    if kind == "zeros between":
        x = np.where(rng.random(columns) < 0.8, -INF, rng.normal(size=columns))
        x[rng.integers(columns)] = 0
        return x
    x = np.full(columns, -INF)  # the last one alone
    x[-1] = 3
    return x


KINDS = ["normal", "equal", "one holds nearly all", "halves", "zeros between", "last alone"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_dense_oracle(way, kind, dtype):
    for columns in (1, 2, 3, 7, 64, 65, 1000, 2049):
        rng = np.random.default_rng(columns)
        x = np.stack([weights_of(kind, columns, rng) for _ in range(3)]).astype(dtype)
        n = 150 if columns < 100 else 40
        got = ng.categorical(KEY, x, method="inverse_cdf", n=n, step=7)
        wanted = dense.inverse_cdf_draws(KEY, x, n, step=7)
        np.testing.assert_array_equal(got, wanted)
        if columns > 60 and kind in ("normal", "equal"):
            assert not np.array_equal(got, dense.inverse_cdf_draws(KEY, x, n, step=8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int64, np.int32])
def test_everything_at_once(way, dtype, index):
    """Steps on both sides of 2^30, temperatures, masks, NaN, infinities, greedy rows; outputs of any strides."""
    rng = np.random.default_rng(3)
    rows, columns, n = 60, 90, 30
    x = rng.normal(size=(rows, columns)).astype(dtype) * 5
    x[rng.random(x.shape) < 0.2] = -INF
    x[5], x[17, 3], x[17, 80], x[30, 4], x[31, 89] = -INF, INF, INF, NAN, -NAN
    mask = rng.random(x.shape) < 0.8
    mask[30, 4], mask[31, 89] = True, False
    mask[40] = False
    given = {
        "mask": mask,
        "step": np.where(np.arange(rows) % 2, rng.integers(0, 9, rows), 2**30 - 1 - rng.integers(0, 40, rows)),
        "rows": rng.integers(-(2**63), 2**63 - 1, rows),
        "temperature": np.where(rng.random(rows) < 0.2, 0.0, np.exp(rng.normal(0, 2, rows))),
    }
    wanted = dense.inverse_cdf_draws(
        KEY, dense.cells(x, mask=mask), n, step=given["step"], rows=given["rows"], temperature=given["temperature"]
    )
    assert (wanted[:, [5, 30, 40]] == -1).all()
    assert (wanted >= 0).any(axis=0).sum() == rows - 3
    wide = np.full((2 * n, 3 * rows), -9, index)
    for out in (np.empty((n, rows), index), np.empty((rows, n), index).T, wide[::-2, 1::3]):
        ng.categorical(KEY, x, method="inverse_cdf", n=n, invalid="mark", out=out, **given)
        np.testing.assert_array_equal(out, wanted)
        with pytest.raises(ValueError, match=r"categorical: 3 of 60 rows invalid .* row 5, 30, 40;"):
            ng.categorical(KEY, x, method="inverse_cdf", n=n, out=out, **given)
        np.testing.assert_array_equal(out, wanted)
    assert (wide[:, ::3] == -9).all()
    assert (wide[::2] == -9).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_n_draws_are_n_calls(data):
    """Any batch, axis and number of draws, also from probabilities."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = data.draw(st.integers(0, len(shape) - 1))
    shape[axis] = data.draw(st.sampled_from([1, 2, 5, 31, 300]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    p = rng.random(shape).astype(data.draw(st.sampled_from([np.float32, np.float64])))
    p = p.transpose(data.draw(st.permutations(range(len(shape)))))
    step, n = data.draw(st.sampled_from([0, 2**30 - 5, 2**62])), data.draw(st.integers(7, 20))
    draw = lambda **o: ng.categorical(KEY, probs=p, axis=axis, method="inverse_cdf", **o)
    np.testing.assert_array_equal(draw(step=step, n=n), np.stack([draw(step=step + d) for d in range(n)]))


def test_few_draws_are_made_one_by_one_and_many_by_table(only_by_table):
    threads = ng.get_num_threads()
    x = np.zeros((1, 50))
    ng.categorical(KEY, x, method="inverse_cdf", n=samples.DRAWS_BY_TABLE * threads)
    ng.categorical(KEY, np.zeros((threads, 50)), method="inverse_cdf", n=samples.DRAWS_BY_TABLE)
    for few in ({}, {"n": 1}, {"n": samples.DRAWS_BY_TABLE - 1}):
        with pytest.raises(pytest.fail.Exception, match="drawn one by one"):
            ng.categorical(KEY, x, method="inverse_cdf", **few)


def test_frequencies_of_a_million_draws():
    """Chi-square with 199 degrees of freedom: 320 has a probability of 1e-7."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    p = np.exp(x) / np.exp(x).sum()
    counts = np.bincount(ng.categorical(KEY, x, method="inverse_cdf", n=1_000_000), minlength=200)
    assert ((counts - 1e6 * p) ** 2 / (1e6 * p)).sum() < 320
    assert ((counts - 1e6 * np.roll(p, 1)) ** 2 / (1e6 * np.roll(p, 1))).sum() > 320


def test_the_guide_holds_every_uniform():
    """guide[b] <= index <= guide[b + 1] at both ends of each part, in Python integers; for weights that fill or miss parts."""
    rng = np.random.default_rng(2)
    for weights in ([1], [0, 0, 5, 0], [2**61, 1, 1, 1, 0], rng.integers(0, 2**40, 1000), [1] * 37 + [2**60] + [1] * 20):
        sums = np.cumsum(np.array(weights, np.uint64))
        for bits in (0, 1, 6, 11):
            guide = np.empty((1 << bits) + 1, np.uint32)
            draws_kernel.fill_guide(guide, sums)
            for b in {0, 1, (1 << bits) // 2, (1 << bits) - 1} & set(range(1 << bits)):
                ends = b << (64 - bits), ((b + 1) << (64 - bits)) - 1
                first, last = (int(np.searchsorted(sums, np.uint64(u * int(sums[-1]) >> 64), side="right")) for u in ends)
                assert guide[b] == first
                assert last <= guide[b + 1]


def test_targets_are_those_of_the_definition():
    n, row, total, bits = 300, -5, 2**61 + 12345, 9
    targets, places = np.empty(n, np.uint64), np.empty(n, np.uint32)
    words = KEY.words
    for step in (0, 2**30 - 300, 2**30, 2**45 + 7):
        draws_kernel.fill_targets(targets, places, np.uint32(words[0]), np.uint32(words[1]), step, row, bits, np.uint64(total))
        u = [oracle.uniform_bits(words, step + d, row) for d in range(n)]
        assert targets.tolist() == [x * total >> 64 for x in u]
        assert places.tolist() == [x >> 55 for x in u]
