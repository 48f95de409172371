"""Every operation over random shapes, layouts, dtypes, ids, masks, steps, temperatures, draws and outputs (hypothesis).

A case is a call in all its forms and the same problem as plain rows. Results are compared with `oracle`, which is plain NumPy
and knows nothing of the package: indices wherever the best scores differ by more than rounding, which is nearly always and is
asserted to be, everything else within a tolerance; and to the bit with `dense`. Then each comparison is shown wrong calls.
"""

import importlib.util
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import dense
import numpy as np
import oracle
import pytest
import test_semantics_table
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import numgumbel as ng

INF, NAN = np.inf, np.nan
REALS = [np.dtype(np.float32), np.dtype(np.float64)]
HALVES = {np.dtype(np.float16): (2.0**-10, 2.0**-24)}  # relative and absolute spacing
if importlib.util.find_spec("ml_dtypes"):
    import ml_dtypes

    HALVES[np.dtype(ml_dtypes.bfloat16)] = 2.0**-7, 2.0**-133
DTYPES = [*REALS, *HALVES]
SEED = (11, "properties")
KEY, WORDS = ng.key(*SEED), oracle.key_words(*SEED)
KNOWN = ("score", "log_prob", "logsumexp", "entropy")

LAYOUTS = ["C", "F", "permuted", "steps", "negative", "broadcast", "read-only"]
COLUMNS = [1, 2, 3, 5, 7, 8, 9, 16, 17, 33, 70, 130, 520, 1030]
CELLS = 2500  # a case is no larger
STEPS = [0, 1, 5, 2**30 - 1, 2**30, 2**30 + 7, 2**45 + 3, 2**62]


def run(check, examples, phases=tuple(Phase), **strategies):
    """Check as many examples; counts of what they return."""
    tally = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(**strategies)
    def inner(**drawn):
        tally.update(check(**drawn) or {})

    inner()
    return tally


# --- cases ---------------------------------------------------------------------------------------------------------------


def laid_out(array, kind, rng):
    """The same values in another layout of memory."""
    if array.ndim == 0:
        return array
    if kind == "F":
        return np.asfortranarray(array)
    if kind == "permuted":
        order = rng.permutation(array.ndim)
        return array.transpose(order).copy().transpose(np.argsort(order))
    if kind in ("steps", "negative"):
        steps = rng.integers(1, 4, array.ndim) * (-1 if kind == "negative" else 1)
        wide = np.zeros([size * abs(step) for size, step in zip(array.shape, steps, strict=True)], array.dtype)
        view = wide[tuple(slice(None, None, step) for step in steps)]
        view[...] = array
        return view
    if kind == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, repr=False)
