"""Numba's CUDA simulator, with what kernels here use of warps, and scalars whose results keep their types.

Imported in a process of its own, with ``NUMBA_ENABLE_CUDASIM=1`` set before Numba is. Good for control and addressing on small
shapes: every thread is one of the operating system's, and every scalar is called from Python.
"""

import sys
import threading

import numpy as np
from numba import typeof, types
from numba.np.numpy_support import as_dtype

from numgumbel.kernels import jit
from numgumbel.kernels.gpu.loading import SIMULATED, cuda

assert SIMULATED, "set NUMBA_ENABLE_CUDASIM=1 before Numba is imported"

from numba.cuda.simulator.kernel import BlockThread  # noqa: E402
from numba.cuda.simulator.kernelapi import FakeCUDAModule  # noqa: E402  # there once numba-cuda has been loaded

sys.setswitchinterval(1e-4)  # barriers are some seven times faster than with 5 ms

_lock = threading.Lock()


def _run(self):
    """Numbers overflow, and infinities are subtracted, in silence, as they are on a GPU."""
    with np.errstate(all="ignore"):
        _plain_run(self)


_plain_run, BlockThread.run = BlockThread.run, _run


# --- scalars ------------------------------------------------------------------------------------------------------------------


def _typed(kind, value):
    """A Python number as a NumPy number of its Numba type."""
    if isinstance(kind, types.BaseTuple):
        return tuple(_typed(part, each) for part, each in zip(kind, value, strict=True))
    return as_dtype(kind).type(value) if isinstance(kind, (types.Integer, types.Float)) else value


_plain_call = jit._Inner.__call__


def _call(self, *arguments):
    kinds = tuple(map(typeof, arguments))
    with _lock:
        if kinds not in self.overloads:
            self.compile(kinds)
        value = _plain_call(self, *arguments)
    return _typed(self.overloads[kinds].signature.return_type, value)


jit._Inner.__call__ = _call


# --- warps --------------------------------------------------------------------------------------------------------------------


class _Warp:
    def __init__(self, lanes):
        self.barrier = threading.Barrier(lanes)
        self.slots = [None] * 32


def _my_warp():
    thread = threading.current_thread()
    block = thread._manager
    number = thread.thread_id // 32
    with _lock:
        warps = block.__dict__.setdefault("_warps", {})
        if number not in warps:
            warps[number] = _Warp(min(32, int(np.prod(block._block_dim)) - 32 * number))
    return warps[number], thread.thread_id % 32


def _exchange(value, source):
    warp, lane = _my_warp()
    warp.slots[lane] = value
    warp.barrier.wait()
    other = source(lane)
    received = warp.slots[other] if 0 <= other < 32 and warp.slots[other] is not None else value
    warp.barrier.wait()
    return received


def _ballot(predicate):
    warp, lane = _my_warp()
    warp.slots[lane] = bool(predicate)
    warp.barrier.wait()
    votes = sum(1 << i for i, vote in enumerate(warp.slots) if vote)
    warp.barrier.wait()
    return np.uint32(votes)


FakeCUDAModule.laneid = property(lambda self: threading.current_thread().thread_id % 32)
FakeCUDAModule.shfl_sync = lambda self, mask, value, lane: _exchange(value, lambda me: int(lane) % 32)
FakeCUDAModule.shfl_xor_sync = lambda self, mask, value, bits: _exchange(value, lambda me: me ^ int(bits))
FakeCUDAModule.shfl_down_sync = lambda self, mask, value, d: _exchange(value, lambda me: me + int(d))
FakeCUDAModule.shfl_up_sync = lambda self, mask, value, d: _exchange(value, lambda me: me - int(d))
FakeCUDAModule.ballot_sync = lambda self, mask, predicate: _ballot(predicate)
FakeCUDAModule.any_sync = lambda self, mask, predicate: bool(_ballot(predicate))
FakeCUDAModule.all_sync = lambda self, mask, predicate: not _ballot(not predicate)
FakeCUDAModule.syncwarp = lambda self, mask=0xFFFFFFFF: _my_warp()[0].barrier.wait()

__all__ = ["cuda"]
