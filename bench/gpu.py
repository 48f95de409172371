"""Checks and times of all workloads on a GPU, beside torch, CuPy, JAX and Triton.

    python bench/gpu.py                             prints the tables
    python bench/gpu.py --json FILE                 writes everything too, to be kept under bench/results/
    python bench/gpu.py --only 'categorical 64 *'   of some workloads
    python bench/gpu.py --quick                     small shapes, to see that everything runs

Every answer is compared with the CPU's, index for index on some rows, before it is timed; one that differs ends the run. What a
call takes is told apart: the host's part, and the kernels' with a cold and a warm L2 (gpu_clock.py). Bytes are those that must
be read and written, and their share is of the bandwidth of a copy in the same run. Invalid rows are marked, as is the default.

Peers: pip install torch cupy-cuda13x "jax[cuda13]" triton; what is missing is said, and left out. Needs a GPU, its driver and
``pip install -e ".[cuda13]"``.
"""

import fnmatch
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import ml_dtypes
import numpy as np
from gpu_clock import COPIED, SPARE, Clock
from gpu_peers import PEERS
from machine import LIBRARIES, machine
from rich.console import Console
from rich.table import Table
from summary import duration

import numgumbel as ng
from numgumbel.kernels.gpu.loading import cuda

KEY = ng.key(2026, "bench", "gpu")
CHECKED = 48  # rows that the CPU does, too
VERSIONS = (*LIBRARIES, "numba-cuda", "cuda-bindings", "torch", "cupy-cuda13x", "jax", "triton")


@dataclass(frozen=True)
class Case:
    """A workload: an operation on logits of a shape and dtype.

    `call` takes (logits, step, out); `outputs` are shape and dtype of its results; `peer_options` go to the peers of `peer`.
    """

    name: str
    shape: tuple[int, int]
    dtype: Any
    call: Callable[..., Any]
    outputs: Callable[[int, int, np.dtype], list[tuple[tuple[int, ...], Any]]]
    peer: str | None = None
    peer_options: dict[str, Any] = field(default_factory=dict)
    draws: int = 1

    def bytes(self):
        """That must be read and written."""
        results = self.outputs(*self.shape, np.dtype(self.dtype))
        written = sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in results)
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize, written


def _index(rows, columns, dtype):
    return [((rows,), np.int64)]


def _sample(rows, columns, dtype):
    return [((rows, columns), dtype)]


def _three(rows, columns, dtype):
    return [((rows,), np.int64), ((rows,), np.float32), ((rows,), np.float32)]


def _drawn(rows, columns, dtype):
    return [((rows,), np.int64), *[((rows,), np.float32)] * 2]


def _top(k):
    return lambda rows, columns, dtype: [((rows, k), np.int64), ((rows, k), np.float32), ((rows,), np.float32)]


def _categorical(**options):
    return lambda x, step, out: ng.categorical(KEY, x, step=step, out=None if out is None else out[0], **options)


def _softmax(tau):
    return lambda x, step, out: ng.gumbel_softmax(KEY, x, tau=tau, step=step, out=None if out is None else out[0])


def _actions(x, step, out):
    return ng.sample_actions(KEY, x, step=step, out=None if out is None else tuple(out))


def _draw(x, step, out):
    given = None if out is None else ng.Draw(out[0], None, None, out[1], out[2], None)
    return ng.draw(KEY, x, step=step, want=("log_prob", "logsumexp"), out=given)


def _topk(k):
    return lambda x, step, out: ng.gumbel_topk(KEY, x, k, step=step, out=None if out is None else ng.TopK(*out))


def _conditional(x, step, out):
    index = ng.categorical(KEY, x, temperature=0.0)
    return ng.conditional_gumbel(KEY, x, index, step=step, out=None if out is None else out[0])


def cases():
    """All workloads."""
    for rows in (512, 64, 1):
        for dtype in (np.float32, ml_dtypes.bfloat16, np.float16):
            name = f"categorical {rows} x 128256 {np.dtype(dtype).name}"
            yield Case(name, (rows, 128256), dtype, _categorical(), _index, "categorical")
    for rows, columns in ((1024, 1000), (65536, 6), (4096, 18), (1_000_000, 32)):
        yield Case(
            f"categorical {rows} x {columns} float32", (rows, columns), np.float32, _categorical(), _index, "categorical"
        )
    yield Case("categorical 32 x 128256 float64", (32, 128256), np.float64, _categorical(), _index, "categorical")
    yield Case("inverse CDF 64 x 32000 float32", (64, 32000), np.float32, _categorical(method="inverse_cdf"), _index)
    yield Case("actions 4096 x 18 float32", (4096, 18), np.float32, _actions, _three, "sample_actions")
    yield Case("draw 32 x 128256 float32", (32, 128256), np.float32, _draw, _drawn)
    for tau in (0.5, 1.0):
        name = f"gumbel_softmax 1024 x 8192 float32, tau {tau}"
        yield Case(name, (1024, 8192), np.float32, _softmax(tau), _sample, "gumbel_softmax", {"tau": tau})
    for k in (5, 100):
        yield Case(f"top-{k} 64 x 32000 float32", (64, 32000), np.float32, _topk(k), _top(k), "gumbel_topk", {"k": k})
    yield Case("conditional noise 256 x 4096 float32", (256, 4096), np.float32, _conditional, _sample)


