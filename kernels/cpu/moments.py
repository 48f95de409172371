"""The moments of a row (see ``kernels/moments.py``), tile by tile: every one below its own largest z."""

from numpy import float64

from ..elementary import INF_F64, NAN_F64, exp_flushed_f32, exp_flushed_f64, fma
from ..jit import by_precision, larger, loop, scalar
from ..moments import joined_moments, tempered_f32, tempered_f64
from .cells import largest_of
from .sums import LANES

exp_flushed = by_precision(exp_flushed_f32, exp_flushed_f64)
tempered = by_precision(tempered_f32, tempered_f64)

# Below this, `exp_flushed` is 0: a z - M of -inf becomes a number, since its product with 0 is to be 0.
LOWEST = -709.0
LINES = 8


@loop
def largest_if_ordered(z):
    """The largest of a tile, undefined with a NaN. IN real[n], contiguous.

    The NaN then shows in the sums, unless all else is -inf. `largest_of` looks for a NaN as well, and takes twice as long.
    """
    largest = z.dtype.type(-INF_F64)
    for j in range(z.shape[0]):
        largest = larger(largest, z[j])
    return largest


@scalar
def sum_of_four(a, b, c, d):
    """Four partial sums as one float64, in pairs: a chain of all would be a tenth of the time of 1000 columns."""
    return (float64(a) + float64(b)) + (float64(c) + float64(d))


@loop
def tile_sums(z, m, with_t, s_partial, t_partial):
    """S and T of one tile below m, as float64: partial sums as in `sums`, joined by fours in order; T is 0 unless wanted.

    Terms are made where they are added: stored first, they take half as long again. IN real[n], scratch real[LANES] twice.
    """
    real, n = z.dtype.type, z.shape[0]
    whole, start = n - n % LANES, 0
    for p in range(LANES):
        s_partial[p] = 0
    if with_t:
        for p in range(LANES):
            t_partial[p] = 0
    while start + LINES * LANES <= whole:
        lines = z[start : start + LINES * LANES]
        if with_t:
            for p in range(LANES):
                s, t = s_partial[p], t_partial[p]
                for line in range(LINES):
                    below = lines[line * LANES + p] - m
                    e = exp_flushed(below)
                    s += e
                    t = fma(e, below if below > real(LOWEST) else real(LOWEST), t)
                s_partial[p] = s
                t_partial[p] = t
        else:
            for p in range(LANES):
                s = s_partial[p]
                for line in range(LINES):
                    s += exp_flushed(lines[line * LANES + p] - m)
                s_partial[p] = s
        start += LINES * LANES
    while start < n:
        lines = z[start : min(start + LANES, n)]
        for p in range(lines.shape[0]):
            below = lines[p] - m
            e = exp_flushed(below)
            s_partial[p] += e
            if with_t:
                t_partial[p] = fma(e, below if below > real(LOWEST) else real(LOWEST), t_partial[p])
        start += LANES
    tile_s, tile_t = 0.0, 0.0
    for p in range(0, min(n, LANES), 4):  # partial sums that no column has are 0
        tile_s += sum_of_four(s_partial[p], s_partial[p + 1], s_partial[p + 2], s_partial[p + 3])
        if with_t:
            tile_t += sum_of_four(t_partial[p], t_partial[p + 1], t_partial[p + 2], t_partial[p + 3])
    return tile_s, tile_t


@loop
def add_moments(m, s, t, x, inverse, with_t, z_buffer, s_partial, t_partial):
    """(M, S, T) as float64 with one more tile of a row.

    Parameters
    ----------
    m, s, t : float64
        Those of the tiles before: 0, 0 and 0 before the first.
    x : IN real[n], contiguous
        The tile's logits, -inf where excluded.
    inverse : real
        1 / T.
    with_t : bool
        Whether T is wanted.
    z_buffer : scratch real[>= n]
    s_partial, t_partial : scratch real[LANES]

    Returns
    -------
    float64, three times
        S is NaN where a logit is NaN or +inf.
    """
    real, z = x.dtype.type, x
    if inverse != real(1.0):
        z = z_buffer[: x.shape[0]]
        for j in range(z.shape[0]):
            z[j] = tempered(x[j], inverse)
    largest = largest_if_ordered(z)
    if (not largest > real(-INF_F64) and largest_of(z)[1]) or largest == real(INF_F64):
        return m, NAN_F64, t
    if largest > real(-INF_F64):
        tile_s, tile_t = tile_sums(z, largest, with_t, s_partial, t_partial)
        m, s, t = joined_moments(m, s, t, float64(largest), tile_s, tile_t)
    return m, s, t
