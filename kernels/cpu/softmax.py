"""Relaxed samples: softmax((logits + G) / tau) of each row, its straight-through form, and its gradient.

Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017, arXiv:1611.01144; Maddison, Mnih, Teh, "The
Concrete distribution", ICLR 2017, arXiv:1611.00712.
"""

from numba import types
from numpy import uint64

from ..elementary import INF_F64, NAN_F64, exp_nonpositive_f32, exp_nonpositive_f64
from ..jit import (
    as_contiguous,
    by_format,
    by_precision,
    larger,
    loop,
    real_of,
    row_kernel,
    scalar,
    sink,
    stack_array,
    view,
    working,
)
from .bits import HALVES, TAILS, scratch_of
from .cells import (
    HAS_MASK,
    TEMPERATURE_TYPES,
    TILE,
    as_cell,
    as_real,
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

# What `softmax_rows` is to give.
SOFT, HARD, GRADIENT = 0, 1, 2

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


@scalar
def _own_row(values, spare, outer, inner):
    """Where a row of results is worked on: in its place, or in the spare row where the place holds halves."""
    return values[outer, inner]


@scalar
def _spare_row(values, spare, outer, inner):
    return spare


work_row = by_format(_own_row, _spare_row, _spare_row)


@loop
def gradient_of_row(gradient, y, y_buffer, c_buffer, partial, cotangent, mask, flags, tau, outer, inner):
    """gradient_j = y_j (c_j - sum_i c_i y_i) / tau of one row: the transposed Jacobian of softmax.

    One pass for the dot product, one for the result. Masked categories get 0, and their cotangent is not looked at.

    Parameters
    ----------
    gradient : OUT cell[K] any stride
        Derivative of the loss in the logits.
    y : IN real[K] or cell[K] any stride
        Soft sample; may be `gradient` itself.
    y_buffer, c_buffer, partial : scratch real[TILE], [TILE], [LANES]
    cotangent, mask, flags
        As in `softmax_vjp_rows`.
    tau : float64
        Of this row, positive.
    outer, inner : int64
        The row.
    """
    columns, real = cotangent.shape[2], y_buffer.dtype.type
    inverse = real(1.0 / tau)
    total = 0.0
    for start in range(0, columns, TILE):
        n = min(TILE, columns - start)
        v, c = y_buffer[:n], c_buffer[:n]
        read_tile(v, y[start : start + n])
        _read_allowed(c, cotangent, mask, flags, outer, inner, start)
        total = add_dot(total, v, c, partial)
    mean = real(total)
    for start in range(0, columns, TILE):
        n = min(TILE, columns - start)
        v, c = y_buffer[:n], c_buffer[:n]
        read_tile(v, y[start : start + n])
        _read_allowed(c, cotangent, mask, flags, outer, inner, start)
        for j in range(n):
            v[j] = (v[j] * (c[j] - mean)) * inverse
        if flags & HAS_MASK:
            exclude(v, mask[outer, inner, start : start + n], real(0.0))
        store_tile(gradient[start : start + n], v)


@loop
def _read_allowed(values, cells, mask, flags, outer, inner, start):
    """values = cells of the tile, 0 where masked."""
    n = values.shape[0]
    read_tile(values, cells[outer, inner, start : start + n])
    if flags & HAS_MASK:
        exclude(values, mask[outer, inner, start : start + n], values.dtype.type(0.0))


@scalar
def _finish_reals(sample, y, v_buffer, c_buffer, partial, cotangent, mask, flags, tau, wanted, outer, inner):
    """Bring a row of results from where it was worked on to its place: rounded, or as the gradient of it."""


@loop
def _finish_halves(sample, y, v_buffer, c_buffer, partial, cotangent, mask, flags, tau, wanted, outer, inner):
    if wanted == GRADIENT and y[0] == y[0]:  # an invalid row is NaN all over
        gradient_of_row(sample[outer, inner], y, v_buffer, c_buffer, partial, cotangent, mask, flags, tau, outer, inner)
    else:
        store_tile(sample[outer, inner], as_contiguous(y))


finish_row = by_format(_finish_reals, _finish_halves, _finish_halves)


@row_kernel(
    lambda cell: types.void(
        *row_types(cell),
        types.int64,
        types.int64,
        types.int64,
        view(cell, 3),
        sink(cell, 3),
        sink(working(cell), 1),
        sink(types.int64, 1),
    )
)
def softmax_rows(
    k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, wanted, cotangent, sample, spare, invalid
):
    """sample = softmax((logits + G) / tau) over rows first .. last, or the one-hot of its largest entry.

    At tau 1, exp(logit + G) is exp(logit) / E, which takes no outer logarithm: the largest logit first, then quotients and
    their sum, then the division. At any other tau, logit + G goes into the output row while the largest is kept; then
    exponentials and their sum; then the division. At tau 0, or where a logit is +inf, the sample is one-hot: the limit.

    Halves are worked on in a row of their own, since an output row of halves would round what lies in it between passes.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, first, last, invalid
        As in `argmax_rows`.
    tau : float64
        Relaxation temperature, 0 or within [2^-64, 2^64].
    taus : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    wanted : int64
        `SOFT`, `HARD` for an exact one-hot, or `GRADIENT`, of halves only, for the gradient of the sample in its place.
    cotangent : IN cell[outer, inner, K]
        Derivative of the loss in the sample, for `GRADIENT`; else not looked at.
    sample : OUT cell[outer, inner, K]
        Relaxed sample; NaN all over in an invalid row.
    spare : scratch real[K], contiguous
        The row at work, where `sample` holds halves; else not looked at.
    """
    count, columns = cells.shape[1], cells.shape[2]
    real = real_of(cells)
    x_buffer = stack_array(TILE, real)
    s_buffer = stack_array(TILE, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    partial = stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        row_tau = temperature_of(tau, taus, flags, outer, inner)
        hot = wanted == HARD or row_tau == 0.0
        simple = row_tau == 1.0 and not hot
        y = work_row(sample, spare, outer, inner)
        # The largest logit, or the largest s = logit + G, which is kept in y.
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
                store_tile(y[start : start + n], s)
            unordered |= nan
            if not unordered and largest > best:
                best = largest
                best_index = start + first_at_least(x if simple else s, largest) if hot or largest == real(INF_F64) else start
        if unordered or best_index < 0:
            note_invalid(invalid, position)
            fill_row(y, real(NAN_F64))
        elif hot or best == real(INF_F64):
            fill_row(y, real(0.0))
            y[best_index] = real(1.0)
        else:
            inverse = real(1.0 / row_tau)
            total = 0.0
            after = position + 1
            for start in range(0, columns, TILE):
                n = min(TILE, columns - start)
                s = s_buffer[:n]
                if simple:
                    expect_writes(y[start : start + n])
                    if position + 1 < last:
                        expect_reads(cells[after // count, after % count, start : start + n])
                    x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
                    fill_exponentials(s, scratch, address, cols, flags, outer, inner, start)
                    for j in range(n):
                        s[j] = exp_nonpositive(x[j] - best) / s[j]
                else:
                    read_tile(s, y[start : start + n])
                    for j in range(n):
                        s[j] = exp_nonpositive((s[j] - best) * inverse)
                total = add_sum(total, s, partial)
                store_tile(y[start : start + n], s)
            divide_row(y, real(total))
        finish_row(sample, y, x_buffer, s_buffer, partial, cotangent, mask, flags, row_tau, wanted, outer, inner)


@row_kernel(
    lambda cell: types.void(
        view(cell, 3),
        view(cell, 3),
        view(types.uint8, 3),
        types.int64,
        *TEMPERATURE_TYPES,
        types.int64,
        types.int64,
        sink(cell, 3),
    )
)
def softmax_vjp_rows(sample, cotangent, mask, flags, tau, taus, first, last, gradient):
    """gradient = that of `gradient_of_row` over rows first .. last, for a sample that is there.

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
    gradient : OUT cell[outer, inner, K]
        Derivative of the loss in the logits.
    """
    count, real = sample.shape[1], real_of(sample)
    y_buffer = stack_array(TILE, real)
    c_buffer = stack_array(TILE, real)
    partial = stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        here = as_real(sample[outer, inner, 0])
        if here != here:  # a marked row is NaN all over, and so is its gradient
            fill_row(gradient[outer, inner], as_cell(gradient, real(NAN_F64)))
            continue
        t = temperature_of(tau, taus, flags, outer, inner)
        gradient_of_row(
            gradient[outer, inner], sample[outer, inner], y_buffer, c_buffer, partial, cotangent, mask, flags, t, outer, inner
        )
