"""The code of kernels for GPUs, read without a GPU: compiled for a compute capability, to PTX."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TextIO

from numba import types
from numba.core.compiler_lock import global_compiler_lock

from ..kernels.gpu.jit import launch_bounds
from ..kernels.gpu.loading import SIMULATED

CAPABILITY = 9, 0

_lock = threading.Lock()


def capability_of(arch: str) -> tuple[int, int]:
    """Compute capability of a name such as "sm_90".

    Raises
    ------
    ValueError
        For another name.
    """
    found = re.fullmatch(r"sm_(\d{1,2})(\d)", arch)
    if found is None:
        raise ValueError(f"arch must be sm_ and a compute capability, such as sm_90, got {arch!r:.60}")
    return int(found[1]), int(found[2])


class CudaKernel:
    """A kernel for GPUs with the types that the drivers launch it with; its code is made when it is looked at.

    Attributes
    ----------
    dispatcher : numba-cuda's dispatcher
        The kernel itself, to be launched where there is a GPU.
    signatures : list of tuple
        The types of its arguments: one.
    """

    def __init__(self, dispatcher: Any, arguments: tuple[Any, ...]) -> None:
        self.dispatcher, self.py_func, self.signatures = dispatcher, dispatcher.py_func, [arguments]
        self._library: Any = None

    def inspect_llvm(self) -> dict[tuple[Any, ...], str]:
        """LLVM's code by signature, as NVVM is given it."""
        return {self.signatures[0]: self._lowered().get_llvm_str()}

    def inspect_asm(self, capability: tuple[int, int] = CAPABILITY) -> dict[tuple[Any, ...], str]:
        """PTX by signature, for a compute capability.

        Raises
        ------
        ValueError
            For a capability that the compiler does not know.
        """
        from numba.cuda.cudadrv.error import CCSupportError

        library, arch = self._lowered(), f"sm_{capability[0]}{capability[1]}"
        with _lock:
            try:
                text = library.get_asm_str(cc=capability)
            except CCSupportError as problem:
                raise ValueError(f"arch {arch} is not known to the compiler: {problem}") from None
        if not re.search(rf"^\.target {arch}\b", text, re.M):  # it takes the next lower one that it knows
            raise ValueError(f"arch {arch} is not known to the compiler, which would take another")
        return {self.signatures[0]: text}

    def inspect_types(self, file: TextIO | None = None) -> None:
        """Print the kernel's source with the types of its arguments."""
        import inspect

        from .report import signature_text

        print(f"{self.py_func.__name__}({signature_text(self.signatures[0])})", file=file)
        print(inspect.getsource(self.py_func), file=file)

    def _lowered(self) -> Any:
        with global_compiler_lock:
            if self._library is None:
                self._library = lowered(self.py_func, self.signatures[0])
        return self._library


def lowered(function: Any, arguments: tuple[Any, ...], lto: bool = False) -> Any:
    """Numba's library of a kernel, from which code of any capability is made; `lto`: to be optimised when it is linked.

    Private parts of numba-cuda 0.30: what is public compiles for the GPU that there is, or without launch bounds.
    """
    from numba.cuda.compiler import _compile_pyfunc_with_fixup

    options = {"debug": False, "lineinfo": False, "device": False, "fastmath": False, "opt": True, "abi": "numba"}
    bounds = launch_bounds(arguments)
    with _without_device():
        return _compile_pyfunc_with_fixup(
            function, types.void(*arguments), cc=CAPABILITY, abi_info=None, launch_bounds=bounds, lto=lto, **options
        )[0]


@contextlib.contextmanager
def _without_device() -> Iterator[None]:
    """No device is asked for its capability, which functions that kernels call are otherwise compiled for.

    The caller holds Numba's lock, so that nobody else compiles meanwhile.
    """
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    try:
        yield
    finally:
        dispatcher.get_current_device = before


def kernels(names: tuple[str, ...], cell: str) -> dict[str, CudaKernel]:
    """Kernels by name, for cells of "f32", "f64", "f16" or "bf16"; a kernel of reals has that of halves in float32.

    Raises
    ------
    RuntimeError
        In Numba's simulator, which compiles nothing.
    """
    from .signatures import BESIDE, KERNELS

    if SIMULATED:
        raise RuntimeError("Numba's simulator compiles nothing: unset NUMBA_ENABLE_CUDASIM")
    found = {}
    for name in names:
        if name in BESIDE:
            kernel, types_of = BESIDE[name]
        else:
            kernel, signature, cells = KERNELS[name]
            types_of = signature(cells.get(cell, cells["f32"]))
        found[name] = CudaKernel(kernel, tuple(map(_as_launched, types_of.args)))
    return found


def _as_launched(kind: Any) -> Any:
    """A type as the drivers have it: they mark no array as read-only."""
    return types.Array(kind.dtype, kind.ndim, "A") if isinstance(kind, types.Array) else kind
