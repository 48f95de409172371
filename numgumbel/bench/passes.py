"""A run: all is made ready and verified, then passes go through all workloads, a block each, until times are known.

The blocks of a workload lie as far apart as the run is long, so that a slow minute of the machine hits a block of each workload
and not all blocks of one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..threads import get_num_threads
from ..workloads import Workload
from . import peers, roofline, subjects
from .clock import Clock, Effort
from .files import FORMAT
from .gpu import COPY, GpuClock, gpu
from .machine import LIBRARIES, machine
from .nvtx import Ranges, no_ranges, profiled

QUICK_COPY = 1 << 28


def measure(
    chosen: Sequence[Workload],
    backends: Sequence[str],
    libraries: Sequence[str],
    effort: Effort,
    *,
    quick: bool = False,
    profile: bool = False,
    ranges: Ranges = no_ranges,
    say: Callable[[str, float], None] = lambda text, share: None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Time workloads.

    Parameters
    ----------
    chosen : sequence of Workload
        What is timed.
    backends : sequence of str
        ``"cpu"``, ``"cuda"``.
    libraries : sequence of str
        Peers.
    effort : Effort
        How long is measured.
    quick : bool, optional
        Whether bandwidths are measured on smaller arrays; the results say so.
    profile : bool, optional
        Whether passes stand between cudaProfilerStart and cudaProfilerStop.
    ranges : callable, optional
        What marks a block for a profiler.
    say : callable, optional
        Gets what is being done, and which share of everything is.
    clock : Clock, optional
        Of the host.

    Returns
    -------
    dict
        Results, as `files.save` writes them.

    Raises
    ------
    Wrong
        If a result is not the right one.
    RuntimeError
        Where ``"cuda"`` is asked for and there is no GPU.
    """
    clock, started = clock or Clock(), time.time()
    say("bandwidth of memory", 0.0)
    device = GpuClock(QUICK_COPY if quick else COPY) if "cuda" in backends else None
    roof: dict[str, Any] = {}
    if "cpu" in backends:
        roof["cpu"] = roofline.of_host(clock, roofline.QUICK_SIZE if quick else roofline.SIZE)
    if device is not None:
        roof["cuda"] = device.bandwidth()
    ready, kernels, first_calls = _prepared(chosen, backends, libraries, effort, clock, device, say)
    with profiled(profile):
        _pass_through(ready, effort, ranges, say)
    facts = machine((*LIBRARIES, *(peers.HINTS.get(name, name) for name in libraries)))
    entries = [subject.figures() for subject in ready]
    for subject, entry in zip(ready, entries, strict=True):
        entry |= _derived(subject, entry, roof[subject.backend])
        entry["first_call_s"] = round(first_calls[id(subject)], 4)
    return {
        "format": FORMAT,
        "machine": facts | ({} if device is None else {"gpu": gpu()}),
        "started": round(started, 1),
        "seconds": round(time.time() - started, 1),
        "threads": get_num_threads(),
        "quick": quick,
        "bandwidth": roof,
        "kernels": kernels,
        "times": entries,
    }


def _prepared(
    chosen: Sequence[Workload],
    backends: Sequence[str],
    libraries: Sequence[str],
    effort: Effort,
    clock: Clock,
    device: GpuClock | None,
    say: Callable[[str, float], None],
) -> tuple[list[subjects.Subject], list[dict[str, Any]], dict[int, float]]:
    """Everything that is timed, verified once; the kernels that were made ready; seconds of first calls."""
    ready: list[subjects.Subject] = []
    kernels: list[dict[str, Any]] = []
    first_calls: dict[int, float] = {}
    for number, workload in enumerate(chosen):
        say(f"{workload.id}: first calls", 0.4 * number / len(chosen))
        inputs = workload.inputs()
        for backend in backends:
            on = device if backend == "cuda" else None
            made = [subjects.ours(workload, inputs, effort, clock, on)]
            others = (peers_at for peers_at in libraries if backend in peers.places(peers_at))
            made += [found for name in others if (found := subjects.peer(name, workload, inputs, effort, clock, on))]
            for subject in made:
                loaded, seconds = subject.first()
                kernels += [{"workload": workload.id, **kernel} for kernel in loaded]
                first_calls[id(subject)] = seconds
            ready += made
    return ready, kernels, first_calls


def _pass_through(ready: Sequence[subjects.Subject], effort: Effort, ranges: Ranges, say: Callable[[str, float], None]) -> None:
    """Passes over everything that wants more, each in another order."""
    order, started, passes = random.Random(0), time.perf_counter(), 0
    while wanting := [subject for subject in ready if subject.wants_more(time.perf_counter() - started)]:
        if passes >= effort.fewest and time.perf_counter() - started > effort.seconds:
            return
        for number, subject in enumerate(order.sample(wanting, len(wanting))):
            done = (passes + number / len(wanting)) / max(effort.fewest, passes + 1)
            say(f"pass {passes + 1}: {subject.workload.id}, {subject.contender}", 0.4 + 0.6 * done)
            with ranges(f"{subject.workload.id} {subject.contender} {subject.backend}"):
                subject.block()
        passes += 1


def _derived(subject: subjects.Subject, entry: dict[str, Any], bandwidth: dict[str, Any]) -> dict[str, Any]:
    """What follows from a time and a workload's cost."""
    workload, ns = subject.workload, entry["median_ns"]
    cost = workload.cost()
    return {
        "operation": workload.operation,
        "shape": list(workload.shape),
        "dtype": workload.dtype,
        "elements": cost.elements,
        "draws": workload.n or 1,
        "bytes_read": cost.bytes_read,
        "bytes_written": cost.bytes_written,
        "philox_calls": cost.philox_calls,
        "elementary": cost.elementary,
        "ns_a_category": round(ns / cost.elements / (workload.n or 1), 6),
        "bytes_a_second": round((cost.bytes_read + cost.bytes_written) / ns * 1e9),
        "share_of_roofline": round(roofline.least_ns(cost, bandwidth) / ns, 5),
        "checksum": workload.expected if subject.contender == subjects.OURS else None,
    }
