"""`numgumbel.nb` in a user's own kernels on a device: the bits that the array functions give on the CPU."""

import os
import warnings

import numpy as np
import pytest

if os.environ.get("NUMGUMBEL_TEST_DEVICE") not in ("emulated", "gpu"):
    pytest.skip("compiled for a device only", allow_module_level=True)

from numba.cuda.core.errors import NumbaPerformanceWarning

import numgumbel as ng
from numgumbel import nb
from numgumbel.kernels.gpu.loading import cuda

KEY = ng.key(9, "own kernels")


def run(kernel, threads, *arguments):
    """A user's launch; what comes back of the arrays."""
    there = [cuda.to_device(np.array(each)) if isinstance(each, np.ndarray) else each for each in arguments]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaPerformanceWarning)  # small grids
        kernel[-(-threads // 64), 64](*there)
    return [each.copy_to_host() for each in there if hasattr(each, "copy_to_host")]


@cuda.jit
def cells(key, step, noise, single, uniforms):
    i = cuda.grid(1)
    if i < noise.shape[0]:
        uniforms[i] = nb.uniform(key, step, i)
        for j in range(noise.shape[1]):
            noise[i, j] = nb.gumbel(key, step, i, j)
            single[i, j] = nb.gumbel_f32(key, step, i, j)


def test_cells():
    shape = 100, 21
    noise, single, uniforms = run(
        cells, 100, np.uint64(int(KEY)), 2**40, np.zeros(shape), np.zeros(shape, np.float32), np.zeros(100)
    )
    np.testing.assert_array_equal(noise, ng.gumbel(KEY, shape, step=2**40))
    np.testing.assert_array_equal(single, ng.gumbel(KEY, shape, step=2**40, dtype=np.float32))
    assert len(set(uniforms)) == 100
    assert uniforms.min() > 0
    assert uniforms.max() < 1


@cuda.jit
def rows(key, step, x, index, inverse, soft):
    i = cuda.grid(1)
    if i < x.shape[0]:
        index[i] = nb.categorical_row(key, step, i, x[i])
        inverse[i] = nb.inverse_cdf_row(key, step, i, x[i])
        nb.gumbel_softmax_row(key, step, i, x[i], 0.5, soft[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 6, 17, 300])
def test_rows(dtype, columns):
    x = np.random.default_rng(columns).normal(scale=2, size=(50, columns)).astype(dtype)
    given = np.uint64(int(KEY)), 3, x, np.zeros(50, np.int64), np.zeros(50, np.int64), np.zeros_like(x)
    _, index, inverse, soft = run(rows, 50, *given)
    np.testing.assert_array_equal(index, ng.categorical(KEY, x, step=3))
    np.testing.assert_array_equal(inverse, ng.categorical(KEY, x, step=3, method="inverse_cdf"))
    np.testing.assert_allclose(soft, ng.gumbel_softmax(KEY, x, step=3, tau=0.5), rtol=0, atol=8 * np.finfo(dtype).eps)
