"""Checks and times all workloads on a GPU, beside torch, CuPy, JAX and Triton, and beside a copy of memory.

    python bench/gpu.py                           all, into bench/results/gpu-DATE.json
    python bench/gpu.py --only 'softmax|actions'  workloads whose id has this in it; figures are written where --json says
    python bench/gpu.py --quick                   small ones, few times: does everything run here?
    python bench/gpu.py --without torch.compile   some libraries are left out

Needs a GPU and: python -m pip install "numgumbel[cuda13]" ml_dtypes. Peers: python -m pip install torch triton cupy-cuda13x
"jax[cuda13]". What is not installed is said, and left out.

A result is checked before it is timed: numgumbel's must be the CPU's, index for index; a peer's must be of the right shape, and
samples of the distribution. Who fails is refused, and the command then ends with 1. Nobody waits for invalid rows: all calls
have invalid="mark". The contenders of a workload take turns, in another order every round; figures are medians.

At the end the first call of each operation is timed in two fresh processes, the first with an empty cache of kernels.
"""

import gc
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path

import click
import gpu_contenders as contenders
import gpu_summary as summary
from contender import OURS
from cpu import table_of
from gpu_cases import STEP, Problem, cases
from gpu_checks import Wrong
from gpu_clock import Clock, host_time, launches
from machine import LIBRARIES, gpu, machine
from numba.cuda.core.errors import NumbaPerformanceWarning
from rich.console import Console

from numgumbel.kernels.gpu.loading import cuda

RESULTS = Path(__file__).parent / "results"
DISTRIBUTIONS = *LIBRARIES, "numba-cuda", "torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "jax", "ml_dtypes"
WINDOW, FEWEST, MOST = 500.0, 3, 20  # microseconds of a row of calls, and how many calls it is made of
COLD = 3  # cold calls a round
QUICK_COPY = 1 << 20  # bytes


class Runner:
    """A contender at one case: its call, checked, and the samples taken so far."""

    def __init__(self, contender, problem, clock):
        self.contender, self._clock = contender, clock
        call, step = contender.prepare(problem), iter(range(STEP + 1, 1 << 30))
        contender.check(problem, call(STEP))
        self._call = lambda: call(next(step))
        self._call()
        cuda.synchronize()
        self.enqueue_us = statistics.median(clock.enqueue(self._call))
        self._calls, self.warm, self.cold = FEWEST, [], []
        self._calls = max(FEWEST, min(MOST, int(WINDOW / self._row())))

    def _row(self):
        if self.contender.clock == contenders.HOST:
            return host_time(self._call, contenders.wait_for_jax, self._calls)
        return self._clock.warm(self._call, self._calls, self.enqueue_us)

    def sample(self):
        """A row of calls, and some cold ones."""
        self.warm.append(self._row())
        if self.contender.clock == contenders.EVENTS:
            self.cold += [self._clock.cold(self._call, self.enqueue_us) for _ in range(COLD)]

    def figures(self):
        """The contender's entry in the results."""
        cold = self.cold or [None]
        return {
            **named(self.contender),
            "clock": self.contender.clock,
            "cold_us": _rounded(statistics.median(cold)),
            "cold_min_us": _rounded(min(cold)),
            "warm_us": _rounded(statistics.median(self.warm)),
            "warm_min_us": _rounded(min(self.warm)),
            "enqueue_us": _rounded(self.enqueue_us),
            "calls_in_a_row": self._calls,
        }


def _rounded(us):
    return us if us is None else round(us, 4)


def named(contender):
    """Who a contender is, for the results."""
    return {"name": contender.name, "kind": contender.kind, "library": contender.library}


def measure(case, everybody, clock, rounds):
    """The entry of one case in the results. Who is wrong, or fails, has a line there in place of figures."""
    problem = Problem.of(case)
    read, written = problem.bytes_moved()
    runners, said = [], []
    for contender in everybody:
        if not contender.fits(case):
            continue
        try:
            runners.append(Runner(contender, problem, clock))
        except Wrong as wrong:
            said.append({**named(contender), "refused": str(wrong)})
        except Exception as problem_of_theirs:  # whatever a library raises: the others are timed nevertheless
            said.append({**named(contender), "failed": f"{type(problem_of_theirs).__name__}: {problem_of_theirs}"[:300]})
    order, enabled = random.Random(0), gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for runner in order.sample(runners, len(runners)):
                runner.sample()
    finally:
        if enabled:
            gc.enable()
    return {
        "id": case.id,
        "operation": case.operation,
        "shape": case.shape,
        "dtype": case.dtype,
        "options": {name: value for name, value in case.options.items() if name != "want"},
        "bytes_read": read,
        "bytes_written": written,
        **_counted(problem),
        "rounds": rounds,
        "contenders": [*(runner.figures() for runner in runners), *said],
    }


def _counted(problem):
    """Kernels that numgumbel queues for a call, or why that cannot be told."""
    try:
        return {"launches": launches(lambda stream: contenders.bound_to(problem, stream))}
    except Exception as what:  # a call that cannot be captured is timed all the same
        return {"launches": None, "capture_failed": f"{type(what).__name__}: {what}"[:300]}