class Case:
    """A call and its rows.

    x, given: arguments as they are passed. cells[R, K]: logits in effect, in the working precision; wide: the same in float64.
    steps, rows, cols, t: one a row, one a cell. spoil: what a wrong call would make of its arguments.
    """

    x: np.ndarray
    is_probs: bool
    given: dict[str, Any]
    axis: int
    n: int | None
    out: bool
    batch: tuple[int, ...]
    cells: np.ndarray
    wide: np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    t: np.ndarray
    seed: int
    spoil: Callable[[dict[str, Any]], dict[str, Any]] = field(default=lambda options: options)

    def __repr__(self):
        told = {name: getattr(value, "strides", value) for name, value in self.given.items()}
        array = f"{self.x.dtype}{list(self.x.shape)}, strides {self.x.strides}, {'probs' if self.is_probs else 'logits'}"
        return f"Case({array}, axis={self.axis}, n={self.n}, out={self.out}, seed={self.seed}, {told})"

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    @property
    def dtype(self):
        """The working precision."""
        return self.cells.dtype

    def rounding(self, y):
        """That of a result in the logits' own dtype."""
        relative, absolute = HALVES.get(self.x.dtype, (0, np.finfo(self.dtype).tiny))
        return relative * np.abs(y) + absolute

    @property
    def eps(self):
        return np.finfo(self.dtype).eps

    @property
    def columns(self):
        return self.cells.shape[1]

    @property
    def draws(self):
        return range(1 if self.n is None else self.n)

    @property
    def random(self):
        return np.random.default_rng(self.seed)

    def shaped(self, array):
        """One a row, or rows of numbers, as the caller has them."""
        array = np.asarray(array)
        return array.reshape(self.batch) if array.ndim == 1 else np.moveaxis(array.reshape(*self.batch, -1), -1, self.axis)

    def options(self, *names, **more):
        """Arguments of the call, of those that the function takes."""
        given = {name: value for name, value in self.given.items() if name in names}
        given |= {"axis": self.axis} if "axis" in names else {}
        given |= {"n": self.n} if "n" in names and self.n is not None else {}
        return self.spoil(given | more) | {"invalid": "mark"}

    def logits(self, options):
        """The logits among the options, as probabilities where they are given so."""
        return {"probs": self.x} | options if self.is_probs else {"logits": self.x} | options

    def called(self, function, names, wide, **options):
        """Results of each draw by name, as rows; with `out` a second call must fill it with the same."""
        named = lambda r: dict(zip(names, r, strict=True)) if isinstance(r, tuple) else {names[0]: r}
        before = self.x.tobytes()
        result = named(function(**options))
        if self.out:
            places = {name: np.full_like(part, 9) for name, part in result.items() if name != "col"}
            out = ng.Draw(places["index"], None, *(places[n] for n in KNOWN)) if "col" in names else tuple(places.values())
            again = named(function(out=out if len(out) > 1 else out[0], **options))
            for name, place in places.items():
                assert again[name] is place
                assert place.tobytes() == result[name].tobytes()
        assert self.x.tobytes() == before
        lead = 0 if self.n is None or "n" not in options else 1
        rows = {}
        for name, part in result.items():
            if name in wide:
                part = np.moveaxis(part, self.axis % (part.ndim - lead) + lead, -1)
                rows[name] = part.reshape(-1 if lead else 1, math.prod(self.batch), part.shape[-1]) if part.size else None
            else:
                rows[name] = part.reshape(-1 if lead else 1, math.prod(self.batch)) if part.size else None
        if any(part is None for part in rows.values()):
            assume(False)
        return [{name: part[d] for name, part in rows.items()} for d in range(len(next(iter(rows.values()))))]

    def noise(self, draw):
        """The field of one draw, in plain NumPy."""
        return oracle.field(WORDS, self.steps + draw, self.rows, self.cols, self.dtype)

    def address(self, draw):
        return {"step": self.steps + draw, "rows": self.rows, "cols": self.cols}

    def tolerance(self, t, g=0.0):
        """Rounding of logits / T + G, one a row."""
        with np.errstate(invalid="ignore"):
            size = np.where(np.isfinite(self.wide), np.abs(oracle.tempered(self.wide, t)), 0).max(axis=1)
        return 8 * self.eps * (1 + size + np.abs(g).max(initial=0))


@st.composite
def cases(draw, dtypes=DTYPES, positive=False, probs=True):
    """Any call; at positive temperatures alone, or of logits alone, where asked for."""
    pick = lambda values: draw(st.sampled_from(values))
    dtype = pick(dtypes)
    batch = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), max_size=4)))
    columns = pick(COLUMNS)
    while columns * math.prod(batch) > CELLS:
        columns = columns // 2 + 1 if columns > 8 else columns
        batch = batch if columns > 8 else batch[:-1]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, axis = math.prod(batch), draw(st.integers(0, len(batch)))
    shape = (*batch[:axis], columns, *batch[axis:])
    is_probs = probs and draw(st.booleans())
    values = rng.normal(scale=pick([0.1, 1, 4, 30]), size=shape)
    real = np.dtype(np.float32) if dtype in HALVES else dtype
    values = (np.exp(np.minimum(values, 10)) if is_probs else values).astype(dtype)
    nothing = 0 if is_probs else -INF
    values[rng.random(shape) < pick([0, 0, 0.3])] = nothing
    for special in pick([[], [], [], [INF], [NAN], [INF, NAN], [nothing]]):
        if special == nothing:
            np.moveaxis(values, axis, -1).reshape(-1, columns)[:1] = special
            np.moveaxis(values, axis, -1)[tuple(0 for _ in batch)] = special
        else:
            values[tuple(rng.integers(size) for size in shape)] = special
    kind = pick(LAYOUTS)
    if kind == "broadcast":
        along = rng.integers(len(shape))
        values = np.broadcast_to(np.take(values, [0], along), shape)
    given, mask = {}, np.ones(shape, bool)
    if draw(st.booleans()):
        sides = tuple(1 if rng.random() < pick([0, 0.5]) else size for size in shape)
        part = (rng.random(sides) < 0.8).astype(pick([bool, np.int8, np.uint8]))
        part = part * part.dtype.type(pick([1, 3])) if part.dtype != bool else part
        given["mask"] = laid_out(part, pick(LAYOUTS), rng)
        mask = np.broadcast_to(part, shape).astype(bool)
        if kind != "broadcast":
            values = np.where(~mask & (rng.random(shape) < 0.3), dtype.type(NAN), values)
    x = laid_out(values, kind, rng)

    steps = np.full(count, pick(STEPS))
    if draw(st.booleans()):
        given["step"] = int(steps[0])
        if draw(st.booleans()):
            steps = rng.choice(STEPS, count) + rng.integers(0, 5, count)
            given["step"] = laid_out(steps.reshape(batch), pick(LAYOUTS), rng)
    else:
        steps = np.zeros(count, np.int64)
    rows = np.arange(count)
    if draw(st.booleans()):
        rows = rng.integers(-(2**63), 2**63 - 1, count)
        given["rows"] = laid_out(rows.reshape(batch), pick(LAYOUTS), rng)
    which = pick(["none", "none", "columns", "cells", "run on"])
    cols = np.broadcast_to(np.arange(columns), (count, columns))
    if which == "cells":
        cols = rng.integers(0, 2**35 - 16, (count, columns))
        given["cols"] = laid_out(np.moveaxis(cols.reshape(*batch, columns), -1, axis), pick(LAYOUTS), rng)
    elif which != "none":
        first = rng.integers(0, 2**34)
        ids = rng.choice(10 * columns, columns, replace=False) if which == "columns" else first + np.arange(columns)
        given["cols"], cols = ids, np.broadcast_to(ids, (count, columns))
    choices = [1.0, 0.5, 3.0, 0.1] + ([] if positive else [0.0])
    t = np.full(count, pick(choices))
    if draw(st.booleans()):
        given["temperature"] = float(t[0])
        if draw(st.booleans()):
            t = rng.choice(choices, count)
            given["temperature"] = laid_out(t.reshape(batch), pick(LAYOUTS), rng)
    else:
        t = np.ones(count)

    flat = np.moveaxis(np.asarray(x), axis, -1).reshape(count, columns)
    allowed = np.moveaxis(mask, axis, -1).reshape(count, columns)
    wide = flat.astype(np.float64)
    if is_probs:
        with np.errstate(divide="ignore", invalid="ignore"):
            wide = np.log(wide)
    flat = flat.astype(real)
    cells = dense.cells(None if is_probs else flat, flat if is_probs else None, allowed)
    return Case(
        x=x,
        is_probs=is_probs,
        given=given,
        axis=axis if draw(st.booleans()) else axis - len(shape),
        n=pick([None, None, 1, 3]),
        out=draw(st.booleans()),
        batch=batch,
        cells=cells,
        wide=np.where(allowed, wide, -INF),
        steps=steps,
        rows=rows,
        cols=cols,
        t=t,
        seed=draw(st.integers(0, 99)),
    )


