"""The GPU's `topk_rows` against the CPU's, in every bit."""

import numpy as np
import pytest
from launching import launch, sampling

import numgumbel as ng
from numgumbel.kernels.cpu.cells import NARROW
from numgumbel.kernels.gpu import topk

KEY = ng.key(7, "simulated")


def run(cells, k, narrow=False, block=32, **request):
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner = cells.shape[:2]
    real = np.float64 if cells.dtype == np.float64 else np.float32
    index, short = np.full((outer, inner, k), -7), np.full((outer, inner, k), -7, np.int32)
    scores, threshold, invalid = np.full((outer, inner, k), 7, real), np.full((outer, inner), 7, real), np.zeros(6, np.int64)
    rows, size = outer * inner, 1 << k.bit_length()
    pool = np.full((rows, size), 3, real), np.full((rows, size), 3)
    common = sampling(KEY, cells, flags=NARROW if narrow else 0, **request)
    launch(topk.topk_rows, rows * block, *common, 0, rows, index, short, scores, threshold, *pool, invalid, block=block)
    return ng.TopK((short if narrow else index)[0], scores[0], threshold[0]), invalid


def same(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def logits(rows, columns, dtype=np.float32):
    return np.random.default_rng([rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


@pytest.mark.parametrize(("columns", "k"), [(1, 1), (2, 1), (5, 5), (8, 3), (9, 8), (17, 16), (33, 1), (64, 20), (70, 70)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_length(columns, k, dtype):
    x = logits(2, columns, dtype)
    same(run(x, k)[0], ng.gumbel_topk(KEY, x, k))


def test_a_wrong_address_is_noticed():
    x = logits(2, 40)
    assert (run(x, 5, step=1)[0].index != ng.gumbel_topk(KEY, x, 5).index).any()
    same(run(x, 5, step=1)[0], ng.gumbel_topk(KEY, x, 5, step=1))


def test_ties_go_to_the_lowest_positions():
    x = np.zeros((3, 30), np.float32)
    x[1, ::2], x[2, 7:] = 1, -0.0
    for k in (1, 4, 20, 30):
        same(run(x, k, temperature=0.0)[0], ng.gumbel_topk(KEY, x, k, temperature=0.0))
    clamped = np.full((1, 30), np.finfo(np.float32).max, np.float32)
    clamped[0, ::3] *= -1
    for k in (1, 12, 25):
        same(run(clamped, k, temperature=0.5)[0], ng.gumbel_topk(KEY, clamped, k, temperature=0.5))


def test_what_is_excluded_or_infinite():
    x = logits(6, 20)
    x[0, 3:], x[1], x[2, 4], x[3, [2, 9, 11]], x[4, :10] = -np.inf, -np.inf, np.nan, np.inf, np.nan
    mask = np.ones(x.shape, bool)
    mask[4, :10] = False
    got, invalid = run(x, 5, mask=mask)
    same(got, ng.gumbel_topk(KEY, x, 5, mask=mask, invalid="mark"))
    assert sorted(invalid[1 : 1 + invalid[0]]) == [1, 2]


def test_everything_else():
    x, r = logits(4, 26, np.float64), np.random.default_rng(6)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 4), r.integers(0, 2**40, 4)
    cols, temperatures = r.integers(0, 2**35 - 16, (4, 26)), np.array([0.2, 0, 1, 5])
    want = ng.gumbel_topk(KEY, x, 6, rows=rows, step=steps, cols=cols, temperature=temperatures)
    same(run(x, 6, rows=rows, steps=steps, cols=cols, temperatures=temperatures)[0], want)
    same(run(x, 6, narrow=True)[0], ng.gumbel_topk(KEY, x, 6))
    p = np.exp(x)
    p[:, 5] = 0
    same(run(p, 6, probs=True)[0], ng.gumbel_topk(KEY, probs=p, k=6))
    half = x.astype(np.float16)
    same(run(half, 6)[0], ng.gumbel_topk(KEY, half, 6))
    same(run(x[:, ::-1], 6)[0], ng.gumbel_topk(KEY, x[:, ::-1], 6))


def test_a_larger_block():
    x = logits(1, 700)
    same(run(x, 9, block=64)[0], ng.gumbel_topk(KEY, x, 9))


@pytest.mark.parametrize("k", [1, 30, 31, 32, 33, 60])
@pytest.mark.parametrize("columns", [topk.MOST - 1, topk.MOST, topk.MOST + 1, 2600])
def test_k_beside_the_threads_and_rows_beside_what_is_collected(columns, k, order):
    x = logits(2, columns)
    same(run(x, k)[0], ng.gumbel_topk(KEY, x, k))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_more_than_can_be_collected(dtype, order):
    """Ties by the thousand, +inf by the thousand, scores that are clamped: found by their digits."""
    x = logits(6, 2100, dtype)
    x[0], x[1], x[2], x[3, ::2], x[4, 3:] = 0, np.inf, -np.finfo(dtype).max, np.finfo(dtype).max, -np.inf
    x[5, 100:] = -np.inf
    for k in (2, 17, 40):
        for temperature in (0.0, 2.0**-10, 1.0):
            got, _ = run(x, k, temperature=temperature)
            same(got, ng.gumbel_topk(KEY, x, k, temperature=temperature))


def test_noise_alone(order):
    """Equal logits that leave the noise its digits, and logits beside which it has none."""
    x = np.zeros((3, 3000), np.float32)
    x[1], x[2] = 2.0**12, 2.0**40
    for k in (3, 20):
        same(run(x, k)[0], ng.gumbel_topk(KEY, x, k))
        same(run(x, k, first_col=5)[0], ng.gumbel_topk(KEY, x, k, cols=np.arange(3000) + 5))


def test_excluded_columns_of_a_long_row(order):
    x, r = logits(4, 2500), np.random.default_rng(1)
    mask = r.random(x.shape) < np.array([[0.5], [0.01], [0.002], [0]])
    x[0, :7], x[1, 5] = np.nan, -np.inf
    mask[0, :7] = False
    for k in (1, 9, 31):
        got, invalid = run(x, k, mask=mask)
        same(got, ng.gumbel_topk(KEY, x, k, mask=mask, invalid="mark"))
        assert list(invalid[:2]) == [1, 3]
    x[2, 2499], mask[2, 2499] = -np.float32(np.nan), True
    assert sorted(run(x, 9, mask=mask)[1][1:3]) == [2, 3]
