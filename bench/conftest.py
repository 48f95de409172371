"""``pytest bench``: the frozen workloads under pytest-benchmark, a group each, and the peers' own checks."""

from machine import machine

import numgumbel as ng
from numgumbel.bench.fixtures import inputs, verified_call

__all__ = ["inputs", "verified_call"]


def pytest_report_header():
    """Processor and versions."""
    facts = machine(("numba", "numpy", "numgumbel", "torch", "jax"))
    return [", ".join(f"{name} {value}" for name, value in facts.items()), f"{ng.get_num_threads()} threads"]
