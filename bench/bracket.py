"""Where the coefficients of ``kernels/cpu/bracket.py`` come from: ``python bench/bracket.py`` prints them again.

A linear programme in float64: the smallest d such that, for every coarse half-word c from 1 on, the cubic in the mantissa and
the polynomial in c lie above G at the left end of its interval, and up to v = 0.88 by no more than d.
"""

import click
import numpy as np
from numpy.polynomial import polynomial
from scipy.optimize import linprog

MANTISSA_DEGREE, DEGREE, LEVEL_TO = 3, 6, 0.88

# Above the rounding of the float32 evaluation, 3e-5; the test of the bracket prints what is left.
MARGIN = 5e-5


@click.command()
def main():
    """Solve, change to powers of m and c, print."""
    c = np.arange(1, 1 << 16, dtype=np.float64)
    v, exponent = c / 65536, np.floor(np.log2(c))
    m = c / 2**exponent
    wanted = -np.log(-np.log1p(-v)) + (exponent + m - 1 - 16) * np.log(2)
    some = np.unique(np.concatenate([np.arange(2048), np.arange(2048, 65535, 31), [65534]]))
    powers = [(m - 1.5) ** k for k in range(MANTISSA_DEGREE + 1)] + [(v - 0.5) ** k for k in range(1, DEGREE + 1)]
    matrix = np.stack(powers, axis=1)[some]
    free = np.where(v[some] > LEVEL_TO, 1e3, 0.0)
    above = np.hstack([-matrix, np.zeros((len(some), 1))])
    level = np.hstack([matrix, -np.ones((len(some), 1))])
    count = matrix.shape[1]
    solution = linprog(
        [0.0] * count + [1.0],
        A_ub=np.vstack([above, level]),
        b_ub=np.concatenate([-wanted[some], wanted[some] + free]),
        bounds=[(None, None)] * count + [(0, None)],
        method="highs",
    ).x
    of_m, of_c = np.zeros(1), np.zeros(1)
    for k in range(MANTISSA_DEGREE + 1):
        of_m = polynomial.polyadd(of_m, solution[k] * polynomial.polypow([-1.5, 1], k))
    for k in range(1, DEGREE + 1):
        of_c = polynomial.polyadd(of_c, solution[MANTISSA_DEGREE + k] * polynomial.polypow([-0.5, 1 / 65536], k))
    print("largest excess up to v =", LEVEL_TO, "is", solution[-1])
    print("constant:", 143 * np.log(2) + of_m[0] + of_c[0] + MARGIN)
    print("powers of the mantissa, from 1:", *of_m[1:])
    print("powers of c, from 1:", *of_c[1:])


if __name__ == "__main__":
    main()
