"""The field given an observed choice: noise under which the largest score of a row is at a given index.

How large the largest score is does not depend on where it is: -log(E / sum(w)), with w = exp(z) and z the logits over T. Given
that it is at i, all others are Gumbel variables cut off there: with T_i = E_i / sum(w) and T_j = T_i + E_j / w_j, score j is
-log(T_j) (top-down construction: Maddison, Tarlow, Minka, "A* sampling", NeurIPS 2014, arXiv:1411.0030). As noise, with
p = softmax(z),

    G_i = -log(E_i) - log(p_i)        G_j = -log(E_j + E_i p_j)

in which nothing cancels or overflows for any p. Where p_j is 0 nothing was learnt about j: G_j is as unconditioned as ever.
"""

from numba import types
from numpy import float32, float64, int32, int64, uint64

from ..elementary import (
    INF_F64,
    NAN_F64,
    bits_of_f32,
    bits_of_f64,
    f32_of_bits,
    f64_of_bits,
    fma,
    log_f64,
)
from ..field import FOLD_SAMPLE
from ..jit import by_precision, loop, real_of, row_kernel, scalar, sink, stack_array, view, working
from ..philox import fold
from .bits import HALVES, TAILS, scratch_of
from .bound import exponential_of_cell
from .cells import TILE, fill_row, largest_number, largest_of_row, note_invalid, row_types, store_tile, temperature_of, tile_of
from .noise import column_id, fill_exponentials, gumbel_of_exponential, row_address
from .scores import score
from .softmax import exp_nonpositive
from .sums import LANES, add_sum


@scalar
def next_below_f32(x):
    """The next float32 below a number that is neither NaN nor -inf."""
    bits = bits_of_f32(x)
    below = f32_of_bits(int32(bits - int32(1)) if x > float32(0.0) else int32(bits + int32(1)))
    return below if x != float32(0.0) else float32(-(2.0**-149))


@scalar
def next_below_f64(x):
    """See `next_below_f32`."""
    bits = bits_of_f64(x)
    below = f64_of_bits(int64(bits - int64(1)) if x > 0.0 else int64(bits + int64(1)))
    return below if x != 0.0 else float64(-(2.0**-1074))


next_below = by_precision(next_below_f32, next_below_f64)


@loop
def noise_of_chosen(x, e, largest, total, inverse):
    """(G_i, score i) of the given index: -log(E_i) - log(p_i), and larger only where no score could be below the one of that.

    Parameters
    ----------
    x : IN real[1]
        Its logit, finite.
    e : real
        Its E.
    largest : float64
        The row's largest logit, finite.
    total : float64
        Sum of all exp((logit - largest) / T).
    inverse : real
        1 / T.
    """
    real, limit = x.dtype.type, largest_number(inverse)
    g = float64(gumbel_of_exponential(e)) + (log_f64(total) + (largest - float64(x[0])) * float64(inverse))
    noise = real(g) if g < float64(limit) else limit
    if score(x[0], inverse, noise) <= -limit:
        noise = limit
    if score(x[0], inverse, noise) <= -limit:
        noise = real(INF_F64)
    return noise, score(x[0], inverse, noise)


@loop
def noise_below(x, inverse, limit):
    """The noise that takes the score of a finite logit x just below `limit`, which is finite and not the lowest number.

    -inf where a logit overflows when it is divided by T, and no finite noise does.
    """
    lowest = -largest_number(inverse)
    g = fma(-x, inverse, next_below(limit))
    g = g if g > lowest else lowest
    while score(x, inverse, g) >= limit:  # rounded up: one float, or two where the spacing changes
        g = next_below(g)
    return g


@loop
def condition_tile(g, x, largest, share, inverse):
    """G_j = -log(E_j + E_i p_j), where g holds E. INOUT real[n], IN real[n]; `share` is E_i / total."""
    for j in range(g.shape[0]):
        g[j] = fma(share, exp_nonpositive((x[j] - largest) * inverse), g[j])
    for j in range(g.shape[0]):
        g[j] = gumbel_of_exponential(g[j])


