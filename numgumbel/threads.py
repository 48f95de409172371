"""Threads of the CPU backend: pieces of work are dealt out to a pool of the package's own and to the calling thread.

Kernels release the GIL, so that plain threads use the cores. Numba's ``parallel=True`` hands over in 1.4 to 12 us; but OpenMP
kills a forked child at its first parallel launch, and Numba's workqueue aborts the process when two threads call at once. Here
the caller works on its own pieces until none is left and waits only for helpers that have begun, so that a pool which is busy,
frozen at interpreter exit or lost in a fork costs speed and nothing else. (Python 3.12 and later warn of any fork in a process
that has threads.)

A thread that sleeps takes some 60 us to wake. So a worker that has just worked watches for the next job for a while before it
sleeps, and the caller watches its helpers end.

Which thread does a piece never shows in a result, as long as no thread has changed its floating-point mode.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from .kernels.cpu.waiting import wait_until

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
    wait = wait_until[None]
    wait(_nobody, word, 1, 1, 0)
    start = time.perf_counter()
    wait(_nobody, word, 1, rounds, 0)
    return rounds / (1e6 * (time.perf_counter() - start))


def _watch(word: np.ndarray, wanted: int, ended: np.ndarray = _nobody, hold_back: float = 0) -> bool:
    """Add one to `ended` and watch a word, outside the GIL, until it is `wanted` or more: whether it is."""
    rounds = _rounds_of_a_microsecond()
    return bool(wait_until[None](ended, word, wanted, int(WATCH * rounds), int(hold_back * rounds)) >= wanted)


class _Job:
    """Pieces of one call, taken by whoever is free.

    Who is in is settled without locks, which an interrupt can leave taken: a helper comes in if it is the first to set the
    entry of its ticket, and the caller closes the job by setting those that nobody has set.
    """

    def __init__(self, work: Callable[[int], None], pieces: int, helpers: int) -> None:
        self._work: Callable[[int], None] | None = work
        self._pieces, self._helpers = pieces, helpers
        self._next = itertools.count()
        self._claims: dict[int, bool] = {}  # ticket: whether a helper has it
        self._left: list[None] = []  # one for each helper that is out again
        self._tokens: SimpleQueue[None] = SimpleQueue()  # the same, to sleep for
        self._ended = np.zeros(1, np.int64)  # the same, to watch
        self._problem: BaseException | None = None

    def fail(self, problem: BaseException) -> None:
        """No further piece is begun."""
        self._problem = self._problem or problem

    def _take(self) -> None:
        """Work until no piece is left. The first problem ends it for everybody."""
        work = self._work
        assert work is not None
        try:
            while (piece := next(self._next)) < self._pieces and self._problem is None:
                work(piece)
        except BaseException as problem:
            self.fail(problem)

    def help(self, ticket: int) -> np.ndarray:
        """A worker's part. The word to raise next, outside the GIL: the caller may be watching it."""
        if not self._claims.setdefault(ticket, True):
            return _nobody
        try:
            self._take()
        finally:
            self._left.append(None)
            self._tokens.put(None)
        return self._ended

    def finish(self) -> None:
        """The caller's part: returns, or raises, when nobody works on the call any more, whatever interrupts."""
        while True:
            try:
                self._take()
                helping = sum(self._claims.setdefault(ticket, False) for ticket in range(self._helpers))
                if helping and not _watch(self._ended, helping):
                    while len(self._left) < helping:
                        self._tokens.get()
                break
            except BaseException as problem:  # an interrupt: helpers still write into the caller's arrays
                self.fail(problem)
        met, self._problem, self._work = self._problem, None, None  # whoever still holds the job holds no array
        try:
            if met is not None:
                raise met
        finally:
            del met  # whose traceback holds this frame


class _Pool:
    """Daemon threads that wait for jobs; they are started when first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[_Job, int]] = SimpleQueue()
        self._offered = np.zeros(1, np.int64)
        self._lock = threading.Lock()
        self._size = 0

    def offer(self, job: _Job, helpers: int) -> None:
        """Ask for a number of helpers; as many as can be had will come."""
        if self._size < helpers:
            self._grow(helpers)
        for ticket in range(min(helpers, self._size - self._jobs.qsize())):  # busy workers are not waited for
            self._jobs.put((job, ticket))
        self._offered[0] += 1

    def _grow(self, helpers: int) -> None:
        """Start workers up to a number, or as many as there can be."""
        _rounds_of_a_microsecond()  # compiled here, since a worker may be frozen at any moment when the interpreter exits
        with self._lock:
            try:
                while self._size < helpers:
                    threading.Thread(target=self._serve, name=f"numgumbel-{self._size}", daemon=True).start()
                    self._size += 1
            except RuntimeError:  # the interpreter is shutting down, or the system has no more threads
                return

    def _serve(self) -> None:
        ended = _nobody
        while True:
            seen = int(self._offered[0])
            if self._jobs.empty() and _watch(self._offered, seen + 1, ended, HOLD_BACK):
                ended = _nobody
                continue
            if ended is not _nobody and not self._jobs.empty():
                _watch(self._offered, 0, ended)  # raises it, and returns at once
            ended = _nobody
            job, ticket = self._jobs.get()
            ended = job.help(ticket)
            del job


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
    may run on when it is first asked for.

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
        number = available() if not named else _from_environment(named)
        if _limit is None:  # nobody has set it meanwhile
            set_num_threads(number)
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
    job = _Job(work, pieces, helpers)
    try:
        if helpers > 0:
            _pool.offer(job, helpers)
    except BaseException as problem:
        job.fail(problem)
    job.finish()
