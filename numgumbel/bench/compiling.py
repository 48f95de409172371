"""What a first call waits for: the kernels that are compiled, or loaded from the cache, while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..inspecting.report import since, so_far


@contextlib.contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """The kernels that are made ready while the block lasts, known when it ends: name, seconds, whether the cache had them.

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
    found: list[dict[str, Any]] = []
    before = so_far()
    try:
        yield found
    finally:
        for each in since(before):
            found.append({"kernel": each.label, "seconds": round(each.seconds, 4), "cached": each.cache == "hit"})
