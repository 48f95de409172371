"""How far the gradients of `numgumbel.torch.gumbel_softmax(hard=True)` are off, and how much they scatter, by temperature.

    python bench/estimators.py                 prints the table
    python bench/estimators.py --json FILE     writes it too; docs/torch.md and docs/figures have their figures from there

The loss is a quadratic of a one-hot of four categories, whose expected gradient is a sum of four terms. Bias is the distance
of the mean estimate from it, deviation the root of the summed variances of one estimate, both in parts of the true gradient's
size. The score function (REINFORCE without a baseline) is without bias; its deviation is a sum of four terms as well. Noise
comes from the field, so that two runs write the same figures. Needs ``pip install -e ".[torch]"``.
"""

import json
import math
from pathlib import Path

import click
import torch
from machine import LIBRARIES, machine
from rich.console import Console
from rich.table import Table

import numgumbel as ng
import numgumbel.torch as nt

LOGITS = torch.tensor([0.5, -0.5, 1.0, 0.0], dtype=torch.float64)
GOAL = torch.tensor([0.45, 0.1, 0.3, 0.15], dtype=torch.float64)
TAUS = 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0
KEY = ng.key(7, "estimators")


def loss(y):
    """Of one-hots, relaxed or not."""
    return (y - GOAL).square().sum(-1)


def terms():
    """(probabilities, losses, gradient of log p) of each category."""
    p = torch.softmax(LOGITS, -1)
    one_hot = torch.eye(len(p), dtype=p.dtype)
    return p, loss(one_hot), one_hot - p


def true_gradient():
    """Of the expected loss in the logits."""
    p, losses, scores = terms()
    return (p * losses) @ scores


def score_function():
    """Deviation of the estimate loss * gradient of log p."""
    p, losses, scores = terms()
    apart = losses[:, None] * scores - true_gradient()
    return float((p @ apart.square()).sum().sqrt() / true_gradient().norm())


def estimate(estimator, tau, count):
    """Bias and deviation over so many samples, and the bias that chance alone would show."""
    rows = LOGITS.expand(count, -1).clone().requires_grad_()
    y = nt.gumbel_softmax(rows, tau, hard=True, key=KEY, estimator=estimator)
    slopes = torch.autograd.grad(loss(y).sum(), rows)[0]
    true = true_gradient()
    deviation = float(slopes.var(0).sum().sqrt() / true.norm())
    bias = float((slopes.mean(0) - true).norm() / true.norm())
    return {"tau": tau, "bias": bias, "deviation": deviation, "chance": deviation / math.sqrt(count)}


@click.command()
@click.option("--count", default=200_000, show_default=True, type=click.IntRange(2), help="Samples of each.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there.")
def main(count, path):
    """Estimate each and print a table."""
    found = {name: [estimate(name, tau, count) for tau in TAUS] for name in nt.ESTIMATORS}
    table = Table("tau", *found, title="bias, deviation")
    for number, tau in enumerate(TAUS):
        table.add_row(f"{tau:g}", *(f"{rows[number]['bias']:.3f}, {rows[number]['deviation']:.2f}" for rows in found.values()))
    Console().print(table)
    if path:
        facts = {
            "machine": machine((*LIBRARIES, "torch")),
            "count": count,
            "score_function": score_function(),
            "estimators": found,
        }
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
