"""Memory of large results on the CPU that is kept for the next results of the same size.

New memory costs a fault for every 4 KiB, and the system has it back when a large result dies: a training step may pay more
for its sample's and gradient's memory than for the kernels (64 x 32000, two cores: up to 1400 faults a step and 5 to 14 ms,
without them 5). On CUDA torch keeps memory itself; on the CPU it does not.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np
import torch as _torch

__all__ = ["SMALLEST", "Kept", "empty_cache", "empty_like"]

SMALLEST = 1 << 20  # bytes of a result below which the allocator keeps memory itself
MOST = 64 << 20  # bytes kept in all: what glibc's allocator keeps at most, too


class Kept:
    """Blocks of memory whose tensors have died.

    A block is lent as an array of bytes on it, which the tensor's storage refers to, as do views of the tensor and ndarrays on
    its memory; when the last of them is gone, so is the array, and the block is back. Nothing waits here: a thread that finds
    another at work takes new memory or lets its block go, as does the garbage collection, which comes at any moment.

    Parameters
    ----------
    most : int
        Bytes kept in all; what was given back first goes first.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._blocks: list[np.ndarray] = []
        self._busy = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        return sum(block.nbytes for block in self._blocks)

    def empty_like(self, tensor: Any) -> Any:
        """A tensor of the shape and dtype of one on the CPU, contiguous and uninitialised."""
        size = tensor.numel() * tensor.element_size()
        block = self._taken(size)
        if block is None:
            block = np.empty(size, np.uint8)
        lent = np.frombuffer(block.data, np.uint8)  # no view of the block: views of a view refer to the block
        weakref.finalize(lent, self._give_back, block).atexit = False
        return _torch.from_numpy(lent).view(tensor.dtype).view(tensor.shape)

    def clear(self) -> None:
        """Let all blocks go."""
        with self._busy:
            going, self._blocks = self._blocks, []
        del going

    def forget(self) -> None:
        """In a forked child: a thread of the parent that was at work is not here to end it."""
        self._busy = threading.Lock()

    def _taken(self, size: int) -> np.ndarray | None:
        if not self._busy.acquire(blocking=False):
            return None
        try:
            for place in range(len(self._blocks) - 1, -1, -1):  # the last one may still be in a cache
                if self._blocks[place].nbytes == size:
                    return self._blocks.pop(place)
            return None
        finally:
            self._busy.release()

    def _give_back(self, block: np.ndarray) -> None:
        if block.nbytes > self.most or not self._busy.acquire(blocking=False):
            return
        try:
            self._blocks.append(block)
            while self.nbytes > self.most:
                del self._blocks[0]
        finally:
            self._busy.release()


_kept = Kept()
empty_like = _kept.empty_like
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget)


def empty_cache() -> None:
    """Give the memory that is kept for results of `gumbel_softmax` on the CPU back to the system, as torch's namesake on CUDA.

    Results of 1 MiB or more leave their memory for the next of the same size when they die, up to 64 MiB in all.

    Examples
    --------
    >>> import torch
    >>> import numgumbel.torch as nt
    >>> y = nt.gumbel_softmax(torch.zeros(64, 32000))
    >>> del y
    >>> nt.empty_cache()
    """
    _kept.clear()
