"""What a first call waits for: the kernels that are compiled, or loaded from the cache, while it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """The CPU's kernels that are made ready while the block lasts: name, seconds, and whether the cache had them.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel.bench.compiling import watched
    >>> with watched() as kernels:
    ...     _ = ng.gumbel(ng.key(1), (1, 1), dtype=np.float64)
    >>> {kernel["kernel"] for kernel in kernels} <= {"noise_rows[float64]"}
    True
    """
    from ..kernels.jit import RowKernel

    found: list[dict[str, Any]] = []
    make = RowKernel.__missing__

    def timed(kernel: Any, dtype: Any) -> Any:
        start = time.perf_counter()
        entry = make(kernel, dtype)
        seconds = time.perf_counter() - start
        name = kernel.__name__ if dtype is None else f"{kernel.__name__}[{dtype}]"
        hits = sum(kernel.dispatchers[dtype].stats.cache_hits.values())
        found.append({"kernel": name, "seconds": round(seconds, 4), "cached": hits > 0})
        return entry

    RowKernel.__missing__ = timed
    try:
        yield found
    finally:
        RowKernel.__missing__ = make
