"""Threads of the CPU backend: pieces of work are dealt out to a pool of the package's own and to the calling thread.

Kernels release the GIL, so that plain threads use the cores. Handing over costs some 60 us, against 1.4 to 12 us of Numba's
``parallel=True``; but OpenMP kills a forked child at its first parallel launch, and Numba's workqueue aborts the process when
two threads call at once. Here the caller works on its own pieces until none is left and waits only for helpers that have begun,
so that a pool which is busy, frozen at interpreter exit or lost in a fork costs speed and nothing else.

Which thread does a piece never shows in a result.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["get_num_threads", "run", "set_num_threads"]

VARIABLE = "NUMGUMBEL_NUM_THREADS"


class _Job:
    """Pieces of one call, taken by whoever is free."""

    def __init__(self, work: Callable[[int], None], pieces: int) -> None:
        self._work, self._pieces = work, pieces
        self._next = itertools.count()
        self._lock = threading.Lock()
        self._helpers, self._closed = 0, False
        self._all_out = threading.Event()
        self._problem: BaseException | None = None

    def _take(self) -> None:
        """Work until no piece is left. The first problem ends it for everybody."""
        try:
            while (piece := next(self._next)) < self._pieces and self._problem is None:
                self._work(piece)
        except BaseException as problem:
            self._problem = problem

    def help(self) -> None:
        """A worker's part."""
        with self._lock:
            if self._closed:
                return
            self._helpers += 1
        self._take()
        with self._lock:
            self._helpers -= 1
            if self._closed and not self._helpers:
                self._all_out.set()

    def finish(self) -> None:
        """The caller's part: returns when every piece is done."""
        self._take()
        with self._lock:
            self._closed = True
            waiting = self._helpers > 0
        if waiting:
            self._all_out.wait()
        if self._problem is not None:
            raise self._problem


class _Pool:
    """Daemon threads that wait for jobs; they are started when first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0

    def offer(self, job: _Job, helpers: int) -> None:
        """Ask for a number of helpers; as many as can be had will come."""
        with self._lock:
            try:
                while self._size < helpers:
                    threading.Thread(target=self._serve, name=f"numgumbel-{self._size}", daemon=True).start()
                    self._size += 1
            except RuntimeError:  # the interpreter is shutting down, or the system has no more threads
                helpers = self._size
        for _ in range(helpers):
            self._jobs.put(job)

    def _serve(self) -> None:
        while True:
            self._jobs.get().help()


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
