"""Times on a GPU, apart: until a call returns to the host, and what its kernels take, with a cold or a warm L2.

All is on the default stream, on which torch, CuPy and Numba work unless told otherwise. Before what is timed, memory is filled
for so long that the host has queued everything before the GPU comes to it: gaps between launches are then not in the figures.
"""

import statistics
import time

import numpy as np
from cuda.bindings import driver

from numgumbel.kernels.gpu.loading import cuda

SPARE = 1 << 28  # bytes written to empty the L2, of 50 MiB on an H200
COPIED = 1 << 30
WARM_CALLS = 10


class Clock:
    """A GPU's memory to write into, and what its copies take."""

    def __init__(self, spare=SPARE, copied=COPIED):
        context = cuda.current_context()
        self.device = context.device.name
        self._spare = cuda.device_array(spare, np.uint8)
        self._spare_at = self._spare.device_ctypes_pointer.value
        self.copy_gbs = self._copy(copied)

    def fill(self, times=1):
        """Write all of the spare memory: what was in the L2 is not there any more."""
        for _ in range(times):
            _done(driver.cuMemsetD8Async(self._spare_at, 1, self._spare.size, 0))

    def _copy(self, size):
        """GB/s of a copy, bytes read and written."""
        source, target = (cuda.device_array(size, np.uint8) for _ in range(2))
        a, b = (each.device_ctypes_pointer.value for each in (source, target))
        times = [self._between(lambda: _done(driver.cuMemcpyDtoDAsync(b, a, size, 0))) for _ in range(7)]
        return 2 * size / statistics.median(times) / 1e3

    def _between(self, call, calls=1):
        """us of a call by events around so many, the spare memory written before."""
        before, after = cuda.event(), cuda.event()
        before.record()
        for _ in range(calls):
            call()
        after.record()
        after.synchronize()
        return 1e3 * before.elapsed_time(after) / calls

    def cold(self, call, repeats):
        """Median us of what a call queues, its arguments in memory alone."""
        times = []
        for _ in range(repeats):
            self.fill(2)
            times.append(self._between(call))
        return statistics.median(times)

    def warm(self, call, repeats):
        """The same of calls one after the other, which may find their arguments in the L2."""
        times = []
        for _ in range(repeats):
            self.fill(6)
            call()
            times.append(self._between(call, WARM_CALLS))
        return statistics.median(times)

    def enqueue(self, call, repeats):
        """Median us until a call returns, the queue empty before it."""
        times = []
        for _ in range(repeats):
            cuda.synchronize()
            started = time.perf_counter()
            call()
            times.append(1e6 * (time.perf_counter() - started))
        cuda.synchronize()
        return statistics.median(times)

    def finished(self, call, wait, repeats):
        """Median us until the results of a call are there: for libraries with streams of their own."""
        times = []
        for _ in range(repeats):
            self.fill(1)
            cuda.synchronize()
            started = time.perf_counter()
            wait(call())
            times.append(1e6 * (time.perf_counter() - started))
        return statistics.median(times)


def _done(answer):
    if answer[0] != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver refused: {answer[0].name}")
