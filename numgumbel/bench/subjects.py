"""What is timed: a workload on a backend, by numgumbel or by a peer. Every block of times is verified."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..threads import get_num_threads, set_num_threads
from ..verify import ULP, differing
from ..workloads import Inputs, Workload, host
from . import peers
from .clock import Clock, Effort, precision, summary
from .compiling import watched
from .gpu import GpuClock

OURS = "numgumbel"
COLD_A_BLOCK = 3


def processor_time(sample_ns: int) -> Callable[[], int]:
    """The clock of this thread's time on the processor, or the usual one where that is too coarse for a sample."""
    fine = time.get_clock_info("thread_time").resolution * 1e9 < sample_ns / 100
    return time.thread_time_ns if fine else time.perf_counter_ns


class Wrong(Exception):
    """A result that is not the right one: times of it are worth nothing."""


class Subject:
    """A call, how its result is verified, and the blocks of samples taken so far.

    Attributes
    ----------
    workload : Workload
        What is done.
    backend, contender : str
        Where and by whom.
    blocks : dict of list of list of float
        Nanoseconds by what was timed; the first is what counts.
    """

    def __init__(
        self,
        workload: Workload,
        backend: str,
        contender: str,
        call: Callable[[], Any],
        verify: Callable[[], None],
        effort: Effort,
        clock: Clock,
        gpu: GpuClock | None = None,
    ) -> None:
        self.workload, self.backend, self.contender = workload, backend, contender
        self._call, self._verify, self._effort, self._clock, self._gpu = call, verify, effort, clock, gpu
        self.blocks: dict[str, list[list[float]]] = {}
        self.steady: list[list[float]] = []
        self.seconds = 0.0
        self._processor = Clock(processor_time(effort.sample_ns))
        self._calls = self._samples = 1
        self._warm_ups = 0

    def first(self) -> tuple[list[dict[str, Any]], float]:
        """Verify, and find out how many calls make a sample: kernels that were made ready, and seconds of the first call.

        Raises
        ------
        Wrong
            If the result is not the right one.
        """
        with watched() as kernels:
            start = time.perf_counter()
            self._call()
            self._wait()
            seconds = time.perf_counter() - start
        self._verify()
        effort = self._effort
        if self._gpu is not None:
            self._host_ns = float(np.median([self._gpu.enqueue(self._call) for _ in range(effort.samples)]))
            return kernels, seconds
        self._calls, call_ns = self._clock.calls(self._call, effort.sample_ns)
        sample_ns = self._calls * call_ns
        self._samples = int(max(1, min(effort.samples, effort.block_ns / sample_ns)))
        self._warm_ups = int(effort.warm_ns / call_ns) + (call_ns < 5 * effort.warm_ns)
        return kernels, seconds

    def block(self) -> None:
        """Take one more block of samples, and verify that a call still gives the right result.

        Raises
        ------
        Wrong
            If it does not.
        """
        start = time.perf_counter()
        if self._gpu is None:
            self._add("call", self._clock.block(self._call, self._calls, self._samples, self._warm_ups))
            if self.contender == OURS:
                self._steady()
        else:
            gpu, call, host_ns = self._gpu, self._call, self._host_ns
            self._add("cold", [gpu.cold(call, host_ns) for _ in range(COLD_A_BLOCK)])
            self._add("warm", [gpu.warm(call, host_ns)])
            self._add("enqueue", [gpu.enqueue(call) for _ in range(COLD_A_BLOCK)])
            self._add("completion", [gpu.completion(call) for _ in range(COLD_A_BLOCK)])
        self.seconds += time.perf_counter() - start
        self._verify()

    def _steady(self) -> None:
        """A block of the processor's time on one thread, which others on the machine lengthen least."""
        threads = get_num_threads()
        set_num_threads(1)
        try:
            self.steady.append(self._processor.block(self._call, self._calls, self._samples, min(self._warm_ups, 1)))
        finally:
            set_num_threads(threads)

    def _add(self, what: str, samples: list[float]) -> None:
        self.blocks.setdefault(what, []).append(samples)

    def _wait(self) -> None:
        if self._gpu is not None:
            self._gpu.completion(lambda: None)

    def wants_more(self, seconds: float) -> bool:
        """Whether a further block is worth its time, after so many seconds of passes."""
        taken = next(iter(self.blocks.values()), [])
        effort = self._effort
        if self.contender != OURS:
            return len(taken) < 3 or (self.seconds < effort.peer_seconds and len(taken) < effort.fewest)
        if len(taken) < effort.fewest:
            return True
        return len(taken) < effort.most and (seconds < effort.least_seconds or precision(taken) > effort.precision)

    def figures(self) -> dict[str, Any]:
        """The entry in the results."""
        what, blocks = next(iter(self.blocks.items()))
        others = {f"{name}_ns": round(summary(more)["median_ns"], 2) for name, more in self.blocks.items() if name != what}
        return {
            "workload": self.workload.id,
            "backend": self.backend,
            "contender": self.contender,
            "timed": what,
            **summary(blocks),
            **others,
            "calls_a_sample": self._calls,
            "blocks_ns": rounded(blocks),
            **({"steady_ns": rounded(self.steady)} if self.steady else {}),
        }


