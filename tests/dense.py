"""The dense oracle: every score of every cell from the package's own scalars, one address at a time, and NumPy for the rest.

Kernels must agree with it in every index and every bit. It shares the scalars with them, and none of their loops; the scalars
themselves are checked against `oracle`, mpmath and libm elsewhere.
"""

import itertools

import numpy as np
import oracle
from numba import njit

import numgumbel as ng
from numgumbel.kernels import elementary, field, moments

TILE, LANES = 1024, 32  # the summation order is part of the definition, so it is spelt out again here


def _at_addresses(scalar):
    """A loop over addresses of one of the field's scalars."""

    @njit(error_model="numpy")
    def run(k0, k1, steps, rows, cols, out):
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = scalar(k0, k1, steps[i], rows[i], cols[i, j])

    return run


_gumbels = _at_addresses(field.gumbel_at_f32), _at_addresses(field.gumbel_at_f64)
_exponentials = _at_addresses(field.exponential_at_f32), _at_addresses(field.exponential_at_f64)


@njit(error_model="numpy")
def _scores_f32(x, inverse, g, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = field.score_f32(x[i, j], inverse[i], g[i, j])


@njit(error_model="numpy")
def _scores_f64(x, inverse, g, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = field.score_f64(x[i, j], inverse[i], g[i, j])


@njit(error_model="numpy")
def _divide(x, divisor, out):
    reciprocal = x.dtype.type(1.0) / divisor
    for j in range(x.size):
        out[j] = elementary.quotient(x[j], divisor, reciprocal)


def _elementwise(f32, f64):
    functions = {np.dtype(np.float32): f32, np.dtype(np.float64): f64}

    @njit(error_model="numpy")
    def run32(x, out):
        for i in range(x.size):
            out.flat[i] = f32(x.flat[i])

    @njit(error_model="numpy")
    def run64(x, out):
        for i in range(x.size):
            out.flat[i] = f64(x.flat[i])

    runs = dict(zip(functions, (run32, run64), strict=True))

    def apply(x):
        out = np.empty_like(x)
        runs[x.dtype](x, out)
        return out

    return apply


def _fused(real):
    @njit(error_model="numpy")
    def run(a, b, c, out):
        for j in range(out.size):
            out[j] = elementary.fma(real(a[j]), real(b[j]), real(c[j]))

    def apply(a, b, c):
        a, b, c = (np.array(part, real) for part in np.broadcast_arrays(a, b, c))
        out = np.empty_like(a)
        run(a, b, c, out)
        return out

    return apply


fma = {np.dtype(real): _fused(real) for real in (np.float32, np.float64)}
exp = _elementwise(elementary.exp_f32, elementary.exp_f64)
log = _elementwise(elementary.log_f32, elementary.log_f64)

gumbel_of_exponential = _elementwise(field.gumbel_of_exponential_f32, field.gumbel_of_exponential_f64)


def gumbel(key, shape, dtype, step=0, rows=None, cols=None):
    """G as an array of `shape` (rows, columns); step and rows scalar or one a row, cols one a column or one a cell."""
    return _field(key, shape, dtype, step, rows, cols, _gumbels)


def exponential(key, shape, dtype, step=0, rows=None, cols=None):
    """E; arguments as in `gumbel`."""
    return _field(key, shape, dtype, step, rows, cols, _exponentials)


def _field(key, shape, dtype, step, rows, cols, runs):
    count, columns = shape
    steps = np.broadcast_to(np.asarray(step, np.int64), (count,)).copy()
    rows = np.arange(count) if rows is None else np.asarray(rows, np.int64)
    cols = np.broadcast_to(np.arange(columns) if cols is None else np.asarray(cols, np.int64), shape).copy()
    out = np.empty(shape, dtype)
    run = runs[out.dtype == np.float64]
    k0, k1 = (np.uint32(word) for word in key.words)
    run(k0, k1, steps, rows, cols, out)
    return out


def cells(logits=None, probs=None, mask=None):
    """Logits in effect: log of probabilities, -inf where masked."""
    x = logits.copy() if probs is None else log(probs)
    if mask is not None:
        x[~np.broadcast_to(np.asarray(mask).astype(bool), x.shape)] = -np.inf
    return x


def scores(key, x, temperature=1.0, **address):
    """logits / T + G; the logits themselves where T is 0."""
    return scores_of_noise(x, gumbel(key, x.shape, x.dtype, **address), temperature)


def scores_of_noise(x, g, temperature):
    """logits / T + G for G that is there already."""
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), (len(x),))
    with np.errstate(divide="ignore"):
        inverse = (1.0 / temperature).astype(x.dtype)
    out = np.empty_like(x)
    (_scores_f32 if x.dtype == np.float32 else _scores_f64)(x, inverse, g, out)
    out[temperature == 0] = x[temperature == 0] + x.dtype.type(0)
    return out


