"""The kernels of a function, for those who look at their code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import warming

__all__ = ["kernels_of"]

BACKENDS = "cpu", "gpu"

# What dtypes are called in short.
SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16"}


class Kernels(Mapping[str, Any]):
    """Kernels by name; each is compiled when it is asked for, and then kept."""

    def __init__(self, makers: dict[str, Callable[[], Any]]) -> None:
        self._makers, self._made = makers, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        """The dispatcher of a kernel."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Names, in the order in which `warmup` compiles."""
        return iter(self._makers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        """Whether there is one of this name; none is compiled."""
        return name in self._makers

    def __repr__(self) -> str:
        """The names."""
        return f"<kernels {', '.join(self)}>"


def kernels_of(op: str, dtype: Any = np.float32, backend: str = "cpu") -> Mapping[str, Any]:
    """The compiled functions that a function of the package may run, as Numba has them.

    Parameters
    ----------
    op : str
        Name of a function, one of those that `warmup` takes.
    dtype : float32, float64, float16 or bfloat16, optional
        Of the logits, by name, type or dtype.
    backend : str, optional
        "cpu" or "gpu".

    Returns
    -------
    mapping of str to dispatcher
        By the kernel's name. A kernel is compiled when it is looked up, in some seconds, and not before. For the CPU these
        are Numba's dispatchers, of one signature each, with ``inspect_asm()``, ``inspect_llvm()``, ``inspect_types()`` and
        ``signatures``. Numba knows no text of what the cache folder had, and so that is compiled once more to be read: it is
        the same code. For the GPU ``inspect_asm(capability)``, by default for compute capability 9.0, gives PTX, without a
        GPU, and ``dispatcher`` is numba-cuda's.

    Raises
    ------
    TypeError
        For a dtype that logits cannot have, or an operation that is not named by a str.
    ValueError
        For a name that no operation has, a backend that is none, or an operation without kernels on a GPU.
    ImportError
        For "gpu" where numba-cuda is missing; it names what to install.

    Examples
    --------
    >>> import numgumbel as ng
    >>> kernels = ng.kernels_of("gumbel", "float32")
    >>> list(kernels)
    ['noise_rows', 'wait_until', 'survey_columns']
    >>> (text,) = kernels["noise_rows"].inspect_llvm().values()
    >>> text.count("define ") > 0
    True
    """
    if not isinstance(op, str):
        raise TypeError(f"op must be a name such as 'categorical', got {type(op).__name__}: {op!r:.60}")
    table = warming._table()
    if op not in table:
        raise ValueError(f"op must be one of {', '.join(table)}, got {op!r:.60}")
    cells = warming.dtype_of(dtype, "dtype")
    if backend not in BACKENDS:
        raise ValueError(f"backend must be 'cpu' or 'gpu', got {backend!r:.60}")
    if backend == "gpu":
        return _on_gpu(op, cells)
    by_dtype, common = table[op]
    cells = np.dtype(np.float32) if op == "gumbel" and cells.itemsize == 2 else cells
    wanted = [*((kernel, cells) for kernel in by_dtype), *((kernel, None) for kernel in common)]
    return Kernels({kernel.__name__: _reader(kernel, each) for kernel, each in wanted})


def _reader(kernel: Any, dtype: np.dtype | None) -> Callable[[], Any]:
    return lambda: kernel.readable(dtype)


def _on_gpu(op: str, dtype: np.dtype) -> Mapping[str, Any]:
    from .gpu import kernels
    from .signatures import OF_OPERATION

    if op not in OF_OPERATION:
        raise ValueError(f"op {op!r} has no kernels on a GPU: it runs on the host")
    return kernels(OF_OPERATION[op], SHORT[dtype.name])


@contextlib.contextmanager
def annotated() -> Iterator[None]:
    """Let LLVM comment the CPU's assembly meanwhile: which moves are spills, and which blocks make a loop."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    with global_compiler_lock:
        machine = cpu_target.target_context.codegen()._tm
        machine.set_asm_verbosity(True)
        try:
            yield
        finally:
            machine.set_asm_verbosity(False)
