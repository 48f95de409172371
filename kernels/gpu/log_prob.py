"""Gradient of log-probability and entropy in the logits.

With p = softmax(z), z = logits / T: d log_prob / d z_j = [j chosen] - p_j, and d entropy / d z_j = -p_j (log p_j + entropy).
"""

from numpy import float64, int64

from ..cpu.moments import LOWEST, exp_flushed, tempered
from ..elementary import INF_F64, NAN_F64, fma, log_f64
from ..jit import scalar
from .argmax import UNORDERED
from .cells import in_range, load_part, note_invalid, temperature_of
from .jit import THREADS, WARPS, as_cell, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .moments import largest_of_columns, moments_of_columns


@scalar
def slope(p, b, log_p_plus_h, a, inverse):
    """-p (b (log p + H) + a) / T."""
    return -p * fma(b, log_p_plus_h, a) * inverse


@device
def store_slopes(gradient, x, chosen, m, s, log_s, h, a, b, inverse, outer, inner, start, begin, end):
    """The gradient of eight columns of a head. Arguments as on the CPU; IN real[8]; OUT cell[outer, inner, K]."""
    real = real_of(gradient)
    share = real(1.0) / s
    for i in range(GROUP):
        if start + i >= begin and start + i < end:
            below = tempered(x[i], inverse) - m
            p = exp_flushed(below) * share
            log_p = (below if below > real(LOWEST) else real(LOWEST)) - log_s
            value = slope(p, b, log_p + h, a, inverse)
            if start + i == chosen and x[i] > real(-INF_F64):
                value = value + a * inverse
            gradient[outer, inner, start + i] = as_cell(gradient, value)


@row_kernel
def log_prob_vjp_rows(
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
    log_prob,
    entropy,
    log_prob_all,
    entropy_all,
    gradient,
    invalid,
):
    """gradient = a d log_prob / d logits + b d entropy / d logits over rows first .. last.

    Launched as `draw_rows`. Masked categories get 0. A distribution that is one category, because its logit is +inf, does not
    move: 0.

    Parameters
    ----------
    cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`; temperatures are positive.
    threads : int64
    heads : IN int64[H + 1]
        As in `draw_rows`.
    index : IN int64[outer, inner, H]
        Chosen position of every head.
    log_prob, entropy : IN real[outer, inner]
        Cotangents: derivatives of the loss in them,
    log_prob_all, entropy_all : float64
        to which these are added: with zeros there, those of all rows.
    gradient : OUT cell[outer, inner, K]
        Derivative of the loss in the logits; NaN all over in an invalid row.
    """
    real = real_of(cells)
    x = cuda.local.array(GROUP, real)
    tops = cuda.shared.array(WARPS, real)
    peaks = cuda.shared.array(WARPS, int64)
    sums = cuda.shared.array(WARPS, float64)
    products = cuda.shared.array(WARPS, float64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    thread = number & (threads - 1)
    count = cells.shape[1]
    outer = position // count
    inner = position - outer * count
    temp = temperature_of(temperature, temperatures, flags, outer, inner)
    inverse = real(1.0 / temp)
    a, b = log_prob[outer, inner] + real(log_prob_all), entropy[outer, inner] + real(entropy_all)
    good = in_range(temp) and temp != 0.0
    for head in range(heads.shape[0] - 1):
        begin, end, chosen = heads[head], heads[head + 1], index[outer, inner, head]
        largest, peak = largest_of_columns(x, cells, mask, flags, outer, inner, begin, end, thread, threads, tops, peaks)
        m = tempered(largest, inverse)
        s, t = moments_of_columns(x, m, inverse, cells, mask, flags, outer, inner, begin, end, thread, threads, sums, products)
        good = good and peak >= 0 and chosen >= 0 and chosen < end - begin
        fixed = peak < 0 or peak == UNORDERED or largest == real(INF_F64)
        log_s = log_f64(s)
        h = log_s - t / s
        start = (begin & ~(GROUP - 1)) + GROUP * thread if place < last else end
        while start < end:
            load_part(x, cells, mask, flags, outer, inner, start, begin, end)
            if fixed:
                for i in range(GROUP):
                    if start + i >= begin and start + i < end:
                        gradient[outer, inner, start + i] = as_cell(gradient, real(0.0))
            else:
                store_slopes(
                    gradient,
                    x,
                    begin + chosen,
                    m,
                    real(s),
                    real(log_s),
                    real(h),
                    a,
                    b,
                    inverse,
                    outer,
                    inner,
                    start,
                    begin,
                    end,
                )
            start += GROUP * threads
        if threads == THREADS:
            cuda.syncthreads()  # the next head's numbers take the places of this one's
    if not good:
        for head in range(heads.shape[0] - 1):  # each thread overwrites what it has written
            begin, end = heads[head], heads[head + 1]
            start = (begin & ~(GROUP - 1)) + GROUP * thread if place < last else end
            while start < end:
                for i in range(GROUP):
                    if start + i >= begin and start + i < end:
                        gradient[outer, inner, start + i] = as_cell(gradient, real(NAN_F64))
                start += GROUP * threads
        if thread == 0 and place < last:
            note_invalid(invalid, position)
