"""What the first call of each operation on a GPU waits for: ``python bench/gpu_first_calls.py`` prints seconds as JSON.

In this process, one call after the other, on few rows: what kernels share is compiled with whoever needs it first, and so is a
kernel that two operations have. gpu.py runs it twice, with an empty cache and with the filled one.
"""

import json
import re
import time

import click

SHORT, LONG = (4, 18), (2, 4096)  # rows of a few lanes, and of several blocks


def calls():
    """By the id of a case, a call like it."""
    import numpy as np

    import numgumbel as ng
    from numgumbel.kernels.gpu.loading import cuda

    key = ng.key(0, "first calls")

    def x(shape, dtype=np.float32):
        return cuda.to_device(np.zeros(shape, dtype))

    def whole(*numbers):
        return cuda.to_device(np.array(numbers, np.int64))

    return {
        "vocab.b64_k128256.f32": lambda: ng.categorical(key, x(LONG)),
        "vocab.b32_k128256.f64": lambda: ng.categorical(key, x(LONG, np.float64)),
        "vocab.b32_k128256.f16": lambda: ng.categorical(key, x(LONG, np.float16)),
        "rl.b4096_a18.f32": lambda: ng.categorical(key, x(SHORT)),
        "rl.b4096_a18.actions.f32": lambda: ng.sample_actions(key, x(SHORT)),
        "vocab.b32_k128256.draw.f32": lambda: ng.draw(key, x(LONG), want=("log_prob", "logsumexp")),
        "vae.b1024_k8192.softmax.f32": lambda: ng.gumbel_softmax(key, x(LONG)),
        "vocab.b64_k32000.top5.f32": lambda: ng.gumbel_topk(key, x(LONG), 5),
        "vocab.b64_k32000.top100.f32": lambda: ng.gumbel_topk(key, x(LONG), 100),
        "sim.b100000.ragged.f32": lambda: ng.categorical_ragged(key, x(9), whole(0, 4, 9)),
        "sim.b1024_a1000.inverse_cdf.f32": lambda: ng.categorical(key, x(LONG), method="inverse_cdf"),
        "sim.b1024_a1000.conditional.f32": lambda: ng.conditional_gumbel(key, x(LONG), whole(1, 2)),
    }


@click.command(help="Time first calls on a GPU in this process.")
@click.option("--only", metavar="PATTERN", default="", help="Calls whose id has this regular expression in it.")
def main(only):
    """Time the first calls."""
    start = time.perf_counter()
    import numgumbel.kernels.gpu.loading as loading

    imported = time.perf_counter()
    wanted = {id: call for id, call in calls().items() if re.search(only, id)}
    loading.cuda.current_context()
    ready, seconds = time.perf_counter(), {}
    for id, call in wanted.items():
        began = time.perf_counter()
        call()
        loading.cuda.synchronize()
        seconds[id] = round(time.perf_counter() - began, 4)
    print(json.dumps({"import_s": round(imported - start, 4), "device_s": round(ready - imported, 4), "calls_s": seconds}))


if __name__ == "__main__":
    main()
