"""Peak memory of calls beyond their input and output, measured in this process: ``python memory_cases.py GROUP THREADS``.

Prints JSON: for every case of the group the peak in bytes as seen by tracemalloc (Python, NumPy and Numba's arrays) and by the
system (whoever asked for it). A process starts with `ENVIRONMENT`, so that every block of 64 KiB or more is memory of its own
that goes back to the system when it is freed: what an earlier case has freed hides nothing.
"""

import ctypes
import gc
import json
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
from numba import njit

import numgumbel as ng

ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
KEY = ng.key(1, "memory")


def filled(shape, dtype):
    """An array whose pages are there."""
    out = np.empty(shape, dtype)
    out.fill(0)
    return out


def logits(rows, columns, dtype=np.float32):
    return np.random.default_rng(1).standard_normal((rows, columns), dtype)


# --- cases: functions of (rows, columns) that make input and output and return the call -------------------------------------


def into(out, function, *arguments, **given):
    """A call that returns nothing."""

    def call():
        function(KEY, *arguments, out=out, **given)

    return call


def categorical(x, index=np.int64, **given):
    return into(filled(x.shape[:-1], index), ng.categorical, x, **given)


def plain(rows, columns):
    return categorical(logits(rows, columns))


def double(rows, columns):
    return categorical(logits(rows, columns, np.float64))


def new_output(rows, columns):
    x = logits(rows, columns)
    return lambda: ng.categorical(KEY, x)


def int32_output(rows, columns):
    return categorical(logits(rows, columns), np.int32)


def probabilities(rows, columns):
    p, out = logits(rows, columns), filled(rows, np.int64)
    np.exp(p, out=p)
    return into(out, ng.categorical, probs=p)


def inverse_cdf(rows, columns):
    return categorical(logits(rows, columns), method="inverse_cdf")


def inverse_cdf_draws(rows, columns):
    x, out = logits(rows, columns), filled((64, rows), np.int64)
    return into(out, ng.categorical, x, n=len(out), method="inverse_cdf")


def ragged(rows, columns):
    """Rows of different lengths."""
    lengths = columns // 2 + np.arange(rows) % (columns + 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return into(filled(rows, np.int64), ng.categorical_ragged, logits(1, offsets[-1])[0], offsets)


def fortran(rows, columns):
    return categorical(np.asfortranarray(logits(rows, columns)))


def first_axis(rows, columns):
    x, out = np.ascontiguousarray(logits(rows, columns).T), filled(rows, np.int64)
    return into(out, ng.categorical, x, axis=0)


def strided(rows, columns):
    return categorical(np.repeat(logits(rows, columns), 2, axis=1)[::-1, ::2])


