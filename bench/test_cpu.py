"""The frozen workloads, contender by contender: ``pytest bench/test_cpu.py``, with the options of pytest-benchmark.

For figures to be compared, cpu.py is better: there the contenders take turns.
"""

import peers
import pytest
from contender import CATEGORICAL, IN_FLOAT32, NUMGUMBEL

from numgumbel.workloads import WORKLOADS

CASES = [
    pytest.param(workload, contender, id=f"{workload.id}-{contender.name}", marks=pytest.mark.benchmark(group=workload.id))
    for workload in WORKLOADS.values()
    for contender in (NUMGUMBEL, CATEGORICAL, IN_FLOAT32, *peers.PEERS)
    if contender.fits(workload)
]


@pytest.mark.parametrize(("workload", "contender"), CASES)
def test_workload(benchmark, workload, contender, inputs, verified_call):
    if missing := contender.missing() or workload.missing():
        pytest.skip(missing)
    if contender is NUMGUMBEL:
        benchmark(verified_call(workload))
    else:
        benchmark(contender.prepare(workload, inputs(workload)))
