"""A short row, every score computed: for the few rows at a time that neither fill vectors side by side nor repay a bound.

Column ids are positions here, so that the bits are two runs of words. Small, because every sampler of short rows compiles it.
"""

from ..elementary import INF_F64
from ..field import DOMAIN_COARSE, DOMAIN_FINE, TAIL_BELOW
from ..jit import loop
from .bits import fill_words, groups_of, join_halves
from .cells import HAS_MASK, IS_PROBS, as_real, log
from .noise import exponential_of_tail, exponentials_of_bits, gumbel_of_exponential, tails_of_range
from .scores import score

# Columns of the longest row, in whole vectors; the crossover to longer ones is the driver's.
WIDTH = 512


@loop
def argmax_of_short_row(noise, scratch, address, temperature, cells, mask, flags, outer, inner):
    """Index of the largest score of one row; -1 where nothing is allowed or an allowed cell is NaN.

    Parameters
    ----------
    noise : scratch real[WIDTH]
    scratch : tuple
        From `scratch_of`.
    address : tuple
        From `row_address`.
    temperature : float64
        Of this row.
    cells, mask, flags, outer, inner
        As in `argmax_of_row`; up to `WIDTH` columns.
    """
    n, real = cells.shape[2], noise.dtype.type
    greedy = temperature == 0.0
    inverse = real(1.0) if greedy else real(1.0 / temperature)
    coarse, fine, tails = scratch[3], scratch[4], scratch[5]
    g = noise[: (n + 15) & ~15]  # whole vectors: a remainder would be computed one by one
    if greedy:
        for j in range(g.shape[0]):
            g[j] = real(0.0)
    else:
        for domain in range(2):  # one loop for both: inlined twice, it would be compiled twice
            pairs = scratch[1] if domain else scratch[0]
            fill_words(pairs, address, DOMAIN_FINE if domain else DOMAIN_COARSE, 0, groups_of(n))
        tails_of_range(g, scratch, address, 0, groups_of(n))
        if exponentials_of_bits(g, coarse, fine, tails):
            for j in range(n):
                b32 = join_halves(coarse[j], fine[j])
                if b32 < TAIL_BELOW:
                    g[j] = exponential_of_tail(g[j], address, b32, j)
        for j in range(g.shape[0]):
            g[j] = gumbel_of_exponential(g[j])
    best, index = real(-INF_F64), -1
    for j in range(n):
        if flags & HAS_MASK and mask[outer, inner, j] == 0:
            continue
        x = as_real(cells[outer, inner, j])
        s = score(log(x) if flags & IS_PROBS else x, inverse, g[j])
        if not s <= best:  # larger, or NaN
            if s != s:
                return -1
            best, index = s, j
    return index