def batch_axes_apart(rows, columns):
    """Three batch axes that no stride joins."""
    return categorical(logits(rows, columns).reshape(4, rows // 8, 2, columns).transpose(2, 1, 0, 3))


def masked(rows, columns):
    mask = np.random.default_rng(2).integers(0, 8, (rows, columns), np.uint8).view(np.int8)
    mask[:, 0] = 1
    return categorical(logits(rows, columns), mask=mask)


def masked_by_column(rows, columns):
    return categorical(logits(rows, columns), mask=np.arange(columns) % 3 != 1)


def row_ids(rows, columns):
    return categorical(logits(rows, columns), rows=np.arange(rows) * 7 + 2**40)


def row_ids_unsigned(rows, columns):
    return categorical(logits(rows, columns), rows=np.arange(rows, dtype=np.uint64))


def row_ids_int32(rows, columns):
    return categorical(logits(rows, columns), rows=np.arange(rows, dtype=np.int32))


def steps(rows, columns):
    return categorical(logits(rows, columns), step=np.arange(rows) % 5)


def temperatures(rows, columns):
    return categorical(logits(rows, columns), temperature=np.linspace(0.5, 2, rows))


def temperatures_single(rows, columns):
    return categorical(logits(rows, columns), temperature=np.linspace(0.5, 2, rows, dtype=np.float32))


def columns_run_on(rows, columns):
    return categorical(logits(rows, columns), cols=np.arange(13, columns + 13))


def columns_any(rows, columns):
    return categorical(logits(rows, columns), cols=np.arange(columns) * 3)


def columns_of_cells(rows, columns):
    return categorical(logits(rows, columns), cols=np.arange(rows * columns).reshape(rows, columns))


def columns_int32(rows, columns):
    return categorical(logits(rows, columns), cols=np.arange(columns, dtype=np.int32))


def draws(rows, columns):
    x, out = logits(rows, columns), filled((3, rows), np.int64)
    return into(out, ng.categorical, x, n=3)


def draws_with_steps(rows, columns):
    x, out = logits(rows, columns), filled((3, rows), np.int64)
    step, ids = np.arange(rows), np.arange(rows) + 5
    return into(out, ng.categorical, x, n=3, rows=ids, step=step)


def many_draws(rows, columns):
    x, out = logits(rows, columns), filled((2_000_000, rows), np.int64)
    return into(out, ng.categorical, x, n=len(out))


def many_draws_topk(rows, columns):
    x, n = logits(rows, columns), 500_000
    out = filled((n, rows, 2), np.int64), filled((n, rows, 2), np.float32), filled((n, rows), np.float32)
    return into(out, ng.gumbel_topk, x, 2, n=n)


def many_draws_softmax(rows, columns):
    x, out = logits(rows, columns), filled((500_000, rows, columns), np.float32)
    return into(out, ng.gumbel_softmax, x, n=len(out))


def softmax(rows, columns):
    x, out = logits(rows, columns), filled((rows, columns), np.float32)
    return into(out, ng.gumbel_softmax, x, tau=0.5)


def softmax_in_place(rows, columns):
    x = logits(rows, columns)
    return into(x, ng.gumbel_softmax, x, tau=0.5)


def softmax_hard(rows, columns):
    x, out = logits(rows, columns), filled((rows, columns), np.float32)
    return into(out, ng.gumbel_softmax, x, hard=True)


def softmax_strided(rows, columns):
    x, out = np.asfortranarray(logits(rows, columns)), filled((columns, rows), np.float32).T
    return into(out, ng.gumbel_softmax, x, tau=0.5)


def gradient_of_sample(rows, columns):
    x = logits(rows, columns)
    y, out = np.exp(x), filled((rows, columns), np.float32)
    return into(out, ng.gumbel_softmax_vjp, x, x, sample=y, tau=0.5)


def gradient(rows, columns):
    x, out = logits(rows, columns), filled((rows, columns), np.float32)
    c = np.cos(x)
    return into(out, ng.gumbel_softmax_vjp, x, c, tau=0.5)


def topk(rows, columns, k=5):
    x = logits(rows, columns)
    out = filled((rows, k), np.int64), filled((rows, k), np.float32), filled(rows, np.float32)
    return into(out, ng.gumbel_topk, x, k)


def topk_new_output(rows, columns):
    x = logits(rows, columns)
    return lambda: ng.gumbel_topk(KEY, x, 3)


def topk_int32(rows, columns, k=5):
    x = logits(rows, columns)
    out = filled((rows, k), np.int32), filled((rows, k), np.float32), filled(rows, np.float32)
    return into(out, ng.gumbel_topk, x, k)


def conditional(rows, columns):
    x, out = logits(rows, columns), filled((rows, columns), np.float32)
    return into(out, ng.conditional_gumbel, x, np.arange(rows) % columns)


def conditional_in_place(rows, columns):
    x = logits(rows, columns)
    return into(x, ng.conditional_gumbel, x, np.arange(rows) % columns, scores=True)


def many_draws_conditional(rows, columns):
    x, out = logits(rows, columns), filled((500_000, rows, columns), np.float32)
    return into(out, ng.conditional_gumbel, x, np.zeros(rows, np.int64), n=len(out))


def noise(rows, columns):
    out = filled((rows, columns), np.float32)
    return into(out, ng.gumbel)


def halves(rows, columns):
    return logits(rows, columns).astype(np.float16)


def halves_categorical(rows, columns):
    return categorical(halves(rows, columns))


def halves_masked(rows, columns):
    return categorical(halves(rows, columns), mask=np.arange(columns) % 3 != 1)


def halves_inverse_cdf(rows, columns):
    return categorical(halves(rows, columns), method="inverse_cdf")


def halves_topk(rows, columns, k=5):
    x = halves(rows, columns)
    out = filled((rows, k), np.int64), filled((rows, k), np.float32), filled(rows, np.float32)
    return into(out, ng.gumbel_topk, x, k)


def halves_softmax(rows, columns):
    x, out = halves(rows, columns), filled((rows, columns), np.float16)
    return into(out, ng.gumbel_softmax, x, tau=0.5)


def halves_softmax_new_output(rows, columns):
    x = halves(rows, columns)
    return lambda: ng.gumbel_softmax(KEY, x)


def halves_gradient(rows, columns):
    x, out = halves(rows, columns), filled((rows, columns), np.float16)
    c = np.cos(x)
    return into(out, ng.gumbel_softmax_vjp, x, c, tau=0.5)


def halves_gradient_of_sample(rows, columns):
    x = halves(rows, columns)
    y, out = np.exp(x), filled((rows, columns), np.float16)
    return into(out, ng.gumbel_softmax_vjp, x, x, sample=y, tau=0.5)


# --- wrong on purpose: what must be seen --------------------------------------------------------------------------------------


def numpy_stores_noise(rows, columns):
    """The NumPy one-liner."""
    x, rng = logits(rows, columns), np.random.default_rng(1)
    return lambda: (x + rng.gumbel(size=x.shape)).argmax(axis=1)


@njit
def _argmax_of_stored(x, index):
    g = -np.log(np.random.standard_exponential(x.shape))  # noqa: NPY002 (compiled)
    for i in range(x.shape[0]):
        index[i] = (x[i] + g[i]).argmax()


def compiled_code_stores_noise(rows, columns):
    x, index = logits(rows, columns), filled(rows, np.int64)
    return lambda: _argmax_of_stored(x, index)


WRONG = (numpy_stores_noise, compiled_code_stores_noise)


# --- measuring ---------------------------------------------------------------------------------------------------------------

CATEGORICAL = (
    plain,
    double,
    new_output,
    int32_output,
    probabilities,
    inverse_cdf,
    fortran,
    first_axis,
    strided,
    batch_axes_apart,
    masked,
    masked_by_column,
    row_ids,
    row_ids_unsigned,
    row_ids_int32,
    steps,
    temperatures,
    temperatures_single,
    draws,
    draws_with_steps,
)
OTHERS = (
    inverse_cdf_draws,
    softmax,
    softmax_in_place,
    softmax_hard,
    softmax_strided,
    gradient,
    gradient_of_sample,
    topk,
    topk_new_output,
    topk_int32,
    conditional,
    conditional_in_place,
    noise,
    ragged,
)
COLUMNS = columns_run_on, columns_any, columns_int32, columns_of_cells
HALVES = (
    halves_categorical,
    halves_masked,
    halves_inverse_cdf,
    halves_topk,
    halves_softmax,
    halves_softmax_new_output,
    halves_gradient,
    halves_gradient_of_sample,
)
ONE_ROW = (
    plain,
    new_output,
    masked,
    masked_by_column,
    columns_run_on,
    columns_any,
    columns_int32,
    draws,
    inverse_cdf_draws,
    softmax,
    topk,
    conditional,
    noise,
)
DRAWS = (many_draws, many_draws_topk, many_draws_softmax, many_draws_conditional)

# Cases, rows and columns to measure, and the same way through the package on little.
GROUPS = {
    "short rows": (CATEGORICAL, (1_000_000, 6), (20_000, 6)),
    "short rows, others": ((*COLUMNS, *OTHERS), (1_000_000, 6), (20_000, 6)),
    "middle rows": ((*CATEGORICAL, *COLUMNS, *OTHERS), (20_000, 200), (2_000, 200)),
    "rows by bound": ((*CATEGORICAL, *COLUMNS, *OTHERS), (20_000, 203), (2_000, 203)),
    "long rows": ((*CATEGORICAL, *COLUMNS, *OTHERS), (32, 128_256), (32, 5_000)),
    "one row": (ONE_ROW, (1, 40_000_000), (1, 600_000)),
    "halves": (HALVES, (100, 60_000), (32, 5_000)),
    "halves, short rows": (HALVES, (1_000_000, 6), (20_000, 6)),
    "many draws": (DRAWS, (1, 6), (1, 6)),
    "wrong": (WRONG, (200_000, 6), (1_000, 6)),
}

# Cases whose ids or temperatures are of a type that kernels do not read: converted, at 8 bytes a row.
CONVERTED = {"row_ids_int32", "temperatures_single"}

# Cases that keep tables: up to 16 bytes a category, for each thread.
TABLES = {"inverse_cdf_draws"}
# Cases with a row of float32 a thread, which is rounded into the result: 4 bytes a category.
SPARE_ROW = {"halves_softmax", "halves_softmax_new_output", "halves_gradient"}


def status(name):
    """One of the sizes in the process's status, in bytes."""
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(name))


def resident_growth(call):
    """Bytes by which the process's resident memory grew at its peak during a call, and the call's result."""
    gc.collect()
    CLEAR.write_text("5")  # the peak starts anew
    before = status("VmRSS")
    result = call()
    return status("VmHWM") - before, result


def traced_growth(call):
    """The same of memory that Python and NumPy asked for."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    result = call()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak, result


def growth(measure, call, times):
    """Bytes beyond a new result, the most of several calls."""
    found = []
    for _ in range(times):
        peak, result = measure(call)
        arrays = result if isinstance(result, tuple) else () if result is None else (result,)
        found.append(peak - sum(array.nbytes for array in arrays))
    return max(found)


def settle(threads):
    """Few processors and no huge pages, by which the system would count in steps of megabytes; threads started."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
    ng.set_num_threads(threads)
    ng.categorical(KEY, np.zeros((1000, 1000), np.float32))


def main(group, threads):
    settle(threads)
    cases, shape, little = GROUPS[group]
    found = {}
    for case in cases:
        call = case(*little)
        call()
        traced_growth(call)
        call = case(*shape)
        found[case.__name__] = {"resident": growth(resident_growth, call, 2), "traced": growth(traced_growth, call, 1)}
        del call
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
