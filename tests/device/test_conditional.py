"""The GPU's `conditional_rows` against the CPU's, to the bit."""

import numpy as np
import pytest
from launching import launch, sampling

import numgumbel as ng
from numgumbel.kernels.gpu import conditional

KEY = ng.key(5, "simulated")
REALS = np.float32, np.float64
BLOCK = 256


def run(cells, chosen, threads=None, sample=0, scores=False, out=None, **request):
    """(noise or scores, invalid) of the kernel for cells of (rows, K) or (outer, inner, K)."""
    shape = cells.shape
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner, columns = cells.shape
    chosen = np.array(np.broadcast_to(chosen, (outer, inner)), np.int64)
    samples = np.array(np.broadcast_to(sample, (outer, inner)), np.int64)
    out = np.full(cells.shape, 7, np.float64 if cells.dtype == np.float64 else np.float32) if out is None else out
    invalid, rows = np.zeros(6, np.int64), outer * inner
    threads = threads or min(32, 1 << max(-(-columns // 8) - 1, 0).bit_length())
    common = (*sampling(KEY, cells, **request), chosen, samples)
    launch(conditional.conditional_rows, rows * threads, *common, 0, 0, rows, int(scores), threads, out, invalid)
    return out.reshape(shape), invalid


def same(got, want):
    """Equal to the bit, but for which NaN."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))


def logits(rows, columns, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, rows, columns]).normal(scale=3, size=(rows, columns)).astype(dtype)


def some(rows, columns):
    return np.random.default_rng([7, rows, columns]).integers(0, columns, rows)


@pytest.mark.parametrize("columns", [*range(1, 19), 31, 32, 33, 64, 65, 70, 257, 1025])
def test_every_length(columns):
    rows = 3 if columns < 100 else 1
    x, at = logits(rows, columns, REALS[columns % 2]), some(rows, columns)
    same(run(x, at)[0], ng.conditional_gumbel(KEY, x, at))


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32])
def test_any_number_of_lanes(threads):
    x, at = logits(3, 70), some(3, 70)
    same(run(x, at, threads)[0], ng.conditional_gumbel(KEY, x, at))


def test_a_block_a_row():
    x, at = logits(3, 300, np.float64), np.array([298, 150, 0])
    x[1, 150], x[2, 100] = np.inf, np.nan
    got, invalid = run(x, at, BLOCK)
    same(got, ng.conditional_gumbel(KEY, x, at, invalid="mark"))
    assert list(invalid[:2]) == [1, 2]
    x = logits(1, 8 * 1024 + 5)  # a block of columns for each warp, and more
    same(run(x, 7, BLOCK)[0], ng.conditional_gumbel(KEY, x, [7]))


@pytest.mark.parametrize("dtype", REALS)
def test_the_order_of_the_sum(dtype):
    """Weights of many sizes: any other order gives another sum, and other noise."""
    x = logits(3, 200, dtype) * dtype(2)
    at = x.argmax(1)
    got = run(x, at)[0]
    same(got, ng.conditional_gumbel(KEY, x, at))
    turned = run(x[:, ::-1], 199 - at, cols=np.arange(200)[::-1])[0][:, ::-1]
    assert (turned != got).any()
    np.testing.assert_allclose(turned, got, rtol=1e-5)


def test_a_wrong_address_is_noticed():
    x, at = logits(4, 18), some(4, 18)
    want = ng.conditional_gumbel(KEY, x, at)
    for wrong in ({"step": 1}, {"sample": 1}):
        assert (run(x, at, **wrong)[0] != want).mean() > 0.9
        same(run(x, at, **wrong)[0], ng.conditional_gumbel(KEY, x, at, **wrong))


def test_addresses():
    (x, at), r = (logits(6, 21), some(6, 21)), np.random.default_rng(3)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 6), r.integers(0, 2**40, 6)
    cols = r.permutation(2**35 - 17 - np.arange(21))
    cells = np.stack([r.permutation(2**20)[:21] for _ in range(6)])
    for given in ({"rows": rows}, {"steps": steps}, {"cols": cols}, {"cols": cells}, {"first_col": 3}, {"first_col": 16}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        if "first_col" in given:
            public = {"cols": np.arange(21) + given["first_col"]}
        same(run(x, at, **given)[0], ng.conditional_gumbel(KEY, x, at, **public))
    many = np.broadcast_to(x, (3, 6, 21))
    got = run(many, at, rows=np.arange(6), sample=np.arange(9, 12)[:, None])[0]
    same(got, ng.conditional_gumbel(KEY, x, at, sample=9, n=3))


@pytest.mark.parametrize("scores", [False, True])
def test_layouts(scores):
    x, at = logits(6, 19), some(6, 19)
    want = ng.conditional_gumbel(KEY, x, at, scores=scores)
    same(run(np.asfortranarray(x), at, scores=scores)[0], want)
    same(run(x[:, ::-1], 18 - at, scores=scores)[0], ng.conditional_gumbel(KEY, x[:, ::-1], 18 - at, scores=scores))
    same(run(x.reshape(3, 2, 19), at.reshape(3, 2), scores=scores)[0].reshape(6, 19), want)
    wide = np.full((1, 6, 24), 9, np.float32)
    run(x, at, scores=scores, out=wide[:, :, 2:21])
    same(wide[0, :, 2:21], want)
    assert (wide[0, :, :2] == 9).all()
    assert (wide[0, :, 21:] == 9).all()
    own = x[None].copy()
    same(run(own, at, scores=scores, out=own)[0][0], want)


@pytest.mark.parametrize("columns", [5, 16, 37])
def test_halves(columns):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x, at = logits(4, columns).astype(dtype), some(4, columns)
        same(run(x, at)[0], ng.conditional_gumbel(KEY, x, at))


@pytest.mark.parametrize("scores", [False, True])
def test_temperatures_masks_and_probs(scores):
    (x, at), r = (logits(8, 23, np.float64), some(8, 23)), np.random.default_rng(8)
    mask = r.random((8, 23)) < 0.4
    mask[np.arange(8), at] = True
    mask[2, at[2]], mask[3] = False, False
    temperatures = np.array([0.1, 0.5, 1, 2, 1e-9, 1e9, 2.0**-64, 2.0**64])
    for given in ({"mask": mask}, {"temperature": 0.3}):
        want = ng.conditional_gumbel(KEY, x, at, scores=scores, invalid="mark", **given)
        same(run(x, at, scores=scores, **given)[0], want)
    want = ng.conditional_gumbel(KEY, x, at, scores=scores, temperature=temperatures)
    same(run(x, at, scores=scores, temperatures=temperatures)[0], want)
    p = np.exp(x)
    p[:, 3] = 0
    want = ng.conditional_gumbel(KEY, probs=p, index=at, scores=scores, invalid="mark")
    same(run(p, at, scores=scores, probs=True)[0], want)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("scores", [False, True])
def test_numbers_at_the_ends(dtype, scores):
    top, inf = np.finfo(dtype).max, np.inf
    x = np.array(
        [
            [-inf] * 9,
            [1, np.nan, 2] * 3,
            [1, -np.float32(np.nan), 2] * 3,
            [-top] * 9,
            [-inf, -top] * 4 + [-inf],
            [1, inf, 2] * 3,
            [1, inf, 2] * 3,
            [top] * 9,
            [top, -top, 0] * 3,
            [0.0, -0.0, 0] * 3,
            [1, 2, 3] * 3,
            [1, 2, 3] * 3,
            [1e30, 1, 2] * 3,  # ties: noise is lost beside such a logit
        ],
        dtype,
    )
    at = np.array([0, 0, 2, 5, 3, 1, 4, 8, 1, 1, -1, 9, 3])
    for temperature in (1.0, 2.0**-64, 2.0**64):
        got, invalid = run(x, at, scores=scores, temperature=temperature)
        same(got, ng.conditional_gumbel(KEY, x, at, scores=scores, temperature=temperature, invalid="mark"))
        assert invalid[0] == 6


@pytest.mark.parametrize("dtype", REALS)
def test_ties_are_lowered(dtype):
    """Scores that rounding makes equal: the noise of the others goes down, and the given index is alone at the top."""
    x = np.full((8, 12), 2.0 ** (24 if dtype == np.float32 else 53), dtype)
    at = some(8, 12)
    noise = run(x, at)[0]
    same(noise, ng.conditional_gumbel(KEY, x, at))
    np.testing.assert_array_equal((x + noise).argmax(1), at)
    assert (noise < -1).any()


def test_temperatures_out_of_range_mark_the_row():
    x = logits(6, 12)
    got, invalid = run(x, 3, temperatures=np.array([1, -1, np.nan, 2.0**65, 2.0**-64, 0]))
    np.testing.assert_array_equal(np.isnan(got).all(1), [False, True, True, True, False, True])
    assert invalid[0] == 4