def small(case):
    """The same of a shape that a GPU played by the host does in a moment."""
    shape = min(case.shape[0], 6), min(case.shape[1], 2500)
    return Case(case.name, shape, case.dtype, case.call, case.outputs, case.peer, case.peer_options)


def logits_of(case):
    """The case's logits in host memory, the same on every machine: the field itself."""
    rows, columns = case.shape
    values = ng.gumbel(ng.key(7, "logits"), (rows, columns), dtype=np.float32)
    return values.astype(case.dtype)


def sent(values):
    """Logits in the GPU's memory."""
    if values.dtype.kind != "V":
        return cuda.to_device(values)
    return cuda.to_device(values.view(np.int16)).view(values.dtype)


def parts(result):
    """Arrays of a result."""
    return [each for each in (result if isinstance(result, tuple) else (result,)) if each is not None]


def check(case, logits, x):
    """ValueError unless the GPU's answer is the CPU's: integers and scores to the bit, sums within 8 ulp."""
    got, want = parts(case.call(x, 3, None)), parts(case.call(logits[:CHECKED], 3, None))
    for number, (there, here) in enumerate(zip(got, want, strict=True)):
        there = np.asarray(there.copy_to_host())[: len(here)].astype(here.dtype)
        if here.dtype.kind in "iu":
            same = np.array_equal(there, here)
        else:
            here, there = here.astype(np.float64), there.astype(np.float64)
            unit = 2.0**-52 if case.dtype == np.float64 else 2.0**-23
            same = np.allclose(there, here, rtol=8 * unit, atol=8 * unit * max(1, np.abs(logits.astype(np.float64)).max()))
        if not same:
            raise ValueError(f"{case.name}: result {number} is not the CPU's")


def measured(case, clock, repeats, peers, say):
    """Everything about a case."""
    logits = logits_of(case)
    x = sent(logits)
    started = time.perf_counter()
    check(case, logits, x)
    first = time.perf_counter() - started
    out = [cuda.device_array(shape, dtype) for shape, dtype in case.outputs(*case.shape, np.dtype(case.dtype))]
    steps = iter(range(1, 1 << 40)).__next__
    case.call(x, 0, out)

    def call():
        case.call(x, steps(), out)

    read, written = case.bytes()
    entry = {
        "name": case.name,
        "shape": case.shape,
        "dtype": np.dtype(case.dtype).name,
        "bytes_read": read,
        "bytes_written": written,
        "first_call_s": first,
        "cold_us": clock.cold(call, repeats),
        "warm_us": clock.warm(call, repeats),
        "enqueue_us": clock.enqueue(call, repeats),
        "peers": [],
    }
    if case.call is _actions:
        plan = ng.plan("sample_actions", KEY, x, out=tuple(out))
        entry["plan_enqueue_us"] = clock.enqueue(lambda: plan.launch(steps()), repeats)
    wanted = {case.peer, "max" if case.name.startswith("categorical 1 x") else None}
    for peer in peers:
        if peer.operation in wanted:
            try:
                run = peer.prepare(logits, case)
            except Exception as problem:  # another library's limits are not this benchmark's end
                say(f"{peer.name} at {case.name}: {type(problem).__name__}: {problem}")
                continue
            us = clock.cold(run, repeats) if peer.wait is None else clock.finished(run, peer.wait, repeats)
            entry["peers"].append({"name": peer.name, "operation": peer.operation, "cold_us": us})
    return entry


def share(entry, copy_gbs, read_alone=True):
    """Of the copy's bandwidth, with a cold L2."""
    moved = entry["bytes_read"] + (0 if read_alone else entry["bytes_written"])
    return moved / entry["cold_us"] / 1e3 / copy_gbs