# --- comparisons ---------------------------------------------------------------------------------------------------------


def close(got, wanted, tolerance, label):
    """Equal where not finite, within the tolerance elsewhere."""
    wanted, tolerance = np.broadcast_to(wanted, got.shape), np.broadcast_to(tolerance, got.shape)
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(got[~finite], wanted[~finite].astype(got.dtype), err_msg=label)
    off = np.abs(got[finite] - wanted[finite]) > tolerance[finite]
    assert not off.any(), f"{label}: {got[finite][off][:3]} for {wanted[finite][off][:3]}, within {tolerance[finite][off][:3]}"


def bits(got, wanted, label):
    assert got.dtype == wanted.dtype, (label, got.dtype, wanted.dtype)
    if got.dtype in HALVES:
        got, wanted = got.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_array_equal(got, wanted, err_msg=label)


def ranked(s, t, tolerance, k):
    """(the k first places of each row in order, -1 behind the allowed ones; whether rounding cannot change them)."""
    order = np.argsort(-s, axis=1, kind="stable")
    best = np.take_along_axis(s, order, axis=1)
    with np.errstate(invalid="ignore"):
        gaps = best[:, :-1] - best[:, 1:]
    gaps = np.where(np.isnan(gaps) | (t == 0)[:, None], INF, gaps)  # two infinities, and greedy rows: in the order of index
    clear = (gaps[:, :k] > 2 * tolerance[:, None]).all(axis=1)
    return np.where(best == -INF, -1, order)[:, :k], clear


def settled(case, s, t, tolerance, got, label):
    """Compare indices of largest scores, where they are clear; how many rows were, of how many."""
    bad = oracle.invalid(case.wide)
    index, clear = ranked(s, t, tolerance, got.shape[1])
    index[bad], clear[bad] = -1, True
    np.testing.assert_array_equal(got[clear], index[clear], err_msg=label)
    return Counter(rows=len(clear), decided=int(clear.sum()))


def check_categorical(case):
    options = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n")
    results, tally = case.called(lambda **o: ng.categorical(KEY, **case.logits(o)), ["index"], [], **options), Counter()
    for d, got in zip(case.draws, results, strict=True):
        g = case.noise(d)
        s = oracle.scores(case.wide, g, case.t)
        tally += settled(case, s, case.t, case.tolerance(case.t, g), got["index"][:, None], "index")
        bits(got["index"], dense.categorical(KEY, case.cells, case.t, **case.address(d)), "index")
    return tally


