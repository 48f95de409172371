"""The GPU's `argmax` against the CPU's, index for index."""

import itertools

import numpy as np
import pytest
from launching import launch, rows_at_the_ends, sampling

import numgumbel as ng
from numgumbel.kernels.cpu.cells import NARROW, WANT_SCORE
from numgumbel.kernels.gpu import argmax

KEY = ng.key(5, "simulated")
REALS = np.float32, np.float64


def lanes_for(columns):
    return min(32, 1 << max(-(-columns // 8) - 1, 0).bit_length())


def run(cells, lanes=None, narrow=False, **request):
    """(index, score, invalid) of the kernel for cells of (rows, K) or (outer, inner, K)."""
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner, columns = cells.shape
    real = np.float64 if cells.dtype == np.float64 else np.float32
    index, short = np.full((outer, inner), -7), np.full((outer, inner), -7, np.int32)
    score, invalid = np.full((outer, inner), 7, real), np.zeros(6, np.int64)
    lanes = lanes or lanes_for(columns)
    flags = WANT_SCORE | (NARROW if narrow else 0)
    common = sampling(KEY, cells, flags=flags, **request)
    rows = outer * inner
    launch(argmax.argmax_rows, rows * lanes, *common, 0, rows, lanes, index, short, score, invalid)
    assert ((index if narrow else short) == -7).all()
    return (short if narrow else index), score, invalid


def logits(rows, columns, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


@pytest.mark.parametrize("columns", [*range(1, 19), 31, 32, 33, 63, 64, 65, 70])
def test_every_length(columns):
    dtype = REALS[columns % 2]
    x = logits(5, columns, dtype)
    index, score, _ = run(x)
    draw = ng.draw(KEY, x, want=("score",))
    np.testing.assert_array_equal(index[0], draw.index)
    np.testing.assert_array_equal(score[0], draw.score)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_any_number_of_lanes(lanes):
    x = logits(3, 70)
    np.testing.assert_array_equal(run(x, lanes)[0][0], ng.categorical(KEY, x))


def test_a_wrong_address_is_noticed():
    x = logits(40, 18)
    assert (run(x, step=1)[0][0] != ng.categorical(KEY, x)).any()
    np.testing.assert_array_equal(run(x, step=1)[0][0], ng.categorical(KEY, x, step=1))


def test_addresses():
    x, r = logits(6, 21), np.random.default_rng(3)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 6), r.integers(0, 2**40, 6)
    cols = r.permutation(2**35 - 17 - np.arange(21))
    cells = r.integers(0, 2**35 - 16, (6, 21))
    for given in ({"rows": rows}, {"steps": steps}, {"cols": cols}, {"cols": cells}, {"first_col": 3}, {"first_col": 16}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        if "first_col" in given:
            public = {"cols": np.arange(21) + given["first_col"]}
        np.testing.assert_array_equal(run(x, **given)[0][0], ng.categorical(KEY, x, **public))


def test_layouts():
    x = logits(12, 19)
    want = ng.categorical(KEY, x)
    np.testing.assert_array_equal(run(x, narrow=True)[0][0], want)
    np.testing.assert_array_equal(run(np.asfortranarray(x))[0][0], want)
    np.testing.assert_array_equal(run(x[:, ::-1])[0][0], ng.categorical(KEY, x[:, ::-1]))
    np.testing.assert_array_equal(run(x.reshape(3, 4, 19))[0].ravel(), want)
    wide = np.full((12, 24), 9, np.float32)
    wide[:, :19] = x
    np.testing.assert_array_equal(run(wide[:, :19])[0][0], want)


def test_halves():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    for dtype, columns in itertools.product((np.float16, ml_dtypes.bfloat16), (5, 16, 37)):
        x = logits(4, columns).astype(dtype)
        np.testing.assert_array_equal(run(x)[0][0], ng.categorical(KEY, x))


def test_temperatures_masks_and_probs():
    x, r = logits(8, 23, np.float64), np.random.default_rng(8)
    mask = r.random((8, 23)) < 0.4
    mask[:, 5] = True
    temperatures = np.array([0, 0.5, 1, 2, 1e-9, 1e9, 0, 3.0])
    for given in ({"mask": mask}, {"temperature": 0.3}, {"temperature": 0.0}):
        np.testing.assert_array_equal(run(x, **given)[0][0], ng.categorical(KEY, x, **given))
    np.testing.assert_array_equal(run(x, temperatures=temperatures)[0][0], ng.categorical(KEY, x, temperature=temperatures))
    p = np.exp(x)
    p[:, 3] = 0
    np.testing.assert_array_equal(run(p, probs=True)[0][0], ng.categorical(KEY, probs=p))


def test_numbers_at_the_ends():
    for dtype in REALS:
        x = rows_at_the_ends(dtype)[:7]
        index, score, invalid = run(x)
        draw = ng.draw(KEY, x, want=("score",), invalid="mark")
        np.testing.assert_array_equal(index[0], draw.index)
        assert sorted(invalid[1 : 1 + invalid[0]]) == [0, 1]
        np.testing.assert_array_equal(score[0][2:], draw.score[2:])
        np.testing.assert_array_equal(run(x, temperature=0.0)[0][0], ng.categorical(KEY, x, temperature=0.0, invalid="mark"))
        negative = x.copy()
        negative[1, 1] = np.array([0xFFC00000], np.uint32).view(np.float32)[0]  # the NaN that 0 / 0 makes
        np.testing.assert_array_equal(run(negative)[0][0], draw.index)
        masked = np.ones(x.shape, bool)
        masked[1, 1::3] = False
        np.testing.assert_array_equal(run(x, mask=masked)[0][0], ng.categorical(KEY, x, mask=masked, invalid="mark"))


def test_temperatures_out_of_range_mark_the_row():
    x = logits(5, 12)
    index, score, invalid = run(x, temperatures=np.array([1, -1, np.nan, 2.0**65, 2.0**-64]))
    np.testing.assert_array_equal(index[0] < 0, [False, True, True, True, False])
    assert sorted(invalid[1:4]) == [1, 2, 3]
    assert np.isnan(score[0][1:4]).all()
