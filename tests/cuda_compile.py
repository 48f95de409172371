"""Compile functions for CUDA without a GPU or driver, down to PTX and SASS, and read what the compiler did.

Needs numba-cuda and NVIDIA's compiler wheels: ``pip install -e ".[cuda-compile]"``.
"""

import collections
import contextlib
import importlib.util
import re
import subprocess
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

CAPABILITY = (9, 0)
INSTALL = 'the CUDA compilers are missing: pip install -e ".[cuda-compile]"'

_import_lock = threading.Lock()


def need_compilers():
    """Skip the test, saying what to install, where the compilers are missing."""
    if importlib.util.find_spec("numba_cuda") is None or _tool("ptxas") is None or _tool("nvdisasm") is None:
        pytest.skip(INSTALL)


def cuda():
    """``numba.cuda``, able to compile without a device."""
    with _import_lock:
        # numba-cuda 0.30 names np.row_stack, which NumPy 2.5 has dropped, while its implementations are imported.
        missing = not hasattr(np, "row_stack")
        if missing:
            np.row_stack = np.vstack  # noqa: NPY201
        try:
            import numba.cuda
            import numba.cuda.dispatcher as dispatcher
            import numba.cuda.np.arrayobj
            import numba.cuda.target
        finally:
            if missing:
                del np.row_stack  # noqa: NPY201
    # A kernel that calls device functions asks for the current device, and only for its compute capability.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    return numba.cuda


def function_ptx(function, signature):
    """PTX of a scalar function under the C ABI, named ``fn``."""
    return cuda().compile(function, signature, device=True, abi="c", abi_info={"abi_name": "fn"}, cc=CAPABILITY)[0]


def kernel_ptx(kernel, signature):
    """PTX of a kernel."""
    return cuda().compile_ptx(kernel, signature, cc=CAPABILITY)[0]


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
    with tempfile.TemporaryDirectory() as name:
        source, cubin = Path(name) / "kernel.ptx", Path(name) / "kernel.cubin"
        source.write_text(ptx)
        arch = "sm_{}{}".format(*CAPABILITY)
        said = subprocess.run(
            [_tool("ptxas"), f"-arch={arch}", "-v", source, "-o", cubin], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stderr
        text = subprocess.run([_tool("nvdisasm"), "-c", cubin], capture_output=True, text=True, check=True).stdout
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", said.stderr)))
    opcodes = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)", text, re.M)
    return collections.Counter(opcodes), spilled


def _tool(name):
    try:
        from cuda import pathfinder
    except ImportError:
        return None
    return pathfinder.find_nvidia_binary_utility(name)
