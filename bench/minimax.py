"""Where the polynomial coefficients of ``kernels/elementary.py`` come from.

Remez exchange in 60 digits with ``mpmath``, weighted so that the relative error of the whole function is level, or
the absolute error where the name says so.
Run it to print every table again: ``python bench/minimax.py``.
"""

import mpmath as mp

mp.mp.dps = 60


def minimax(target, weight, low, high, degree, rounds=30, grid=4000):
    """Coefficients (constant first) of the polynomial p minimising max |weight (target - p)| on [low, high]."""
    low, high = mp.mpf(low), mp.mpf(high)
    middle, half = (low + high) / 2, (high - low) / 2
    count = degree + 2
    nodes = [middle + half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)][::-1]
    points = [middle - half * mp.cos(mp.pi * i / grid) for i in range(grid + 1)]
    wanted = [target(x) for x in points]
    weights = [weight(x) for x in points]
    for _ in range(rounds):
        system = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                system[i, j] = x**j
            system[i, degree + 1] = (-1) ** i / weight(x)
            right[i] = target(x)
        solution = mp.lu_solve(system, right)
        coefficients = [solution[j] for j in range(degree + 1)]
        level = abs(solution[degree + 1])
        errors = [w * (t - mp.polyval(coefficients[::-1], x)) for x, t, w in zip(points, wanted, weights, strict=True)]
        extrema = _alternating(errors, count)
        nodes = [points[i] for i in extrema]
        worst = max(abs(e) for e in errors)
        if worst <= level * (1 + mp.mpf(10) ** -6):
            break
    return coefficients, worst


def _alternating(errors, count):
    """Indices of `count` alternating extrema: the largest of each run of one sign, the smallest ends dropped."""
    runs, sign = [], 0
    for i, error in enumerate(errors):
        here = 1 if error > 0 else -1
        if here != sign:
            runs.append(i)
            sign = here
        elif abs(error) > abs(errors[runs[-1]]):
            runs[-1] = i
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    if len(runs) < count:
        raise ArithmeticError(f"{len(runs)} extrema where {count} alternate: the grid is too coarse")
    return runs


def neglog_tail(g):
    """Q in -log(1 - g) = g + g^2 q(g)."""
    return mp.mpf(1) / 2 + g / 3 if abs(g) < mp.mpf(10) ** -12 else (-mp.log1p(-g) - g) / g**2


def neglog_weight(g):
    return mp.mpf(10) ** -9 if abs(g) < mp.mpf(10) ** -12 else abs(g**2 / mp.log1p(-g)) + mp.mpf(10) ** -9


def neglog_absolute_weight(g):
    return g**2 + mp.mpf(10) ** -9


def log1p_tail(f):
    """P in log1p(f) = f - f^2/2 + f^3 p(f)."""
    if abs(f) < mp.mpf(10) ** -12:
        return mp.mpf(1) / 3 - f / 4
    return (mp.log1p(f) - f + f * f / 2) / f**3


def log1p_weight(f):
    return mp.mpf(1) if abs(f) < mp.mpf(10) ** -12 else abs(f**3 / mp.log1p(f)) + mp.mpf(10) ** -9


def exp_tail(r):
    """P in exp(r) = 1 + r + r^2 p(r)."""
    return mp.mpf(1) / 2 + r / 6 if abs(r) < mp.mpf(10) ** -12 else (mp.exp(r) - 1 - r) / r**2


def exp_weight(r):
    return r * r / mp.exp(r) + mp.mpf(10) ** -9


TABLES = {  # name: (target, weight, low, high, degree)
    "neglog1m, float32": (neglog_tail, neglog_weight, 0, 0.5, 8),
    "neglog1m, float64": (neglog_tail, neglog_weight, 0, 0.5, 19),
    "neglog1m, absolute, float32": (neglog_tail, neglog_absolute_weight, 0, 0.5, 6),
    "neglog1m, absolute, float64": (neglog_tail, neglog_absolute_weight, 0, 0.5, 17),
    "log1p, float32": (log1p_tail, log1p_weight, -0.3334, 0.3334, 7),
    "log1p, float64": (log1p_tail, log1p_weight, -0.3334, 0.3334, 18),
    "exp, float32": (exp_tail, exp_weight, -0.3467, 0.3467, 4),
    "exp, float64": (exp_tail, exp_weight, -0.3467, 0.3467, 9),
}

if __name__ == "__main__":
    for name, (target, weight, low, high, degree) in TABLES.items():
        coefficients, worst = minimax(target, weight, low, high, degree)
        print(f"{name}: degree {degree} on [{low}, {high}], worst error 2^{float(mp.log(worst, 2)):.1f}")
        for c in coefficients:
            print(f"    {mp.nstr(c, 20)}")
