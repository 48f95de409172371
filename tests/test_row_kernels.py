"""The two ways of sampling a row, side by side and by bound, agree with the dense oracle where either could be chosen."""

import dense
import numpy as np
import pytest

import numgumbel as ng
from numgumbel.backends.cpu import samples
from numgumbel.kernels.cpu.cells import TILE

KEY = ng.key(11, "row kernels")
NAN, INF = np.nan, np.inf


@pytest.fixture(params=["side by side", "by bound"])
def way(request, monkeypatch):
    end = 1 << 62 if request.param == "side by side" else 0
    for dtype in samples.SHORT:
        monkeypatch.setitem(samples.SHORT, dtype, end)
    monkeypatch.setattr(samples, "SHORT_OF_CELL_IDS", end)
    return request.param


def check(x, mask=None, **given):
    wanted = dense.categorical(KEY, dense.cells(x, mask=mask), **given)
    np.testing.assert_array_equal(ng.categorical(KEY, x, mask=mask, invalid="mark", **given), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 2, 5, 7, 8, 9, 16, 17, 33, 129])
def test_everything_at_once(way, columns, dtype):
    """Rows around the ends of blocks of lanes; steps on both sides of 2^30, temperatures, masks, NaN, infinities."""
    rng = np.random.default_rng(columns)
    rows = 300
    x = rng.normal(size=(rows, columns)).astype(dtype) * np.exp(rng.normal(0, 4, (rows, 1))).astype(dtype)
    x[rng.random((rows, columns)) < 0.02] = NAN
    x[rng.random((rows, columns)) < 0.02] = -NAN
    x[rng.random((rows, columns)) < 0.05] = INF
    x[rng.random((rows, columns)) < 0.2] = -INF
    mask = rng.random((rows, columns)) < 0.8
    step = np.where(rng.random(rows) < 0.5, rng.integers(0, 9, rows), 2**30 - 3 + rng.integers(0, 6, rows))
    temperature = np.where(rng.random(rows) < 0.3, 0.0, np.exp(rng.normal(0, 3, rows)))
    ids = rng.integers(-(2**63), 2**63 - 1, rows)
    check(x)
    check(x, mask=mask, step=step, temperature=temperature, rows=ids)
    for shape in (columns, x.shape):
        for end in (12, 2**35 - 16):  # few ids, some of them repeated in a row; and any
            cols = rng.integers(0, end, shape)
            check(x, cols=cols)
            check(x, cols=cols, mask=mask, step=step, temperature=temperature, rows=ids)
    check(x, cols=np.arange(5, 5 + columns), mask=mask, step=step, temperature=temperature, rows=ids)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ids_in_any_layout(way, dtype):
    """Strides of logits and ids, batches of two and three axes, draws, an index of 32 bits."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 9, 11)).astype(dtype)
    cols = rng.integers(0, 2**35 - 16, x.shape)
    wanted = dense.categorical(KEY, x.reshape(-1, 11), cols=cols.reshape(-1, 11)).reshape(40, 9)
    np.testing.assert_array_equal(ng.categorical(KEY, x, cols=cols), wanted)
    backwards = lambda a: a[:, ::-1, ::-1].copy()[:, ::-1, ::-1]
    for turned in (np.asfortranarray, lambda a: np.repeat(a, 2, -1)[..., ::2], backwards):
        np.testing.assert_array_equal(ng.categorical(KEY, turned(x), cols=turned(cols)), wanted)
        np.testing.assert_array_equal(ng.categorical(KEY, x[:, :, None], cols=turned(cols[:, :, None]))[..., 0], wanted)
    narrow = np.empty(wanted.shape, np.int32)
    np.testing.assert_array_equal(ng.categorical(KEY, x, cols=cols, out=narrow), wanted)
    draws = ng.categorical(KEY, x, cols=cols, n=3)
    np.testing.assert_array_equal(draws[0], wanted)
    np.testing.assert_array_equal(draws[2], ng.categorical(KEY, x, cols=cols, step=2))


@pytest.mark.parametrize("end", [8, 2**35 - 16])
def test_repeated_ids_have_the_same_noise(way, end):
    """Two alternatives of one id never change places: the larger logit wins of them, and of equal ones the first."""
    rng = np.random.default_rng(7)
    ids = rng.integers(0, end, (500, 6))
    cols = np.concatenate([ids, ids, ids], axis=1)
    x = np.zeros(cols.shape, np.float32)
    index = ng.categorical(KEY, x, cols=cols)
    assert (index < 6).all()
    x[:, 12:] += 1e-6
    higher = ng.categorical(KEY, x, cols=cols)
    np.testing.assert_array_equal(higher, index + 12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 5, 8, 16, 50, 129])
def test_many_draws_of_one_row(way, columns, dtype):
    """Lanes that all read the same row; more than a block of them, from either side of 2^30."""
    x = np.random.default_rng(columns).normal(size=(1, columns)).astype(dtype)
    for step in (0, 2**30 - 100):
        wanted = dense.categorical(KEY, np.repeat(x, 300, axis=0), step=step + np.arange(300), rows=np.zeros(300))
        np.testing.assert_array_equal(ng.categorical(KEY, x, n=300, step=step)[:, 0], wanted)
        np.testing.assert_array_equal(ng.categorical(KEY, x[0], n=300, step=step), wanted)
        np.testing.assert_array_equal(ng.categorical(KEY, x[None], n=300, step=step)[:, 0, 0], wanted)
    if columns > 1:
        assert not np.array_equal(ng.categorical(KEY, x, n=300, step=1)[:, 0], wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_beyond_the_range_are_clamped(way, dtype):
    """Logits that overflow at a low temperature tie at the largest or the smallest number: the lowest index wins."""
    limit = np.finfo(dtype).max
    rng = np.random.default_rng(3)
    x = rng.choice([limit, -limit, limit / 2, -limit / 2, -INF, 0.0], (200, 40)).astype(dtype)
    x[100:] = -np.abs(x[100:])
    x[150:, ::2] = -limit
    x[150:, 1::2] = -INF
    check(x, temperature=1e-3)
    check(x)
    # A product half-way between the smallest number and its neighbour: its bound rounds to the neighbour, its score, where G is
    # negative, to the smallest number; and an earlier one with that score has a bound of -inf.
    factor, other, exponent = (479, 70051, 103) if dtype == np.float32 else (36217, 497401731493, 970)
    y = np.full((400, 300), -INF, dtype)
    y[:, 0], y[:, 250] = -limit, -np.ldexp(float(other), exponent)
    wanted = dense.categorical(KEY, y, temperature=1 / factor)
    assert 0 < (wanted == 0).sum() < 400
    np.testing.assert_array_equal(
        ng.categorical(KEY, y[:, :256] if way == "side by side" else y, temperature=1 / factor), wanted
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_peaked_rows_skip_and_do_not_miss(monkeypatch, dtype):
    """A peak in each stretch of a long row, others at every distance below it, also within reach of the noise."""
    columns = 6 * TILE + 5
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, columns))
    for row in range(40):
        x[row, rng.integers(columns)] = 10.0 + row * 2
        x[row, rng.integers(columns, size=30)] = 10.0 + row * 2 - rng.uniform(0, 60, 30)
    check(x.astype(dtype))
    check(x.astype(dtype), temperature=0.3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 7, 17, 100, 341, 342, 1500])
def test_top_k_of_long_rows(k, dtype):
    """Flat, peaked, sorted, constant, clamped and masked rows, whose places fill early, late or never."""
    columns = 5000
    limit = np.finfo(dtype).max
    rng = np.random.default_rng(5)
    x = rng.normal(size=(12, columns)).astype(dtype)
    x[1, rng.integers(columns, size=9)] += 40
    x[2], x[3] = np.sort(x[2]), np.sort(x[3])[::-1]
    x[4] = 1.25
    x[5] = rng.choice([limit, -limit, -np.inf, limit / 2], columns)
    x[6, 20:4500] = -np.inf
    x[7] = np.where(np.arange(columns) < 3000, -limit, rng.normal(size=columns))
    x[8] = np.where(np.arange(columns) % 300 == 0, x[8], -np.inf)  # few in every tile, and worse ones later
    x[8] -= np.arange(columns) // 1000
    x[9] = 1e30 * np.where(rng.random(columns) < 0.01, 1, -1)  # ties above and below
    x[10, rng.integers(columns, size=40)] = np.inf
    x[11] = 30 * rng.normal(size=columns)
    for temperature in (1.0, 0.01, 0.0):
        wanted = dense.topk(KEY, dense.cells(x, mask=None), k, temperature=temperature)
        for got, expected in zip(ng.gumbel_topk(KEY, x, k, temperature=temperature), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 7, 40])
def test_top_k_where_scores_are_far_below_their_bounds(k, dtype):
    """Little more than k categories in reach: the last of them have little noise, whose bound is 0.3 and more above it."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 700)).astype(dtype)
    for row in range(300):
        x[row, rng.choice(700, k + 2 + row % (k + 3), replace=False)] += 40 + rng.uniform(0, 2, k + 2 + row % (k + 3)).astype(
            dtype
        )
    for got, expected in zip(ng.gumbel_topk(KEY, x, k), dense.topk(KEY, x, k), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_tail_is_read_side_by_side():
    """A row with a b32 below 256, where 32 bits more give G: searched for, once in two steps of a million rows of eight."""
    rows, columns = 1_000_000, 8
    x = np.zeros((rows, columns), np.float32)
    for step in range(60):
        g = ng.gumbel(KEY, (rows, columns), step=step, dtype=np.float32)
        if (g > 16.7).any():  # b32 < 256 is G > 16.64
            break
    else:
        pytest.fail("no such row in 60 steps, where 29 were expected")
    x += np.where(g.max(1, keepdims=True) > 16.7, -g + g.max(), 0)  # there, all scores are equal but for the tail's digits
    np.testing.assert_array_equal(ng.categorical(KEY, x, step=step), (x + g).argmax(1))