def goals(results):
    """(what, asked, seen, reached) of what is asked of an H200; None where it was not measured."""
    known, copy = {entry["name"]: entry for entry in results["workloads"]}, results["copy_gbs"]

    def line(what, asked, name, seen, least=True):
        entry = known.get(name)
        value = None if entry is None else seen(entry)
        return what, asked, value, None if value is None else (value >= asked if least else value <= asked)

    def faster(kind):
        def times(entry):
            found = [peer["cold_us"] for peer in entry["peers"] if peer["name"].startswith(kind) and peer["operation"] != "max"]
            return min(found) / entry["cold_us"] if found else None

        return times

    def against_max(entry):
        found = [peer["cold_us"] for peer in entry["peers"] if peer["operation"] == "max"]
        return entry["cold_us"] / found[0] if found else None

    large = "categorical 512 x 128256 float32"
    half = known.get("categorical 512 x 128256 bfloat16")
    softmax = "gumbel_softmax 1024 x 8192 float32, tau"
    return [
        line("512 x 128256 float32, cold, share of copy", 0.80, large, lambda e: share(e, copy)),
        line("64 x 128256 float32, cold, share of copy", 0.60, "categorical 64 x 128256 float32", lambda e: share(e, copy)),
        line("bfloat16 / float32, time", 1.0, large, lambda e: half and half["cold_us"] / e["cold_us"], least=False),
        line("times torch's best", 3.0, large, faster("torch")),
        line("times Triton's two stages", 2.0, large, faster("Triton")),
        line("1 x 128256 / torch.max", 1.3, "categorical 1 x 128256 float32", against_max, least=False),
        line("actions 4096 x 18, us", 10.0, "actions 4096 x 18 float32", lambda e: e["cold_us"], least=False),
        line("actions 4096 x 18, enqueue, us", 15.0, "actions 4096 x 18 float32", lambda e: e["enqueue_us"], least=False),
        line("gumbel_softmax, share of copy", 0.55, f"{softmax} 0.5", lambda e: share(e, copy, read_alone=False)),
        line("gumbel_softmax at tau 1, share of copy", 0.70, f"{softmax} 1.0", lambda e: share(e, copy, read_alone=False)),
    ]


def tables(results):
    """The tables for people."""
    times = Table("workload", "cold", "warm", "enqueue", "of copy", "best peer", "its time", "times", title=results["device"])
    for entry in results["workloads"]:
        peers = [peer for peer in entry["peers"] if peer["operation"] != "max"]
        best = min(peers, key=lambda peer: peer["cold_us"], default=None)
        beside = (
            ("", "", "")
            if best is None
            else (best["name"], duration(best["cold_us"]), f"{best['cold_us'] / entry['cold_us']:.1f}")
        )
        figures = (duration(entry[name]) for name in ("cold_us", "warm_us", "enqueue_us"))
        times.add_row(entry["name"], *figures, f"{share(entry, results['copy_gbs'], False):.0%}", *beside)
    asked = Table("asked of an H200", "goal", "seen", "", title=f"copy {results['copy_gbs']:.0f} GB/s")
    for what, goal, seen, reached in goals(results):
        asked.add_row(
            what, f"{goal:g}", "not measured" if seen is None else f"{seen:.2f}", {True: "yes", False: "no", None: ""}[reached]
        )
    return times, asked


@click.command()
@click.option("--only", default="*", help="Workloads by their names, a pattern as of file names.")
@click.option("--repeats", default=31, show_default=True)
@click.option("--quick", is_flag=True, help="Small shapes, few repeats.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Write the results there.")
def main(only, repeats, quick, path):
    """Check, time and print."""
    console = Console()
    peers = []
    for peer in PEERS:
        missing = peer.missing()
        console.print(missing) if missing else peers.append(peer)
    clock = Clock(1 << 16, 1 << 16) if quick else Clock(SPARE, COPIED)
    repeats = 2 if quick else repeats
    results = {
        "machine": machine(VERSIONS),
        "device": clock.device,
        "copy_gbs": clock.copy_gbs,
        "quick": quick,
        "workloads": [],
    }
    for case in cases():
        if fnmatch.fnmatch(case.name, only):
            results["workloads"].append(measured(small(case) if quick else case, clock, repeats, peers, console.print))
            entry = results["workloads"][-1]
            console.print(f"{case.name}: cold {duration(entry['cold_us'])}, enqueue {duration(entry['enqueue_us'])}")
            if path:  # as far as it has come: a run may end early
                Path(path).write_text(json.dumps(results, indent=1) + "\n")
    for table in tables(results):
        console.print(table)


if __name__ == "__main__":
    main()