def first_calls(only):
    """Seconds of first calls, with an empty cache and, in the next process, with the filled one."""
    command, found = [sys.executable, Path(__file__).with_name("gpu_first_calls.py"), "--only", only], {}
    with tempfile.TemporaryDirectory() as cache:
        kept = dict.fromkeys(("NUMGUMBEL_CACHE_DIR", "NUMBA_CACHE_DIR", "CUDA_CACHE_PATH"), cache)
        for state in ("empty", "filled"):
            done = subprocess.run(command, env={**os.environ, **kept}, capture_output=True, text=True, check=False)
            if done.returncode:
                return {"failed": done.stderr[-500:]}
            found[state] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_call_rows(found):
    """Texts of the table of first calls."""
    empty, filled = found["empty"], found["filled"]
    for name, what in (("import_s", "import of numba-cuda"), ("device_s", "the device")):
        yield [what, *(f"{each[name]:.2f}" for each in (empty, filled))]
    for id, seconds in empty["calls_s"].items():
        yield [id, f"{seconds:.2f}", f"{filled['calls_s'][id]:.2f}"]


def wrong_lines(entries):
    """Whoever was refused, and numgumbel where it failed."""
    for entry in entries:
        for each in entry["contenders"]:
            if "refused" in each or ("failed" in each and each["kind"] == OURS):
                yield f"{entry['id']}: {each['name']}: {each.get('refused') or each['failed']}"


def show(console, results):
    """Print all tables."""
    copy = results["copy"]
    rows = [row for entry in results["workloads"] for row in summary.rows(entry, copy["bytes_a_second"])]
    console.print(table_of(rows, summary.ROW_COLUMNS, summary.ROW_NAMES))
    console.print(summary.NOTE, soft_wrap=True)
    speed, events = f"{copy['bytes_a_second'] / 1e9:.0f} GB/s", f"{results['events_us']:.2f} us"
    console.print(
        f"A copy of {copy['bytes']:,} bytes reads and writes {speed}; two events with nothing between take {events}.\n"
    )
    if "empty" in results["first_calls"]:
        columns = "first call of a process", "empty cache, s", "filled, s"
        console.print(table_of(first_call_rows(results["first_calls"]), columns, (0,)))
    elif results["first_calls"]:
        console.print(results["first_calls"]["failed"], markup=False)
    console.print()
    console.print(table_of(map(summary.asked_row, results["asked"]), summary.ASKED_COLUMNS, (0,)))


def save(target, results):
    """Write the figures so far: who is cut short keeps them."""
    results["asked"] = summary.asked_entries(results)
    if target:
        target.write_text(json.dumps(results, indent=1) + "\n")


def target_of(path, only, small):
    """Where the figures go: under bench/results by default, if they are of everything."""
    return path or (None if only or small else RESULTS / f"gpu-{date.today().isoformat()}.json")


@click.command(help="Check and time the workloads on a GPU.")
@click.option("--only", metavar="PATTERN", default="", help="Workloads whose id has this regular expression in it.")
@click.option("--quick", is_flag=True, help="Small workloads, few times.")
@click.option("--without", multiple=True, type=click.Choice(contenders.LIBRARIES), help="Leave a library out; may be repeated.")
@click.option("--rounds", type=click.IntRange(min=1), help="Samples of each; 21, or 2 of small workloads, when left out.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file.")
def main(only, quick, without, rounds, path):
    """Check and time the workloads."""
    console, progress = Console(highlight=False), Console(stderr=True, highlight=False)
    console.width = max(console.width, 200)
    if not cuda.is_available():
        raise click.ClickException("there is no CUDA device: the driver is missing, or it has none")
    warnings.simplefilter("ignore", NumbaPerformanceWarning)  # of grids that are small because the workload is
    left_out = {name: "as asked" if name in without else contenders.missing(name) for name in contenders.LIBRARIES}
    for name, line in left_out.items():
        if line and name not in without:
            progress.print(line, soft_wrap=True, markup=False)
    everybody = [each for each in contenders.CONTENDERS if not left_out.get(each.library)]
    started, clock = time.perf_counter(), Clock(QUICK_COPY) if quick else Clock()
    results = {
        "machine": {**machine(DISTRIBUTIONS), "gpu": gpu()},
        "quick": quick,
        "left_out": {name: line for name, line in left_out.items() if line},
        "copy": {"bytes": clock.bytes, "us": clock.copy_us, "bytes_a_second": clock.bandwidth},
        "events_us": clock.pair_us,
        "workloads": [],
        "first_calls": {},
    }
    target = target_of(path, only, quick)
    for case in cases(quick).values():
        if not re.search(only, case.id):
            continue
        try:
            with progress.status(case.id):
                results["workloads"].append(measure(case, everybody, clock, rounds or (2 if quick else 21)))
        except ModuleNotFoundError as absent:  # bfloat16 is a dtype of a package
            progress.print(str(absent), soft_wrap=True, markup=False)
        gc.collect()
        contenders.clear()
        save(target, results)
    results["machine"]["gpu"] = gpu()  # its clocks once more, now that it has worked
    with progress.status("first calls"):
        results["first_calls"] = first_calls(only)
    save(target, results)
    show(console, results)
    console.print(f"{time.perf_counter() - started:.0f} s{f', written to {target}' if target else ''}", markup=False)
    if wrong := list(wrong_lines(results["workloads"])):
        console.print("\n".join(wrong), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
