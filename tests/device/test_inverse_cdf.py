"""The GPU's `inverse_cdf_rows` against the CPU's, index for index."""

import numpy as np
import pytest
from launching import launch, rows_at_the_ends, sampling

import numgumbel as ng
from numgumbel.kernels.cpu.cells import NARROW
from numgumbel.kernels.gpu import inverse_cdf

KEY = ng.key(5, "simulated")
REALS = np.float32, np.float64
BLOCK = 256


def categorical(x=None, **request):
    return ng.categorical(KEY, x, method="inverse_cdf", **request)


def run(cells, threads=None, narrow=False, **request):
    """(index, invalid) of the kernel for cells of (rows, K) or (outer, inner, K)."""
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner, columns = cells.shape
    index, short = np.full((outer, inner), -7), np.full((outer, inner), -7, np.int32)
    invalid, rows = np.zeros(6, np.int64), outer * inner
    threads = threads or min(32, 1 << max(-(-columns // 8) - 1, 0).bit_length())
    common = sampling(KEY, cells, flags=NARROW if narrow else 0, **request)
    launch(inverse_cdf.inverse_cdf_rows, rows * threads, *common, 0, rows, threads, index, short, invalid)
    assert ((index if narrow else short) == -7).all()
    return (short if narrow else index), invalid


def logits(rows, columns, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


@pytest.mark.parametrize("columns", [*range(1, 19), 31, 32, 33, 63, 64, 65, 70, 256, 257])
def test_every_length(columns):
    x = logits(7, columns, REALS[columns % 2])
    np.testing.assert_array_equal(run(x)[0][0], categorical(x))


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32])
def test_any_number_of_lanes(threads):
    x = logits(5, 70)
    np.testing.assert_array_equal(run(x, threads)[0][0], categorical(x))


@pytest.mark.parametrize("columns", [300, 2049])
def test_a_block_a_row(columns):
    x = logits(4, columns, np.float64)
    x[1], x[1, columns - 1] = -np.inf, 0  # in the last stretch that is not empty
    x[2, columns // 3], x[2, columns // 2 + 1] = np.inf, np.inf
    x[3, columns // 2] = np.nan
    index, invalid = run(x, BLOCK)
    np.testing.assert_array_equal(index[0], categorical(x, invalid="mark"))
    assert list(invalid[:2]) == [1, 3]


def test_a_wrong_address_is_noticed():
    x = logits(30, 18)
    assert (run(x, step=1)[0][0] != categorical(x)).any()
    np.testing.assert_array_equal(run(x, step=1)[0][0], categorical(x, step=1))


def test_addresses():
    x, r = logits(6, 21), np.random.default_rng(3)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 6), r.integers(0, 2**40, 6)
    for given in ({"rows": rows}, {"steps": steps}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        np.testing.assert_array_equal(run(x, **given)[0][0], categorical(x, **public))


def test_layouts():
    x = logits(12, 19)
    want = categorical(x)
    np.testing.assert_array_equal(run(x, narrow=True)[0][0], want)
    np.testing.assert_array_equal(run(np.asfortranarray(x))[0][0], want)
    np.testing.assert_array_equal(run(x[:, ::-1])[0][0], categorical(x[:, ::-1]))
    np.testing.assert_array_equal(run(x.reshape(3, 4, 19))[0].ravel(), want)
    wide = np.full((12, 24), 9, np.float32)
    wide[:, :19] = x
    np.testing.assert_array_equal(run(wide[:, :19])[0][0], want)


@pytest.mark.parametrize("columns", [5, 16, 37])
def test_halves(columns):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = logits(6, columns).astype(dtype)
        np.testing.assert_array_equal(run(x)[0][0], categorical(x))


def test_temperatures_masks_and_probs():
    x, r = logits(8, 23, np.float64), np.random.default_rng(8)
    mask = r.random((8, 23)) < 0.4
    mask[:, 5], mask[3] = True, False
    temperatures = np.array([0, 0.5, 1, 2, 1e-9, 1e9, 0, 3.0])
    for given in ({"mask": mask}, {"temperature": 0.3}, {"temperature": 0.0}):
        np.testing.assert_array_equal(run(x, **given)[0][0], categorical(x, invalid="mark", **given))
    np.testing.assert_array_equal(run(x, temperatures=temperatures)[0][0], categorical(x, temperature=temperatures))
    p = np.exp(x)
    p[:, 3] = 0
    np.testing.assert_array_equal(run(p, probs=True)[0][0], categorical(probs=p))


def test_equal_weights_at_every_uniform():
    """Whole numbers of which none is lost: an index for every uniform, about as often as its share."""
    x = np.zeros((64, 3), np.float32)
    index = run(x)[0][0]
    np.testing.assert_array_equal(index, categorical(x))
    assert (np.bincount(index, minlength=3) > 8).all()


@pytest.mark.parametrize("dtype", REALS)
def test_numbers_at_the_ends(dtype):
    x = rows_at_the_ends(dtype)[:7]
    index, invalid = run(x)
    want = categorical(x, invalid="mark")
    np.testing.assert_array_equal(index[0], want)
    assert sorted(invalid[1 : 1 + invalid[0]]) == [0, 1]
    np.testing.assert_array_equal(run(x, temperature=0.0)[0][0], categorical(x, temperature=0.0, invalid="mark"))
    negative = x.copy()
    negative[1, 1] = -negative[1, 1]  # the NaN that 0 / 0 makes
    np.testing.assert_array_equal(run(negative)[0][0], want)
    masked = np.ones(x.shape, bool)
    masked[1, 1::3] = False
    np.testing.assert_array_equal(run(x, mask=masked)[0][0], categorical(x, mask=masked, invalid="mark"))


def test_temperatures_out_of_range_mark_the_row():
    x = logits(5, 12)
    index, invalid = run(x, temperatures=np.array([1, -1, np.nan, 2.0**65, 2.0**-64]))
    np.testing.assert_array_equal(index[0] < 0, [False, True, True, True, False])
    assert sorted(invalid[1:4]) == [1, 2, 3]
