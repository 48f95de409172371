"""The GPU's `noise_rows` against the CPU's, in every bit."""

import numpy as np
import pytest
from launching import address, launch

import numgumbel as ng
from numgumbel.kernels.gpu import noise

KEY = ng.key(6, "simulated")


def run(shape, dtype, loc=0.0, scale=1.0, **where):
    out = np.full(shape, 7, dtype)
    first, flags = address(KEY, shape, **where)
    rows, groups = shape[0] * shape[1], -(-shape[2] // 8)
    launch(noise.noise_rows, rows * groups, *first, flags, loc, scale, 0, rows, out)
    return out


@pytest.mark.parametrize("columns", [*range(1, 18), 31, 33, 64, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_length(columns, dtype):
    np.testing.assert_array_equal(run((1, 3, columns), dtype)[0], ng.gumbel(KEY, (3, columns), dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_addresses(dtype):
    r, shape = np.random.default_rng(2), (2, 3, 13)
    rows, steps = r.integers(-(2**63), 2**63 - 1, shape[:2]), r.integers(0, 2**45, shape[:2])
    cols = r.integers(0, 2**35 - 16, 13)
    for given in ({"rows": rows}, {"steps": steps}, {"cols": cols}, {"first_col": 5}, {"step": 2**31}):
        public = {"step" if name == "steps" else name: value for name, value in given.items() if name != "first_col"}
        if "first_col" in given:
            public = {"cols": np.arange(13) + 5}
        np.testing.assert_array_equal(run(shape, dtype, **given), ng.gumbel(KEY, shape, dtype=dtype, **public))
    assert (run(shape, dtype, step=1) != ng.gumbel(KEY, shape, dtype=dtype)).all()


def test_the_tail():
    """A column whose 32 leading bits are below 256, found among many: beside it, and itself, with ids that run on or not."""
    rows = np.arange(200_000)
    g = ng.gumbel(KEY, (len(rows), 128), dtype=np.float32)
    row, column = (int(place[0]) for place in np.where(g > 16.7))
    start = column // 8 * 8
    want = ng.gumbel(KEY, rows=np.array([row]), cols=np.arange(start, start + 8), dtype=np.float32)
    for given in ({"first_col": start}, {"cols": np.arange(start, start + 8)}):
        got = run((1, 1, 8), np.float32, rows=np.array([[row]]), **given)
        np.testing.assert_array_equal(got[0], want)
    assert want.max() > 16.7


def test_location_and_scale():
    np.testing.assert_array_equal(
        run((1, 4, 9), np.float32, -1.5, 0.25)[0], ng.gumbel(KEY, (4, 9), loc=-1.5, scale=0.25, dtype=np.float32)
    )
