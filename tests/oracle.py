"""The field in plain NumPy and Python integers, from its definition alone: nothing of the package is imported here.

Floating-point values are float64 (float128 inside where the platform has it) and good to a few float64 ulp, far below the
float32 field's own error.
"""

import hashlib

import numpy as np

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = 0x9E3779B9, 0xBB67AE85
LOW, THIRTY_TWO = np.uint64(0xFFFFFFFF), np.uint64(32)
COUNTER_FOLD, COUNTER_UNIFORM = 0xFFFFFFFE, 0xFFFFFFFF


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 on arrays (or numbers) of 32-bit words, broadcast; four uint32 arrays."""
    c0, c1, c2, c3 = (np.asarray(c).astype(np.uint64) & LOW for c in (c0, c1, c2, c3))
    for number in range(10):
        key0, key1 = np.uint64((int(k0) + number * W0) % 2**32), np.uint64((int(k1) + number * W1) % 2**32)
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (p1 >> THIRTY_TWO) ^ c1 ^ key0, p1 & LOW, (p0 >> THIRTY_TWO) ^ c3 ^ key1, p0 & LOW
    return tuple(c.astype(np.uint32) for c in np.broadcast_arrays(c0, c1, c2, c3))


def key_words(seed, *stream):
    """(k0, k1) of a seed and stream."""
    data = b""
    for part in (seed, *stream):
        if isinstance(part, str):
            data += b"s" + str(len(part.encode())).encode() + b":" + part.encode()
        else:
            data += b"i" + str(part).encode() + b";"
    digest = hashlib.blake2b(data, digest_size=8, person=b"numgumbel.v1").digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def fold(words, x, tag):
    """New key words from words, a 64-bit number and a tag."""
    w0, w1, _, _ = philox4x32(COUNTER_FOLD, x % 2**32, x >> 32, tag, *words)
    return int(w0), int(w1)


def _address(words, step, rows):
    """(key words, c3 of domain 0, row low, row high) for one step and an array of rows."""
    if step >> 30:
        words = fold(words, step >> 30, 1)
    rows = np.asarray(rows, np.int64).view(np.uint64)
    return words, (step % 2**30) << 2, rows & LOW, rows >> THIRTY_TWO


def _half(h, words):
    word = np.choose(h >> 1, words).astype(np.uint64)
    return (word >> (np.uint64(16) * (h & 1).astype(np.uint64))) & np.uint64(0xFFFF)


def bits(words, step, rows, cols):
    """(b32, tail) as uint64 arrays for one step (int), rows and columns broadcast together."""
    rows, cols = np.broadcast_arrays(np.asarray(rows, np.int64), np.asarray(cols, np.int64))
    words, c3, r0, r1 = _address(words, step, rows.copy())
    c0, h = cols >> 3, cols & 7
    coarse = _half(h, philox4x32(c0, r0, r1, c3, *words))
    fine = _half(h, philox4x32(c0, r0, r1, c3 | 1, *words))
    low, high = (np.choose(h & 3, philox4x32(c0, r0, r1, c3 | domain, *words)) for domain in (2, 3))
    return coarse << np.uint64(16) | fine, np.where(h < 4, low, high).astype(np.uint64)


def exponential_of_bits(b32, tail, dtype):
    """E of the field of one precision from its bits."""
    b32, tail = np.asarray(b32, np.uint64), np.asarray(tail, np.uint64)
    wide = np.longdouble
    b, t = b32.astype(wide), tail.astype(wide)
    with np.errstate(divide="ignore"):  # the side that is not chosen
        if np.dtype(dtype) == np.float64:
            v = (b * 2**32 + t + wide(0.5)) * wide(2.0**-64)
            u = ((2**32 - 1 - b) * 2**32 + (2**32 - 1 - t) + wide(0.5)) * wide(2.0**-64)
        else:
            v = np.where(b32 < 256, (b * 2**32 + t + wide(0.5)) * wide(2.0**-64), (b + wide(0.5)) * wide(2.0**-32))
            u = (2**32 - b - wide(0.5)) * wide(2.0**-32)
        return np.where(b32 < 2**31, -np.log1p(-v), -np.log(u)).astype(np.float64)


def gumbel(words, step, rows, cols, dtype):
    """G as float64, of the float32 or the float64 field."""
    return -np.log(exponential_of_bits(*bits(words, step, rows, cols), dtype))


def uniform_bits(words, step, row):
    """64 bits of the uniform of one row, as a Python integer."""
    words, c3, r0, r1 = _address(words, step, np.asarray(row))
    w0, w1, _, _ = philox4x32(COUNTER_UNIFORM, r0, r1, c3, *words)
    return int(w1) << 32 | int(w0)


def uniforms(words, step, n, row):
    """`uniform_bits` of n successive steps, as uint64[n]."""
    found, first = [], step
    while first < step + n:
        last = min(step + n, (first >> 30) + 1 << 30)  # all of one folded key
        folded, c3, r0, r1 = _address(words, first, np.asarray(row))
        counters = c3 + (np.arange(last - first, dtype=np.uint64) << np.uint64(2))
        w0, w1, _, _ = philox4x32(COUNTER_UNIFORM, r0, r1, counters, *folded)
        found.append(w1.astype(np.uint64) << THIRTY_TWO | w0)
        first = last
    return np.concatenate(found)


def log_inclusion(d):
    """log(1 - exp(-exp(d))) in float64, by whichever way is accurate there."""
    with np.errstate(all="ignore"):
        y = np.exp(d)
        return np.where(y < 1e-8, d - y / 2, np.where(y < 0.5, np.log(-np.expm1(-y)), np.log1p(-np.exp(-y))))


# The operations, in float64, over rows: logits x[R, K] in effect (-inf where excluded), temperatures t[R], noise g[R, K].


def field(words, steps, rows, cols, dtype):
    """G[R, K] as float64: one step and row id a row, column ids cols[R, K]."""
    values = [gumbel(words, int(step), row, ids, dtype) for step, row, ids in zip(steps, rows, cols, strict=True)]
    return np.array(values).reshape(np.shape(cols))


def invalid(x):
    """Rows with a NaN, or without a category."""
    return np.isnan(x).any(axis=1) | (x == -np.inf).all(axis=1)


def tempered(x, t):
    """x / t; x itself where t is 0."""
    return x / np.where(t == 0, 1, t)[:, None]


def scores(x, g, t):
    """x / t + g; x itself where t is 0."""
    return np.where((t == 0)[:, None], x, tempered(x, t) + g)


def probabilities(z):
    """softmax of rows of z; all at the first +inf where there is one."""
    certain = z.max(axis=1) == np.inf
    finite = np.where(certain[:, None], 0, z)
    e = np.exp(finite - finite.max(axis=1, keepdims=True))
    e[certain] = np.arange(z.shape[1]) == z[certain].argmax(axis=1)[:, None]
    return e / e.sum(axis=1, keepdims=True)


def known(x, index, t):
    """(log_prob, logsumexp, entropy) of given positions; not of invalid rows."""
    top = x.max(axis=1)
    certain = (t == 0) | (top == np.inf)
    z = tempered(x, t)
    m = np.where(certain, 0, z.max(axis=1))[:, None]
    z = np.where(certain[:, None], 0, z)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_s = np.log(np.exp(z - m).sum(axis=1))
        log_p = z - m - log_s[:, None]
        terms = np.where(log_p > -np.inf, np.exp(log_p) * log_p, 0)
    chosen = np.take_along_axis(log_p, index[:, None], axis=1)[:, 0]
    return (
        np.where(certain, np.where(index == x.argmax(axis=1), 0, -np.inf), chosen),
        np.where(certain, top, m[:, 0] + log_s),
        np.where(certain, 0, -terms.sum(axis=1)),
    )


def softmax_vjp(y, c, tau):
    """Gradient of sum(c y), y the softmax of rows over tau, in the logits."""
    return y * (c - (c * y).sum(axis=1, keepdims=True)) / tau[:, None]


def known_vjp(x, index, a, b, t):
    """Gradient of a log_prob + b entropy in x; 0 where one category is certain."""
    p = probabilities(tempered(x, t))
    with np.errstate(divide="ignore"):
        log_p = np.where(p > 0, np.log(p), 0)
    entropy = -(p * log_p).sum(axis=1, keepdims=True)
    onehot = np.arange(x.shape[1]) == index[:, None]
    gradient = (a[:, None] * (onehot - p) - b[:, None] * p * (log_p + entropy)) / t[:, None]
    return np.where((x.max(axis=1) == np.inf)[:, None] | (x == -np.inf), 0, gradient)


def conditional(x, index, e, t):
    """Noise given that the largest score is at index, from exponentials e: T_i = E_i / sum w, T_j = T_i + E_j / w_j."""
    z = tempered(x, t)
    certain = x.max(axis=1) == np.inf
    z = np.where(certain[:, None], 0, z)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    own = np.take_along_axis(e, index[:, None], axis=1)
    noise = -np.log(e + own * np.exp(log_p))
    np.put_along_axis(noise, index[:, None], -np.log(own) - np.take_along_axis(log_p, index[:, None], axis=1), axis=1)
    return np.where(certain[:, None], -np.log(e), noise)