def check_inverse_cdf(case):
    options, tally = case.options("step", "rows", "mask", "temperature", "axis", "n"), Counter()
    if case.n == 3:
        case = replace(case, n=9)
        options["n"] = 9
    results = case.called(lambda **o: ng.categorical(KEY, **case.logits(o), method="inverse_cdf"), ["index"], [], **options)
    bad = oracle.invalid(case.wide)
    p = oracle.probabilities(np.where(bad[:, None], 0, oracle.tempered(case.wide, case.t)))
    sums = np.cumsum(p, axis=1)
    greedy = (case.t == 0) | (case.wide.max(axis=1, initial=-INF, where=~np.isnan(case.wide)) == INF)
    for d, got in zip(case.draws, results, strict=True):
        for i, index in enumerate(got["index"]):
            if bad[i]:
                assert index == -1
            elif greedy[i]:
                assert index == case.wide[i].argmax()
            else:
                u = oracle.uniform_bits(WORDS, int(case.steps[i] + d), case.rows[i]) / 2**64
                clear = np.abs(sums[i, :-1] - u).min(initial=1) > 1e-12 + 4 * case.eps * case.is_probs * (1 / case.t[i])
                if clear:
                    assert index == np.searchsorted(sums[i, :-1], u, side="right")
                tally["decided"] += bool(clear)
                tally["rows"] += 1
    if case.n is None:
        uniform = lambda step, row: oracle.uniform_bits(WORDS, step, row)
        bits(got["index"], dense.inverse_cdf(KEY, case.cells, case.t, case.steps, case.rows, uniform), "index")
    return tally


def check_ragged(case):
    """Its rows cut short, one behind the other."""
    options, tally = case.options("step", "rows", "cols", "mask", "temperature", "n"), Counter()
    kept = np.arange(case.columns) < case.random.integers(0, case.columns + 1, len(case.rows))[:, None]
    in_rows = lambda array: np.moveaxis(np.broadcast_to(array, case.x.shape), case.axis, -1).reshape(kept.shape)
    for name in options:
        if name in ("cols", "mask"):
            one_each = name == "cols" and options[name].ndim == 1
            options[name] = (np.broadcast_to(options[name], kept.shape) if one_each else in_rows(options[name]))[kept]
        elif np.ndim(options[name]):
            options[name] = options[name].reshape(-1)
        elif isinstance(options[name], np.ndarray) and name == "rows":
            options[name] = options[name][None]
    values, offsets = in_rows(case.x)[kept], np.cumsum([0, *kept.sum(axis=1)])
    function = lambda **o: ng.categorical_ragged(KEY, offsets=offsets, **{"probs" if case.is_probs else "logits": values} | o)
    wide, cells = np.where(kept, case.wide, -INF), np.where(kept, case.cells, case.dtype.type(-INF))
    case = replace(case, wide=wide, cells=cells)
    for d, got in zip(case.draws, case.called(function, ["index"], [], **options), strict=True):
        g = case.noise(d)
        s = oracle.scores(wide, g, case.t)
        tally += settled(case, s, case.t, case.tolerance(case.t, g), got["index"][:, None], "index")
        bits(got["index"], dense.categorical(KEY, cells, case.t, **case.address(d)), "index")
    return tally


def check_inclusion(case):
    """Of a sample drawn rightly."""
    plain = replace(case, spoil=lambda options: options)
    drawn = plain.options("step", "rows", "cols", "mask", "temperature", "axis", "n")
    k = int(case.random.integers(1, min(case.columns, 6) + 1))
    top = ng.gumbel_topk(KEY, case.x, k, **drawn)
    options = case.options("temperature", "axis") | ({"n": case.n} if case.n is not None else {})
    options.pop("invalid")
    function = lambda n=None, **o: ng.inclusion_log_prob(case.x, top, **o)
    rows = np.moveaxis(top.index, case.axis % case.x.ndim + (case.n is not None), -1).reshape(-1, len(case.t), k)
    thresholds = top.threshold.reshape(-1, len(case.t)).astype(np.float64)
    for index, threshold, got in zip(rows, thresholds, case.called(function, ["log_q"], ["log_q"], **options), strict=True):
        z = np.take_along_axis(oracle.tempered(case.wide, case.t), np.maximum(index, 0), axis=1)
        certain = (case.t == 0)[:, None] | (threshold == -INF)[:, None] | (z == INF)
        with np.errstate(invalid="ignore"):
            wanted = np.where(certain, 0, oracle.log_inclusion(z - threshold[:, None]))
        wanted = np.where(index < 0, -INF, wanted)
        wanted[oracle.invalid(case.wide)] = NAN
        size = np.where(np.isfinite(threshold), np.abs(threshold), 0)
        tolerance = np.where(certain, 0, (case.tolerance(case.t) + 8 * case.eps * size)[:, None])
        close(got["log_q"], wanted, tolerance, "log_q")
    return Counter(rows=len(case.t), decided=len(case.t))


