"""The package behind one small interface, and samplers that are wrong on purpose, each in one way.

A statistical test that has never rejected anything shows nothing. Each check of `test_statistics` is therefore run on the
package, on a sampler that is right and shares nothing with it (NumPy's bits, the textbook's formulas), and on wrong ones.

A sampler has

    gumbel(seed, step, rows, columns, loc, scale)             noise, shape (rows, columns)
    categorical(logits, probs, draws, temperature, method)    that many indices for one row of weights
    topk(logits, k, draws)                                    index and score, shape (draws, k)
    softmax(logits, tau, draws)                               relaxed samples, shape (draws, K)
    race(gap, others, draws, limit)                           noise of the favourite in the draws where it is below the limit,
                                                              and in how many of them one of `others` equal categories wins

and a naming scheme has `key(*parts)`, an int, and `row_ids(*columns)`.
"""

import zlib

import numpy as np

import numgumbel as ng

SEED = 20260111


def of_quantile(u):
    """Gumbel variable of its cumulative probability."""
    return -np.log(-np.log(u))


# --- the package -----------------------------------------------------------------------------------------------------------


class Package:
    """numgumbel through its public functions; rows and steps both vary within a test."""

    ROWS = 1000

    def __init__(self, dtype=np.float64):
        self.dtype = np.dtype(dtype)

    def __repr__(self):
        return f"numgumbel, {self.dtype}"

    def gumbel(self, seed, step, rows, columns, loc=0.0, scale=1.0):
        # The seed is the 64-bit key as it is: neighbouring seeds are neighbouring Philox keys, harder than hashed ones.
        return ng.gumbel(ng.Key(seed), (rows, columns), step=step, loc=loc, scale=scale, dtype=self.dtype)

    def categorical(self, logits=None, probs=None, draws=1000, temperature=1.0, method="gumbel"):
        key = ng.key(SEED, "categorical", method)
        if probs is not None:
            batch, n = self._batch(probs, draws)
            index = ng.categorical(key, probs=batch, temperature=temperature, method=method, n=n)
        else:
            batch, n = self._batch(logits, draws)
            index = ng.categorical(key, batch, temperature=temperature, method=method, n=n)
        return index.reshape(-1)

    def topk(self, logits, k, draws):
        batch, n = self._batch(logits, draws)
        top = ng.gumbel_topk(ng.key(SEED, "topk"), batch, k, n=n)
        return top.index.reshape(-1, k), top.score.reshape(-1, k).astype(np.float64)

    def softmax(self, logits, tau, draws):
        batch, n = self._batch(logits, draws)
        return ng.gumbel_softmax(ng.key(SEED, "softmax"), batch, tau=tau, n=n).reshape(-1, len(logits)).astype(np.float64)

    def race(self, gap, others, draws, limit=np.inf):
        key, row = ng.key(SEED, "race"), np.full(1 + others, -gap, self.dtype)
        row[0] = 0
        chosen, noise, upsets = [], [], 0
        for first in range(0, draws, 1_000_000):
            rows = np.arange(first, min(first + 1_000_000, draws))
            favourite = ng.gumbel(key, rows=rows, cols=[0], dtype=self.dtype)[:, 0]
            chosen.append(rows[favourite < limit])
            noise.append(favourite[favourite < limit])
        chosen = np.concatenate(chosen)
        for first in range(0, chosen.size, self.ROWS):
            rows = chosen[first : first + self.ROWS]
            upsets += np.count_nonzero(ng.categorical(key, np.broadcast_to(row, (rows.size, row.size)), rows=rows))
        return np.concatenate(noise).astype(np.float64), upsets

    def _batch(self, row, draws):
        """One row, repeated without copying, and the number of steps."""
        row = np.asarray(row, self.dtype)
        assert draws % self.ROWS == 0
        return np.broadcast_to(row, (self.ROWS, row.size)), draws // self.ROWS


# --- samplers from a quantile function -------------------------------------------------------------------------------------


class Textbook:
    """Argmax, sort and softmax of logits + noise in plain NumPy; the noise is `quantile` of independent uniforms."""

    def __repr__(self):
        return type(self).__name__

    def quantile(self, u):
        """The noise as an increasing function of a uniform number in (0, 1)."""
        return of_quantile(u)

    def uniforms(self, seed, step, rows, columns):
        u = np.random.default_rng([seed, step]).random((rows, columns))
        return np.maximum(u, 2.0**-60)  # 0 has no logarithm

    def gumbel(self, seed, step, rows, columns, loc=0.0, scale=1.0):
        return loc + scale * self.quantile(self.uniforms(seed, step, rows, columns))

    def categorical(self, logits=None, probs=None, draws=1000, temperature=1.0, method="gumbel"):
        if method == "inverse_cdf":
            return self.inverse_cdf(np.exp(np.divide(logits, temperature)) if probs is None else np.asarray(probs), draws)
        logits = np.log(probs) if probs is not None else np.asarray(logits)
        return (logits / temperature + self.gumbel(SEED, 0, draws, len(logits))).argmax(1)

    def inverse_cdf(self, weights, draws):
        u = np.random.default_rng([SEED, 1]).random(draws)
        return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], u, side="right")

    def topk(self, logits, k, draws):
        scores = logits + self.gumbel(SEED, 2, draws, len(logits))
        index = np.argsort(-scores, axis=1)[:, :k]
        return index, np.take_along_axis(scores, index, 1)

    def softmax(self, logits, tau, draws):
        scores = (logits + self.gumbel(SEED, 3, draws, len(logits))) / tau
        y = np.exp(scores - scores.max(1, keepdims=True))
        return y / y.sum(1, keepdims=True)

    def race(self, gap, others, draws, limit=np.inf):
        """The largest of m independent values is the quantile of the largest of m uniforms, and that is U^(1/m)."""
        rng = np.random.default_rng([SEED, 4])
        noise, upsets = [], 0
        for first in range(0, draws, 1_000_000):
            favourite = self.quantile(np.maximum(rng.random(min(1_000_000, draws - first)), 2.0**-60))
            favourite = favourite[favourite < limit]
            largest = self.quantile(np.minimum(rng.random(favourite.size) ** (1 / others), 1 - 2.0**-53))
            noise.append(favourite)
            upsets += np.count_nonzero(largest - gap > favourite)
        return np.concatenate(noise), upsets


