"""The frozen workloads under NVIDIA's NVBench, which holds clocks to account and reports throughput.

    python -m pip install "cuda-bench[cu13]"
    python bench/nvbench_example.py --axis workload=vocab.b64_k128256.f32 --json FILE

Needs a GPU and ``pip install "numgumbel[cuda13]"``. Options are NVBench's: ``--list``, ``--devices 0``, ``--axis``, ``--csv``.
A result is verified, index for index, before NVBench times it.
"""

import itertools
import sys

import cuda.bench as nvbench

from numgumbel.bench.gpu import need_gpu
from numgumbel.bench.subjects import differs
from numgumbel.workloads import WORKLOADS, get, host

CHOSEN = "rl.b4096_a18.f32", "rl.b4096_a18.actions.f32", "sim.b1000000_a32.f32", "vocab.b64_k128256.f32"


def workload(state):
    """One workload: verified, then timed on NVBench's stream."""
    cuda, chosen = need_gpu(), get(state.get_string("workload"))
    stream = cuda.external_stream(state.get_stream().addressof())
    inputs, cost, steps = chosen.inputs(), chosen.cost(), itertools.count(1)
    call = chosen.bind(inputs, out=chosen.new_out(stream), stream=stream)
    if problem := differs(chosen, host(call(step=0)), chosen.run(inputs)):
        state.skip(f"wrong result: {problem}")
        return
    state.add_element_count(cost.elements, column_name="categories")
    state.add_global_memory_reads(cost.bytes_read)
    state.add_global_memory_writes(cost.bytes_written)
    # Arrays are of the state's stream, and so are the launches.
    state.exec(lambda launch: call(step=next(steps)))


def main(arguments):
    """Register the benchmark and hand over to NVBench."""
    nvbench.register(workload).add_string_axis("workload", [id for id in CHOSEN if id in WORKLOADS])
    nvbench.run_all_benchmarks(arguments)


if __name__ == "__main__":
    main(sys.argv)
