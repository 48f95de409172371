"""Microseconds on a GPU: the package's clock in the unit of these benchmarks, and what is beside it.

All libraries here work on the driver's default stream, and so do its events.
"""

import statistics
import time

from numgumbel.bench.gpu import COPY, ROUNDS, GpuClock
from numgumbel.kernels.gpu.loading import cuda

QUEUED = 8  # calls in the queue at most where it must not be full
CALLS, SECONDS = 200, 0.3  # calls timed until they return, if they take no longer


class Clock:
    """The GPU's clock, what it takes by itself, and a copy's bandwidth in the same run."""

    def __init__(self, size=COPY):
        self._clock = GpuClock(size)
        self.bytes, self.copy_us = self._clock.bytes, self._clock.copy_ns / 1e3
        self.pair_us = statistics.median(self.cold(lambda: None, 0) for _ in range(ROUNDS))

    @property
    def bandwidth(self):
        """Bytes a second of a copy, those read and those written."""
        return 2 * self.bytes / self.copy_us * 1e6

    def warm(self, call, launches, host_us):
        """Microseconds of a call in a row of calls on the same arrays; one before them is not counted."""
        return self._clock.warm(call, 1e3 * host_us, launches) / 1e3

    def cold(self, call, host_us):
        """Microseconds of one call when the second-level cache holds another buffer, written just before."""
        return self._clock.cold(call, 1e3 * host_us) / 1e3

    def enqueue(self, call):
        """Microseconds until calls return, each, while the queue is short."""
        taken, began = [], time.perf_counter()
        while len(taken) < CALLS and (not taken or time.perf_counter() - began < SECONDS):
            for _ in range(QUEUED):
                start = time.perf_counter_ns()
                call()
                taken.append((time.perf_counter_ns() - start) / 1e3)
            cuda.synchronize()
        return taken


def host_time(call, wait, calls):
    """Microseconds of a call in a row of them, by the host's clock, for who works on streams of its own."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        result = call()
    wait(result)
    return (time.perf_counter_ns() - start) / 1e3 / calls


def launches(call):
    """Kernels that a call queues on a stream, seen in a graph that captures it; None where that cannot be told.

    Parameters
    ----------
    call : callable
        stream -> a call without arguments, on arrays of that stream. It is made twice, first without capture.
    """
    from cuda.bindings import driver

    stream = cuda.stream()
    bound = call(stream)
    bound()
    cuda.synchronize()
    handle = driver.CUstream(int(stream))
    if driver.cuStreamBeginCapture(handle, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)[0]:
        return None
    try:
        bound()
    finally:
        failed, graph = driver.cuStreamEndCapture(handle)
    if failed:
        return None
    failed, _, count = driver.cuGraphGetNodes(graph)
    driver.cuGraphDestroy(graph)
    return None if failed else int(count)
