"""Relaxed samples: softmax((logits + G) / tau) of each row, its straight-through form, and its gradient.

A row is gone through for its largest entry, for the sum, and for the result. Noise is made anew each time, eight columns a
thread, so that nothing is kept between passes and halves are rounded once. Lanes of a warp share a short row, a block has a
long one; the order of sums depends on the number of categories alone.
"""

from numpy import float64, int64

from ..cpu.cells import HAS_MASK
from ..cpu.softmax import GRADIENT, HARD, exp_nonpositive
from ..elementary import INF_F64, NAN_F64, fma, quotient
from ..jit import scalar
from .argmax import UNORDERED, any_unordered, best_of_parts
from .cells import in_range, load_logits, note_invalid, row_address, temperature_of
from .jit import THREADS, WARP, WARPS, as_cell, as_real, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .noise import fill_exponentials, gumbel_of_exponential
from .philox import round_keys
from .warps import any_of_lanes, best_of_lanes, sum_of_lanes


@scalar
def add_product(total, a, b):
    """total + a b, rounded once."""
    return fma(a, b, total)


@device
def sum_of_threads(number, threads, sums):
    """Sum of a float64 over the threads of a row, the same in all of them. Shared float64[WARPS], for this sum alone."""
    number = sum_of_lanes(number, min(threads, WARP))
    if threads == THREADS:
        if cuda.threadIdx.x & (WARP - 1) == 0:
            sums[cuda.threadIdx.x // WARP] = number
        cuda.syncthreads()
        number = float64(0.0)
        for warp in range(WARPS):
            number += sums[warp]
    return number


@device
def load_cotangent(c, cotangent, mask, flags, outer, inner, start, end):
    """Eight cotangents, 0 where masked or behind the end. OUT real[8], the thread's own; IN cell[outer, inner, K]."""
    real = real_of(cotangent)
    for h in range(GROUP):
        c[h] = real(0.0)
        if start + h < end and not (flags & HAS_MASK and mask[outer, inner, start + h] == 0):
            c[h] = as_real(cotangent[outer, inner, start + h])


@device
def store_gradient(gradient, y, c, mean, inverse, mask, flags, outer, inner, start, end):
    """y (c - mean) / tau of eight columns, 0 where masked. OUT cell[outer, inner, K], IN real[8] twice."""
    real = real_of(gradient)
    for h in range(GROUP):
        if start + h < end:
            masked = flags & HAS_MASK and mask[outer, inner, start + h] == 0
            value = real(0.0) if masked else (y[h] * (c[h] - mean)) * inverse
            gradient[outer, inner, start + h] = as_cell(gradient, value)


@device
def fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, end):
    """Terms of the softmax of eight columns, 0 behind the end.

    At tau 1, exp(logit - best) / E; otherwise exp((logit + G - best) / tau).

    Parameters
    ----------
    y : OUT real[8]
    e : scratch real[8]
        Both the thread's own.
    keys, address, cols, cells, mask, flags, outer, inner, start, end
        As in `fill_exponentials` and `load_logits`.
    simple : bool
        Whether tau is 1.
    best, inverse : real
        The largest logit, or logit + G; 1 / tau.
    """
    load_logits(y, cells, mask, flags, outer, inner, start, end)
    fill_exponentials(e, keys, address, cols, flags, outer, inner, start, end)
    for h in range(GROUP):
        if simple:
            y[h] = exp_nonpositive(y[h] - best) / e[h]
        else:
            y[h] = exp_nonpositive((y[h] + gumbel_of_exponential(e[h]) - best) * inverse)


