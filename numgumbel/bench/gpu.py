"""Times on a GPU: of its own clock between two events, and of the host's until a call returns and until its result is there.

What the GPU times is queued behind copies that last longer than the queueing, so that it never waits for the host. Events
are of the default stream, where numgumbel and the peers work here.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

COPY = 1 << 30  # bytes: a copy leaves nothing else in a second-level cache
LONGEST_HOLD, AHEAD = 128, 1.5  # copies before what is timed, and how much longer than the queueing they last
IN_A_ROW = 8  # warm calls
ROUNDS = 9
SMI = "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.limit", "ecc.mode.current"
BLOCKS, THREADS = 4096, 256  # of the kernel that reads


def need_gpu() -> Any:
    """numba-cuda's module.

    Raises
    ------
    RuntimeError
        Where there is no GPU, or no numba-cuda, with what to do about it.
    """
    try:
        from ..kernels.gpu.loading import cuda
    except ImportError as problem:
        raise RuntimeError(f"--backend cuda: {problem}") from None
    if not cuda.is_available():
        raise RuntimeError("--backend cuda: there is no CUDA device: the driver is missing, or it has none")
    return cuda


def gpu() -> dict[str, Any]:
    """Name, driver, clocks and sizes of the current GPU; of what NVIDIA's tool tells, what it tells."""
    from numba.cuda.cudadrv.driver import driver

    from ..kernels.gpu.loading import cuda

    device = cuda.get_current_device()
    facts = {
        "name": device.name if isinstance(device.name, str) else device.name.decode(),
        "compute_capability": "{}.{}".format(*device.compute_capability),
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        "l2_bytes": device.L2_CACHE_SIZE,
        "cuda_of_driver": "{}.{}".format(*driver.get_version()),
    }
    query = ["--query-gpu=" + ",".join(SMI), "--format=csv,noheader,nounits", f"--id={device.uuid}"]
    try:
        told = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return facts
    return facts | dict(zip(SMI, (text.strip() for text in told.splitlines()[0].split(",")), strict=True))


class GpuClock:
    """Two large buffers, to copy one into the other, and two events."""

    def __init__(self, size: int = COPY) -> None:
        self._cuda = cuda = need_gpu()
        free, _ = cuda.current_context().get_memory_info()
        self.bytes = min(size, free // 8) // 8 * 8
        self._from, self._to = (cuda.to_device(_zeros(self.bytes)) for _ in range(2))
        self._start, self._stop = cuda.event(), cuda.event()
        self._stream = cuda.default_stream()
        self.copy_ns = self._median_of(self._copy)

    def bandwidth(self) -> dict[str, Any]:
        """Bytes a second of a copy, those read and those written, and of a kernel that reads."""
        read = _reader(self._cuda)
        read_ns = self._median_of(lambda: read[BLOCKS, THREADS, self._stream](self._from, self._to))
        copy = round(2 * self.bytes / self.copy_ns * 1e9)
        return {"read": round(self.bytes / read_ns * 1e9), "copy": copy, "bytes": self.bytes}

    def warm(self, call: Callable[[], Any], host_ns: float, number: int = IN_A_ROW) -> float:
        """Nanoseconds of a call in a row of calls on the same arrays; one before them is not counted."""
        self._hold((number + 1) * host_ns)
        call()
        return self._between(call, number)

    def cold(self, call: Callable[[], Any], host_ns: float) -> float:
        """Nanoseconds of a call whose arrays are in no cache, since another buffer was just written."""
        self._hold(host_ns)
        return self._between(call, 1)

    def enqueue(self, call: Callable[[], Any]) -> float:
        """Nanoseconds of the host until a call returns, while nothing is queued."""
        self._cuda.synchronize()
        start = time.perf_counter_ns()
        call()
        taken = time.perf_counter_ns() - start
        self._cuda.synchronize()
        return taken

    def completion(self, call: Callable[[], Any]) -> float:
        """Nanoseconds of the host until a call's result is there."""
        self._cuda.synchronize()
        start = time.perf_counter_ns()
        call()
        self._cuda.synchronize()
        return time.perf_counter_ns() - start

    def _copy(self) -> None:
        self._to.copy_to_device(self._from, stream=self._stream)

    def _hold(self, host_ns: float) -> None:
        for _ in range(min(LONGEST_HOLD, 1 + math.ceil(AHEAD * host_ns / self.copy_ns))):
            self._copy()

    def _between(self, call: Callable[[], Any], number: int) -> float:
        self._start.record(self._stream)
        for _ in range(number):
            call()
        self._stop.record(self._stream)
        self._stop.synchronize()
        # Events tell microseconds; a call shorter than their resolution would be no time at all.
        return max(1.0, 1e6 * float(self._cuda.event_elapsed_time(self._start, self._stop))) / number

    def _median_of(self, queue: Callable[[], Any]) -> float:
        """Nanoseconds, each behind another that hides the queueing."""
        taken = []
        for _ in range(ROUNDS):
            queue()
            taken.append(self._between(queue, 1))
        return statistics.median(taken)


def _zeros(size: int) -> Any:
    import numpy as np

    return np.zeros(size // 8, np.int64)


def _reader(cuda: Any) -> Any:
    """A kernel that reads an array of zeros, and would write if one were none."""

    @cuda.jit  # type: ignore[untyped-decorator]
    def read(source: Any, target: Any) -> None:
        found = 0
        for i in range(cuda.grid(1), source.size, cuda.gridsize(1)):
            found |= source[i]
        if found:
            target[0] = found

    return read