def check_topk(case):
    options, tally = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n"), Counter()
    k = int(case.random.integers(1, min(case.columns, 6) + 1))
    function = lambda **o: ng.gumbel_topk(KEY, k=k, **case.logits(o))
    results = case.called(function, ["index", "score", "threshold"], ["index", "score"], **options)
    bad = oracle.invalid(case.wide)
    for d, got in zip(case.draws, results, strict=True):
        g = case.noise(d)
        s, tolerance = oracle.scores(case.wide, g, case.t), case.tolerance(case.t, g)
        tally += settled(case, s, case.t, tolerance, got["index"], "index")
        ordered = -np.sort(-np.concatenate([s, np.full((len(s), 1), -INF)], axis=1), axis=1)
        close(got["score"], np.where(bad[:, None], NAN, ordered[:, :k]), tolerance[:, None], "score")
        close(got["threshold"], np.where(bad, NAN, ordered[:, k]), tolerance, "threshold")
        for name, wanted in zip(got, dense.topk(KEY, case.cells, k, case.t, **case.address(d)), strict=True):
            bits(got[name], wanted, name)
    return tally


def tau_of(options):
    """Options with the temperature as tau."""
    return {"tau" if name == "temperature" else name: value for name, value in options.items()}


def relaxed(case, g):
    """(relaxed samples, their relative tolerance) in plain NumPy; NaN in invalid rows, one-hot where tau is 0."""
    with np.errstate(invalid="ignore"):
        s = case.wide + g
        y = oracle.probabilities(s / np.where(case.t == 0, 1, case.t)[:, None])
    onehot = np.arange(case.columns) == s.argmax(axis=1)[:, None]
    y = np.where((case.t == 0)[:, None], onehot, y)
    y[oracle.invalid(case.wide)] = NAN
    size = np.where(np.isfinite(case.wide), np.abs(case.wide), 0).max(axis=1) + np.abs(g).max(axis=1)
    return y, case.eps * (16 + 16 * size / np.where(case.t == 0, 1, case.t))


def check_softmax(case):
    options, tally = tau_of(case.options("step", "rows", "cols", "mask", "temperature", "axis", "n")), Counter()
    bad = oracle.invalid(case.wide)
    for hard in (False, True):
        function = lambda hard=hard, **o: ng.gumbel_softmax(KEY, hard=hard, **case.logits(o))
        for d, got in zip(case.draws, case.called(function, ["sample"], ["sample"], **options), strict=True):
            g, got = case.noise(d), got["sample"]
            bits(got, dense.softmax(KEY, case.cells, case.t, hard=hard, **case.address(d)).astype(case.x.dtype), "sample")
            got = got.astype(np.float64)
            y, tolerance = relaxed(case, g)
            exact = hard | (case.t == 0) | bad
            with np.errstate(invalid="ignore"):
                s = case.wide + g
            if hard:
                index = np.where(bad, -1, np.nan_to_num(got).argmax(axis=1))[:, None]
                tally += settled(case, s, np.ones(len(s)), case.tolerance(np.ones(len(s)), g), index, "one-hot")
            soft = ~exact
            close(got[soft], y[soft], (tolerance[:, None] * y + case.rounding(y))[soft], "sample")
            assert np.isin(got[exact & ~bad], [0, 1]).all()
            assert (got[exact & ~bad].sum(axis=1) == 1).all()
            assert np.isnan(got[bad]).all()
            if case.x.dtype in REALS:
                np.testing.assert_allclose(got[soft].sum(axis=1), 1, atol=8 * case.eps + 2 * case.eps * case.columns**0.5)
    return tally


def check_softmax_vjp(case):
    c = case.random.normal(size=case.cells.shape).astype(case.x.dtype)
    options = tau_of(case.options("step", "rows", "cols", "mask", "temperature", "axis"))
    function = lambda **o: ng.gumbel_softmax_vjp(KEY, case.x, case.shaped(c), **o)
    (got,) = case.called(function, ["gradient"], ["gradient"], **options)
    y, tolerance = relaxed(case, case.noise(0))
    c = c.astype(np.float64)
    wanted = oracle.softmax_vjp(y, c, case.t)
    allowed = case.cells > -INF
    bound = (tolerance + 32 * case.eps)[:, None] * (y * (np.abs(c) + (y * np.abs(c)).sum(axis=1, keepdims=True)))
    bound = 2 * bound / case.t[:, None] + case.rounding(wanted)
    close(got["gradient"].astype(np.float64), wanted, bound, "gradient")
    assert (got["gradient"][~allowed & ~oracle.invalid(case.wide)[:, None]] == 0).all()
    return Counter(rows=len(c), decided=len(c))


