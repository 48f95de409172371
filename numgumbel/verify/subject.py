"""The functions that are checked: those of the package, or others in their place, so that a test can hand in a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numgumbel as ng

from ..workloads import Workload

__all__ = ["Subject"]


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 as the kernels compile it."""
    from .. import nb

    return tuple(int(word) for word in nb.philox4x32(*counter, *key))


@dataclass(frozen=True)
class Subject:
    """What the checks call; each attribute is the package's function of that name where nothing else is given.

    `philox` takes a counter and a key, and `workload` runs a frozen workload.
    """

    philox: Callable[..., Any] = philox
    key: Callable[..., Any] = ng.key
    fold: Callable[..., Any] = ng.fold
    gumbel: Callable[..., Any] = ng.gumbel
    categorical: Callable[..., Any] = ng.categorical
    categorical_ragged: Callable[..., Any] = ng.categorical_ragged
    gumbel_topk: Callable[..., Any] = ng.gumbel_topk
    gumbel_softmax: Callable[..., Any] = ng.gumbel_softmax
    gumbel_softmax_vjp: Callable[..., Any] = ng.gumbel_softmax_vjp
    draw: Callable[..., Any] = ng.draw
    merge: Callable[..., Any] = ng.merge
    sample_actions: Callable[..., Any] = ng.sample_actions
    log_prob_entropy: Callable[..., Any] = ng.log_prob_entropy
    log_prob_entropy_vjp: Callable[..., Any] = ng.log_prob_entropy_vjp
    conditional_gumbel: Callable[..., Any] = ng.conditional_gumbel
    inclusion_log_prob: Callable[..., Any] = ng.inclusion_log_prob
    workload: Callable[..., Any] = Workload.run