@row_kernel
def softmax_rows(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    tau,
    taus,
    first,
    last,
    threads,
    wanted,
    cotangent,
    sample,
    invalid,
):
    """sample = softmax((logits + G) / tau) over rows first .. last, the one-hot of its largest entry, or its gradient.

    Launched with `threads` threads for each row, in whole warps; in blocks of `THREADS` where those share a row.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, first, last, invalid
        As in `argmax_rows`.
    tau : float64
        Relaxation temperature, 0 or within [2^-64, 2^64].
    taus : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    threads : int64
        1, 2, 4, 8, 16, 32 or `THREADS`.
    wanted : int64
        `SOFT`, `HARD` for an exact one-hot, or `GRADIENT` for the gradient of the sample in its place.
    cotangent : IN cell[outer, inner, K]
        Derivative of the loss in the sample, for `GRADIENT`; else not looked at.
    sample : OUT cell[outer, inner, K]
        Relaxed sample, or gradient; NaN all over in an invalid row.
    """
    real = real_of(cells)
    y, e = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, int64)
    sums = cuda.shared.array(WARPS, float64)
    products = cuda.shared.array(WARPS, float64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    thread, lanes = number & (threads - 1), min(threads, WARP)
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    keys = round_keys(address[0], address[1])
    t = temperature_of(tau, taus, flags, outer, inner)
    hot = wanted == HARD or t == 0.0
    simple = t == 1.0 and not hot
    inverse = real(1.0) if t == 0.0 else real(1.0 / t)
    best, at, unordered = real(-INF_F64), int64(-1), not in_range(t)
    start = GROUP * thread
    while start < columns:
        load_logits(y, cells, mask, flags, outer, inner, start, columns)
        unordered = any_unordered(y, unordered)
        if not simple:
            fill_exponentials(e, keys, address, cols, flags, outer, inner, start, columns)
            for h in range(GROUP):
                y[h] = y[h] + gumbel_of_exponential(e[h])
        for h in range(GROUP):
            if y[h] > best:
                best, at = y[h], int64(start + h)
        start += GROUP * threads
    best, at = best_of_lanes(best, at, lanes)
    at = int64(UNORDERED) if any_of_lanes(unordered, lanes) else at
    if threads == THREADS:
        if cuda.threadIdx.x & (WARP - 1) == 0:
            found[cuda.threadIdx.x // WARP] = best
            places[cuda.threadIdx.x // WARP] = at
        cuda.syncthreads()
        best, at = best_of_parts(found, places, WARPS)
    hot = hot or best == real(INF_F64)
    total = float64(0.0)
    start = GROUP * thread
    while start < columns:
        fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, columns)
        part = real(0.0)
        for h in range(GROUP):
            part = part + y[h]
        total += float64(part)
        start += GROUP * threads
    divisor = real(sum_of_threads(total, threads, sums))
    reciprocal = real(1.0) / divisor
    mean = float64(0.0)
    if wanted == GRADIENT:
        start = GROUP * thread
        while start < columns:
            fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, columns)
            load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
            part = real(0.0)
            for h in range(GROUP):
                part = add_product(part, share_of(real, y[h], divisor, reciprocal, hot, at == start + h), e[h])
            mean += float64(part)
            start += GROUP * threads
        mean = sum_of_threads(mean, threads, products)
    start = GROUP * thread if place < last else columns
    while start < columns:
        fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, columns)
        for h in range(GROUP):
            y[h] = real(NAN_F64) if at < 0 else share_of(real, y[h], divisor, reciprocal, hot, at == start + h)
        if wanted == GRADIENT:
            load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
            if at < 0:
                for h in range(GROUP):
                    if start + h < columns:
                        sample[outer, inner, start + h] = as_cell(sample, y[h])
            else:
                store_gradient(sample, y, e, real(mean), inverse, mask, flags, outer, inner, start, columns)
        else:
            for h in range(GROUP):
                if start + h < columns:
                    sample[outer, inner, start + h] = as_cell(sample, y[h])
        start += GROUP * threads
    if at < 0 and thread == 0 and place < last:
        note_invalid(invalid, position)


@device
def share_of(real, term, divisor, reciprocal, hot, chosen):
    """One entry of a sample: its share of the sum, or of a one-hot."""
    share = quotient(term, divisor, reciprocal)
    if hot:
        share = real(1.0) if chosen else real(0.0)
    return share


@row_kernel
def softmax_vjp_rows(sample, cotangent, mask, flags, tau, taus, first, last, threads, gradient):
    """gradient_j = y_j (c_j - sum_i c_i y_i) / tau over rows first .. last: the transposed Jacobian of softmax.

    Launched as `softmax_rows`.

    Parameters
    ----------
    sample : IN cell[outer, inner, K]
        Soft sample y; may be `gradient` itself.
    cotangent : IN cell[outer, inner, K]
        Derivative of the loss in y.
    mask : IN uint8[outer, inner, K]
        Under `HAS_MASK`, nonzero where allowed.
    flags : int64
        What is given.
    tau : float64
        Relaxation temperature, positive.
    taus : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    first, last : int64
        Rows to do.
    threads : int64
        As in `softmax_rows`.
    gradient : OUT cell[outer, inner, K]
        Derivative of the loss in the logits; NaN all over where the sample is, as that of an invalid row.
    """
    real = real_of(sample)
    y, c = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    products = cuda.shared.array(WARPS, float64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)
    thread = number & (threads - 1)
    count, columns = sample.shape[1], sample.shape[2]
    outer = position // count
    inner = position - outer * count
    inverse = real(1.0 / temperature_of(tau, taus, flags, outer, inner))
    lost = as_real(sample[outer, inner, 0]) != as_real(sample[outer, inner, 0])
    mean = float64(0.0)
    start = GROUP * thread
    while start < columns:
        load_logits(y, sample, mask, 0, outer, inner, start, columns)
        load_cotangent(c, cotangent, mask, flags, outer, inner, start, columns)
        part = real(0.0)
        for h in range(GROUP):
            part = add_product(part, y[h] if start + h < columns else real(0.0), c[h])
        mean += float64(part)
        start += GROUP * threads
    mean = sum_of_threads(mean, threads, products)
    start = GROUP * thread if place < last else columns
    while start < columns:
        load_logits(y, sample, mask, 0, outer, inner, start, columns)
        load_cotangent(c, cotangent, mask, flags, outer, inner, start, columns)
        if lost:
            for h in range(GROUP):
                if start + h < columns:
                    gradient[outer, inner, start + h] = as_cell(gradient, real(NAN_F64))
        else:
            store_gradient(gradient, y, c, real(mean), inverse, mask, flags, outer, inner, start, columns)
        start += GROUP * threads