def check_field(case):
    options = case.options("step", "rows", "cols", "n")
    options.pop("invalid")
    shape = (*case.batch, case.columns)
    if "cols" in options and options["cols"].ndim > 1:
        options["cols"] = np.moveaxis(options["cols"], case.axis, -1)
    loc, scale = case.random.choice([0.0, 1.5]), case.random.choice([1.0, 0.25])
    function = lambda **o: ng.gumbel(KEY, shape, dtype=case.dtype, loc=loc, scale=scale, **o)
    for d, got in zip(case.draws, replace(case, axis=-1).called(function, ["noise"], ["noise"], **options), strict=True):
        wanted = loc + scale * case.noise(d)
        close(got["noise"], wanted, 8 * case.eps * np.maximum(1, np.abs(wanted)), "noise")
        if loc == 0 and scale == 1:
            bits(got["noise"], dense.gumbel(KEY, case.cells.shape, case.dtype, **case.address(d)), "noise")
    return Counter(rows=len(case.rows), decided=len(case.rows))


def check_draw(case):
    options, tally = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n"), Counter()
    function = lambda **o: ng.draw(KEY, want=KNOWN, **case.logits(o))
    results = case.called(function, ["index", "col", *KNOWN], [], **options)
    for d, got in zip(case.draws, results, strict=True):
        tally += compare_draw(case, d, got)
        s = dense.scores(KEY, case.cells, case.t, **case.address(d))
        index = dense.largest(case.cells, s)
        bits(got["index"], index, "index")
        known = [wanted.astype(case.dtype) for wanted in dense.known(case.cells, index, case.t)]
        score = np.where(index < 0, known[1], s[np.arange(len(s)), index])
        for name, wanted in zip(KNOWN, (score, *known), strict=True):
            bits(got[name], wanted, name)
    return tally


def compare_draw(case, d, got):
    """One draw against plain NumPy."""
    bad, g = oracle.invalid(case.wide), case.noise(d)
    nothing = (case.wide == -INF).all(axis=1)
    s, tolerance = oracle.scores(case.wide, g, case.t), case.tolerance(case.t, g)
    tally = settled(case, s, case.t, tolerance, got["index"][:, None], "index")
    place = np.maximum(got["index"], 0)
    np.testing.assert_array_equal(got["col"], np.where(bad, -1, case.cols[np.arange(len(place)), place]))
    unknown = np.where(nothing, -INF, NAN)
    with np.errstate(invalid="ignore"):
        close(got["score"], np.where(bad, unknown, s.max(axis=1)), tolerance, "score")
    safe = np.where(bad[:, None], 0, case.wide)
    for name, wanted in zip(KNOWN[1:], oracle.known(safe, place, case.t), strict=True):
        close(got[name], np.where(bad, unknown if name == "logsumexp" else NAN, wanted), 4 * tolerance, name)
    assert (got["entropy"][~bad] >= 0).all()
    return tally


def check_merge(case):
    """Column shards in any order, some of them empty."""
    options, tally, rng = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n"), Counter(), case.random
    case = replace(case, out=False, cols=np.sort(case.cols, axis=1))  # so that ties go to the same place
    assume(all((np.diff(ids) > 0).all() for ids in case.cols))
    edges = np.unique([0, *rng.integers(0, case.columns + 1, 3), case.columns])
    ids = np.moveaxis(case.cols.reshape(*case.batch, case.columns), -1, case.axis)
    full = np.broadcast_to(options.pop("mask", np.ones((), bool)), case.x.shape)
    cut = lambda array, part: np.moveaxis(np.moveaxis(array, case.axis, -1)[..., part], -1, case.axis)

    def function(**given):
        options = {name: value for name, value in given.items() if name not in ("logits", "probs", "cols")}
        wrong = "cols" not in case.spoil({"cols": 0})
        shards = []
        for begin, end in itertools.pairwise(edges):
            part = slice(begin, end)
            here = {"cols": cut(ids, part)} if not wrong else {}
            cells = {"probs" if case.is_probs else "logits": cut(case.x, part)}
            shards.append(ng.draw(KEY, want=KNOWN, mask=cut(full, part), **cells, **here, **options))
        return ng.merge([shards[i] for i in rng.permutation(len(shards))], temperature=temperatures(options))

    def temperatures(options):
        t = options.get("temperature", 1.0)
        return t if np.ndim(t) == 0 or case.n is None else np.broadcast_to(t, (case.n, *case.batch))

    for d, got in zip(case.draws, case.called(function, ["index", "col", *KNOWN], [], **options), strict=True):
        place = [np.searchsorted(ids, col) if col >= 0 else -1 for ids, col in zip(case.cols, got["col"], strict=True)]
        np.testing.assert_array_equal(got["index"], got["col"])
        tally += compare_draw(case, d, got | {"index": np.array(place)})
    return tally


