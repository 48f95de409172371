"""Relaxed samples: softmax((logits + G) / tau) of each row, its straight-through form, and its gradient.

A row is gone through for its logits, its noise, the sum and the result, eight columns a thread. What a thread has of a row is
kept in shared memory meanwhile: logits are read once, noise is made once, halves are rounded once. Lanes of a warp share a
short row, a block has a longer one; the order of sums depends on the number of categories alone. A row that is longer than what
is kept lies in the output row between passes, or, where that holds halves, is made anew in each.
"""

from numba import types
from numpy import float64, int32, int64, uint32

from ..cpu.cells import HAS_MASK, IS_PROBS
from ..cpu.softmax import GRADIENT, HARD
from ..elementary import INF_F64, NAN_F64, fma, quotient
from ..jit import scalar
from .cells import ALIGNED_IDS, PACKED, in_range, load_logits, note_invalid, row_address, temperature_of
from .jit import ALL, THREADS, WARP, WARPS, as_cell, as_real, device, holds_reals, real_of, row_kernel
from .loading import cuda
from .memory import GROUP, KEPT_WORDS, fetch_eight, keep_eight, lies_packed, load_eight, store_eight
from .noise import fill_aligned_exponentials, fill_exponentials, gumbel_of_exponential
from .philox import next_group, round_keys
from .terms import power, ratio
from .warps import sum_of_lanes