class Uniform24(Textbook):
    """24 random bits a value, as in a float32 uniform: the noise ends at 17.3 and comes on a grid."""

    def quantile(self, u):
        return of_quantile((np.floor(u * 2**24) + 0.5) * 2.0**-24)


class Flipped(Textbook):
    """The sign of G is wrong: Gumbel's distribution for minima."""

    def quantile(self, u):
        return np.log(-np.log1p(-u))


class Wide(Textbook):
    """Scale 1.02 in place of 1."""

    def quantile(self, u):
        return 1.02 * of_quantile(u)


class SharedColumns(Textbook):
    """Columns 2j and 2j + 1 have one noise."""

    def uniforms(self, seed, step, rows, columns):
        return np.repeat(super().uniforms(seed, step, rows, (columns + 1) // 2), 2, axis=1)[:, :columns]


class FoldedColumns(Textbook):
    """Column 2j + 1 is |2u - 1| of column 2j: uncorrelated with it and a function of it."""

    def uniforms(self, seed, step, rows, columns):
        u = super().uniforms(seed, step, rows, columns + columns % 2)
        u[:, 1::2] = np.maximum(np.abs(2 * u[:, ::2] - 1), 2.0**-60)
        return u[:, :columns]


class SharedRows(Textbook):
    """Rows 2i and 2i + 1 have one noise."""

    def uniforms(self, seed, step, rows, columns):
        return np.repeat(super().uniforms(seed, step, (rows + 1) // 2, columns), 2, axis=0)[:rows]


class StepIgnored(Textbook):
    """Every step has the noise of step 0."""

    def uniforms(self, seed, step, rows, columns):
        return super().uniforms(seed, 0, rows, columns)


class SeedIgnored(Textbook):
    """Every key has the noise of one."""

    def uniforms(self, seed, step, rows, columns):
        return super().uniforms(SEED, step, rows, columns)


class HalfWordTwice(Textbook):
    """The fine half-word of a value repeats the coarse one."""

    def uniforms(self, seed, step, rows, columns):
        coarse = np.floor(super().uniforms(seed, step, rows, columns) * 2**16)
        return (coarse * 2**16 + coarse + 0.5) * 2.0**-32


class Unnormalised(Textbook):
    """The inverse CDF forgets to divide by the sum of the weights."""

    def inverse_cdf(self, weights, draws):
        u = np.random.default_rng([SEED, 1]).random(draws)
        return np.minimum(np.searchsorted(np.cumsum(weights), u, side="right"), len(weights) - 1)


class TemperatureIgnored(Textbook):
    """Samples at temperature 1 whatever was asked for."""

    def categorical(self, logits=None, probs=None, draws=1000, temperature=1.0, method="gumbel"):
        return super().categorical(logits, probs, draws, 1.0, method)


class Stratified(Textbook):
    """Equidistant uniforms in the inverse CDF: frequencies too close to the probabilities to be independent draws."""

    def inverse_cdf(self, weights, draws):
        u = (np.random.default_rng([SEED, 1]).permutation(draws) + 0.5) / draws
        return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], u, side="right")


class RestUniform(Textbook):
    """The first place of the top-k is right, the others are drawn from the rest without regard to their weights."""

    def topk(self, logits, k, draws):
        first, score = super().topk(logits, 1, draws)
        noise = self.gumbel(SEED, 5, draws, len(logits))
        np.put_along_axis(noise, first, np.inf, 1)
        index = np.argsort(-noise, axis=1)[:, :k]
        return index, np.repeat(score, k, axis=1)


class TauOnNoise(Textbook):
    """The relaxation divides only the noise by tau."""

    def softmax(self, logits, tau, draws):
        scores = logits + self.gumbel(SEED, 3, draws, len(logits)) / tau
        y = np.exp(scores - scores.max(1, keepdims=True))
        return y / y.sum(1, keepdims=True)


# --- naming schemes --------------------------------------------------------------------------------------------------------


class PackageNames:
    """numgumbel's keys and row ids."""

    def key(self, *parts):
        return int(ng.key(*parts))

    def row_ids(self, *columns):
        return ng.row_ids(*columns)


class JoinedParts:
    """Parts written one after the other without lengths: ("a", "b") is ("ab",); row ids by a shift that loses the high bits."""

    def key(self, *parts):
        return zlib.crc32("".join(map(str, parts)).encode()) << 32 | zlib.adler32("".join(map(str, parts)).encode())

    def row_ids(self, first, second):
        return (np.asarray(first, np.int64) << 32) + np.asarray(second, np.int64)


class Seeds:
    """NumPy's SeedSequence, which pads its entropy with zeros: [42], [42, 0] and [42, 0, 0] are one; row ids of 32 bits."""

    def key(self, *parts):
        entropy = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in parts]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def row_ids(self, first, second):
        mixed = ng.row_ids(first, second) & 0xFFFFFFFF
        return mixed | mixed << 32
