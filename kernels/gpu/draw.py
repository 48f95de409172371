"""Samples with what is known about them: index, score, log-probability, logsumexp and entropy, of every head of a row.

A head is looked at three times, from the caches after the first: for the sample, for its largest logit, for the sums below it.
With an index given, nothing is drawn, and the same loops tell its log-probability.
"""

from numpy import float64, int32, int64

from ..cpu.cells import GIVEN, NARROW, WANT_ENTROPY, WANT_LOG_PROB, WANT_LOGSUMEXP, WANT_SCORE
from ..cpu.draw import WANT_MOMENTS
from ..cpu.moments import tempered
from ..elementary import INF_F64, NAN_F64, log_f64
from .argmax import UNORDERED, best_of_columns
from .cells import in_range, logit_at, note_invalid, row_address, temperature_of
from .jit import THREADS, WARP, WARPS, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .moments import best_of_threads, largest_of_columns, moments_of_columns


@device
def known_of_head(chosen, best, largest, peak, s, t, temperature, cells, mask, flags, outer, inner):
    """What is known of the sample of a head: (chosen, score, log_prob, logsumexp, entropy); -1 and NaN in an invalid row.

    Parameters
    ----------
    chosen : int64
        Its column, -1 for none, `UNORDERED` with a NaN.
    best : real
        Its score.
    largest, peak : real, int64
        The largest logit and its column, as of `largest_of_columns`.
    s, t : float64
        Moments.
    """
    real = real_of(cells)
    nan = float64(NAN_F64)
    if peak == UNORDERED or not in_range(temperature) or (chosen < 0 and peak >= 0):
        return int64(-1), nan, nan, nan, nan
    if peak < 0:
        return int64(-1), float64(-INF_F64), nan, float64(-INF_F64), nan
    if temperature == 0.0 or largest == real(INF_F64):  # one category is all there is
        return chosen, float64(largest), float64(0.0) if chosen == peak else float64(-INF_F64), float64(largest), float64(0.0)
    if flags & WANT_MOMENTS == 0:
        return chosen, float64(best), nan, nan, nan
    inverse = real(1.0 / temperature)
    m, log_s = float64(tempered(largest, inverse)), log_f64(s)
    z = float64(tempered(logit_at(cells, mask, flags, outer, inner, chosen), inverse))
    return chosen, float64(best), (z - m) - log_s, m + log_s, log_s - t / s


@row_kernel
def draw_rows(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    temperature,
    temperatures,
    first,
    last,
    threads,
    heads,
    index,
    narrow,
    score,
    logsumexp,
    log_prob,
    entropy,
    invalid,
):
    """One sample of every head of rows first .. last, and what is wanted of it.

    Launched with `threads` threads for each row, in whole warps; in blocks of `THREADS` where those share a row.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`. Under `DETERMINISTIC` a sample is the largest logit; under `GIVEN` it is read from `index`.
    threads : int64
        1, 2, 4, 8, 16, 32 or `THREADS`.
    heads : IN int64[H + 1]
        Columns at which heads start, and the end of the last.
    index, narrow : OUT int64[outer, inner, H], int32[outer, inner, H]
        Position within the head, or -1; in one of them, as in `argmax_rows`. Under `GIVEN` `index` is IN.
    score : OUT real[outer, inner, H]
        The score, under `WANT_SCORE`: -inf where nothing is allowed.
    logsumexp : OUT real[outer, inner, H]
        That of logits / T, under `WANT_LOGSUMEXP`: -inf where nothing is allowed.
    log_prob, entropy : OUT real[outer, inner]
        Summed over heads, under `WANT_LOG_PROB` and `WANT_ENTROPY`; NaN where a head has no sample.
    """
    real = real_of(cells)
    x, b = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, int64)
    tops = cuda.shared.array(WARPS, real)
    peaks = cuda.shared.array(WARPS, int64)
    sums = cuda.shared.array(WARPS, float64)
    products = cuda.shared.array(WARPS, float64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    thread, lanes = number & (threads - 1), min(threads, WARP)
    tells = thread == 0 and place < last
    count = cells.shape[1]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    temp = temperature_of(temperature, temperatures, flags, outer, inner)
    inverse = real(1.0) if temp == 0.0 else real(1.0 / temp)
    row_log_prob, row_entropy, good = float64(0.0), float64(0.0), True
    for head in range(heads.shape[0] - 1):
        begin, end = heads[head], heads[head + 1]
        best = real(-INF_F64)
        if flags & GIVEN:
            at = index[outer, inner, head]
            chosen = begin + at if at >= 0 and at < end - begin else int64(-1)
        else:
            best, chosen, unordered = best_of_columns(
                x, b, address, cols, cells, mask, flags, temp, outer, inner, begin, end, thread, threads, lanes
            )
            best, chosen = best_of_threads(best, chosen, unordered, threads, found, places)
        largest, peak = largest_of_columns(x, cells, mask, flags, outer, inner, begin, end, thread, threads, tops, peaks)
        s, t = float64(1.0), float64(0.0)
        if flags & WANT_MOMENTS:
            m = tempered(largest, inverse)
            s, t = moments_of_columns(
                x, m, inverse, cells, mask, flags, outer, inner, begin, end, thread, threads, sums, products
            )
        chosen, top, below, total, spread = known_of_head(
            chosen, best, largest, peak, s, t, temp, cells, mask, flags, outer, inner
        )
        if tells:
            if flags & GIVEN == 0:
                if flags & NARROW:
                    narrow[outer, inner, head] = int32(chosen - begin if chosen >= 0 else int64(-1))
                else:
                    index[outer, inner, head] = chosen - begin if chosen >= 0 else int64(-1)
            if flags & WANT_SCORE:
                score[outer, inner, head] = real(top)
            if flags & WANT_LOGSUMEXP:
                logsumexp[outer, inner, head] = real(total)
        good = good and chosen >= 0
        row_log_prob, row_entropy = row_log_prob + below, row_entropy + spread
        if threads == THREADS:
            cuda.syncthreads()  # the next head's numbers take the places of this one's
    if tells:
        if not good:
            note_invalid(invalid, position)
            row_log_prob, row_entropy = float64(NAN_F64), float64(NAN_F64)
        if flags & WANT_LOG_PROB:
            log_prob[outer, inner] = real(row_log_prob)
        if flags & WANT_ENTROPY:
            entropy[outer, inner] = real(row_entropy)