def bad_rows(x):
    """Rows without a category, or with a NaN."""
    return np.isnan(x).any(axis=1) | (x == -np.inf).all(axis=1)


def categorical(key, x, temperature=1.0, **address):
    """Index of the largest score, the lowest on a tie; -1 for an invalid row."""
    return largest(x, scores(key, x, temperature, **address))


def largest(x, s):
    """Index of the largest of the scores s of logits x, the lowest on a tie; -1 for an invalid row."""
    return np.where(bad_rows(x), -1, np.where(np.isnan(x), -np.inf, s).argmax(axis=1))


def topk(key, x, k, temperature=1.0, **address):
    """(index, score, threshold) by a stable sort of all scores."""
    return k_largest(x, scores(key, x, temperature, **address), k)


def k_largest(x, s, k):
    """(index, score, threshold) of the scores s of logits x, by a stable sort."""
    bad = bad_rows(x)
    safe = np.where(np.isnan(s), -np.inf, s)
    order = np.argsort(-safe, axis=1, kind="stable")
    ranked = np.take_along_axis(safe, order, axis=1)
    index = np.where(ranked == -np.inf, -1, order)
    padded = np.concatenate([ranked, np.full((len(x), 1), -np.inf, x.dtype)], axis=1)
    index, score, threshold = index[:, :k].copy(), ranked[:, :k].copy(), padded[:, k].copy()
    index[bad], score[bad], threshold[bad] = -1, np.nan, np.nan
    return index, score, threshold


def fixed_sum(values):
    """Sum of a vector in the defined order: blocks of 1024, 32 interleaved partial sums each, joined in order in float64."""
    total = np.float64(0)
    for start in range(0, len(values), TILE):
        block = values[start : start + TILE]
        padded = np.zeros(-(-len(block) // LANES) * LANES, values.dtype)
        padded[: len(block)] = block
        partial = np.zeros(LANES, values.dtype)
        for line in padded.reshape(-1, LANES):
            partial = partial + line
        here = np.float64(0)
        for p in partial[: min(LANES, len(block))]:
            here = here + np.float64(p)
        total = total + here
    return total


def softmax(key, x, tau=1.0, hard=False, **address):
    """softmax((x + G) / tau) in the working precision and the defined order; NaN for an invalid row."""
    tau = np.broadcast_to(np.asarray(tau, np.float64), (len(x),))
    s, e_field = scores(key, x, **address), exponential(key, x.shape, x.dtype, **address)
    y = np.zeros_like(x)
    for i, bad in enumerate(bad_rows(x)):
        best = s[i].max()
        if bad:
            y[i] = np.nan
        elif hard or tau[i] == 0 or best == np.inf:
            y[i, s[i].argmax()] = 1
        else:
            at_one = tau[i] == 1  # exp(x + G) is exp(x) / E
            e = exp(x[i] - x[i].max()) / e_field[i] if at_one else exp((s[i] - best) * x.dtype.type(1.0 / tau[i]))
            _divide(e, x.dtype.type(fixed_sum(e)), y[i])
    return y


def inverse_cdf(key, x, temperature=1.0, step=0, rows=None, uniform=None):
    """Smallest index whose cumulative integer weight exceeds the uniform's share, in Python integers."""
    count, columns = x.shape
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), (count,))
    steps = np.broadcast_to(np.asarray(step, np.int64), (count,))
    rows = np.arange(count) if rows is None else rows
    scale = float(2 ** (62 - (columns - 1).bit_length()))
    index = np.full(count, -1)
    for i in np.flatnonzero(~bad_rows(x)):
        wide = x[i].astype(np.float64)
        if temperature[i] == 0 or wide.max() == np.inf:
            index[i] = wide.argmax()
            continue
        weights = [int(w) for w in np.floor(exp((wide - wide.max()) * (1.0 / temperature[i])) * scale)]
        target = uniform(int(steps[i]), int(rows[i])) * sum(weights) >> 64
        total = 0
        for j, weight in enumerate(weights):
            total += weight
            if total > target:
                index[i] = j
                break
    return index