def heads_of(case):
    """Sizes of one to three heads."""
    edges = np.unique([0, *case.random.integers(0, case.columns + 1, case.random.integers(0, 3)), case.columns])
    return np.diff(edges), edges


def known_of_heads(case, actions, edges):
    """log_prob, entropy and their tolerance, summed over heads; NaN where one has no action."""
    total, spread = np.zeros(len(actions)), np.zeros(len(actions))
    for h, (begin, end) in enumerate(itertools.pairwise(edges)):
        part, at = case.wide[:, begin:end], actions[:, h]
        bad = oracle.invalid(part) | (at < 0) | (at >= end - begin)
        safe = np.where(bad[:, None], 0, part)
        log_prob, _, entropy = oracle.known(safe, np.where(bad, 0, at), case.t)
        total, spread = total + np.where(bad, NAN, log_prob), spread + np.where(bad, NAN, entropy)
    total = np.where(np.isnan(spread), NAN, total)
    return total, spread, 4 * (len(edges) - 1) * case.tolerance(case.t)


def check_actions(case):
    options, tally = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n"), Counter()
    nvec, edges = heads_of(case)
    for deterministic in (False, True):
        function = lambda deterministic=deterministic, **o: ng.sample_actions(
            KEY, case.x, nvec=nvec, deterministic=deterministic, **o
        )
        results = case.called(function, ["action", "log_prob", "entropy"], ["action"], **options)
        for d, got in zip(case.draws, results, strict=True):
            g = case.noise(d)
            t = np.zeros_like(case.t) if deterministic else case.t
            s, tolerance = oracle.scores(case.wide, g, t), case.tolerance(t, g)
            for h, (begin, end) in enumerate(itertools.pairwise(edges)):
                head = replace(case, wide=case.wide[:, begin:end])
                tally += settled(head, s[:, begin:end], t, tolerance, got["action"][:, [h]], f"head {h}")
            log_prob, entropy, tolerance = known_of_heads(case, got["action"], edges)
            close(got["log_prob"], log_prob, tolerance, "log_prob")
            close(got["entropy"], entropy, tolerance, "entropy")
            wanted = dense.actions(KEY, case.cells, edges, case.t, deterministic, **case.address(d))
            for name, part in zip(got, wanted, strict=True):
                bits(got[name], part, name)
    return tally


def given_actions(case, edges):
    """Actions of any head, now and then forbidden or outside."""
    sizes = np.diff(edges)
    actions = case.random.integers(0, sizes, (len(case.t), len(sizes)))
    return np.where(case.random.random(actions.shape) < 0.05, case.random.choice([-1, 10**6]), actions)


def check_log_prob_entropy(case):
    nvec, edges = heads_of(case)
    actions = given_actions(case, edges)
    options = case.options("mask", "temperature", "axis")
    function = lambda **o: ng.log_prob_entropy(case.x, case.shaped(actions), nvec=nvec, **o)
    (got,) = case.called(function, ["log_prob", "entropy"], [], **options)
    log_prob, entropy, tolerance = known_of_heads(case, actions, edges)
    close(got["log_prob"], log_prob, tolerance, "log_prob")
    close(got["entropy"], entropy, tolerance, "entropy")
    return Counter(rows=len(actions), decided=len(actions))


def check_log_prob_entropy_vjp(case):
    nvec, edges = heads_of(case)
    actions = given_actions(case, edges)
    a, b = case.random.normal(size=(2, len(actions))).astype(case.dtype)
    options = case.options("mask", "temperature", "axis")
    function = lambda **o: ng.log_prob_entropy_vjp(case.x, case.shaped(actions), case.shaped(a), case.shaped(b), nvec=nvec, **o)
    (got,) = case.called(function, ["gradient"], ["gradient"], **options)
    wanted, bad = np.zeros(case.wide.shape), np.zeros(len(actions), bool)
    for h, (begin, end) in enumerate(itertools.pairwise(edges)):
        part, at = case.wide[:, begin:end], actions[:, h]
        bad |= oracle.invalid(part) | (at < 0) | (at >= end - begin)
        safe = np.where(oracle.invalid(part)[:, None], 0, part)
        wanted[:, begin:end] = oracle.known_vjp(safe, at, a.astype(np.float64), b.astype(np.float64), case.t)
    wanted[bad] = NAN
    bound = 16 * case.tolerance(case.t) * (np.abs(a) + np.abs(b) * (1 + np.log(case.columns))) / case.t
    close(got["gradient"].astype(np.float64), wanted, bound[:, None] + case.rounding(wanted), "gradient")
    assert (got["gradient"][(case.cells == -INF) & ~bad[:, None]] == 0).all()
    return Counter(rows=len(actions), decided=len(actions))


