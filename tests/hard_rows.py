"""Batches of rows that are hard to sample right: every kind of row side by side, under every kind of request.

Rows of all kinds stand in one batch in random order, so that a row that goes a way of its own has neighbours that do not. A
batch is a function of its number of categories, precision and request alone: the three build it again.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import numgumbel as ng

KEY_PARTS = 5, "hard rows"
KEY = ng.key(*KEY_PARTS)
NAN, INF = np.nan, np.inf


# --- kinds of rows: functions of (generator, G at their addresses, temperatures), as an array of G's shape and precision ------


def flat(rng, g, temperature):
    return rng.standard_normal(g.shape, g.dtype)


def peaked(rng, g, temperature):
    """Up to three categories far above the rest, within and beyond the reach of the noise."""
    x = rng.standard_normal(g.shape, g.dtype)
    rows = np.arange(len(x))
    for _ in range(3):
        x[rows, rng.integers(x.shape[1], size=len(x))] += rng.uniform(5, 70, len(x)).astype(g.dtype)
    return x


def rising(rng, g, temperature):
    return np.sort(flat(rng, g, temperature), axis=1)


def falling(rng, g, temperature):
    return np.sort(flat(rng, g, temperature), axis=1)[:, ::-1]


def constant(rng, g, temperature):
    """The noise alone decides."""
    return np.repeat(rng.normal(0, 3, (len(g), 1)), g.shape[1], 1)


def tied(rng, g, temperature):
    """So large that the noise is rounded away: the lowest index wins."""
    return np.repeat(rng.choice([1e30, -1e30, 1e25], (len(g), 1)), g.shape[1], 1)


def huge(rng, g, temperature):
    return 1e30 * rng.standard_normal(g.shape)


def tiny(rng, g, temperature):
    """Also below the smallest normal float32, and zeros of both signs."""
    return rng.choice([1e-30, 1e-42, 0.0], (len(g), 1)) * rng.standard_normal(g.shape)


def stretches(rng, g, temperature):
    """A stretch of excluded categories, at times all of them, or all but one."""
    x = rng.standard_normal(g.shape, g.dtype)
    x[stretch(rng, g.shape)] = -INF
    return x


def level(rng, g, temperature):
    """Logits that undo the noise: all scores within a rounding of one or of two heights."""
    height = rng.choice([0.0, 3.0, 40.0], (len(g), 1)) - np.where(rng.random(g.shape) < 0.3, 1e-6, 0.0)
    return (height - g) * np.broadcast_to(np.where(temperature == 0, 1.0, temperature), len(g))[:, None]


def two_levels(rng, g, temperature):
    """Neighbouring floats, where their spacing is below the noise and where it is not."""
    base = rng.choice([1.0, 300.0, 1e5, 1e7], (len(g), 1)).astype(g.dtype)
    return np.where(rng.random(g.shape) < 0.5, base, np.nextafter(base, g.dtype.type(INF)))


def clamped(rng, g, temperature):
    """The largest floats, whose scores leave the range at a low temperature."""
    limit = np.finfo(g.dtype).max
    x = rng.choice([limit, -limit, limit / 2, -limit / 2, -INF, 0.0], g.shape)
    return np.where(rng.random((len(g), 1)) < 0.4, -np.abs(x), x)


def certain(rng, g, temperature):
    """+inf in several places of some rows."""
    x = flat(rng, g, temperature)
    x[rng.random(g.shape) < 2 / g.shape[1]] = INF
    return x


def nan(rng, g, temperature):
    """One NaN of either sign: first, last or anywhere; among infinities too."""
    x = np.where(rng.random((len(g), 1)) < 0.2, certain(rng, g, temperature), flat(rng, g, temperature))
    x[rng.random((len(g), 1)).repeat(g.shape[1], 1) < 0.1] = -INF
    columns = rng.integers(g.shape[1], size=len(g))
    place = rng.integers(4, size=len(g))
    columns = np.where(place == 0, 0, np.where(place == 1, g.shape[1] - 1, columns))
    x[np.arange(len(g)), columns] = np.copysign(NAN, rng.choice([1.0, -1.0], len(g)))
    return x


def all_at_once(rng, g, temperature):
    x = rng.standard_normal(g.shape) * np.exp(rng.normal(0, 4, (len(g), 1)))
    for value, share in ((NAN, 0.1), (-NAN, 0.1), (INF, 0.3), (-INF, 3)):
        x[rng.random(g.shape) < share / g.shape[1]] = value
    return x


KINDS = (
    flat,
    peaked,
    rising,
    falling,
    constant,
    tied,
    huge,
    tiny,
    stretches,
    level,
    two_levels,
    clamped,
    certain,
    nan,
    all_at_once,
)


def stretch(rng, shape):
    """Boolean array with one stretch of every row set."""
    ends = np.sort(rng.integers(0, shape[1] + 1, (2, shape[0])), axis=0)
    ends = np.where(rng.random(shape[0]) < 0.03, [[0], [shape[1]]], ends)
    ends[0, rng.random(shape[0]) < 0.03] = 1
    columns = np.arange(shape[1])
    return (columns >= ends[0][:, None]) & (columns < ends[1][:, None])


# --- requests: functions of (generator, rows, columns), as arguments of a sampling function -----------------------------------


def plain(rng, rows, columns):
    return {}


def one_temperature(rng, rows, columns):
    return {"temperature": float(rng.choice([0.3, 0.7, 3.0, 1e-3, 2.0**-64, 2.0**64]))}


def greedy(rng, rows, columns):
    return {"temperature": 0.0}


def temperatures(rng, rows, columns):
    return {"temperature": np.where(rng.random(rows) < 0.3, 0.0, np.exp(rng.normal(0, 3, rows)))}


def row_ids(rng, rows, columns):
    return {"rows": rng.integers(-(2**63), 2**63 - 1, rows)}


def steps(rng, rows, columns):
    """On both sides of 2^30, where the step is folded into the key, in runs and row by row."""
    high = np.where(np.arange(rows) % 200 < 100, 2**30 - 3, 2**62)
    step = np.where(rng.random(rows) < 0.5, rng.integers(0, 9, rows), high + rng.integers(0, 6, rows))
    return {"step": np.where(np.arange(rows) % 600 < 300, step, 2**31 + np.arange(rows) // 50)}


def shifted_columns(rng, rows, columns):
    """Column ids that run on from every phase of a group of eight."""
    start = int(rng.choice([0, 8, 2**34])) + 1 + columns % 7
    return {"cols": np.arange(start, start + columns)}


def any_columns(rng, rows, columns):
    return {"cols": rng.integers(0, 2**35 - 16, columns)}


def cells_columns(rng, rows, columns):
    """Column ids of every cell, in the second half of the rows such that run on."""
    cols = rng.integers(0, 2**35 - 16, (rows, columns))
    cols[rows // 2 :] = np.arange(columns) + rng.integers(0, 99, (rows - rows // 2, 1))
    return {"cols": cols}


def repeated_columns(rng, rows, columns):
    """Column ids of every cell, several times in a row, such that share a group of eight, and the ends of the range."""
    few = np.array([0, 1, 6, 7, 8, 12, 2**34, 2**35 - 24, 2**35 - 17])
    return {"cols": rng.choice(few, (rows, columns))}


def repeated_columns_of_all(rng, rows, columns):
    """The same for all rows, in stretches of a group."""
    return {"cols": np.sort(repeated_columns(rng, 1, columns)["cols"][0])}


def masked(rng, rows, columns):
    return {"mask": ~stretch(rng, (rows, columns))}


def draws(rng, rows, columns):
    return {"n": 2, "step": 2**30 - 1}


def probabilities(rng, rows, columns):
    return {"temperature": float(rng.choice([1.0, 1.0, 0.5]))}


def strided(rng, rows, columns):
    return {}


def everything(rng, rows, columns):
    functions = temperatures, row_ids, steps, shifted_columns, masked
    return {name: value for function in functions for name, value in function(rng, rows, columns).items()}


def everything_short(rng, rows, columns):
    """As `everything`, with column ids that are positions."""
    given = everything(rng, rows, columns)
    del given["cols"]
    return given


def everything_with_ids(rng, rows, columns):
    """As `everything`, with column ids of every cell."""
    return everything(rng, rows, columns) | repeated_columns(rng, rows, columns)


REQUESTS = (
    plain,
    one_temperature,
    greedy,
    temperatures,
    row_ids,
    steps,
    shifted_columns,
    any_columns,
    cells_columns,
    masked,
    draws,
    probabilities,
    strided,
    everything,
    everything_short,
    repeated_columns,
    repeated_columns_of_all,
    everything_with_ids,
)


@dataclass
class Batch:
    """Rows of all kinds under one request."""

    name: str
    kind: np.ndarray  # position in KINDS, one a row
    cells: np.ndarray  # as they are passed on: logits, or probabilities
    is_probs: bool
    given: dict[str, Any]  # the other arguments
    noise: list[np.ndarray] = field(repr=False)  # G as the package gives it, one array a draw

    @property
    def temperature(self):
        """Scalar or one a row."""
        return self.given.get("temperature", 1.0)

    def sample(self, function, *arguments, **options):
        """A sampling function of the package on this batch."""
        name = "probs" if self.is_probs else "logits"
        return function(KEY, *arguments, **{name: self.cells}, **(self.given | options), invalid="mark")

    def ids(self, draw=0):
        """(step of each row, row ids, column ids of each cell), spelt out."""
        shape = self.cells.shape
        step = np.broadcast_to(np.asarray(self.given.get("step", 0)) + draw, shape[:1])
        rows = np.broadcast_to(self.given.get("rows", np.arange(shape[0])), shape[:1])
        return step, rows, np.broadcast_to(self.given.get("cols", np.arange(shape[1])), shape)


def batch(columns, dtype, request, each, kinds=KINDS):
    """`each` rows of every kind with that many columns, under a request."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng([columns, dtype.itemsize, REQUESTS.index(request), each])
    kind = rng.permutation(np.repeat([KINDS.index(k) for k in kinds], each))
    rows = len(kind)
    given = request(rng, rows, columns)
    address = {name: given[name] for name in ("rows", "cols") if name in given}
    step = given.get("step", 0)
    noise = [ng.gumbel(KEY, (rows, columns), step=step + draw, dtype=dtype, **address) for draw in range(given.get("n", 1))]
    temperature = np.broadcast_to(given.get("temperature", 1.0), rows)
    x = np.empty((rows, columns), dtype)
    for number in np.unique(kind):
        here = kind == number
        with np.errstate(over="ignore", under="ignore"):
            x[here] = KINDS[number](rng, noise[0][here], temperature[here])
    if "mask" in given:
        x[~given["mask"] & (rng.random(x.shape) < 0.5)] = NAN
        x[~given["mask"] & (rng.random(x.shape) < 0.2)] = -NAN
    if request is probabilities:
        x = weights(x)
    if request is strided:
        wide = np.full((columns * 2, rows), NAN, dtype)
        wide[::-2] = x.T
        x = wide[::-2].T
        x.flags.writeable = False
    only = "" if kinds == KINDS else f", ({', '.join(k.__name__ for k in kinds)},)"
    name = f"batch({columns}, np.{dtype}, {request.__name__}, {each}{only})"
    return Batch(name, kind, x, request is probabilities, given, noise)


def weights(x):
    """exp of logits, 0 and infinity where they are infinite; a NaN of negative sign becomes a negative weight."""
    p = np.exp(np.clip(x, -60, 60))
    p[np.isinf(x)] = np.where(x[np.isinf(x)] > 0, INF, 0)
    p[np.isnan(x) & np.signbit(x)] = -0.5
    return p
