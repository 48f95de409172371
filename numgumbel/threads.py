"""Threads of the CPU backend: pieces of work are dealt out to a pool of the package's own and to the calling thread.

Kernels release the GIL, so that plain threads use the cores. Numba's ``parallel=True`` hands over in 1.4 to 12 us; but OpenMP
kills a forked child at its first parallel launch, and Numba's workqueue aborts the process when two threads call at once. Here
the caller works on its own pieces until none is left and waits only for helpers that have begun, so that a pool which is busy,
frozen at interpreter exit or lost in a fork costs speed and nothing else.

A thread that sleeps takes some 60 us to wake. So a worker that has just worked watches for the next job for a while before it
sleeps, and the caller watches its helpers end.

Which thread does a piece never shows in a result.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import numpy as np

from .kernels.cpu.waiting import wait_for_change

__all__ = ["get_num_threads", "run", "set_num_threads"]

VARIABLE = "NUMGUMBEL_NUM_THREADS"

# Microseconds: how long a worker watches for the next job, and the caller for the last helper, before they sleep; and how long
# a worker that has seen a job holds back, so that the caller has entered its kernel and given the GIL away.
WATCH, HOLD_BACK = 150, 12

_nobody = np.zeros(1, np.int64)  # for a wait that ends nothing


@functools.cache
def _rounds_of_a_microsecond() -> float:
    """Looks at a word in a microsecond."""
    word, rounds = np.zeros(1, np.int64), 2000
    wait = wait_for_change[None]
    wait(_nobody, word, 0, 1, 0)
    start = time.perf_counter()
    wait(_nobody, word, 0, rounds, 0)
    return rounds / (1e6 * (time.perf_counter() - start))


def _watch(word: np.ndarray, seen: int, ended: np.ndarray = _nobody, hold_back: float = 0) -> bool:
    """Set `ended` and watch a word, outside the GIL, until it changes: whether it did."""
    rounds = _rounds_of_a_microsecond()
    return bool(wait_for_change[None](ended, word, seen, int(WATCH * rounds), int(hold_back * rounds)) != seen)


class _Job:
    """Pieces of one call, taken by whoever is free."""

    def __init__(self, work: Callable[[int], None], pieces: int) -> None:
        self._work, self._pieces = work, pieces
        self._next = itertools.count()
        self._lock = threading.Lock()
        self._helpers, self._closed = 0, False
        self._ended = np.zeros(1, np.int64)  # 1 when the last helper has left a closed job
        self._all_out = threading.Event()
        self._problem: BaseException | None = None

    def _take(self) -> None:
        """Work until no piece is left. The first problem ends it for everybody."""
        try:
            while (piece := next(self._next)) < self._pieces and self._problem is None:
                self._work(piece)
        except BaseException as problem:
            self._problem = problem

    def help(self) -> np.ndarray:
        """A worker's part. The word to set next, outside the GIL: the caller may be watching it."""
        with self._lock:
            if self._closed:
                return _nobody
            self._helpers += 1
        self._take()
        with self._lock:
            self._helpers -= 1
            if self._closed and not self._helpers:
                self._all_out.set()
                return self._ended
            return _nobody

    def finish(self) -> None:
        """The caller's part: returns when every piece is done."""
        self._take()
        with self._lock:
            self._closed = True
            waiting = self._helpers > 0
        if waiting and not _watch(self._ended, 0):
            self._all_out.wait()
        if self._problem is not None:
            raise self._problem


class _Pool:
    """Daemon threads that wait for jobs; they are started when first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._offered = np.zeros(1, np.int64)
        self._lock = threading.Lock()
        self._size = 0

    def offer(self, job: _Job, helpers: int) -> None:
        """Ask for a number of helpers; as many as can be had will come."""
        with self._lock:
            if self._size < helpers:
                helpers = self._grow(helpers)
        for _ in range(helpers):
            self._jobs.put(job)
        self._offered[0] += 1

    def _grow(self, helpers: int) -> int:
        """Start workers; how many there are then, at most `helpers`."""
        _rounds_of_a_microsecond()  # compiled here, since a worker may be frozen at any moment when the interpreter exits
        try:
            while self._size < helpers:
                threading.Thread(target=self._serve, name=f"numgumbel-{self._size}", daemon=True).start()
                self._size += 1
        except RuntimeError:  # the interpreter is shutting down, or the system has no more threads
            return self._size
        return helpers

    def _serve(self) -> None:
        ended = _nobody
        while True:
            seen = int(self._offered[0])
            try:
                job = self._jobs.get_nowait()
            except Empty:
                watched = _watch(self._offered, seen, ended, HOLD_BACK)
                ended = _nobody
                if watched:
                    continue
                job = self._jobs.get()
            ended = job.help()


_pool = _Pool()
_limit: int | None = None


def _forget() -> None:
    """In a forked child: the threads stayed with the parent, and a lock may have been held."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def available() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """Threads that one call may use, the calling one included.

    Set by `set_num_threads`, else by the environment variable ``NUMGUMBEL_NUM_THREADS``, else the processors that this process
    may run on.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the environment variable is not a number of 1 or more.

    Examples
    --------
    >>> import numgumbel as ng
    >>> ng.get_num_threads() >= 1
    True
    """
    if _limit is None:
        named = os.environ.get(VARIABLE)
        set_num_threads(available() if not named else _from_environment(named))
        assert _limit is not None
    return _limit


def _from_environment(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} must be a whole number of 1 or more, got {text!r}")
    return int(text)


def set_num_threads(n: int) -> None:
    """Limit the threads that one call may use. Results do not depend on it.

    Parameters
    ----------
    n : int
        1 or more, the calling thread included.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If it is below 1.

    Examples
    --------
    >>> import numgumbel as ng
    >>> before = ng.get_num_threads()
    >>> ng.set_num_threads(1)
    >>> ng.get_num_threads()
    1
    >>> ng.set_num_threads(before)
    """
    global _limit
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"n must be an integer, got {type(n).__name__}: {n!r:.60}")
    if n.__index__() < 1:
        raise ValueError(f"n must be 1 or more, got {n}")
    _limit = n.__index__()


def run(work: Callable[[int], None], pieces: int) -> None:
    """``work(piece)`` for every piece from 0 on, on as many threads as may be used and there are pieces for."""
    helpers = min(get_num_threads(), pieces) - 1
    job = _Job(work, pieces)
    if helpers > 0:
        _pool.offer(job, helpers)
    job.finish()