def ours(workload: Workload, inputs: Inputs, effort: Effort, clock: Clock, gpu: GpuClock | None = None) -> Subject:
    """numgumbel at a workload.

    Every timed call draws another step: a processor learns the branches of a call that is repeated.
    """
    bound = workload.bind(inputs, stream=None if gpu is None else 0)
    steps = itertools.count(1)

    def call() -> Any:
        return bound(step=next(steps))

    expected = None if gpu is None else workload.run(inputs)

    def verify() -> None:
        result = host(bound(step=0))
        problem = wrong(workload, result) if expected is None else differs(workload, result, expected)
        if problem:
            raise Wrong(f"{workload.id} on {'cpu' if gpu is None else 'cuda'}: {problem}")

    if expected is not None and (problem := wrong(workload, expected)):
        raise Wrong(f"{workload.id} on cpu: {problem}")
    return Subject(workload, "cpu" if gpu is None else "cuda", OURS, call, verify, effort, clock, gpu)


def peer(
    library: str, workload: Workload, inputs: Inputs, effort: Effort, clock: Clock, gpu: GpuClock | None = None
) -> Subject | None:
    """A library at a workload, or None where it has no way to do it."""
    backend = "cpu" if gpu is None else "cuda"
    call = peers.prepare(library, workload, inputs, backend)
    if call is None:
        return None

    def verify() -> None:
        if problem := peers.check(workload, inputs, call()):
            raise Wrong(f"{workload.id} on {backend} by {library}: {problem}")

    return Subject(workload, backend, library, call, verify, effort, clock, gpu)


def rounded(blocks: list[list[float]]) -> list[list[float]]:
    """Samples to a hundredth of a nanosecond."""
    return [[round(sample, 2) for sample in block] for block in blocks]


def wrong(workload: Workload, result: Any) -> str | None:
    """What is wrong with a CPU's result at step 0, or None: its checksum is to be the known one."""
    found = workload.checksum(result)
    return None if found == workload.expected else f"the checksum is {found}, that of the right result {workload.expected}"


def differs(workload: Workload, result: Any, expected: Any) -> str | None:
    """How a device's result differs from the CPU's, or None: to the bit, but for sums, which may by some ulp."""
    got, wanted = workload.exact(result), workload.exact(expected)
    if (found := workload.checksum(tuple(got.values()))) != (right := workload.checksum(tuple(wanted.values()))):
        return f"the checksum of {', '.join(wanted)} is {found}, that of the right result {right}"
    there = workload.parts(result)
    for name, part in workload.parts(expected).items():
        if name in wanted:
            continue
        count, worst = differing(there[name], part, True)
        if count:
            return f"{count} of {name} differ from the CPU's by more than {ULP} ulp, by {worst:.3g} at most"
    return None
