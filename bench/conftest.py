"""``pytest bench``: the frozen workloads under pytest-benchmark, a group each, and the peers' own checks."""

import functools

import pytest
from machine import machine

import numgumbel as ng
from numgumbel.workloads import WORKLOADS


def pytest_report_header():
    """Processor and versions."""
    facts = machine(("numba", "numpy", "numgumbel", "torch", "jax"))
    return [", ".join(f"{name} {value}" for name, value in facts.items()), f"{ng.get_num_threads()} threads"]


@functools.lru_cache(maxsize=1)
def _inputs(name):
    return WORKLOADS[name].inputs()


@pytest.fixture
def inputs():
    """Inputs of a workload; only the last are kept, some are large."""
    return lambda workload: _inputs(workload.id)
