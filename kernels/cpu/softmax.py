"""Relaxed samples: softmax((logits + G) / tau) of each row, its straight-through form, and its gradient.

Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017, arXiv:1611.01144; Maddison, Mnih, Teh, "The
Concrete distribution", ICLR 2017, arXiv:1611.00712.
"""

from numba import types
from numpy import uint64

from ..elementary import INF_F64, NAN_F64, exp_nonpositive_f32, exp_nonpositive_f64
from ..jit import by_format, by_precision, larger, loop, part, real_of, row_kernel, scalar, sink, stack_array, view, working
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


@loop
def _keep_own(values, y, outer, inner):
    """Round a row of results into its place, if it is not there."""


@loop
def _keep_spare(values, y, outer, inner):
    store_tile(values[outer, inner], y)


work_row = by_format(_own_row, _spare_row, _spare_row)
keep_row = by_format(_keep_own, _keep_spare, _keep_spare)


@part
def relax_row(
    y, x_buffer, s_buffer, scratch, partial, address, tau, hard, cols, cells, mask, flags, outer, inner, next_outer, next_inner
):
    """y = softmax((logits + G) / tau) of one row, or the one-hot of its largest entry; False, and NaN, for an invalid row.

    Parameters
    ----------
    y : OUT real[K] any stride
        Holds logit + G in between.
    x_buffer, s_buffer, partial : scratch real[TILE], [TILE], [LANES]
    scratch : tuple
        From `scratch_of`.
    address : tuple
        From `row_address`.
    tau : float64
        Of this row.
    hard, cols, cells, mask, flags
        As in `softmax_rows`.
    outer, inner : int64
        The row.
    next_outer, next_inner : int64
        The row that will be read next, or this one.
    """
    columns, real = cells.shape[2], x_buffer.dtype.type
    hot = hard != 0 or tau == 0.0
    simple = tau == 1.0 and not hot
    # The largest logit, or the largest s = logit + G, which is kept in y.
    best = real(-INF_F64)
    best_index = -1
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
        if nan:
            best_index = -1
            break
        if largest > best:
            best = largest
            best_index = start + first_at_least(x if simple else s, largest) if hot or largest == real(INF_F64) else start
    if best_index < 0:
        fill_row(y, real(NAN_F64))
        return False
    if hot or best == real(INF_F64):
        fill_row(y, real(0.0))
        y[best_index] = real(1.0)
        return True
    inverse = real(1.0 / tau)
    total = 0.0
    for start in range(0, columns, TILE):
        n = min(TILE, columns - start)
        s = s_buffer[:n]
        if simple:
            expect_writes(y[start : start + n])
            expect_reads(cells[next_outer, next_inner, start : start + n])
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
    return True


@part
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


@row_kernel(
    lambda cell: types.void(
        *row_types(cell),
        types.int64,
        types.int64,
        types.int64,
        sink(cell, 3),
        sink(working(cell), 1),
        sink(types.int64, 1),
    )
)
def softmax_rows(k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, hard, sample, spare, invalid):
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
    sample : OUT cell[outer, inner, K]
        Relaxed sample; NaN all over in an invalid row.
    spare : scratch real[K]
        Where `sample` holds halves, the row at work, rounded when it is done; else not looked at.
    """
    count, real = cells.shape[1], real_of(cells)
    x_buffer = stack_array(TILE, real)
    s_buffer = stack_array(TILE, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    partial = stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        after = min(position + 1, last - 1)
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        t = temperature_of(tau, taus, flags, outer, inner)
        y = work_row(sample, spare, outer, inner)
        if not relax_row(
            y, x_buffer, s_buffer, scratch, partial, address, t, hard, cols, cells, mask, flags, outer, inner,
            after // count, after % count,
        ):  # fmt: skip
            note_invalid(invalid, position)
        keep_row(sample, y, outer, inner)


@row_kernel(
    lambda cell: types.void(
        *row_types(cell),
        types.int64,
        types.int64,
        view(cell, 3),
        sink(cell, 3),
        sink(working(cell), 1),
        sink(types.int64, 1),
    )
)
def softmax_gradient_rows(
    k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, cotangent, gradient, spare, invalid
):
    """gradient = that of `gradient_of_row` over rows first .. last, for the sample that `softmax_rows` would give.

    The sample lies in the row of the result while it is needed, or in the spare row, unrounded, where that holds halves.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, tau, taus, first, last, spare, invalid
        As in `softmax_rows`; tau positive.
    cotangent : IN cell[outer, inner, K]
        Derivative of the loss in the sample.
    gradient : OUT cell[outer, inner, K]
        Derivative of the loss in the logits; NaN all over in an invalid row.
    """
    count, real = cells.shape[1], real_of(cells)
    x_buffer = stack_array(TILE, real)
    s_buffer = stack_array(TILE, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    partial = stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        after = min(position + 1, last - 1)
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        t = temperature_of(tau, taus, flags, outer, inner)
        y = work_row(gradient, spare, outer, inner)
        if relax_row(
            y, x_buffer, s_buffer, scratch, partial, address, t, 0, cols, cells, mask, flags, outer, inner,
            after // count, after % count,
        ):  # fmt: skip
            gradient_of_row(gradient[outer, inner], y, x_buffer, s_buffer, partial, cotangent, mask, flags, t, outer, inner)
        else:
            note_invalid(invalid, position)
            keep_row(gradient, y, outer, inner)


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
        Soft sample y.
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