@row_kernel(
    lambda cell: types.void(
        *row_types(cell),
        view(types.int64, 2),
        view(types.int64, 2),
        types.int64,
        types.int64,
        types.int64,
        sink(working(cell), 3),
        sink(types.int64, 1),
    )
)
def conditional_rows(
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
    chosen,
    samples,
    first,
    last,
    want_scores,
    out,
    invalid,
):
    """Noise, or scores, of rows first .. last given where their largest score is.

    The largest logit, then the sum of weights, then the noise. Where rounding lets another category reach the score of the
    given index, its noise is lowered until it does not.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, first, last, invalid
        As in `argmax_rows`. E is read at these addresses under the key folded with the sample number.
    temperature : float64
        Within [2^-64, 2^64].
    temperatures : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    chosen : IN int64[outer, inner]
        The given index. A row is invalid where it names no category, or one that is excluded or behind the first +inf.
    samples : IN int64[outer, inner]
        Sample number.
    want_scores : int64
        1 for scores in place of noise.
    out : OUT real[outer, inner, K]
        NaN all over in an invalid row. May be `cells`.
    """
    count, columns = cells.shape[1], cells.shape[2]
    real = real_of(cells)
    x_buffer, g_buffer = stack_array(TILE, real), stack_array(TILE, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    partial = stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        at = chosen[outer, inner]
        largest, top, _ = largest_of_row(x_buffer, cells, mask, flags, outer, inner, 0, columns)
        certain = largest == INF_F64
        possible = top >= 0 and 0 <= at < columns and (at == top or not certain)
        x = tile_of(x_buffer, cells, mask, flags, outer, inner, at if possible else 0, 1)
        if not possible or x[0] == real(-INF_F64):
            note_invalid(invalid, position)
            fill_row(out[outer, inner], real(NAN_F64))
            continue
        inverse = real(1.0 / temperature_of(temperature, temperatures, flags, outer, inner))
        a, b = fold(k0, k1, uint64(samples[outer, inner]), FOLD_SAMPLE)
        address = row_address(a, b, step, steps, rows, flags, outer, inner, position)
        noise, limit, share = real(0.0), real(INF_F64), real(0.0)
        if not certain:
            e = exponential_of_cell(inverse, address, column_id(cols, flags, outer, inner, at))
            chosen_logit = x[0]
            total = 0.0
            for start in range(0, columns, TILE):
                n = min(TILE, columns - start)
                x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
                g = g_buffer[:n]
                for j in range(n):
                    g[j] = exp_nonpositive((x[j] - real(largest)) * inverse)
                total = add_sum(total, g, partial)
            g_buffer[0] = chosen_logit
            noise, limit = noise_of_chosen(g_buffer[:1], e, largest, total, inverse)
            share = real(float64(e) / total)
        for start in range(0, columns, TILE):
            n = min(TILE, columns - start)
            g = g_buffer[:n]
            fill_exponentials(g, scratch, address, cols, flags, outer, inner, start)
            x = tile_of(x_buffer, cells, mask, flags, outer, inner, start, n)
            if certain:  # nothing is learnt from what had to happen
                for j in range(n):
                    g[j] = gumbel_of_exponential(g[j])
            else:
                condition_tile(g, x, real(largest), share, inverse)
                reached = False
                for j in range(n):
                    reached |= score(x[j], inverse, g[j]) >= limit
                if reached:
                    for j in range(n):
                        if score(x[j], inverse, g[j]) >= limit:
                            g[j] = noise_below(x[j], inverse, limit)
                if start <= at < start + n:
                    g[at - start] = noise
            if want_scores:
                for j in range(n):
                    g[j] = score(x[j], inverse, g[j])
            store_tile(out[outer, inner, start : start + n], g)
