"""The moments of a part of a row (see ``kernels/moments.py``): its largest logit first, then both sums below that.

Sums of eight columns are in the working precision, added up in float64: over a thread, over lanes, over warps. The order
depends on the number of threads that share a row, and so on the number of categories alone.
"""

from numpy import float64, int64

from ..cpu.moments import LOWEST, exp_flushed, tempered
from ..elementary import INF_F64
from .argmax import UNORDERED, any_unordered, best_of_parts
from .cells import load_part
from .jit import THREADS, WARP, WARPS, device, real_of
from .loading import cuda
from .memory import GROUP
from .softmax import add_product, sum_of_threads
from .warps import any_of_lanes, best_of_lanes


@device
def best_of_threads(best, at, unordered, threads, found, places):
    """(best, its column or -1 or `UNORDERED`) of all threads of a row, the same in all of them.

    Shared real[WARPS], int64[WARPS], not written to again before all threads have met.
    """
    lanes = min(threads, WARP)
    best, at = best_of_lanes(best, at, lanes)
    at = int64(UNORDERED) if any_of_lanes(unordered, lanes) else at
    if threads == THREADS:
        if cuda.threadIdx.x & (WARP - 1) == 0:
            found[cuda.threadIdx.x // WARP] = best
            places[cuda.threadIdx.x // WARP] = at
        cuda.syncthreads()
        best, at = best_of_parts(found, places, WARPS)
    return best, at


@device
def largest_of_columns(x, cells, mask, flags, outer, inner, begin, end, thread, threads, found, places):
    """(largest logit, its first column, -1 where none is allowed, `UNORDERED` with a NaN) of columns begin .. end of a row.

    Scratch real[8], the thread's own; shared as of `best_of_threads`; the rest as in `best_of_columns`.
    """
    real = real_of(cells)
    best, at, unordered = real(-INF_F64), int64(-1), False
    start = (begin & ~(GROUP - 1)) + GROUP * thread
    while start < end:
        load_part(x, cells, mask, flags, outer, inner, start, begin, end)
        unordered = any_unordered(x, unordered)
        for h in range(GROUP):
            if x[h] > best:
                best, at = x[h], int64(start + h)
        start += GROUP * threads
    return best_of_threads(best, at, unordered, threads, found, places)


@device
def moments_of_columns(x, m, inverse, cells, mask, flags, outer, inner, begin, end, thread, threads, sums, products):
    """(S, T) as float64 of columns begin .. end of a row below the largest z, m; the same in all threads of the row.

    Scratch real[8], the thread's own; shared float64[WARPS] twice; the rest as in `best_of_columns`.
    """
    real = real_of(cells)
    s, t = float64(0.0), float64(0.0)
    start = (begin & ~(GROUP - 1)) + GROUP * thread
    while start < end:
        load_part(x, cells, mask, flags, outer, inner, start, begin, end)
        s_part, t_part = real(0.0), real(0.0)
        for h in range(GROUP):
            below = tempered(x[h], inverse) - m
            e = exp_flushed(below)
            s_part = s_part + e
            t_part = add_product(t_part, e, below if below > real(LOWEST) else real(LOWEST))
        s, t = s + float64(s_part), t + float64(t_part)
        start += GROUP * threads
    return sum_of_threads(s, threads, sums), sum_of_threads(t, threads, products)