_exp_flushed = _elementwise(elementary.exp_flushed_f32, elementary.exp_flushed_f64)


@njit(error_model="numpy")
def _joined(a, b):
    return moments.joined_moments(*a, *b)


@njit(error_model="numpy")
def _fused(a, b, c):
    for i in range(a.size):
        c[i] = elementary.fma(a[i], b[i], c[i])


def tempered(x, temperature):
    """logits / T as the working precision has it, T one a row and positive."""
    with np.errstate(over="ignore"):
        z = x * (1.0 / np.asarray(temperature, np.float64)).astype(x.dtype)[:, None]
    largest = np.finfo(x.dtype).max
    return np.where(np.isfinite(x), np.clip(z, -largest, largest), x)


def _four(values):
    """Four partial sums as one float64, in pairs."""
    a, b, c, d = values.astype(np.float64)
    return (a + b) + (c + d)


def moments_of_row(z):
    """(M, S, T) as float64 of one row z with something allowed and nothing infinite or NaN, in the defined order."""
    joined = (0.0, 0.0, 0.0)
    for start in range(0, len(z), 2048):
        tile = z[start : start + 2048]
        if (tile == -np.inf).all():
            continue
        below = tile - tile.max()
        e, below = _exp_flushed(below), np.maximum(below, z.dtype.type(-709))
        s_partial, t_partial = np.zeros((2, LANES), z.dtype)
        for line in range(0, len(tile), LANES):
            part = slice(line, line + LANES)
            s_partial[: len(e[part])] += e[part]
            _fused(e[part], below[part], t_partial[: len(e[part])])
        s, t = np.float64(0), np.float64(0)
        for p in range(0, LANES, 4):
            s += _four(s_partial[p : p + 4])
            t += _four(t_partial[p : p + 4])
        joined = _joined(joined, (float(tile.max()), float(s), float(t)))
    return joined


def known(x, index, temperature=1.0):
    """(log_prob, logsumexp, entropy) as float64 of the chosen categories of rows of logits, -1 for none."""
    count = len(x)
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), (count,))
    result = np.full((3, count), np.nan)
    z = tempered(x, np.where(temperature == 0, 1, temperature))
    for i, (bad, chosen) in enumerate(zip(bad_rows(x), index, strict=True)):
        if bad or chosen < 0:
            result[1, i] = -np.inf if (x[i] == -np.inf).all() else np.nan
        elif temperature[i] == 0 or x[i].max() == np.inf:
            result[:, i] = 0.0 if chosen == x[i].argmax() else -np.inf, x[i].max(), 0.0
        else:
            m, s, t = moments_of_row(z[i])
            log_s = log(np.array([s]))[0]
            result[:, i] = (np.float64(z[i, chosen]) - m) - log_s, m + log_s, log_s - t / s
    return result


