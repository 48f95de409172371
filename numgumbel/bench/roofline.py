"""What memory allows: the bandwidths of reading and of copying a large array, measured in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..threads import get_num_threads
from ..workloads import Cost
from .clock import Clock

SIZE, QUICK_SIZE = 1 << 28, 1 << 27  # bytes, far more than caches hold
TIMES = 9


def of_host(clock: Clock, size: int = SIZE) -> dict[str, Any]:
    """Bytes a second that as many threads as numgumbel may use read, and copy (those read and those written).

    Parameters
    ----------
    clock : Clock
        What times it.
    size : int, optional
        Bytes of the array.

    Returns
    -------
    dict
        ``"read"``, ``"copy"``, ``"bytes"`` and ``"threads"``.
    """
    threads = get_num_threads()
    source = np.ones(size // 4, np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def read() -> None:
            list(pool.map(lambda part: part[0].max(), parts))

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

        taken: dict[str, list[int]] = {"read": [], "copy": []}
        for call in (read, copy):  # touches the memory
            call()
        for _ in range(TIMES):
            taken["read"].append(clock.elapsed(read, 1))
            taken["copy"].append(clock.elapsed(copy, 1))
    speeds = {name: source.nbytes / statistics.median(ns) * 1e9 for name, ns in taken.items()}
    return {"read": round(speeds["read"]), "copy": round(2 * speeds["copy"]), "bytes": source.nbytes, "threads": threads}


def least_ns(cost: Cost, bandwidth: Mapping[str, Any]) -> float:
    """Nanoseconds that the bytes of a workload take: those written with as many read as a copy, further ones as reading.

    Examples
    --------
    >>> from numgumbel.bench.roofline import least_ns
    >>> from numgumbel.workloads import Cost
    >>> least_ns(Cost(0, 3000, 1000, 0, 0), {"read": 2e9, "copy": 1e9})
    3000.0
    """
    copied = min(cost.bytes_read, cost.bytes_written)
    read, written = cost.bytes_read - copied, cost.bytes_written - copied
    return 1e9 * (2 * copied / bandwidth["copy"] + read / bandwidth["read"] + 2 * written / bandwidth["copy"])
