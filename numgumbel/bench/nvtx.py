"""Marks for profilers: NVTX ranges around blocks, and the part of a run that a profiler is to record.

Nothing of it stands between the two looks at the clock, and without ``--nvtx`` a block is in a context that does nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

Ranges = Callable[[str], AbstractContextManager[Any]]
_NOTHING = contextlib.nullcontext()


def no_ranges(name: str) -> AbstractContextManager[Any]:
    """No range: one context for all, which does nothing."""
    return _NOTHING


def ranges(wanted: bool) -> Ranges:
    """What makes a range of a name.

    Parameters
    ----------
    wanted : bool
        Without it nothing is imported.

    Returns
    -------
    callable
        name -> context manager.

    Raises
    ------
    ModuleNotFoundError
        Where the package nvtx is wanted and absent, with what to install.
    """
    if not wanted:
        return no_ranges
    try:
        import nvtx
    except ImportError:
        line = '--nvtx needs a package that is not there: python -m pip install "numgumbel[profile]"'
        raise ModuleNotFoundError(line, name="nvtx") from None
    return lambda name: nvtx.annotate(name, domain="numgumbel")


@contextlib.contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    """Between cudaProfilerStart and cudaProfilerStop, if wanted: ``nsys profile --capture-range=cudaProfilerApi``."""
    if not wanted:
        yield
        return
    from ..kernels.gpu.loading import cuda

    cuda.profile_start()
    try:
        yield
    finally:
        cuda.synchronize()
        cuda.profile_stop()
