"""The gradient of log-probabilities and entropies in the logits, for the update of a policy.

With p = softmax(z), z = logits / T, and the cotangents a of log_prob and b of entropy:

    d log p_i / d z_j = [i = j] - p_j          d H / d z_j = -p_j (log p_j + H)

Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine Learning 8,
1992, doi:10.1007/BF00992696.
"""

from numba import types

from ..elementary import INF_F64, NAN_F64, fma, log_f64
from ..jit import loop, real_of, row_kernel, sink, stack_array, view, working
from .cells import TEMPERATURE_TYPES, TILE, as_cell, fill_row, largest_of_row, note_invalid, store_tile, temperature_of, tile_of
from .moments import LOWEST, add_moments, exp_flushed, tempered
from .sums import LANES


@loop
def fill_gradient(gradient, x, place, m, s, log_s, h, a, b, inverse):
    """The gradient of one tile. OUT real[n], IN real[n] logits; `place` is the chosen column's in the tile, or outside of it.

    A chosen column that is excluded has the gradient of every excluded one, 0. m, s, log_s and h are the moments M and S, log S
    and the entropy, all real; a and b the cotangents.
    """
    real = x.dtype.type
    share = real(1.0) / s
    for j in range(x.shape[0]):
        below = tempered(x[j], inverse) - m
        p = exp_flushed(below) * share
        log_p = (below if below > real(LOWEST) else real(LOWEST)) - log_s
        gradient[j] = -p * fma(b, log_p + h, a) * inverse
    if place >= 0 and place < x.shape[0] and x[place] > real(-INF_F64):
        gradient[place] += a * inverse


@row_kernel(
    lambda cell: types.void(
        view(cell, 3),
        view(types.uint8, 3),
        types.int64,
        *TEMPERATURE_TYPES,
        types.int64,
        types.int64,
        view(types.int64, 1),
        view(types.int64, 3),
        view(working(cell), 2),
        view(working(cell), 2),
        sink(cell, 3),
        sink(types.int64, 1),
    )
)
def log_prob_vjp_rows(
    cells, mask, flags, temperature, temperatures, first, last, heads, index, log_prob, entropy, gradient, invalid
):
    """gradient = a d log_prob / d logits + b d entropy / d logits over rows first .. last.

    One pass for a head's moments, one for the result. Masked categories get 0. A distribution that is one category, because its
    logit is +inf, does not move: 0.

    Parameters
    ----------
    cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`; temperatures are positive.
    heads : IN int64[H + 1]
        As in `draw_rows`.
    index : IN int64[outer, inner, H]
        Chosen position of every head.
    log_prob, entropy : IN real[outer, inner]
        Cotangents: derivatives of the loss in them.
    gradient : OUT real[outer, inner, K]
        Derivative of the loss in the logits; NaN all over in an invalid row.
    """
    count, real = cells.shape[1], real_of(cells)
    buffer, out = stack_array(TILE, real), stack_array(TILE, real)
    partials = stack_array(LANES, real), stack_array(LANES, real)
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        inverse = real(1.0 / temperature_of(temperature, temperatures, flags, outer, inner))
        a, b, good = log_prob[outer, inner], entropy[outer, inner], True
        for head in range(heads.shape[0] - 1):
            begin, end, chosen = heads[head], heads[head + 1], index[outer, inner, head]
            m, s, t = 0.0, 0.0, 0.0
            for start in range(begin, end, TILE):
                x = tile_of(buffer, cells, mask, flags, outer, inner, start, min(TILE, end - start))
                m, s, t = add_moments(m, s, t, x, inverse, True, out, *partials)
            if not s >= 1.0:
                _, peak, _ = largest_of_row(buffer, cells, mask, flags, outer, inner, begin, end)
                good = good and peak >= 0
            good = good and chosen >= 0 and chosen < end - begin
            if not s >= 1.0:
                fill_row(gradient[outer, inner, begin:end], as_cell(gradient, real(0.0)))
                continue
            log_s = log_f64(s)
            for start in range(begin, end, TILE):
                n = min(TILE, end - start)
                x = tile_of(buffer, cells, mask, flags, outer, inner, start, n)
                fill_gradient(
                    out[:n], x, begin + chosen - start, real(m), real(s), real(log_s), real(log_s - t / s), a, b, inverse
                )
                store_tile(gradient[outer, inner, start : start + n], out[:n])
        if not good:
            note_invalid(invalid, position)
            fill_row(gradient[outer, inner], as_cell(gradient, real(NAN_F64)))
