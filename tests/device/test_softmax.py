"""Relaxed samples on a device against the CPU's: rows around every boundary of what threads keep, special numbers, layouts."""

import numpy as np
import pytest

import numgumbel as ng
from numgumbel.kernels.gpu.loading import cuda

KEY = ng.key(13, "relaxed")
ULP = 8


def device(array):
    return cuda.to_device(np.ascontiguousarray(array))


def logits(rows, columns, dtype=np.float32):
    return np.random.default_rng([rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


def near(got, want):
    """Equal within some ulp of the larger of a number and 1, halves within one of theirs."""
    got = got.copy_to_host() if hasattr(got, "copy_to_host") else got
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    each = np.finfo(want.dtype).eps * (ULP if want.dtype.itemsize > 2 else 1)
    np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=0, atol=each)


def both(x, **given):
    """A sample on the device and on the CPU."""
    sent = {name: device(value) if isinstance(value, np.ndarray) else value for name, value in given.items()}
    return ng.gumbel_softmax(KEY, device(x), **sent), ng.gumbel_softmax(KEY, x, invalid="mark", **given)


# Rows that a part of a warp, a warp and a block keep, and longer ones.
BOUNDARIES = {
    np.float32: (1, 8, 9, 255, 256, 257, 1023, 1024, 1025, 2049, 6144, 8191, 8192, 8193, 10001),
    np.float64: (7, 256, 511, 512, 513, 4095, 4096, 4097),
    np.float16: (3, 256, 1025, 8192, 8200),
}


@pytest.mark.parametrize(("dtype", "columns"), [(dtype, n) for dtype, sizes in BOUNDARIES.items() for n in sizes])
def test_boundaries(dtype, columns, order):
    x = logits(3, columns, dtype)
    for tau in (1.0, 0.5):
        near(*both(x, tau=tau))
    got, want = both(x, hard=True)
    np.testing.assert_array_equal(got.copy_to_host(), want)
    np.testing.assert_array_equal(want.argmax(1), ng.categorical(KEY, x))


@pytest.mark.simulated
def test_a_lone_category_is_exactly_one():
    for columns in (1, 11):
        x = np.full((5, columns), -np.inf, np.float32)
        x[np.arange(5), np.arange(5) % columns] = [3, -7, 0, 1e30, -1e30]
        for tau in (1.0, 0.3):
            got, _ = both(x, tau=tau)
            np.testing.assert_array_equal(got.copy_to_host(), np.isfinite(x).astype(np.float32))


@pytest.mark.parametrize("columns", [20, 1030, 8200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_at_the_ends(columns, dtype, order):
    inf, top = np.inf, np.finfo(dtype).max
    x = logits(9, columns, dtype)
    x[0], x[1, 3], x[2, columns - 1] = -inf, np.nan, np.copysign(np.nan, -1)
    x[3, 5], x[4, [7, 9]], x[5, 2], x[5, 4] = inf, inf, inf, np.nan
    x[6], x[7, ::2], x[8, columns // 2 :] = top, -top, -inf
    for given in ({"tau": 1.0}, {"tau": 0.4}, {"tau": 0.0}, {"hard": True}):
        got, want = both(x, **given)
        near(got, want)
    sure = got.copy_to_host()
    np.testing.assert_array_equal(np.isnan(sure).all(1), [True, True, True, False, False, True, False, False, False])
    mask = np.ones(x.shape, bool)
    mask[1, 3], mask[2, columns - 1], mask[5, 4], mask[6, :4] = False, False, False, False
    for tau in (1.0, 0.4):
        near(*both(x, tau=tau, mask=mask))


@pytest.mark.simulated
def test_rows_of_a_warp_that_want_different_things():
    """Temperatures of 1, 0 and others, +inf and NaN side by side in one warp."""
    x = logits(12, 11)
    x[3, 4], x[4, 4], x[5, 1], x[6] = np.inf, np.inf, np.nan, -np.inf
    taus = np.array([1, 0.5, 0, 1, 0.5, 1, 1, 2, -1, np.nan, 1, 0])
    got = ng.gumbel_softmax(KEY, device(x), tau=device(taus)).copy_to_host()
    assert np.isnan(got[[5, 6, 8, 9]]).all()
    good = [0, 1, 2, 3, 4, 7, 10, 11]
    near(got[good], ng.gumbel_softmax(KEY, x[good], rows=np.array(good), tau=taus[good]))


def test_ties_and_columns_elsewhere(order):
    x = np.full((2, 3000), np.float32(2.0**26))
    got, want = both(x, hard=True)
    np.testing.assert_array_equal(got.copy_to_host(), want)
    x = logits(4, 2600)
    r = np.random.default_rng(4)
    for cols in (np.arange(2600) + 3, np.arange(2600) + 16, r.permutation(2**35 - 17 - np.arange(2600))):
        near(*both(x, cols=cols, tau=0.7))
        near(*both(x, cols=cols))


def test_layouts_and_results_in_place(order):
    x = logits(6, 2500)
    for turned in (lambda a: a[:, ::-1], lambda a: a[:, 3:], lambda a: a[::2, 1:2001], lambda a: a[1:, 4:2404]):
        near(ng.gumbel_softmax(KEY, turned(device(x)), tau=0.6), ng.gumbel_softmax(KEY, turned(x), tau=0.6))
    tall = np.asfortranarray(x)
    near(ng.gumbel_softmax(KEY, cuda.to_device(tall)), ng.gumbel_softmax(KEY, x))
    for columns, tau in ((2500, 1.0), (2500, 0.5), (9000, 1.0), (9000, 0.5)):
        x = logits(2, columns)
        own = device(x)
        assert ng.gumbel_softmax(KEY, own, tau=tau, out=own) is own
        near(own, ng.gumbel_softmax(KEY, x, tau=tau))
    wide = device(np.zeros((3, 2600), np.float32))
    x = logits(3, 2500)
    ng.gumbel_softmax(KEY, device(x), out=wide[:, 3:2503])
    near(np.ascontiguousarray(wide.copy_to_host()[:, 3:2503]), ng.gumbel_softmax(KEY, x))
    assert (wide.copy_to_host()[:, [0, 1, 2, -1]] == 0).all()


@pytest.mark.parametrize("columns", [30, 1030, 8200])
def test_gradients_of_halves(columns, order):
    """Made from samples that are not stored, by `GRADIENT`."""
    x, c = logits(3, columns, np.float16), logits(3, columns, np.float16)
    x[1, 4] = -np.inf
    for tau in (1.0, 0.5):
        got = ng.gumbel_softmax_vjp(KEY, device(x), device(c), tau=tau)
        near(got, ng.gumbel_softmax_vjp(KEY, x, c, tau=tau))


def test_the_tail():
    """A number in the tail of the field, once in 2^24, in the loop that has the others without asking."""
    noise = ng.gumbel(KEY, (8192, 8192), dtype=np.float32)
    row, column = np.unravel_index(noise.argmax(), noise.shape)
    assert noise[row, column] > 16.7
    x = np.zeros((1, 8192), np.float32)
    x[0, column] = -12
    for tau in (1.0, 0.5):
        near(*both(x, rows=np.array([row]), tau=tau))
    x = np.zeros((1, 8320), np.float32)
    near(*both(x, rows=np.array([row]), tau=2.0))


def test_probs_and_temperatures(order):
    x, r = logits(5, 1500), np.random.default_rng(5)
    p = np.exp(x)
    p[:, 7] = 0
    near(ng.gumbel_softmax(KEY, probs=device(p), tau=0.5), ng.gumbel_softmax(KEY, probs=p, tau=0.5))
    taus = r.uniform(0.1, 3, 5)
    near(*both(x, tau=taus))
    rows, steps = r.integers(-(2**63), 2**63 - 1, 5), r.integers(0, 2**40, 5)
    near(*both(x, rows=rows, step=steps))
