"""The machine code of the GPU's kernels, read without a GPU: no spill, no local memory, no product added but by `fma`."""

import re

import cuda_compile
import pytest

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _compilers():
    cuda_compile.need_compilers()


def cases():
    """(kernel, dtype) of every kernel; without the compilers one case, which is skipped."""
    if not cuda_compile.have_compilers():
        return [("any kernel", "any dtype")]
    import gpu_kernels

    return [(name, dtype) for name, (_, _, dtypes, _) in gpu_kernels.KERNELS.items() for dtype in dtypes]


@pytest.mark.parametrize(("name", "dtype"), cases())
def test_code(name, dtype):
    import gpu_kernels

    kernel, signature, dtypes, registers = gpu_kernels.KERNELS[name]
    ptx = cuda_compile.kernel_ptx(kernel.py_func, signature(dtypes[dtype]), launch_bounds=(256, 1))
    assert not re.search(r"\.local\b", ptx)
    with cuda_compile.without_contraction():
        explicit = cuda_compile.kernel_ptx(kernel.py_func, signature(dtypes[dtype]), launch_bounds=(256, 1))
    assert cuda_compile.fused(ptx) == cuda_compile.fused(explicit)
    _, figures = cuda_compile.assembled(ptx)
    print(name, dtype, figures)
    assert figures["spilled"] == 0
    assert figures["registers"] <= registers[dtype == "f64"]
