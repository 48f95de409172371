"""`numgumbel.torch` beside torch's own: relaxed samples with their gradients, and a policy's step.

    python bench/torch_gradients.py                 prints the table
    python bench/torch_gradients.py --json FILE     writes it too; docs/torch.md has its figures from there

Ours and theirs take turns, so that the machine's noise hits both alike; figures are medians. Peak memory is what both passes
add to a process of their own. Needs ``pip install -e ".[torch]"``.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from machine import LIBRARIES, machine
from rich.console import Console
from rich.table import Table
from summary import duration
from torch import distributions

import numgumbel.torch as nt

SHAPES = (64, 32000), (1024, 8192)
SAMPLE = 20e-3  # seconds: short calls are repeated until a sample takes as long


def relaxed(function, shape, hard):
    """A forward and a backward pass."""
    logits, slopes = torch.randn(shape), torch.randn(shape)

    def run():
        x = logits.detach().requires_grad_()
        function(x, tau=0.5, hard=hard).backward(slopes)

    return run


def policy(kind, gradients):
    """A sample with log-probability and entropy; with gradients also the backward pass."""
    logits = torch.randn(8, 6)

    def run():
        x = logits.detach().requires_grad_() if gradients else logits
        policy = kind(logits=x, validate_args=False)
        action = policy.sample()
        log_prob, entropy = policy.log_prob(action), policy.entropy()
        if gradients:
            (log_prob.sum() + 0.01 * entropy.sum()).backward()

    return run


def cases():
    """(name, ours, theirs, goal): how many times faster ours is to be, or None."""
    for shape in SHAPES:
        for hard in (False, True):
            name = f"gumbel_softmax{', hard' if hard else ''}, {shape[0]} x {shape[1]}, forward and backward"
            yield name, relaxed(nt.gumbel_softmax, shape, hard), relaxed(F.gumbel_softmax, shape, hard), None if hard else 8.0
    for gradients, goal in ((False, 3.0), (True, 1.5)):
        name = f"Categorical 8 x 6: sample, log_prob, entropy{', and their gradients' if gradients else ''}"
        yield name, policy(nt.Categorical, gradients), policy(distributions.Categorical, gradients), goal


def seconds(run, calls):
    """Of one call, of so many."""
    before = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - before) / calls


def compared(ours, theirs, rounds):
    """Medians of both, in us."""
    calls = [max(1, round(SAMPLE / min(seconds(run, 1) for _ in range(3)))) for run in (ours, theirs)]
    samples = [[], []]
    for number in range(rounds):
        for i in (0, 1) if number % 2 else (1, 0):
            run = (ours, theirs)[i]
            run()
            samples[i].append(seconds(run, calls[i]))
    return [1e6 * statistics.median(each) for each in samples]


_ALONE = """
import re, torch
from pathlib import Path
torch.set_num_threads(2)

def peak():  # of this process alone: what getrusage tells may be that of the one that has started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

x, slopes = torch.randn({shape}, requires_grad=True), torch.randn({shape})
if {ours}:
    import numgumbel.torch as module
else:
    import torch.nn.functional as module
module.gumbel_softmax(x[:1].detach().requires_grad_(), hard={hard}).sum().backward()
before = peak()
module.gumbel_softmax(x, tau=0.5, hard={hard}).backward(slopes)
print(peak() - before)
"""


def peak(ours, shape, hard):
    """MiB that a forward and a backward pass add to a process that has the logits (on Linux)."""
    code = _ALONE.format(ours=ours, shape=shape, hard=hard)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(ended.stdout) / 1024


@click.command()
@click.option("--rounds", default=21, show_default=True)
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Write the results there.")
def main(rounds, path):
    """Time both and print a table."""
    rows = []
    for name, ours, theirs, goal in cases():
        us, torch_us = compared(ours, theirs, rounds)
        rows.append({"name": name, "us": us, "torch_us": torch_us, "times": torch_us / us, "goal": goal})
    memory = [
        {"shape": shape, "hard": hard, "MiB": peak(True, shape, hard), "torch_MiB": peak(False, shape, hard)}
        for shape in SHAPES
        for hard in (False, True)
    ]
    table = Table("what", "numgumbel", "torch", "times faster", "goal", title="numgumbel.torch and torch")
    for row in rows:
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        table.add_row(row["name"], duration(row["us"]), duration(row["torch_us"]), f"{row['times']:.1f}", goal)
    for row in memory:
        name = f"peak memory, {row['shape'][0]} x {row['shape'][1]}{', hard' if row['hard'] else ''}, MiB"
        table.add_row(name, f"{row['MiB']:.0f}", f"{row['torch_MiB']:.0f}", f"{row['torch_MiB'] / max(row['MiB'], 1):.1f}", "1")
    Console().print(table)
    if path:
        facts = {"machine": machine((*LIBRARIES, "torch")), "times": rows, "memory": memory}
        Path(path).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
