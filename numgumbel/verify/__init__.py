"""Whether the package does here what it promises: known answers, distributions, exactness, and a GPU beside the CPU.

``numgumbel verify`` runs the checks and prints a table; see `docs/guarantees.md` for what is promised. In five groups:

generator     Philox4x32-10 against the known answers of Random123
golden        keys, noise and samples of version 1 of the field, and checksums of frozen workloads
distribution  samples of every kind against the probabilities that they should have, far into the tail
exactness     the same bits for any threads, pieces, layouts and storage of the logits
gpu           every operation on a device beside the CPU, where there is one

The first four take their functions from a `Subject`, and every check is shown to reject a wrong one (``tests/test_verify.py``).

>>> from numgumbel import verify
>>> [outcome.right for outcome in verify.run(verify.checks(["generator"]))]
[True]
"""

from __future__ import annotations

from collections.abc import Iterable

from . import distribution, exactness, generator, golden
from .device import CASES, COLUMNS, DEVICE, Case, device_arrays, verify
from .device import checks as device_checks
from .outcome import ULP, Outcome, differing
from .running import Check, run
from .subject import Subject

__all__ = [
    "CASES",
    "CHECKS",
    "COLUMNS",
    "DEVICE",
    "GROUPS",
    "ULP",
    "Case",
    "Check",
    "Outcome",
    "Subject",
    "checks",
    "device_arrays",
    "device_checks",
    "differing",
    "run",
    "verify",
]

GENERATOR, GOLDEN, DISTRIBUTION, EXACTNESS = "generator", "golden", "distribution", "exactness"

CHECKS = (
    Check(GENERATOR, "Philox4x32-10 as in Random123", generator.known_answers),
    Check(GOLDEN, "keys and folds", golden.keys),
    Check(GOLDEN, "noise, ends of ranges and tail", golden.noise),
    Check(GOLDEN, "indices of every operation", golden.draws),
    Check(GOLDEN, "checksums of workloads", golden.workloads),
    Check(DISTRIBUTION, "gumbel", distribution.noise),
    Check(DISTRIBUTION, "gumbel, far upper tail", distribution.tail),
    Check(DISTRIBUTION, "gumbel, pairs of neighbours", distribution.neighbours),
    Check(DISTRIBUTION, "categorical", distribution.gumbel_max),
    Check(DISTRIBUTION, "categorical, inverse CDF", distribution.inverse_cdf),
    Check(DISTRIBUTION, "gumbel_topk, ordered pairs", distribution.topk),
    Check(DISTRIBUTION, "sample_actions, two heads", distribution.actions),
    Check(DISTRIBUTION, "gumbel_softmax", distribution.softmax),
    Check(DISTRIBUTION, "categories of chance 1e-6", distribution.rare),
    Check(DISTRIBUTION, "tail race, 1 against 262,144", distribution.race),
    Check(EXACTNESS, "1, 2, 3 and 8 threads", exactness.thread_counts),
    Check(EXACTNESS, "rows in pieces, or permuted", exactness.pieces_of_rows),
    Check(EXACTNESS, "columns in pieces, merged", exactness.pieces_of_columns),
    Check(EXACTNESS, "layouts in memory", exactness.layouts),
    Check(EXACTNESS, "halves, as float32", exactness.halves),
)

# Those of the CPU, in order, and that of a device.
GROUPS = (*dict.fromkeys(check.group for check in CHECKS), DEVICE)


def checks(groups: Iterable[str] | None = None) -> list[Check]:
    """The checks that need no device.

    Parameters
    ----------
    groups : iterable of str, optional
        Of which groups; of all when left out.

    Returns
    -------
    list of Check
    """
    wanted = set(GROUPS if groups is None else groups)
    return [check for check in CHECKS if check.group in wanted]
