"""Relaxed samples: softmax((logits + G) / tau) of each row, its straight-through form, and its gradient.

Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017, arXiv:1611.01144; Maddison, Mnih, Teh, "The
Concrete distribution", ICLR 2017, arXiv:1611.00712.
"""

from numba import types
from numpy import uint64

from ..elementary import INF_F64, NAN_F64, exp_nonpositive_f32, exp_nonpositive_f64
from ..jit import by_precision, larger, loop, row_kernel, sink, stack_array, view
from .bits import HALVES, TAILS, scratch_of
from .cells import (
    HAS_MASK,
    TEMPERATURE_TYPES,
    TILE,
    divide_row,
    exclude,
    fill_row,
    first_at_least,
    largest_of,
    note_invalid,
    read_tile,
    row_types,
    store_tile,
    temperature_of,
    tile_of,
)
from .noise import fill_exponentials, gumbel_of_exponential, row_address
from .prefetching import expect_reads, expect_writes
from .sums import LANES, add_dot, add_sum

exp_nonpositive = by_precision(exp_nonpositive_f32, exp_nonpositive_f64)


@loop
def _add_logits(s, x):
    """s = x + G, where s holds E; the largest, undefined where a logit is NaN, and whether one is. INOUT real[n], IN real[n].

    A score at temperature 1: no sum of a finite logit and G leaves the range, so there is nothing to clamp.
    """
    largest, unordered = x.dtype.type(-INF_F64), False
    for j in range(x.shape[0]):
        s[j] = x[j] + gumbel_of_exponential(s[j])
        largest = larger(largest, s[j])
        unordered |= x[j] != x[j]
    return largest, unordered


@row_kernel(
    lambda real: types.void(*row_types(real), types.int64, types.int64, types.int64, sink(real, 3), sink(types.int64, 1))
)
def softmax_rows(k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, hard, sample, invalid):
    """sample = softmax((logits + G) / tau) over rows first .. last, or the one-hot of its largest entry.

    At tau 1, exp(logit + G) is exp(logit) / E, which takes no outer logarithm: the largest logit first, then quotients and
    their sum, then the division. At any other tau, logit + G goes into the output row while the largest is kept; then
    exponentials and their sum; then the division. At tau 0, or where a logit is +inf, the sample is one-hot: the limit.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, first, last, invalid
        As in `argmax_rows`.
    tau : float64
        Relaxation temperature, 0 or within [2^-64, 2^64].
    taus : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    hard : int64
        1 for an exact one-hot.
    sample : OUT real[outer, inner, K]
        Relaxed sample; NaN all over in an invalid row.
    """
    count, columns = cells.shape[1], cells.shape[2]
    real = cells.dtype.type
    x_buffer = stack_array(TILE, cells.dtype)
    s_buffer = stack_array(TILE, cells.dtype)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    partial = stack_array(LANES, cells.dtype)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        row_tau = temperature_of(tau, taus, flags, outer, inner)
        hot = hard != 0 or row_tau == 0.0
        simple = row_tau == 1.0 and not hot
        # The largest logit, or the largest s = logit + G, which is kept in the sample.
        best = real(-INF_F64)
        best_index = -1
        unordered = False
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            s = s_buffer[:n]
            x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
            if simple:
                largest, nan = largest_of(x)
            else:
                fill_exponentials(s, scratch, address, cols, flags, outer, inner, start)
                largest, nan = _add_logits(s, x)
                store_tile(sample[outer, inner, start : start + n], s)
            unordered |= nan
            if not unordered and largest > best:
                best = largest
                best_index = start + first_at_least(x if simple else s, largest) if hot or largest == real(INF_F64) else start
        if unordered or best_index < 0:
            note_invalid(invalid, position)
            fill_row(sample[outer, inner], real(NAN_F64))
        elif hot or best == real(INF_F64):
            fill_row(sample[outer, inner], real(0.0))
            sample[outer, inner, best_index] = real(1.0)
        else:
            inverse = real(1.0 / row_tau)
            total = 0.0
            after = position + 1
            for start in range(0, columns, TILE):
                n = min(TILE, columns - start)
                s = s_buffer[:n]
                if simple:
                    expect_writes(sample[outer, inner, start : start + n])
                    if position + 1 < last:
                        expect_reads(cells[after // count, after % count, start : start + n])
                    x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
                    fill_exponentials(s, scratch, address, cols, flags, outer, inner, start)
                    for j in range(n):
                        s[j] = exp_nonpositive(x[j] - best) / s[j]
                else:
                    read_tile(s, sample[outer, inner, start : start + n])
                    for j in range(n):
                        s[j] = exp_nonpositive((s[j] - best) * inverse)
                total = add_sum(total, s, partial)
                store_tile(sample[outer, inner, start : start + n], s)
            divide_row(sample[outer, inner], real(total))


@row_kernel(
    lambda real: types.void(
        view(real, 3),
        view(real, 3),
        view(types.uint8, 3),
        types.int64,
        *TEMPERATURE_TYPES,
        types.int64,
        types.int64,
        sink(real, 3),
    )
)
def softmax_vjp_rows(sample, cotangent, mask, flags, tau, taus, first, last, gradient):
    """gradient_j = y_j (c_j - sum_i c_i y_i) / tau over rows first .. last: the transposed Jacobian of softmax.

    One pass for the dot product, one for the result. Masked categories get 0, and their cotangent is not looked at.

    Parameters
    ----------
    sample : IN real[outer, inner, K]
        Soft sample y; may be `gradient` itself.
    cotangent : IN real[outer, inner, K]
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
    gradient : OUT real[outer, inner, K]
        Derivative of the loss in the logits.
    """
    count, columns = sample.shape[1], sample.shape[2]
    real = sample.dtype.type
    y_buffer = stack_array(TILE, sample.dtype)
    c_buffer = stack_array(TILE, sample.dtype)
    partial = stack_array(LANES, sample.dtype)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        if sample[outer, inner, 0] != sample[outer, inner, 0]:  # a marked row is NaN all over, and so is its gradient
            fill_row(gradient[outer, inner], real(NAN_F64))
            continue
        inverse = real(1.0 / temperature_of(tau, taus, flags, outer, inner))
        total = 0.0
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            y, c = y_buffer[:n], c_buffer[:n]
            read_tile(y, sample[outer, inner, start : start + n])
            _read_allowed(c, cotangent, mask, flags, outer, inner, start)
            total = add_dot(total, y, c, partial)
        mean = real(total)
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            y, c = y_buffer[:n], c_buffer[:n]
            read_tile(y, sample[outer, inner, start : start + n])
            _read_allowed(c, cotangent, mask, flags, outer, inner, start)
            for j in range(n):
                y[j] = (y[j] * (c[j] - mean)) * inverse
            if flags & HAS_MASK:
                exclude(y, mask[outer, inner, start : start + n], real(0.0))
            store_tile(gradient[outer, inner, start : start + n], y)


@loop
def _read_allowed(values, cells, mask, flags, outer, inner, start):
    """values = cells of the tile, 0 where masked."""
    n = values.shape[0]
    read_tile(values, cells[outer, inner, start : start + n])
    if flags & HAS_MASK:
        exclude(values, mask[outer, inner, start : start + n], values.dtype.type(0.0))
