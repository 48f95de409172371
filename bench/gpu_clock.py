"""Times on a GPU: of its own clock from one event to another, and of the host's until a call returns.

All libraries here work on the driver's default stream, and so do the events. What is timed by the GPU is queued behind copies
that last longer than the queueing: the GPU never waits for the host, however slowly a call is made.
"""

import math
import statistics
import time

from numgumbel.kernels.gpu.loading import cuda

COPY = 1 << 30  # bytes; far more than a second-level cache holds, so that a copy leaves nothing else in there
LONGEST_HOLD = 128  # copies that calls are queued behind at most
AHEAD = 1.5  # of the time that queueing takes, that the copies before it last
QUEUED = 8  # calls in the queue at most where it must not be full
CALLS, SECONDS = 200, 0.3  # calls timed until they return, if they take no longer


class Clock:
    """Two large buffers, to copy one into the other, and two events."""

    def __init__(self, size=COPY):
        free, _ = cuda.current_context().get_memory_info()
        self.bytes = min(size, free // 8)
        self._from, self._to = (cuda.device_array(self.bytes, "uint8") for _ in range(2))
        self._start, self._stop = cuda.event(), cuda.event()
        self._stream = cuda.default_stream()
        self.copy_us = statistics.median(self._copies(4) for _ in range(9))
        self.pair_us = statistics.median(self._held(lambda: None, 0, 0) for _ in range(21))

    @property
    def bandwidth(self):
        """Bytes a second of a copy, those read and those written."""
        return 2 * self.bytes / self.copy_us * 1e6

    def _copy(self):
        self._to.copy_to_device(self._from, stream=self._stream)

    def _copies(self, number):
        """Microseconds of a copy in a row of them, the first of which hides what queueing the others takes."""
        self._copy()
        return self._between(lambda: [self._copy() for _ in range(number)]) / number

    def _between(self, queue):
        """Microseconds of the GPU for what is queued."""
        self._start.record(self._stream)
        queue()
        self._stop.record(self._stream)
        self._stop.synchronize()
        return 1e3 * cuda.event_elapsed_time(self._start, self._stop)

    def _held(self, queue, host_us, before):
        """The same, behind as many copies as queueing takes; `before`: calls between the copies and the first event."""
        for _ in range(min(LONGEST_HOLD, 1 + math.ceil(AHEAD * host_us / self.copy_us))):
            self._copy()
        for _ in range(before):
            queue()
        return self._between(queue)

    def warm(self, call, launches, host_us):
        """Microseconds of a call in a row of calls on the same arrays; the first of the row is not counted."""

        def row():
            for _ in range(launches):
                call()

        return self._held(row, (launches + 1) * host_us, 1) / launches

    def cold(self, call, host_us):
        """Microseconds of one call when the second-level cache holds another buffer, written just before."""
        return self._held(call, host_us, 0)

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
