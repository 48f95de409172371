"""The moments of a row (see ``kernels/moments.py``), tile by tile: every block of `BLOCK` columns below its own largest z."""

from numpy import float64

from ..elementary import INF_F64, NAN_F64, exp_flushed_f32, exp_flushed_f64
from ..jit import by_precision, loop
from ..moments import joined_moments, tempered_f32, tempered_f64
from .cells import largest_of
from .sums import BLOCK, add_dot, add_sum

exp_flushed = by_precision(exp_flushed_f32, exp_flushed_f64)
tempered = by_precision(tempered_f32, tempered_f64)

# Below this, `exp_flushed` is 0: a z - M of -inf becomes a number, since its product with 0 is to be 0.
LOWEST = -709.0


@loop
def add_moments(m, s, t, x, inverse, with_t, z_buffer, e_buffer, partial):
    """(M, S, T) as float64 with one more tile of a row.

    Parameters
    ----------
    m, s, t : float64
        Those of the tiles before: 0, 0 and 0 before the first.
    x : IN real[n], contiguous
        The tile's logits, -inf where excluded; its start is that of a block.
    inverse : real
        1 / T.
    with_t : bool
        Whether T is wanted.
    z_buffer, e_buffer : scratch real[TILE]
    partial : scratch real[LANES]

    Returns
    -------
    float64, three times
        S is NaN where a logit is NaN or +inf.
    """
    real = x.dtype.type
    for start in range(0, x.shape[0], BLOCK):
        part = x[start : min(start + BLOCK, x.shape[0])]
        n = part.shape[0]
        z, e = z_buffer[:n], e_buffer[:n]
        if inverse != real(1.0):
            for j in range(n):
                z[j] = tempered(part[j], inverse)
            part = z
        largest, unordered = largest_of(part)
        if unordered or largest == real(INF_F64):
            return m, NAN_F64, t
        if largest == real(-INF_F64):
            continue
        if with_t:
            for j in range(n):
                below = part[j] - largest
                z[j] = below if below > real(LOWEST) else real(LOWEST)
                e[j] = exp_flushed(below)
            part_t = add_dot(0.0, e, z, partial)
        else:
            for j in range(n):
                e[j] = exp_flushed(part[j] - largest)
            part_t = 0.0
        m, s, t = joined_moments(m, s, t, float64(largest), add_sum(0.0, e, partial), part_t)
    return m, s, t
