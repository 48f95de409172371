"""The GPU's `argmax_ragged` against the CPU's, index for index."""

import numpy as np
import pytest
from launching import address, as_stored, launch

import numgumbel as ng
from numgumbel.kernels.cpu.cells import HAS_COLS, HAS_MASK, HAS_TEMPERATURES, IS_PROBS, NARROW
from numgumbel.kernels.gpu import ragged
from numgumbel.kernels.gpu.cells import ALIGNED_IDS, PACKED

KEY = ng.key(5, "simulated")
REALS = np.float32, np.float64
BLOCK = 256


def run(
    cells, offsets, threads=4, *, cols=None, mask=None, probs=False, temperature=1.0, temperatures=None, narrow=False, **where
):
    """(index, invalid) of the kernel."""
    offsets = np.asarray(offsets)
    rows = len(offsets) - 1
    common, flags = address(KEY, (1, rows, 1), **where)
    common = (*common[:5], np.zeros((1, 1, 1), np.int64) if cols is None else cols[None, None])
    flags = flags & ~ALIGNED_IDS | (ALIGNED_IDS if cols is None else HAS_COLS)
    flags |= (mask is not None) * HAS_MASK | probs * IS_PROBS | (temperatures is not None) * HAS_TEMPERATURES | narrow * NARROW
    flags |= PACKED if cells.strides[0] == cells.itemsize and cells.ctypes.data % 16 == 0 else 0
    mask = np.ones((1, 1, 1), np.uint8) if mask is None else mask.astype(np.uint8)[None, None]
    temperatures = np.ones((1, 1)) if temperatures is None else np.array(temperatures, float)[None]
    index, short, invalid = np.full((1, rows), -7), np.full((1, rows), -7, np.int32), np.zeros(6, np.int64)
    common = (*common, as_stored(cells)[None, None], mask, flags, temperature, temperatures, offsets)
    launch(ragged.argmax_ragged, rows * threads, *common, 0, rows, threads, index, short, invalid)
    assert ((index if narrow else short) == -7).all()
    return (short if narrow else index)[0], invalid


