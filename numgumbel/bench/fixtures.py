"""Fixtures of the frozen workloads for suites under pytest-benchmark.

In a conftest.py of one's own: ``from numgumbel.bench.fixtures import inputs, verified_call  # noqa: F401``, and in a test
``benchmark(verified_call(workloads.get("rl.b4096_a18.f32")))``.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..workloads import Inputs, Workload, get


@functools.lru_cache(maxsize=1)
def _inputs(id: str) -> Inputs:
    return get(id).inputs()


@pytest.fixture
def inputs() -> Callable[[Workload], Inputs]:
    """Inputs of a workload of the registry; only the last are kept, some are large."""
    return lambda workload: _inputs(workload.id)


@pytest.fixture
def verified_call(inputs: Callable[[Workload], Inputs]) -> Iterator[Callable[[Workload], Callable[[], Any]]]:
    """numgumbel's call of a workload, each time at another step; its result at step 0 is verified before and after the test."""
    bound = []

    def prepare(workload: Workload) -> Callable[[], Any]:
        call, steps = workload.bind(inputs(workload)), itertools.count(1)
        workload.verify(call())
        bound.append((workload, call))
        return lambda: call(step=next(steps))

    yield prepare
    for workload, call in bound:
        workload.verify(call())