# A column behind all others, as where none is found.
NOWHERE = 1 << 62


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
def best_of_row(best, threads, found):
    """The largest of all threads of a row, the same in all of them. Real; shared real[WARPS], for this maximum alone."""
    step = min(threads, WARP) >> 1
    while step > 0:
        best = max(best, cuda.shfl_xor_sync(ALL, best, step))
        step >>= 1
    if threads == THREADS:
        if cuda.threadIdx.x & (WARP - 1) == 0:
            found[cuda.threadIdx.x // WARP] = best
        cuda.syncthreads()
        for warp in range(WARPS):
            best = max(best, found[warp])
    return best


@device
def first_of_row(at, threads, places):
    """The lowest of what all threads of a row have found, the same in all. int64; shared int64[WARPS], for this alone."""
    step = min(threads, WARP) >> 1
    while step > 0:
        at = min(at, cuda.shfl_xor_sync(ALL, at, step))
        step >>= 1
    if threads == THREADS:
        if cuda.threadIdx.x & (WARP - 1) == 0:
            places[cuda.threadIdx.x // WARP] = at
        cuda.syncthreads()
        for warp in range(WARPS):
            at = min(at, places[warp])
    return at


@device
def largest_of_eight(y, best):
    """The largest of a number and eight, NaN left out. IN real[8]."""
    for h in range(GROUP):
        best = max(best, y[h])
    return best


@device
def first_of_eight(y, best, start, at):
    """The lowest of `at` and those of eight columns that hold the best; -1 with a NaN. IN real[8]."""
    for h in range(GROUP):
        if y[h] != y[h]:
            at = int64(-1)
        elif y[h] == best:
            at = min(at, int64(start + h))
    return at


@device
def total_of_eight(y):
    """Sum of eight, in their precision. IN real[8]."""
    real = y.dtype.type
    part = real(0.0)
    for h in range(GROUP):
        part = part + y[h]
    return float64(part)


@device
def weigh(y, e, best):
    """y = exp(y - best) / E of eight logits: terms at tau 1, where exp(logit + G) takes no outer log. INOUT, IN real[8]."""
    for h in range(GROUP):
        y[h] = ratio(power(y[h] - best), e[h])


@device
def add_noise(y, e):
    """y = y + G of eight logits. INOUT, IN real[8]."""
    for h in range(GROUP):
        y[h] = y[h] + gumbel_of_exponential(e[h])


@device
def raise_eight(y, best, inverse):
    """y = exp((y - best) / tau) of eight. INOUT real[8]."""
    for h in range(GROUP):
        y[h] = power((y[h] - best) * inverse)


@device
def share_eight(y, divisor, reciprocal, hot, ahead):
    """Shares of eight terms, or of a one-hot with its one `ahead` columns on. INOUT real[8]."""
    real = y.dtype.type
    if hot:
        for h in range(GROUP):
            y[h] = real(1.0) if ahead == h else real(0.0)
    else:
        for h in range(GROUP):
            y[h] = quotient(y[h], divisor, reciprocal)


@device
def dot_of_eight(y, e, start, end):
    """Sum of eight products, in their precision. IN real[8] twice."""
    real = y.dtype.type
    part = real(0.0)
    for h in range(GROUP):
        part = add_product(part, y[h] if start + h < end else real(0.0), e[h])
    return float64(part)


@device
def set_eight(y, value):
    """All eight to one number. OUT real[8]."""
    for h in range(GROUP):
        y[h] = value


@device
def as_cells(c, cells, y):
    """Eight numbers as cells of an array. OUT cell[8], IN real[8]."""
    for h in range(GROUP):
        c[h] = as_cell(cells, y[h])


@device
def store_reals(cells, c, y, packed, outer, inner, start, end):
    """Eight numbers, as far as the row goes, rounded where it holds halves. OUT cell[outer, inner, K], scratch cell[8]."""
    as_cells(c, cells, y)
    if packed and start + GROUP <= end:
        store_eight(cells, c, outer, inner, start)
    else:
        for h in range(GROUP):
            if start + h < end:
                cells[outer, inner, start + h] = c[h]


@device
def turn_gradient(y, e, mean, inverse, mask, flags, outer, inner, start, end):
    """y = y (c - mean) / tau of eight columns, 0 where masked. INOUT real[8], IN real[8]: cotangents."""
    real = y.dtype.type
    for h in range(GROUP):
        y[h] = (y[h] * (e[h] - mean)) * inverse
    if flags & HAS_MASK:
        for h in range(GROUP):
            if start + h < end and mask[outer, inner, start + h] == 0:
                y[h] = real(0.0)


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

    Launched with `threads` threads for each row, in whole warps; in blocks of `THREADS` where those share a row. What a thread
    has of a row fits into `KEPT`: four groups of eight columns in float32, two in float64.

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
    y, e, c = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real), cuda.local.array(GROUP, sample.dtype)
    kept = cuda.shared.array(KEPT_WORDS, float64)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, int64)
    sums = cuda.shared.array(WARPS, float64)
    products = cuda.shared.array(WARPS, types.float64)  # (the simulator tells shared arrays by their lines)
    me = int32(cuda.threadIdx.x)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    thread = number & (threads - 1)
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    t = temperature_of(tau, taus, flags, outer, inner)
    hot = wanted == HARD or t == 0.0
    simple = t == 1.0 and not hot
    inverse = real(1.0) if t == 0.0 else real(1.0 / t)
    stride = GROUP * threads
    begin, turns = GROUP * thread, int32((columns + stride - 1) // stride)
    # So many turns are of whole groups, all threads': where logits lie plainly, two are under way at once.
    whole = int32(columns // stride)
    best, total = real(-INF_F64), float64(0.0)
    start, turn = begin, int32(0)
    if flags & (PACKED | HAS_MASK | IS_PROBS) == PACKED:
        while turn < whole - 1:
            load_eight(y, cells, outer, inner, start)
            load_eight(e, cells, outer, inner, start + stride)
            keep_eight(kept, y, turn, me)
            keep_eight(kept, e, int32(turn + 1), me)
            if simple:
                best = largest_of_eight(e, largest_of_eight(y, best))
            start, turn = start + 2 * stride, int32(turn + 2)
    while turn < turns:
        load_logits(y, cells, mask, flags, outer, inner, start, columns)
        keep_eight(kept, y, turn, me)
        if simple:
            best = largest_of_eight(y, best)
        start, turn = start + stride, int32(turn + 1)
    # Lanes of a warp meet in every exchange, whatever their rows want of it.
    if cuda.any_sync(ALL, simple):
        best = best_of_row(best, threads, found)
    if simple:
        hot = best == real(INF_F64)
    if not (simple and hot):
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        keys = round_keys(address[0], address[1])
        group, start = uint32((cols[0, 0, 0] + begin) >> 3), begin
        if flags & ALIGNED_IDS and simple:
            for turn in range(turns):
                fill_aligned_exponentials(e, keys, address, group)
                fetch_eight(y, kept, int32(turn), me)
                weigh(y, e, best)
                total += total_of_eight(y)
                keep_eight(kept, y, int32(turn), me)
                group = next_group(group, threads)
        elif flags & ALIGNED_IDS:
            for turn in range(turns):
                fill_aligned_exponentials(e, keys, address, group)
                fetch_eight(y, kept, int32(turn), me)
                add_noise(y, e)
                best = largest_of_eight(y, best)
                keep_eight(kept, y, int32(turn), me)
                group = next_group(group, threads)
        else:
            for turn in range(turns):
                fill_exponentials(e, keys, address, cols, flags, outer, inner, start, columns)
                fetch_eight(y, kept, int32(turn), me)
                if simple:
                    weigh(y, e, best)
                    total += total_of_eight(y)
                else:
                    add_noise(y, e)
                    best = largest_of_eight(y, best)
                keep_eight(kept, y, int32(turn), me)
                start += stride
    if cuda.any_sync(ALL, not simple):
        best = best_of_row(best, threads, found)
    if not simple:
        hot = hot or best == real(INF_F64)
        if not hot:
            for turn in range(turns):
                fetch_eight(y, kept, int32(turn), me)
                raise_eight(y, best, inverse)
                total += total_of_eight(y)
                keep_eight(kept, y, int32(turn), me)
    at = int64(NOWHERE)
    if cuda.any_sync(ALL, hot):
        start = begin
        for turn in range(turns):
            fetch_eight(y, kept, int32(turn), me)
            at = first_of_eight(y, best, start, at)
            start += stride
        at = first_of_row(at, threads, places)
    divisor = real(sum_of_threads(total, threads, sums))
    reciprocal = real(1.0) / divisor
    # A NaN among logits makes the sum one, as does a row without a category, the largest of which is -inf.
    lost = not in_range(t) or best == real(-INF_F64) or (at < 0 if hot else divisor != divisor)
    mean = float64(0.0)
    if wanted == GRADIENT:
        start = begin
        for turn in range(turns):
            fetch_eight(y, kept, int32(turn), me)
            share_eight(y, divisor, reciprocal, hot, at - start)
            load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
            mean += dot_of_eight(y, e, start, columns)
            start += stride
        mean = sum_of_threads(mean, threads, products)
    if place < last:
        start, turn, packed = begin, int32(0), lies_packed(sample)
        if packed and wanted != GRADIENT and not hot and not lost:
            while turn < whole:
                fetch_eight(y, kept, turn, me)
                share_eight(y, divisor, reciprocal, False, start)
                as_cells(c, sample, y)
                store_eight(sample, c, outer, inner, start)
                start, turn = start + stride, int32(turn + 1)
        while turn < turns:
            fetch_eight(y, kept, turn, me)
            share_eight(y, divisor, reciprocal, hot, at - start)
            if wanted == GRADIENT:
                load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
                turn_gradient(y, e, real(mean), inverse, mask, flags, outer, inner, start, columns)
            if lost:
                set_eight(y, real(NAN_F64))
            store_reals(sample, c, y, packed, outer, inner, start, columns)
            start, turn = start + stride, int32(turn + 1)
        if lost and thread == 0:
            note_invalid(invalid, position)


@device
def fill_scores(y, e, keys, address, cols, cells, mask, flags, simple, outer, inner, start, end):
    """Logits of eight columns and their E; without `simple`, logit + G in place of the logit. OUT real[8] twice."""
    load_logits(y, cells, mask, flags, outer, inner, start, end)
    if flags & ALIGNED_IDS:
        fill_aligned_exponentials(e, keys, address, uint32((cols[0, 0, 0] + start) >> 3))
    else:
        fill_exponentials(e, keys, address, cols, flags, outer, inner, start, end)
    if not simple:
        add_noise(y, e)


@device
def fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, end):
    """Terms of the softmax of eight columns, made anew. OUT real[8], scratch real[8]."""
    fill_scores(y, e, keys, address, cols, cells, mask, flags, simple, outer, inner, start, end)
    if simple:
        weigh(y, e, best)
    else:
        raise_eight(y, best, inverse)


@row_kernel
def softmax_long_rows(
    k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, wanted, cotangent, sample, invalid
):
    """`softmax_rows` for rows of any length, a block a row: between passes scores and terms lie in the output row.

    Where that holds halves they are made anew, so that nothing is rounded twice. Launched with a block of `THREADS` for each
    row; arguments as in `softmax_rows`. `cotangent` is not `sample`; the logits may be.
    """
    real = real_of(cells)
    y, e, c = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real), cuda.local.array(GROUP, sample.dtype)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, int64)
    sums = cuda.shared.array(WARPS, float64)
    products = cuda.shared.array(WARPS, types.float64)  # (the simulator tells shared arrays by their lines)
    position, thread = first + cuda.blockIdx.x, int64(cuda.threadIdx.x)
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    keys = round_keys(address[0], address[1])
    t = temperature_of(tau, taus, flags, outer, inner)
    hot = wanted == HARD or t == 0.0
    simple = t == 1.0 and not hot
    inverse = real(1.0) if t == 0.0 else real(1.0 / t)
    begin, stride = GROUP * thread, GROUP * THREADS
    packed, stays = lies_packed(sample), holds_reals(sample)
    there = PACKED if packed else 0
    best = real(-INF_F64)
    start = begin
    while start < columns:
        if simple:
            load_logits(y, cells, mask, flags, outer, inner, start, columns)
        else:
            fill_scores(y, e, keys, address, cols, cells, mask, flags, simple, outer, inner, start, columns)
            if stays:
                store_reals(sample, c, y, packed, outer, inner, start, columns)
        best = largest_of_eight(y, best)
        start += stride
    best = best_of_row(best, THREADS, found)
    hot = hot or best == real(INF_F64)
    at, total = int64(NOWHERE), float64(0.0)
    start = begin
    while start < columns:
        if simple and hot:
            load_logits(y, cells, mask, flags, outer, inner, start, columns)
        elif stays and not simple:
            load_logits(y, sample, mask, there, outer, inner, start, columns)
        else:
            fill_scores(y, e, keys, address, cols, cells, mask, flags, simple, outer, inner, start, columns)
        if hot:
            at = first_of_eight(y, best, start, at)
        else:
            if simple:
                weigh(y, e, best)
            else:
                raise_eight(y, best, inverse)
            total += total_of_eight(y)
            if stays:
                store_reals(sample, c, y, packed, outer, inner, start, columns)
        start += stride
    if hot:
        at = first_of_row(at, THREADS, places)
    divisor = real(sum_of_threads(total, THREADS, sums))
    reciprocal = real(1.0) / divisor
    lost = not in_range(t) or best == real(-INF_F64) or (at < 0 if hot else divisor != divisor)
    mean = float64(0.0)
    again = int64(0) if wanted == GRADIENT else int64(1)
    # For a gradient twice: the mean of cotangents first, then the result.
    while again < 2:
        start = begin
        while start < columns:
            if stays:
                load_logits(y, sample, mask, there, outer, inner, start, columns)
            elif not hot:
                fill_terms(y, e, keys, address, cols, cells, mask, flags, simple, best, inverse, outer, inner, start, columns)
            share_eight(y, divisor, reciprocal, hot, at - start)
            if wanted == GRADIENT:
                load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
            if again == 0:
                mean += dot_of_eight(y, e, start, columns)
            else:
                if wanted == GRADIENT:
                    turn_gradient(y, e, real(mean), inverse, mask, flags, outer, inner, start, columns)
                if lost:
                    set_eight(y, real(NAN_F64))
                store_reals(sample, c, y, packed, outer, inner, start, columns)
            start += stride
        if again == 0:
            mean = sum_of_threads(mean, THREADS, products)
        again += 1
    if lost and thread == 0:
        note_invalid(invalid, position)


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
    y, e, c = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real), cuda.local.array(GROUP, gradient.dtype)
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
    there, packed = PACKED if lies_packed(sample) else 0, lies_packed(gradient)
    mean = float64(0.0)
    start = GROUP * thread
    while start < columns:
        load_logits(y, sample, mask, there, outer, inner, start, columns)
        load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
        mean += dot_of_eight(y, e, start, columns)
        start += GROUP * threads
    mean = sum_of_threads(mean, threads, products)
    start = GROUP * thread if place < last else columns
    while start < columns:
        load_logits(y, sample, mask, there, outer, inner, start, columns)
        load_cotangent(e, cotangent, mask, flags, outer, inner, start, columns)
        turn_gradient(y, e, real(mean), inverse, mask, flags, outer, inner, start, columns)
        if lost:
            set_eight(y, real(NAN_F64))
        store_reals(gradient, c, y, packed, outer, inner, start, columns)
        start += GROUP * threads
