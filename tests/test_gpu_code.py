"""The machine code of the GPU's kernels, read without a GPU: no spill, no local memory, no product added but by `fma`."""

import functools
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


CAPABILITIES = (7, 5), (8, 0), (9, 0), (10, 0)
OLDEST = CAPABILITIES[:1]  # for halves, which are kernels of float32 that read something else


# Kernels that read logits in pieces of 16 bytes.
LOADING = {
    "argmax_parts",
    "argmax_ragged",
    "argmax_rows",
    "conditional_rows",
    "draw_rows",
    "inverse_cdf_rows",
    "log_prob_vjp_rows",
    "softmax_long_rows",
    "softmax_rows",
    "softmax_vjp_rows",
    "topk_rows",
}


@functools.cache
def code_of(name, dtype):
    import gpu_kernels

    kernel, signature, dtypes, _ = gpu_kernels.KERNELS[name]
    return cuda_compile.KernelCode(kernel.py_func, signature(dtypes[dtype]))


@pytest.mark.parametrize(("name", "dtype"), cases())
def test_code(name, dtype):
    """PTX for every capability, SASS for one: no spill, few registers, and the multiply-adds that the source has."""
    import gpu_kernels

    code, registers = code_of(name, dtype), gpu_kernels.KERNELS[name][3]
    for capability in OLDEST if dtype in ("f16", "bf16") else CAPABILITIES:
        ptx = code.ptx(capability)
        assert f".target sm_{capability[0]}{capability[1]}" in ptx
        assert not re.search(r"\.local\b", ptx)
    ptx = code.ptx()
    if name in LOADING:
        assert re.search(r"\bld\.global\.v2\.f64\b" if dtype == "f64" else r"\bld\.global\.v4\.[fub]32\b", ptx)
    fused = cuda_compile.fused(ptx)
    assert fused == cuda_compile.fused(code.ptx(contract=False))
    _, figures = cuda_compile.assembled(ptx)
    print(name, dtype, figures)
    assert figures["spilled"] == 0
    assert figures["registers"] <= registers[dtype == "f64"]


@pytest.mark.parametrize("name", sorted({name for name, _ in cases()}))
def test_code_of_a_launch(name):
    """The other way to machine code, by link-time optimisation: the same multiply-adds."""
    dtype = "f32"
    linked = cuda_compile.opcodes(code_of(name, dtype).linked())
    text, _ = cuda_compile.assembled(code_of(name, dtype).ptx())
    plain = cuda_compile.opcodes(text)
    for opcode in ("FFMA", "DFMA"):
        count = [sum(n for each, n in counts.items() if each.split(".")[0] == opcode) for counts in (linked, plain)]
        print(name, opcode, count)
        assert count[0] == count[1]


# Instructions that are neither whole-number nor floating-point arithmetic: memory, control, and the unit of whole warps.
BESIDE = ("LDG", "BRA", "VOTE", "BSSY", "BSYNC", "WARPSYNC", "NOP", "U")


def test_budget_of_long_rows():
    """float32, a category in the main loop: at most 16 instructions of arithmetic; a NaN is looked for; no key is scheduled."""
    sass, _ = cuda_compile.assembled(code_of("argmax_parts", "f32").ptx())
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