def check_conditional(case):
    options, rng = case.options("step", "rows", "cols", "mask", "temperature", "axis", "n"), case.random
    bad = oracle.invalid(case.wide)
    possible = np.where(bad[:, None], True, case.wide > -INF)
    with np.errstate(invalid="ignore"):
        certain = (case.wide.max(axis=1) == INF)[:, None]
        possible = np.where(certain, np.arange(case.columns) == np.nan_to_num(case.wide).argmax(axis=1)[:, None], possible)
    index = np.where(possible, rng.random(possible.shape), -1).argmax(axis=1)
    impossible = rng.random(len(index)) < 0.05
    asked, bad = np.where(impossible, -1, index), bad | impossible
    sample = int(rng.choice([0, 2**40]))
    safe = np.where(bad[:, None], 0, case.wide)
    for scores in (False, True):
        function = lambda scores=scores, **o: ng.conditional_gumbel(
            KEY, index=case.shaped(asked), sample=sample, scores=scores, **case.logits(o)
        )
        for d, got in zip(case.draws, case.called(function, ["noise"], ["noise"], **options), strict=True):
            words = oracle.fold(WORDS, sample + d, 2)
            e = np.exp(-oracle.field(words, case.steps, case.rows, case.cols, case.dtype))
            wanted = oracle.conditional(safe, index, e, case.t)
            tolerance = 2 * case.tolerance(case.t, wanted)
            wanted = oracle.tempered(safe, case.t) + wanted if scores else wanted
            close(got["noise"], np.where(bad[:, None], NAN, wanted), tolerance[:, None], "noise")
            if scores:
                np.testing.assert_array_equal(got["noise"][~bad].argmax(axis=1), index[~bad])
            bits(
                got["noise"], dense.conditional(KEY, case.cells, asked, case.t, sample + d, scores, **case.address(0)), "noise"
            )
    return Counter(rows=len(index), decided=len(index))


# --- each operation ------------------------------------------------------------------------------------------------------

# A comparison, what its cases are limited to, and the arguments that it does not take.
LOGITS, POSITIVE = {"probs": False}, {"positive": True}
CHECKS = {
    "categorical": (check_categorical, {}, ()),
    "inverse_cdf": (check_inverse_cdf, {}, ("cols",)),
    "categorical_ragged": (check_ragged, {}, ()),
    "gumbel_topk": (check_topk, {}, ()),
    "inclusion_log_prob": (check_inclusion, LOGITS, ("step", "rows", "cols", "mask")),
    "gumbel_softmax": (check_softmax, {}, ()),
    "gumbel_softmax_vjp": (check_softmax_vjp, LOGITS | POSITIVE, ()),
    "gumbel": (check_field, {}, ("mask", "temperature")),
    "draw": (check_draw, {}, ()),
    "merge": (check_merge, {}, ()),
    "sample_actions": (check_actions, LOGITS, ()),
    "log_prob_entropy": (check_log_prob_entropy, LOGITS, ("step", "rows", "cols")),
    "log_prob_entropy_vjp": (check_log_prob_entropy_vjp, LOGITS | POSITIVE, ("step", "rows", "cols")),
    "conditional_gumbel": (check_conditional, POSITIVE, ()),
}
each = pytest.mark.parametrize("name", CHECKS)


def test_every_operation_has_a_comparison():
    table = {operation.function for operation in test_semantics_table.OPERATIONS.values()}
    assert set(CHECKS) - {"inverse_cdf"} == table


def compare(name, examples):
    check, limits, _ = CHECKS[name]
    tally = run(lambda case: check(case), examples, case=cases(**limits))
    assert tally["rows"] > examples
    assert tally["decided"] >= 0.99 * tally["rows"], tally
    return tally


@each
def test_equals_plain_numpy_and_the_dense_oracle(name):
    compare(name, 60)


@pytest.mark.slow
@each
def test_equals_plain_numpy_and_the_dense_oracle_in_many_cases(name):
    print(name, dict(compare(name, 120)))


WRONG = {
    "step": lambda o: {**o, "step": o.get("step", 0) + 1},
    "rows": lambda o: {name: value for name, value in o.items() if name != "rows"},
    "cols": lambda o: {name: value for name, value in o.items() if name != "cols"},
    "mask": lambda o: {name: value for name, value in o.items() if name != "mask"},
    "temperature": lambda o: {name: value for name, value in o.items() if name != "temperature"},
}


WRONG_CALLS = [(name, wrong) for name, (_, _, without) in CHECKS.items() for wrong in WRONG if wrong not in without]


@pytest.mark.parametrize(("name", "wrong"), WRONG_CALLS)
def test_a_wrong_call_is_noticed(name, wrong):
    """A step too far, or an argument that is ignored."""
    check, limits, _ = CHECKS[name]
    with pytest.raises(AssertionError):
        run(lambda case: check(replace(case, spoil=WRONG[wrong])), 60, (Phase.generate,), case=cases(**limits))
