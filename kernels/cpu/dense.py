"""A short row, every score computed: for the few rows at a time that neither fill vectors side by side nor repay a bound."""

from ..elementary import INF_F64
from ..jit import loop
from .cells import tile_of
from .noise import fill_noise
from .scores import score

# Columns of the longest row, in whole vectors; the crossover to longer ones is the driver's.
WIDTH = 512


@loop
def argmax_of_short_row(buffer, noise, scratch, address, temperature, cols, cells, mask, flags, outer, inner):
    """Index of the largest score of one row; -1 where nothing is allowed or an allowed cell is NaN.

    Parameters
    ----------
    buffer, noise : scratch real[WIDTH]
    scratch : tuple
        From `scratch_of`.
    address : tuple
        From `row_address`.
    temperature : float64
        Of this row.
    cols, cells, mask, flags, outer, inner
        As in `argmax_of_row`; up to `WIDTH` columns.
    """
    n, real = cells.shape[2], buffer.dtype.type
    x = tile_of(buffer, cells, mask, flags, outer, inner, 0, n)
    greedy = temperature == 0.0
    inverse = real(1.0) if greedy else real(1.0 / temperature)
    g = noise[: (n + 15) & ~15]  # whole vectors: a remainder would be computed one by one
    if greedy:
        g[:] = real(0.0)
    else:
        fill_noise(g, scratch, address, cols, flags, outer, inner, 0)
    best, index = real(-INF_F64), -1
    for j in range(n):
        s = score(x[j], inverse, g[j])
        if not s <= best:  # larger, or NaN
            if s != s:
                return -1
            best, index = s, j
    return index