def aligned(values):
    """A copy that starts at a multiple of 64 bytes, so that rows do at every eighth value."""
    room = np.empty(values.nbytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    copy = room[first : first + values.nbytes].view(values.dtype)
    copy[...] = values
    return copy


def stretches(lengths, dtype=np.float32, seed=0):
    """(values, offsets) of rows of such lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return aligned(np.random.default_rng([seed, *lengths]).normal(scale=2, size=offsets[-1]).astype(dtype)), offsets


MIXED = [1, 7, 8, 9, 0, 15, 16, 17, 31, 33, 64, 70, 3, 2, 8, 24]


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32])
def test_rows_of_different_lengths(threads):
    lengths = MIXED if threads > 2 else MIXED[:10]
    x, offsets = stretches(lengths, REALS[threads % 3 == 1])
    index, invalid = run(x, offsets, threads)
    np.testing.assert_array_equal(index, ng.categorical_ragged(KEY, x, offsets, invalid="mark"))
    assert list(invalid[:2]) == [1, MIXED.index(0)]


@pytest.mark.parametrize("first", range(0, 72, 12))
def test_every_length(first):
    x, offsets = stretches(np.arange(first, first + 12), REALS[first % 8 == 4])
    np.testing.assert_array_equal(run(x, offsets)[0], ng.categorical_ragged(KEY, x, offsets, invalid="mark"))


def test_a_block_a_row():
    x, offsets = stretches([2100, 5, 300])
    x[-1] = np.nan
    np.testing.assert_array_equal(run(x, offsets, BLOCK)[0], ng.categorical_ragged(KEY, x, offsets, invalid="mark"))


def test_a_wrong_address_is_noticed():
    x, offsets = stretches([18] * 16)
    assert (run(x, offsets, step=1)[0] != ng.categorical_ragged(KEY, x, offsets)).any()
    assert (run(x, offsets - (np.arange(17) > 0))[0] != ng.categorical_ragged(KEY, x, offsets)).any()
    np.testing.assert_array_equal(run(x, offsets, step=1)[0], ng.categorical_ragged(KEY, x, offsets, step=1))


def test_addresses():
    lengths = [5, 16, 9, 1, 21, 8]
    (x, offsets), r = stretches(lengths), np.random.default_rng(3)
    rows, steps = r.integers(-(2**63), 2**63 - 1, 6), r.integers(0, 2**40, 6)
    cols = r.permutation(2**35 - 17 - np.arange(len(x)))
    for given in ({"rows": rows}, {"steps": steps}, {"cols": cols}, {"cols": np.arange(3, 3 + 3 * len(x), 3)[::-1]}):
        public = {"step" if name == "steps" else name: value for name, value in given.items()}
        np.testing.assert_array_equal(run(x, offsets, **given)[0], ng.categorical_ragged(KEY, x, offsets, **public))


def test_layouts():
    x, offsets = stretches(MIXED[5:])
    want = ng.categorical_ragged(KEY, x, offsets)
    np.testing.assert_array_equal(run(x, offsets, narrow=True)[0], want)
    wide = np.repeat(x, 3)
    np.testing.assert_array_equal(run(wide[::3], offsets)[0], want)
    np.testing.assert_array_equal(run(x[::-1], offsets)[0], ng.categorical_ragged(KEY, x[::-1], offsets))
    np.testing.assert_array_equal(run(x[8:], offsets[1:] - 8)[0], ng.categorical_ragged(KEY, x[8:], offsets[1:] - 8))
    part = np.ascontiguousarray(offsets[3:8])  # values before and behind are not looked at
    np.testing.assert_array_equal(run(x, part)[0], ng.categorical_ragged(KEY, x, part))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves(name):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    x, offsets = stretches([5, 16, 37, 3, 11, 8], np.float16 if name == "float16" else ml_dtypes.bfloat16)
    np.testing.assert_array_equal(run(x, offsets)[0], ng.categorical_ragged(KEY, x, offsets))


def test_temperatures_masks_and_probs():
    (x, offsets), r = stretches([23, 8, 40, 1, 9, 16, 12, 5], np.float64), np.random.default_rng(8)
    mask = r.random(len(x)) < 0.4
    mask[offsets[3] : offsets[5]] = False  # two rows without any category
    mask[offsets[:3]] = True
    for given in ({"mask": mask}, {"temperature": 0.3}, {"temperature": 0.0}):
        np.testing.assert_array_equal(
            run(x, offsets, **given)[0], ng.categorical_ragged(KEY, x, offsets, invalid="mark", **given)
        )
    temperatures = np.array([0, 0.5, 1, 2, 1e-9, 1e9, 0, 3.0])
    np.testing.assert_array_equal(
        run(x, offsets, temperatures=temperatures)[0], ng.categorical_ragged(KEY, x, offsets, temperature=temperatures)
    )
    p = aligned(np.exp(x))
    p[::4] = 0
    p[offsets[3]] = 1
    np.testing.assert_array_equal(run(p, offsets, probs=True)[0], ng.categorical_ragged(KEY, probs=p, offsets=offsets))


@pytest.mark.parametrize("dtype", REALS)
def test_numbers_at_the_ends(dtype):
    top, inf = np.finfo(dtype).max, np.inf
    some = [[-inf] * 9, [1, np.nan, 2], [-top] * 11, [-inf, -top, -inf], [1, inf, 2, inf], [top] * 9, [0.0, -0.0, 0], []]
    x, offsets = np.concatenate(some).astype(dtype), np.cumsum([0, *map(len, some)])
    want = ng.categorical_ragged(KEY, x, offsets, invalid="mark")
    index, invalid = run(x, offsets)
    np.testing.assert_array_equal(index, want)
    assert sorted(invalid[1 : 1 + invalid[0]]) == [0, 1, 7]
    cold = ng.categorical_ragged(KEY, x, offsets, temperature=0.0, invalid="mark")
    np.testing.assert_array_equal(run(x, offsets, temperature=0.0)[0], cold)
    x[10] = -x[10]  # the NaN that 0 / 0 makes
    np.testing.assert_array_equal(run(x, offsets)[0], want)
    mask = np.arange(len(x)) != 10
    np.testing.assert_array_equal(
        run(x, offsets, mask=mask)[0], ng.categorical_ragged(KEY, x, offsets, mask=mask, invalid="mark")
    )


def test_temperatures_out_of_range_mark_the_row():
    x, offsets = stretches([12, 3, 9, 8, 5])
    index, invalid = run(x, offsets, temperatures=np.array([1, -1, np.nan, 2.0**65, 2.0**-64]))
    np.testing.assert_array_equal(index < 0, [False, True, True, True, False])
    assert sorted(invalid[1:4]) == [1, 2, 3]
