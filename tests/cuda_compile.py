"""Compile functions for CUDA without a GPU or driver, down to PTX and SASS, and read what the compiler did.

Needs numba-cuda and NVIDIA's compiler wheels: ``pip install -e ".[cuda-compile]"``.
"""

import collections
import contextlib
import functools
import importlib.util
import itertools
import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from numgumbel.inspecting.ptx import tool

CAPABILITY = (9, 0)
INSTALL = 'the CUDA compilers are missing: pip install -e ".[cuda-compile]"'


def have_compilers():
    """Whether numba-cuda and NVIDIA's compilers are there."""
    return importlib.util.find_spec("numba_cuda") is not None and tool("ptxas") is not None and tool("nvdisasm") is not None


def need_compilers():
    """Skip the test, saying what to install, where the compilers are missing."""
    if not have_compilers():
        pytest.skip(INSTALL)


def cuda():
    """``numba.cuda``, able to compile without a device."""
    from numba.cuda import dispatcher

    import numgumbel.kernels.gpu.loading as loading

    # A kernel that calls device functions asks for the current device, and only for its compute capability.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    return loading.cuda


def function_ptx(function, signature):
    """PTX of a scalar function under the C ABI, named ``fn``."""
    return cuda().compile(function, signature, device=True, abi="c", abi_info={"abi_name": "fn"}, cc=CAPABILITY)[0]


def kernel_ptx(kernel, signature, capability=CAPABILITY, **options):
    """PTX of a kernel, a plain Python function."""
    return cuda().compile_ptx(kernel, signature, cc=capability, **options)[0]


class KernelCode:
    """The code of one kernel for one signature: lowered once, then compiled for any capability."""

    def __init__(self, kernel, signature):
        cuda()
        from numgumbel.inspecting.gpu import lowered

        self._lower = functools.partial(lowered, kernel, signature.args)
        self._library = self._lower()

    def ptx(self, capability=CAPABILITY, contract=True):
        """PTX, with products and sums fused where the compiler likes, or only where the source says so."""
        library = self._library
        library._ptx_cache.clear()
        if not contract:
            library._nvvm_options["fma"] = 0
        try:
            return library.get_asm_str(cc=capability)
        finally:
            library._nvvm_options.pop("fma", None)

    def linked(self):
        """Disassembly of what a launch loads where numba-cuda optimises at link time: LTO-IR through nvJitLink."""
        library = self._lower(lto=True)
        library._lto = True
        library._nvvm_options.pop("gen-lto", None)
        code = library.get_cubin(cc=(*CAPABILITY, "a")).code
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "kernel.cubin"
            path.write_bytes(code)
            return subprocess.run([tool("nvdisasm"), "-c", path], capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def without_contraction():
    """Compile with libNVVM told not to fuse multiplications with additions."""
    cuda()
    import numba.cuda.cudadrv.nvvm as nvvm

    original = nvvm.CompilationUnit.__init__
    nvvm.CompilationUnit.__init__ = lambda self, options: original(self, {**options, "fma": 0})
    try:
        yield
    finally:
        nvvm.CompilationUnit.__init__ = original


def fused(ptx):
    """Number of fused multiply-adds in a PTX text: (float32, float64)."""
    return len(re.findall(r"\bfma\.rn\.f32\b", ptx)), len(re.findall(r"\bfma\.rn\.f64\b", ptx))


def assemble(ptx):
    """(opcode counts of the SASS, bytes spilled) for the compute capability above."""
    text, figures = assembled(ptx)
    return opcodes(text), figures["spilled"]


def opcodes(sass):
    """How often each opcode occurs in a disassembly."""
    return collections.Counter(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)", sass, re.MULTILINE))


def loops(sass, shortest=False):
    """The instructions of every loop without another loop in it; on its shortest way round, without what is seldom met."""
    code = [(int(at, 16), text.strip()) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", sass)]
    labels = {
        name: int(at, 16) for name, at in re.findall(r"^(\.L_x_\d+):\s*\n(?:.*\n)*?\s+/\*([0-9a-f]{4,})\*/", sass, re.MULTILINE)
    }
    jumps = {at: labels[found[1]] for at, text in code if (found := re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", text))}
    spans = [(target, at) for at, target in jumps.items() if target <= at]
    inner = [
        span for span in spans if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in spans)
    ]
    bodies = [[(at, text) for at, text in code if first <= at <= last] for first, last in inner]
    if shortest:
        bodies = [_shortest_way(body, jumps) for body in bodies]
    return [[re.sub(r"^@!?U?P\w+ +", "", text) for _, text in body] for body in bodies]


def _shortest_way(body, jumps):
    """The least instructions from the first to the last of a loop, with branches taken or not as that wants; [] for no way."""
    ways = {body[0][0]: []}
    for (at, text), (following, _) in itertools.pairwise(body):
        if at not in ways:
            continue
        way = [*ways[at], (at, text)]
        always = at in jumps and re.match(r"BRA `", text)
        for goal in [jumps.get(at), None if always else following]:
            if goal is not None and goal > at and len(ways.get(goal, [*way, None])) > len(way):
                ways[goal] = way
    return [*ways[body[-1][0]], body[-1]] if body[-1][0] in ways else []


def assembled(ptx, capability=CAPABILITY):
    """(disassembly, {"spilled": bytes, "registers", "shared": bytes}) of a PTX text."""
    with tempfile.TemporaryDirectory() as name:
        source, cubin = Path(name) / "kernel.ptx", Path(name) / "kernel.cubin"
        source.write_text(ptx)
        arch = "sm_{}{}".format(*capability)
        said = subprocess.run(
            [tool("ptxas"), f"-arch={arch}", "-v", source, "-o", cubin], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stderr
        text = subprocess.run([tool("nvdisasm"), "-c", cubin], capture_output=True, text=True, check=True).stdout

    def most(pattern):
        return max(map(int, re.findall(pattern, said.stderr)), default=0)

    figures = {"registers": most(r"Used (\d+) registers"), "shared": most(r"(\d+) bytes smem")}
    return text, figures | {"spilled": sum(map(int, re.findall(r"(\d+) bytes spill", said.stderr)))}