def actions(key, x, heads, temperature=1.0, deterministic=False, **address):
    """(action, log_prob, entropy) of rows with several heads; NaN where a head has no action."""
    s = scores(key, x, temperature, **address)
    action, log_prob, entropy = [], np.zeros(len(x)), np.zeros(len(x))
    for begin, end in itertools.pairwise(heads):
        part = x[:, begin:end]
        index = largest(part, part if deterministic else s[:, begin:end])
        a, _, h = known(part, index, temperature)
        log_prob, entropy = log_prob + a, entropy + h
        action.append(index)
    return np.stack(action, axis=1), log_prob.astype(x.dtype), entropy.astype(x.dtype)


def inverse_cdf_draws(key, x, n, temperature=1.0, step=0, rows=None):
    """`inverse_cdf` at step, step + 1, ... as an array (n, rows): weights as there, every draw searched in their sums."""
    count, columns = x.shape
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), (count,))
    steps = np.broadcast_to(np.asarray(step, np.int64), (count,))
    rows = np.arange(count) if rows is None else rows
    scale = float(2 ** (62 - (columns - 1).bit_length()))
    index = np.full((n, count), -1)
    for i in np.flatnonzero(~bad_rows(x)):
        wide = x[i].astype(np.float64)
        if temperature[i] == 0 or wide.max() == np.inf:
            index[:, i] = wide.argmax()
            continue
        sums = np.cumsum(np.floor(exp((wide - wide.max()) * (1.0 / temperature[i])) * scale).astype(np.uint64))
        uniforms = oracle.uniforms(key.words, int(steps[i]), n, int(rows[i]))
        targets = (uniforms.astype(object) * int(sums[-1]) >> 64).astype(np.uint64)
        index[:, i] = np.searchsorted(sums, targets, side="right")
    return index


def conditional(key, x, index, temperature=1.0, sample=0, scores=False, **address):
    """Noise, or scores, given the index of each row's largest score; NaN for a row where that is impossible."""
    real = x.dtype.type
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), (len(x),))
    e_field = exponential(ng.fold(key, sample, 2), x.shape, x.dtype, **address)
    out, limit = gumbel_of_exponential(e_field), np.finfo(real).max
    score = lambda row, t, g: scores_of_noise(row[None], np.asarray(g, real)[None], t)[0]
    bad = bad_rows(x)
    for i, at in enumerate(index):
        inverse, largest = real(1.0 / temperature[i]), x[i].max()
        if bad[i] or not 0 <= at < x.shape[1] or x[i, at] == -np.inf or (largest == np.inf and at != x[i].argmax()):
            out[i] = np.nan
            continue
        if largest < np.inf:
            with np.errstate(over="ignore"):
                e = exp((x[i] - largest) * inverse)
                total = fixed_sum(e)
                out[i] = gumbel_of_exponential(fma[x.dtype](real(np.float64(e_field[i, at]) / total), e, e_field[i]))
                distance = (np.float64(largest) - np.float64(x[i, at])) * np.float64(inverse)
            own = gumbel_of_exponential(e_field[i, at : at + 1])[0]
            noise = np.float64(own) + (log(np.array([total]))[0] + distance)
            tries = [real(noise) if noise < limit else limit, limit, real(np.inf)]
            found = [score(x[i, [at]], temperature[i], [g])[0] for g in tries]
            which = next(number for number, s in enumerate(found) if s > -limit)
            out[i, at], best = tries[which], found[which]
            s = score(x[i], temperature[i], out[i])
            for j in np.flatnonzero((s >= best) & (np.arange(x.shape[1]) != at)):
                cell, below = x[i, [j]], np.nextafter(best, real(-np.inf))
                g = np.maximum(fma[x.dtype](-cell, inverse, below), -limit)
                while score(cell, temperature[i], g)[0] >= best:
                    with np.errstate(over="ignore"):
                        g = np.nextafter(g, real(-np.inf))
                out[i, j] = g[0]
        if scores:
            out[i] = score(x[i], temperature[i], out[i])
    return out
