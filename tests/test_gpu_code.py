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


# Instructions that are neither whole-number nor floating-point arithmetic: memory, control, and the unit of whole warps.
BESIDE = ("LDG", "BRA", "VOTE", "BSSY", "BSYNC", "WARPSYNC", "NOP", "U")


def test_budget_of_long_rows():
    """float32, a category in the main loop: at most 16 instructions of arithmetic; a NaN is looked for; no key is scheduled."""
    import gpu_kernels

    kernel, signature, dtypes, _ = gpu_kernels.KERNELS["argmax_parts"]
    ptx = cuda_compile.kernel_ptx(kernel.py_func, signature(dtypes["f32"]), launch_bounds=(256, 1))
    sass, _ = cuda_compile.assembled(ptx)
    (loop,) = [body for body in cuda_compile.loops(sass) if any(text.startswith("LDG.E.128") for text in body)]
    loads = sum(text.startswith("LDG.E.128") for text in loop)
    categories = loads * 4
    arithmetic = [text for text in loop if not text.startswith(BESIDE)]
    print(f"{len(loop)} instructions, {len(arithmetic)} of arithmetic, for {categories} categories")
    assert categories == 8
    assert len(arithmetic) <= 16 * categories
    assert sum(text.startswith("FSETP.NAN") for text in loop) == categories
    # Two wide products a round and one for an address; nothing is added but to what is counted.
    assert sum(text.startswith("IMAD.WIDE.U32") for text in loop) <= 21
    assert sum(text.startswith(("VIADD", "IADD3")) for text in loop) <= 6


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (10, 0)], ids=lambda pair: f"sm_{pair[0]}{pair[1]}")
@pytest.mark.parametrize(("name", "dtype"), cases())
def test_every_capability(name, dtype, capability):
    """PTX for each, assembled."""
    import gpu_kernels

    kernel, signature, dtypes, _ = gpu_kernels.KERNELS[name]
    ptx = cuda_compile.kernel_ptx(kernel.py_func, signature(dtypes[dtype]), capability, launch_bounds=(256, 1))
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert not re.search(r"\.local\b", ptx)
