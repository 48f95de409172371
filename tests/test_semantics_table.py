"""The table of docs/semantics.md: every row for every operation.

`OPERATIONS` has an entry for each operation, `ROWS` a check for each row of the table; `test_the_table` runs each check on each
operation. What does not apply is said, with its reason, in the operation's entry: `lacks` names common arguments that it does
not take, `exempt` whole rows. So an operation is added by one entry, a row by one function, and neither passes unseen.
"""

import importlib.util
import inspect
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dense
import numpy as np
import oracle
import pytest

import numgumbel as ng

KEY = ng.key(7, "semantics table")
INF, NAN = np.inf, np.nan
NEGATIVE_NAN = np.copysign(NAN, -1)  # what 0/0 and inf - inf give on x86
REALS = [np.float32, np.float64]
HALVES = [np.dtype(np.float16)]
if importlib.util.find_spec("ml_dtypes"):
    import ml_dtypes

    HALVES.append(np.dtype(ml_dtypes.bfloat16))

# What sampling functions have in common. An operation that does not take one of these says why.
COMMON = ("key", "probs", "step", "rows", "cols", "mask", "temperature", "axis", "n", "invalid", "out")
KNOWN = ("score", "log_prob", "logsumexp", "entropy")


@dataclass(frozen=True)
class Operation:
    """One operation, or one way to use it.

    function: the public name. call(key, x, **options): a call on logits x (or None, with probs), choices and cotangents filled
    in. parts: names of the results, in their order. wide: those with an axis in the place of the categories. fixed: arguments
    that the call sets itself. lacks: common arguments that are not taken, and why. exempt: rows that do not apply, and why.
    """

    function: str
    call: Callable[..., Any]
    parts: tuple[str, ...]
    wide: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    lacks: dict[str, str] = field(default_factory=dict)
    exempt: dict[str, str] = field(default_factory=dict)
    signature: str | None = None  # of another function, where that one reads the logits

    def __call__(self, x, key=KEY, **options):
        return self.named(self.call(key, x, **options))

    def named(self, result):
        """Results by name."""
        if isinstance(result, dict):
            return result
        return dict(zip(self.parts, result if isinstance(result, tuple) else (result,), strict=True))

    def as_out(self, places):
        """Places for results, as `out` takes them."""
        places = [places[name] for name in self.parts if name != "col"]
        if len(places) == 1:
            return places[0]
        return ng.Draw(places[0], None, *places[1:]) if self.function == "draw" else tuple(places)

    @property
    def arguments(self):
        taken = set(inspect.signature(getattr(ng, self.signature or self.function)).parameters)
        return taken - set(self.fixed) - set(self.lacks)

    @property
    def has_heads(self):
        return "nvec" in self.arguments

    @property
    def is_deterministic(self):
        return "deterministic" in self.arguments

    @property
    def temperature(self):
        """Name of the argument that divides the logits."""
        return next((name for name in ("temperature", "tau") if name in self.arguments), None)


# --- calls ---------------------------------------------------------------------------------------------------------------


def shape_of(x, options):
    try:
        return np.shape(np.asarray(options.get("probs") if x is None else x))
    except ValueError:
        return ()


def halves(x, options):
    """Two heads, as equal as can be."""
    shape = shape_of(x, options)
    columns = shape[options.get("axis", -1)] if shape else 1
    return (columns // 2, columns - columns // 2) if columns > 1 else (1,)


def best_of(x, options, nvec=None):
    """The first largest allowed cell of each row, or of each head: an action that is possible wherever one is."""
    shape, axis = shape_of(x, options), options.get("axis", -1)
    if not shape or not -len(shape) <= axis < len(shape):
        return np.int64(0)
    try:
        cells = np.array(np.real(options.get("probs") if x is None else x), np.float64)
    except (TypeError, ValueError):
        cells = np.zeros(shape)
    mask = options.get("mask")
    if mask is not None:
        cells[~np.broadcast_to(np.asarray(mask).astype(bool), cells.shape)] = -INF
    cells = np.moveaxis(np.where(np.isnan(cells), -INF, cells), axis, -1)
    if not cells.shape[-1]:
        return np.zeros(cells.shape[:-1], np.int64)
    if nvec is None:
        return cells.argmax(axis=-1)
    edges = np.cumsum([0, *nvec])
    parts = [cells[..., a:b].argmax(axis=-1) for a, b in itertools.pairwise(edges)]
    return np.moveaxis(np.stack(parts, axis=-1), -1, axis)


def real_of(x):
    """The precision in which logits x are worked on, and other arguments are given."""
    dtype = getattr(x, "dtype", np.dtype(np.float64))
    return np.dtype(np.float32 if dtype in (np.float32, *HALVES) else np.float64)


def waves(x, options):
    """A cotangent that depends on the column alone."""
    shape, axis = shape_of(x, options), options.get("axis", -1)
    if not shape:
        return np.zeros(shape)
    c = (np.cos(np.arange(shape[axis])) * 16).round() / 16  # no digits that 16 bits do not have
    c = c.astype(x.dtype if getattr(x, "dtype", None) in HALVES else real_of(x))
    return np.moveaxis(np.broadcast_to(c, (*np.delete(shape, axis), shape[axis])), -1, axis)


def batch_of(x, options, value):
    shape = shape_of(x, options)
    return np.full(np.delete(shape, options.get("axis", -1)) if shape else (), value, real_of(x))


def vjp(key, x, **options):
    return ng.gumbel_softmax_vjp(key, x, options.pop("cotangent", waves(x, options)), **options)


def actions_of_heads(key, x, **options):
    return ng.sample_actions(key, x, nvec=halves(x, options), **options)


def told(key, x, **options):
    return ng.log_prob_entropy(x, options.pop("actions", best_of(x, options)), **options)


def told_of_heads(key, x, **options):
    nvec = halves(x, options)
    return ng.log_prob_entropy(x, options.pop("actions", best_of(x, options, nvec)), nvec=nvec, **options)


def gradient_of_told(key, x, **options):
    given = options.pop("actions", best_of(x, options))
    return ng.log_prob_entropy_vjp(x, given, batch_of(x, options, 1.0), batch_of(x, options, 0.5), **options)


def gradient_of_heads(key, x, **options):
    nvec = halves(x, options)
    given = options.pop("actions", best_of(x, options, nvec))
    return ng.log_prob_entropy_vjp(x, given, batch_of(x, options, 1.0), batch_of(x, options, 0.5), nvec=nvec, **options)


def conditional(key, x, **options):
    return ng.conditional_gumbel(key, x, options.pop("index", best_of(x, options)), **options)


def drawn(key, x, **options):
    result = ng.draw(key, x, want=KNOWN, **options)
    return result if options.get("out") is None else (result.index, result.col, *result[2:])


def merged(key, x, **options):
    """Two shards of the columns, drawn apart, the right one first; one that is empty is marked."""
    shape, axis, options = shape_of(x, options), options.pop("axis", -1), {"invalid": "mark"} | options
    columns = shape[axis] if shape else 1
    if columns < 2 or not isinstance(x if x is not None else options["probs"], np.ndarray):
        return ng.merge([ng.draw(key, x, want=KNOWN, axis=axis, **options)], temperature=options.get("temperature", 1.0))
    middle, cols, shards = columns // 3 or 1, options.pop("cols", None), []
    last = lambda array: np.moveaxis(np.asarray(array), axis, -1)
    for part in (slice(middle, None), slice(None, middle)):
        here = dict(options)
        cells = np.moveaxis(last(here.pop("probs") if x is None else x)[..., part], -1, axis)
        if here.get("mask") is not None:
            here["mask"] = np.moveaxis(last(np.broadcast_to(here["mask"], shape))[..., part], -1, axis)
        ids = np.arange(columns) if cols is None else np.asarray(cols)
        here["cols"] = ids[part] if ids.ndim < 2 else np.moveaxis(last(ids)[..., part], -1, axis)
        here["logits" if x is not None else "probs"] = cells
        shards.append(ng.draw(key, want=KNOWN, axis=axis, **here))
    return ng.merge(shards, temperature=options.get("temperature", 1.0))


def ragged(key, x, **options):
    """Rows of one length, one behind the other."""
    given = x if x is not None else options.get("probs")
    if not isinstance(given, np.ndarray) or isinstance(given, np.ma.MaskedArray) or given.ndim == 0:
        return ng.categorical_ragged(key, x, [0, np.size(given)], **options)
    shape, (*batch, columns) = given.shape, given.shape
    flat = {}
    for name, value in options.items():
        if (name == "mask" and value is not None) or (name == "cols" and np.shape(value) in ((columns,), shape)):
            flat[name] = np.broadcast_to(value, shape).reshape(-1)
        elif name in ("step", "rows", "temperature") and np.shape(value) == tuple(batch):
            flat[name] = np.asarray(value).reshape(-1)
        else:
            flat[name] = value
    offsets = np.arange(int(np.prod(batch)) + 1) * columns
    if x is None:
        flat["probs"] = given.reshape(-1)
    index = ng.categorical_ragged(key, None if x is None else x.reshape(-1), offsets, **flat)
    return index if options.get("out") is not None or len(batch) == 1 else index.reshape(*index.shape[:-1], *batch)


def included(key, x, **options):
    """Of the two best, drawn here."""
    told = {name: options.pop(name) for name in ("temperature", "axis", "out") if name in options}
    drawn = {name: told[name] for name in ("temperature", "axis") if name in told}
    columns = (shape_of(x, options) or (1,))[told.get("axis", -1)]
    top = ng.gumbel_topk(key, x, min(2, max(columns, 1)), **{"invalid": "mark"} | options | drawn)
    return ng.inclusion_log_prob(x, top, **told)


def field_of(key, x, **options):
    """The noise of logits x; their dtype is its own."""
    if options.get("out") is None:
        return ng.gumbel(key, shape_of(x, options), dtype=real_of(x), **options)
    return ng.gumbel(key, **options)


# --- operations ----------------------------------------------------------------------------------------------------------

NO_NOISE = {
    "key": "nothing is drawn",
    "step": "nothing is drawn",
    "rows": "nothing is drawn",
    "cols": "nothing is drawn",
    "n": "nothing is drawn",
    "probs": "policies have logits",
}
POLICY = {"probs": "policies have logits"}
RELAXED = {"temperature": "called tau"}
NO_COLUMNS = {"same ids": "column ids do not count"}
TIE_IS_GIVEN = {"tie": "the choice is given, none is made"}

OPERATIONS = {
    "categorical": Operation("categorical", ng.categorical, ("index",)),
    "inverse_cdf": Operation(
        "categorical",
        lambda key, x, **o: ng.categorical(key, x, method="inverse_cdf", **o),
        ("index",),
        fixed=("method",),
        exempt=NO_COLUMNS,
    ),
    "inverse_cdf n=9": Operation(
        "categorical",
        lambda key, x, **o: ng.categorical(key, x, method="inverse_cdf", **{"n": 9} | o),
        ("index",),
        fixed=("method",),
        exempt=NO_COLUMNS,
    ),
    "draw": Operation("draw", drawn, ("index", "col", *KNOWN), fixed=("want",)),
    "gumbel_softmax": Operation(
        "gumbel_softmax", ng.gumbel_softmax, ("sample",), ("sample",), lacks=RELAXED, fixed=("hard",)
    ),
    "gumbel_softmax hard": Operation(
        "gumbel_softmax",
        lambda key, x, **o: ng.gumbel_softmax(key, x, hard=True, **o),
        ("sample",),
        ("sample",),
        lacks=RELAXED,
    ),
    "gumbel_softmax_vjp": Operation(
        "gumbel_softmax_vjp",
        vjp,
        ("gradient",),
        ("gradient",),
        lacks=RELAXED | {"probs": "the gradient is in the logits", "n": "a gradient belongs to one sample"},
        exempt={"tie": "a sample that ties is one-hot only at tau 0, where there is no gradient"},
    ),
    "gumbel_topk": Operation(
        "gumbel_topk",
        lambda key, x, **o: ng.gumbel_topk(key, x, o.pop("k", min(2, (shape_of(x, o) or (1,))[o.get("axis", -1)]) or 1), **o),
        ("index", "score", "threshold"),
        ("index", "score"),
    ),
    "sample_actions": Operation(
        "sample_actions", ng.sample_actions, ("action", "log_prob", "entropy"), lacks=POLICY, fixed=("nvec", "deterministic")
    ),
    "sample_actions heads": Operation(
        "sample_actions",
        actions_of_heads,
        ("action", "log_prob", "entropy"),
        ("action",),
        lacks=POLICY,
        fixed=("deterministic",),
    ),
    "sample_actions deterministic": Operation(
        "sample_actions",
        lambda key, x, **o: ng.sample_actions(key, x, deterministic=True, **o),
        ("action", "log_prob", "entropy"),
        lacks=POLICY,
        fixed=("nvec",),
    ),
    "log_prob_entropy": Operation(
        "log_prob_entropy", told, ("log_prob", "entropy"), lacks=NO_NOISE, exempt=TIE_IS_GIVEN, fixed=("nvec",)
    ),
    "log_prob_entropy heads": Operation(
        "log_prob_entropy", told_of_heads, ("log_prob", "entropy"), lacks=NO_NOISE, exempt=TIE_IS_GIVEN
    ),
    "log_prob_entropy_vjp": Operation(
        "log_prob_entropy_vjp",
        gradient_of_told,
        ("gradient",),
        ("gradient",),
        lacks=NO_NOISE,
        exempt=TIE_IS_GIVEN,
        fixed=("nvec",),
    ),
    "log_prob_entropy_vjp heads": Operation(
        "log_prob_entropy_vjp", gradient_of_heads, ("gradient",), ("gradient",), lacks=NO_NOISE, exempt=TIE_IS_GIVEN
    ),
    "conditional_gumbel": Operation(
        "conditional_gumbel",
        conditional,
        ("noise",),
        ("noise",),
        exempt=TIE_IS_GIVEN | {"n": "its draws differ in the sample, not in the step: a row of its own"},
        fixed=("scores",),
    ),
    "conditional_gumbel scores": Operation(
        "conditional_gumbel",
        lambda key, x, **o: conditional(key, x, scores=True, **o),
        ("scores",),
        ("scores",),
        exempt=TIE_IS_GIVEN | {"n": "its draws differ in the sample, not in the step: a row of its own"},
    ),
    "categorical_ragged": Operation(
        "categorical_ragged",
        ragged,
        ("index",),
        lacks={"axis": "rows lie one behind the other"},
        exempt={
            "shapes": "a row without values is an invalid row: a row of its own",
            "a scalar": "values are a vector",
            "lists": "one list holds all rows",
        },
    ),
    "inclusion_log_prob": Operation(
        "inclusion_log_prob",
        included,
        ("log_q",),
        ("log_q",),
        lacks={
            "probs": "their logarithm is to be given",
            **dict.fromkeys(("key", "step", "rows", "cols", "mask", "n", "invalid"), "it is the sample's"),
        },
        exempt={"tie": "the sample is given, none is made"},
    ),
    "merge": Operation(
        "merge",
        merged,
        ("index", "col", *KNOWN),
        signature="draw",
        fixed=("want",),
        lacks={"out": "a merge makes new arrays, a few bytes a row", "invalid": "what was marked stays marked"},
    ),
    "gumbel": Operation(
        "gumbel",
        field_of,
        ("noise",),
        ("noise",),
        lacks={
            "probs": "no distribution",
            "mask": "no distribution",
            "temperature": "no distribution",
            "invalid": "no row can be invalid",
            "axis": "columns are the last axis",
        },
        exempt=dict.fromkeys(
            (
                "excluded", "invalid rows", "+inf", "tie", "halves", "other dtypes", "lists", "layouts", "shapes", "a scalar",
                "overlap",
            ),
            "no logits are read",
        ),
    ),
}  # fmt: skip

# Public names that are no operation on logits.
OTHERS = {
    "key",
    "fold",
    "row_ids",
    "distribution",
    "default_rng",
    "Generator",
    "set_num_threads",
    "get_num_threads",
    "warmup",
    "plan",
    "compile_report",
    "kernels_of",
}
TYPES = {"Key", "Draw", "TopK", "Actions", "LogProbEntropy", "Plan", "Compilation", "CompileReport"}


# --- the rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A check, and the arguments or results without which it does not apply."""

    title: str  # the first column of docs/semantics.md, without marks
    check: Callable[[Operation, Any], None]
    needs: tuple[str, ...]


ROWS: dict[str, Row] = {}


def row(name, title, *needs):
    """Register a check of one row; `needs` names arguments or results, or one function, that it is about."""

    def register(check):
        ROWS[name] = Row(title, check, needs)
        return check

    return register


def does_not_apply(row, operation):
    """The reason, or None."""
    if row in operation.exempt:
        return operation.exempt[row]
    has = operation.arguments | set(operation.parts) | {operation.function}
    for need in ROWS[row].needs:
        if not set(need.split(" or ")) & has:
            return operation.lacks.get(need, f"has no {need}")
    return None


def logits(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def same(left, right, rows=...):
    """Equal to the bit in all results; `rows` along the last batch axis, which is the first of two-dimensional logits."""
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name][rows], right[name][rows], err_msg=name)
        assert left[name].dtype == right[name].dtype


def rows_of(operation, result, count):
    """Results with their rows in front: of draws, the first and the last."""
    return {
        name: part if len(part) == count and part.ndim <= 1 + (name in operation.wide) else part[-1]
        for name, part in result.items()
    }


@row("excluded", "-inf logit, mask False, probability 0")
def excluded(operation, dtype):
    allowed = np.array([False, True, False, True, True, False])
    x = np.zeros((3000, 6), dtype)
    excluded_x = np.where(allowed, x, -INF).astype(dtype)
    result = operation(excluded_x)
    if "mask" in operation.arguments:
        same(operation(x, mask=allowed), result)
        same(operation(x, mask=allowed.astype(np.int8) * 3), result)
    if "probs" in operation.arguments:
        same(operation(None, probs=np.where(allowed, x + 1, 0).astype(dtype)), result)
    for name in ("index", "col"):
        if name in result:
            assert set(np.unique(result[name])) == {1, 3, 4}
    if "action" in result:
        if operation.has_heads:
            assert (result["action"][:, 0] == 1).all()
            assert set(result["action"][:, 1]) == {0, 1}
        else:
            assert set(result["action"]) == ({1} if operation.is_deterministic else {1, 3, 4})
    size = 2 if operation.has_heads else 3
    for name, value in (("log_prob", -np.log(size)), ("logsumexp", np.log(3)), ("entropy", np.log(size))):
        if name in result:
            np.testing.assert_allclose(result[name], value, rtol=8 * np.finfo(dtype).eps)
    if "log_q" in result:
        top = ng.gumbel_topk(KEY, excluded_x, 2)
        wanted = np.repeat(oracle.log_inclusion(-top.threshold[:, None]), 2, axis=1)  # logits of 0
        np.testing.assert_allclose(result["log_q"], wanted, rtol=1e-4)
    for name, value in (("sample", 0), ("gradient", 0), ("scores", -INF)):
        if name in result:
            assert (result[name][..., ~allowed] == value).all()
            assert (result[name][..., [1, 3]] != value).any()
    if "noise" in result:  # nothing is learnt about them
        free = ng.gumbel(ng.fold(KEY, 0, tag=2), x.shape, dtype=dtype)
        np.testing.assert_array_equal(result["noise"][:, ~allowed], free[:, ~allowed])


@row("masked", "masked cell", "mask")
def masked(operation, dtype):
    x = logits(3, 70, dtype=dtype)
    mask = np.ones(x.shape, bool)
    mask[1, [0, 33, 69]] = False
    wanted = operation(x, mask=mask)
    for anything in (NAN, NEGATIVE_NAN, INF, -INF):
        same(operation(np.where(mask, x, dtype(anything)), mask=mask), wanted)


@row("mask dtype", "mask dtype", "mask")
def mask_dtype(operation, dtype):
    x = logits(2, 3, 4, dtype=dtype)
    wanted = operation(x, mask=np.broadcast_to(np.array([True, False, True, True]), x.shape))
    for kind in (bool, np.int8, np.uint8):
        same(operation(x, mask=np.array([1, 0, 1, 1]).astype(kind)), wanted)
        same(operation(x, mask=np.ones((3, 1)).astype(kind)), operation(x))
    same(operation(x, mask=np.array([-1, 0, 2, 1], np.int8)), wanted)
    same(operation(x, mask=[True, False, True, True]), wanted)
    for kind in (np.int32, np.float64, object):
        with pytest.raises(TypeError, match="mask must be bool, int8 or uint8"):
            operation(x, mask=np.ones(x.shape, kind))
    with pytest.raises(ValueError, match="broadcast"):
        operation(x, mask=np.ones((2, 4), bool))


SPOILT = {
    "NaN first": [(0, NAN)],
    "NaN last": [(-1, NAN)],
    "negative NaN": [(0, NEGATIVE_NAN)],
    "nothing left": [(slice(None), -INF)],
    "NaN beside +inf": [(1, NAN), (0, INF)],
    "NaN and nothing else": [(slice(None), -INF), (0, NAN)],
}


def mark_of(operation, name, clean, cells):
    """What a marked row holds in one result."""
    if name == "action" and name in operation.wide:
        parts = np.split(cells, [len(cells) // 2]) if len(cells) > 1 else [cells]
        bad = np.array([np.isnan(part).any() or (part == -INF).all() for part in parts])
        return np.where(bad, -1, clean)
    if name in ("index", "col", "action"):
        return -1
    empty = (cells == -INF).all()
    if empty and operation.function in ("draw", "merge") and name in ("score", "logsumexp"):
        return -INF
    return NAN


@row("invalid rows", "no category left, or a NaN in an allowed cell; probs negative or NaN")
def invalid_rows(operation, dtype):
    for columns in (2, 17, 1025, 2100):
        clean = logits(6, columns, dtype=dtype)
        for spoilt in SPOILT.values():
            x = clean.copy()
            for place, value in spoilt:
                x[2, place] = x[5, place] = value
            marked = operation(x, invalid="mark")
            wanted = operation(clean)
            for name, part in rows_of(operation, wanted, 6).items():
                got = rows_of(operation, marked, 6)[name]
                np.testing.assert_array_equal(got[[0, 1, 3, 4]], part[[0, 1, 3, 4]])
                for i in (2, 5):
                    # A head that keeps its action keeps that of these very logits.
                    np.testing.assert_array_equal(
                        got[i], np.broadcast_to(mark_of(operation, name, part[i], x[i]), got[i].shape)
                    )
            for given in ({}, {"invalid": "raise"}, {"invalid": None}) if "invalid" in operation.arguments else ():
                with pytest.raises(ValueError, match=rf"{operation.function}: 2 of 6 rows invalid .*\): row 2, 5;"):
                    operation(x, **given)
            if {"out", "invalid"} <= operation.arguments:
                places = {name: np.zeros_like(part) for name, part in marked.items()}
                with pytest.raises(ValueError, match="2 of 6 rows"):
                    operation(x, out=operation.as_out(places))
                same({name: places[name] for name in marked if name != "col"}, {n: marked[n] for n in marked if n != "col"})
    if "invalid" in operation.arguments:
        with pytest.raises(ValueError, match=r"the row is invalid|1 of 1 rows invalid"):
            operation(np.full(1, NAN, dtype))
        with pytest.raises(ValueError, match=r'invalid must be None, "raise" or "mark", got \'drop\''):
            operation(clean, invalid="drop")
    if "probs" in operation.arguments:
        for value in (-0.5, NAN, NEGATIVE_NAN, -INF):
            p = np.full((3, 5), 0.2, dtype)
            p[1, 3] = value
            marked = rows_of(operation, operation(None, probs=p, invalid="mark"), 3)
            for name, part in marked.items():
                np.testing.assert_array_equal(part[1], np.broadcast_to(mark_of(operation, name, 0, p[1]), part[1].shape))
            if "invalid" in operation.arguments:
                with pytest.raises(ValueError, match=r"1 of 3 rows"):
                    operation(None, probs=p)
            mask = np.arange(5) != 3
            spared, good = operation(None, probs=p, mask=mask), operation(None, probs=np.full((3, 5), 0.2, dtype), mask=mask)
            same(spared, good)


@row("empty shard", "draw, merge: a row without a category", "logsumexp")
def empty_shard(operation, dtype):
    x = logits(3, 9, dtype=dtype)
    x[1] = -INF
    got = operation(x, invalid="mark")
    assert got["index"][1] == got["col"][1] == -1
    assert got["score"][1] == got["logsumexp"][1] == -INF
    assert np.isnan([got["log_prob"][1], got["entropy"][1]]).all()
    x[1, 4] = NAN
    assert np.isnan([operation(x, invalid="mark")[name][1] for name in KNOWN]).all()
    # One shard of two is empty: the row is the other's.
    x = logits(3, 9, dtype=dtype)
    x[:, :5] = -INF
    alone = OPERATIONS["draw"](x[:, 5:], cols=np.arange(5, 9))
    got = operation(x, invalid="mark")
    for name in ("col", "score"):
        np.testing.assert_array_equal(got[name], alone[name])
    for name in KNOWN:  # sums have another order where columns have other places
        np.testing.assert_allclose(got[name], alone[name], rtol=0, atol=8 * np.spacing(np.abs(got["logsumexp"]).max()))


@row("probs", "probs", "probs")
def probs(operation, dtype):
    p = np.random.default_rng(0).random((300, 6)).astype(dtype)
    wanted, scaled = operation(None, probs=p), operation(None, probs=p * 4)
    if operation.function == "draw":
        np.testing.assert_allclose(wanted["logsumexp"], np.log(p.sum(axis=1)), atol=8 * np.finfo(dtype).eps)
    for name in wanted:
        if name in ("index", "col"):
            assert (wanted[name] == scaled[name]).mean() > 0.99  # but for rounding of log(4 p)
        elif name in ("log_prob", "entropy", "sample"):
            np.testing.assert_allclose(scaled[name], wanted[name], atol=64 * np.finfo(dtype).eps, rtol=1e-4)
    function = getattr(ng, "draw" if operation.function == "merge" else operation.function)
    with pytest.raises(TypeError, match="exactly one of logits and probs must be given, got neither"):
        function(KEY)
    with pytest.raises(TypeError, match="got both"):
        operation(p, probs=p)


@row("+inf", "+inf")
def plus_infinity(operation, dtype):
    x = logits(20, 1500, dtype=dtype)
    x[:, [3, 700, 1400]] = INF
    got = operation(x)
    if operation.function == "gumbel_topk":
        top = operation(x, k=5)
        assert (top["index"][:, :3] == [3, 700, 1400]).all()
        assert (top["score"][:, :3] == INF).all()
        rest = operation(np.where(x == INF, -INF, x).astype(dtype), k=2)
        np.testing.assert_array_equal(top["index"][:, 3:], rest["index"])
        np.testing.assert_array_equal(top["score"][:, 3:], rest["score"])
        assert (got["threshold"] == INF).all()
        return
    onehot = np.zeros_like(x)
    onehot[:, 3] = 1
    wanted = {
        "index": 3,
        "col": 3,
        "action": [3, 650] if operation.has_heads else 3,
        "score": INF,
        "log_q": 0,
        "log_prob": 0,
        "logsumexp": INF,
        "entropy": 0,
        "sample": onehot,
        "gradient": 0,
        "noise": ng.gumbel(ng.fold(KEY, 0, tag=2), x.shape, dtype=dtype),
    }
    for name, part in got.items():
        if name == "scores":
            assert (part.argmax(axis=1) == 3).all()
            assert (part[x == INF] == INF).all()
            assert np.isfinite(part[x < INF]).all()
        else:
            np.testing.assert_array_equal(part, np.broadcast_to(wanted[name], part.shape), err_msg=name)
    if operation.function == "log_prob_entropy":
        other = best_of(x, {}, halves(x, {})) if operation.has_heads else best_of(x, {})
        result = operation(x, actions=other + 1)
        assert (result["log_prob"] == -INF).all()
        assert (result["entropy"] == 0).all()


@row("tie", "tie")
def tie(operation, dtype):
    x = np.full((4, 1100), 3.0, dtype)
    one = {"cols": np.full(1100, 5)}  # one noise for all
    calls = [{"tau": 0} | one if operation.temperature == "tau" else {"temperature": 0}]
    soft = "sample" in operation.parts and "hard" not in operation.arguments
    if not soft and "same ids" not in operation.exempt and operation.function != "merge":
        calls.append(one)
    for got in (operation(x, **options) for options in calls):
        if operation.function == "gumbel_topk":
            np.testing.assert_array_equal(got["index"], np.tile([0, 1], (4, 1)))
        elif "sample" in got:
            np.testing.assert_array_equal(got["sample"], np.broadcast_to(np.arange(1100) == 0, x.shape))
        else:
            assert (got["action" if "action" in got else "index"] == 0).all()
    if operation.function == "merge":
        # Scores that tie: the lowest column id, wherever its shard stands.
        shards = [ng.draw(KEY, np.zeros(1, dtype), want="score", temperature=0, cols=[id]) for id in (9, 4, 7)]
        for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
            assert ng.merge([shards[i] for i in order]).col == 4
    # Signed zeros tie.
    zeros = np.array([[-0.0, 0.0]], dtype)
    if operation.temperature == "temperature":
        got = operation(zeros, temperature=0)
        assert (got["action" if "action" in got else "index"].reshape(-1)[:1] == 0).all()


@row("overflow", "finite logit whose product with 1/T overflows", "temperature")
def overflow(operation, dtype):
    big = np.finfo(dtype).max
    x, t = np.array([[-INF, -big, -big / 2]] * 4, dtype), 2.0**-64
    if operation.function == "conditional_gumbel":
        for at in (1, 2):
            index = np.full(4, at)
            got = operation(x, temperature=t, index=index)
            wanted = dense.conditional(KEY, x, index, np.full(4, t), scores="scores" in got)
            np.testing.assert_array_equal(next(iter(got.values())), wanted)
            assert "noise" in got or (got["scores"].argmax(axis=1) == at).all()
        return
    if operation.function == "log_prob_entropy_vjp":
        for at, sign in ((1, 1), (2, -1)):  # the two have a probability of 1/2 each
            heads = operation.has_heads
            got = operation(
                np.where(x == -INF, -big, x) if heads else x,
                temperature=t,
                actions=np.tile([0, at - 1], (4, 1)) if heads else np.full(4, at),
            )
            np.testing.assert_array_equal(got["gradient"], np.tile(dtype([0, sign * 2.0**63, -sign * 2.0**63]), (4, 1)))
        return
    x = np.where(x == -INF, -big, x) if operation.has_heads else x
    got = operation(x, temperature=t)
    for name in ("index", "col", "action"):
        if name in got:
            assert (got[name] >= 0).all()
    for name, value in (("score", -big), ("logsumexp", -big), ("log_prob", -np.log(2)), ("entropy", np.log(2)), ("log_q", 0)):
        if name in got and operation.function != "gumbel_topk":
            np.testing.assert_allclose(got[name], dtype(value), rtol=4 * np.finfo(dtype).eps)
    if operation.function == "gumbel_topk":
        np.testing.assert_array_equal(got["index"], [[1, 2]] * 4)
        assert (got["score"] == -big).all()
        assert (got["threshold"] == -INF).all()
    certain = operation(np.array([[big, INF]], dtype), temperature=t)
    if "index" in certain and operation.function != "gumbel_topk":
        assert (certain["index"] == 1).all()
    for name in ("log_prob", "entropy"):
        if name in certain:
            assert certain[name] == 0


@row("temperature 0", "temperature 0", "temperature")
def temperature_zero(operation, dtype):
    x = logits(30, 700, dtype=dtype)
    if operation.function in ("conditional_gumbel", "log_prob_entropy_vjp"):
        for t in (0, 0.0, np.where(np.arange(30) == 3, 0.0, 1.0)):
            with pytest.raises(ValueError, match="temperature must be positive for"):
                operation(x, temperature=t)
        return
    best, nvec = x.argmax(axis=1), halves(x, {})
    wanted = {
        "index": best,
        "col": best,
        "action": best_of(x, {}, nvec) if operation.has_heads else best,
        "score": x.max(axis=1),
        "logsumexp": x.max(axis=1),
        "log_prob": 0,
        "entropy": 0,
        "log_q": 0,
    }
    if operation.function == "gumbel_topk":
        order = np.argsort(-x, axis=1, kind="stable")
        ranked = np.take_along_axis(x, order, axis=1)
        wanted = {"index": order[:, :2], "score": ranked[:, :2], "threshold": ranked[:, 2]}
    rest = operation(x, temperature=0.7)
    for t in (0, np.where(np.arange(30) % 2, 0.0, 0.7)):
        for name, part in operation(x, temperature=t).items():
            greedy = np.broadcast_to(t, 30) == 0
            value = np.broadcast_to(wanted[name], part.shape)
            if part.shape[0] != 30:
                part, value, other = part[-1], value[-1], rest[name][-1]
            else:
                other = rest[name]
            np.testing.assert_array_equal(part[greedy], value[greedy], err_msg=name)
            np.testing.assert_array_equal(part[~greedy], other[~greedy], err_msg=name)
    if operation.function == "log_prob_entropy":
        given = best_of(-x, {}, nvec) if operation.has_heads else best_of(-x, {})
        got = operation(x, actions=given, temperature=0)
        assert (got["log_prob"] == -INF).all()
        assert (got["entropy"] == 0).all()


@row("tau 0", "tau 0", "tau")
def tau_zero(operation, dtype):
    x = logits(30, 40, dtype=dtype)
    if operation.function == "gumbel_softmax_vjp":
        for tau in (0, 0.0, np.where(np.arange(30) == 3, 0.0, 1.0)):
            with pytest.raises(ValueError, match="tau must be positive for a gradient"):
                operation(x, tau=tau)
        return
    wanted = np.eye(40, dtype=dtype)[ng.categorical(KEY, x)]
    np.testing.assert_array_equal(operation(x, tau=0)["sample"], wanted)


@row("out of range", "temperature or tau negative, NaN or outside [2^-64, 2^64]", "temperature or tau")
def out_of_range(operation, dtype):
    x, name = logits(3, 4, dtype=dtype), operation.temperature
    for value in (-1.0, -0.5, NAN, INF, 2.0**65, 2.0**-65, 10**400):
        with pytest.raises(ValueError, match=rf"{name} must be 0 or from 2\^-64 to 2\^64"):
            operation(x, **{name: value})
    for value in (-1.0, NAN, INF, 2.0**-65):
        with pytest.raises(ValueError, match=rf"{name} must be 0 or from .* in row 1$"):
            operation(x, **{name: np.array([1.0, value, 1.0])})
    for value in (True, 1j, "1", None, np.array([True] * 3)):
        with pytest.raises(TypeError, match=name):
            operation(x, **{name: value})
    with pytest.raises(ValueError, match=rf"{name} must be a scalar or one a row, shape \(3,\), got shape \(4,\)"):
        operation(x, **{name: np.ones(4)})
    ends = operation(x, **{name: np.array([2.0**-64, 1, 2.0**64])})
    for i, value in enumerate((2.0**-64, 1, 2.0**64)):
        alone = rows_of(operation, operation(x, **{name: value}), 3)
        for part, together in rows_of(operation, ends, 3).items():
            np.testing.assert_array_equal(together[i], alone[part][i])


@row("hard", "hard=True", "hard")
def hard(operation, dtype):
    x = logits(300, 50, dtype=dtype)
    wanted = np.eye(50, dtype=dtype)[ng.categorical(KEY, x)]
    for tau in (0.1, 1.0, 7.0):
        np.testing.assert_array_equal(operation(x, tau=tau)["sample"], wanted)


@row("deterministic", "deterministic=True", "deterministic")
def deterministic(operation, dtype):
    x, t = logits(30, 12, dtype=dtype), np.where(np.arange(30) % 3, 0.6, 0)
    got = operation(x, temperature=t)
    np.testing.assert_array_equal(got["action"], x.argmax(axis=1))
    at_temperature = OPERATIONS["log_prob_entropy"](x, actions=x.argmax(axis=1), temperature=t)
    same({name: got[name] for name in ("log_prob", "entropy")}, at_temperature)
    assert (got["entropy"][t > 0] > 0).all()


@row("fewer than k", "top-k with fewer than k allowed", "k")
def fewer_than_k(operation, dtype):
    x = np.full((2, 1100), -INF, dtype)
    x[0, [7, 1050]] = 1
    x[1, 3] = 0
    got = operation(x, k=4)
    assert set(got["index"][0, :2]) == {7, 1050}
    assert got["index"][1, 0] == 3
    assert (got["index"][0, 2:] == -1).all()
    assert (got["index"][1, 1:] == -1).all()
    assert (got["score"][0, 2:] == -INF).all()
    assert (got["threshold"] == -INF).all()
    for k in (0, -1, 5):
        with pytest.raises(ValueError, match="k must be from 1 to the number of categories, 4, got"):
            operation(x[:, :4], k=k)
    for k in (None, 1.0, True, "2"):
        with pytest.raises(TypeError, match="k must be an integer"):
            operation(x[:, :4], k=k)


@row("a head", "a head without a valid action", "nvec")
def head_without_action(operation, dtype):
    clean = logits(6, 10, dtype=dtype)
    x = clean.copy()
    x[2, 5:], x[4, :5], x[5, 7] = -INF, -INF, NAN
    marked, wanted = operation(x, invalid="mark"), operation(clean)
    if "action" in marked:
        np.testing.assert_array_equal(marked["action"][[2, 4, 5]][[0, 1, 2], [1, 0, 1]], -1)
        keep = np.array([[1, 1], [1, 1], [1, 0], [1, 1], [0, 1], [1, 0]], bool)
        np.testing.assert_array_equal(marked["action"][keep], wanted["action"][keep])
    for name in set(marked) - {"action"}:
        assert np.isnan(marked[name][[2, 4, 5]]).all()
        np.testing.assert_array_equal(marked[name][[0, 1, 3]], wanted[name][[0, 1, 3]])
    with pytest.raises(ValueError, match=rf"{operation.function}: 3 of 6 rows invalid .*: row 2, 4, 5;"):
        operation(x)


@row("nvec", "nvec", "nvec")
def wrong_heads(operation, dtype):
    function, x = getattr(ng, operation.function), logits(3, 10, dtype=dtype)
    given = np.zeros((3, 2), int)
    call = lambda **o: function(KEY, x, **o) if operation.function == "sample_actions" else function(x, given, **o)
    for nvec in ((5, 4), (5, 5, 1), (), (0, 10), (-1, 11)):
        with pytest.raises(ValueError, match=r"nvec must be one or more numbers of 1 or more that add up to the 10 categories"):
            call(nvec=nvec)
    for nvec in (10, (5.0, 5), "55", np.array([5.0, 5.0]), (True, 9)):
        with pytest.raises(TypeError, match="nvec must be"):
            call(nvec=nvec)
    for nvec in ([5, 5], np.array([5, 5], np.int32)):
        if operation.function != "log_prob_entropy_vjp":  # whose cotangents are not those of `call`
            same(operation.named(call(nvec=nvec)), operation(x) if "action" in operation.parts else operation(x, actions=given))
    # Heads side by side are distributions apart: log-probabilities and entropies add up, gradients stand side by side.
    whole = operation(x)
    if "gradient" in whole:
        parts = [OPERATIONS["log_prob_entropy_vjp"](x[:, 5 * h : 5 * h + 5])["gradient"] for h in (0, 1)]
        np.testing.assert_array_equal(whole["gradient"], np.concatenate(parts, axis=1))
    if "log_prob" in operation.parts:
        actions = whole.get("action", best_of(x, {}, (5, 5)))
        parts = [ng.log_prob_entropy(x[:, 5 * h : 5 * h + 5], actions[:, h]) for h in (0, 1)]
        for name in ("log_prob", "entropy"):
            total = sum(getattr(part, name) for part in parts)
            np.testing.assert_allclose(whole[name], total, rtol=4 * np.finfo(dtype).eps)


@row("forbidden", "a given action that is forbidden", "actions")
def forbidden(operation, dtype):
    x, mask = logits(4, 10, dtype=dtype), np.arange(10) % 5 != 2
    given = np.full((4, 2) if operation.has_heads else 4, 2)
    for got in (operation(x, actions=given, mask=mask), operation(np.where(mask, x, dtype(-INF)), actions=given)):
        if "log_prob" in got:
            assert (got["log_prob"] == -INF).all()
            np.testing.assert_array_equal(got["entropy"], operation(x, mask=mask)["entropy"])
        else:
            assert (got["gradient"][:, ~mask] == 0).all()
            assert np.isfinite(got["gradient"]).all()
            assert (got["gradient"][:, mask] != 0).all()


@row("actions outside", "a given action outside of its head, as the -1 of a marked row", "actions")
def actions_outside(operation, dtype):
    x = logits(6, 10, dtype=dtype)
    clean = best_of(x, {}, (5, 5)) if operation.has_heads else best_of(x, {})
    end = 5 if operation.has_heads else 10
    for value in (-1, end, 2**40, -(2**40)):
        given = clean.copy()
        given[2] = given[5] = value
        marked, wanted = operation(x, actions=given, invalid="mark"), operation(x, actions=clean)
        for name, part in marked.items():
            assert np.isnan(part[[2, 5]]).all()
            np.testing.assert_array_equal(part[[0, 1, 3, 4]], wanted[name][[0, 1, 3, 4]])
        with pytest.raises(ValueError, match=rf"{operation.function}: 2 of 6 rows .*outside of its head\): row 2, 5;"):
            operation(x, actions=given)
    for kind in (np.int8, np.int32, np.uint64):
        same(operation(x, actions=clean.astype(kind)), wanted)
    same(operation(x, actions=clean.tolist()), wanted)
    for wrong in (clean.astype(float), clean.astype(bool), None):
        with pytest.raises(TypeError, match="actions"):
            operation(x, actions=wrong)
    with pytest.raises(ValueError, match="actions must have shape"):
        operation(x, actions=clean[:5])


@row(
    "impossible",
    "conditional_gumbel: an index that is no position of the row, as -1 of a marked row; of an excluded category; "
    "of another than the first +inf",
    "conditional_gumbel",
)
def impossible(operation, dtype):
    x = np.zeros((8, 5), dtype)
    x[2, 1], x[3, 4], x[4, [1, 3]], mask = -INF, INF, INF, np.ones((8, 5), bool)
    mask[5, 2] = False
    index = np.array([-1, 5, 1, 0, 3, 2, 2**40, 4])
    got = next(iter(operation(x, index=index, mask=mask, invalid="mark").values()))
    assert np.isnan(got[:7]).all()
    assert np.isfinite(got[7]).all()
    with pytest.raises(
        ValueError, match=r"conditional_gumbel: 7 of 8 rows .*or an impossible index\): row 0, 1, 2, 3, 4, \.\.\."
    ):
        operation(x, index=index, mask=mask)
    for wrong, error in ((None, TypeError), (index.astype(float), TypeError), (index > 0, TypeError), (index[:7], ValueError)):
        with pytest.raises(error, match="index"):
            operation(x, index=wrong)


@row("nothing learnt", "conditional_gumbel: nothing learnt about a category", "conditional_gumbel")
def nothing_learnt(operation, dtype):
    x = np.array([[1, INF, 0, INF], [-INF, 1, 2, -INF]], dtype)
    got = next(iter(operation(x, index=np.array([1, 2])).values()))
    free = ng.gumbel(ng.fold(KEY, 0, tag=2), x.shape, dtype=dtype)
    wanted = np.where(np.isfinite(x), x + free, x) if operation.parts == ("scores",) else free
    for place in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 3)):
        assert got[place] == wanted[place]
    assert got[1, 1] != wanted[1, 1]


@row("samples", "conditional_gumbel: n", "sample", "conditional_gumbel")
def samples(operation, dtype):
    x = logits(4, 9, dtype=dtype)
    together = next(iter(operation(x, sample=2**40, n=3).values()))
    for d in range(3):
        np.testing.assert_array_equal(together[d], next(iter(operation(x, sample=2**40 + d).values())))
    assert next(iter(operation(x, n=0).values())).shape == (0, 4, 9)
    assert (together[0] != together[1]).any()
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match="sample must be 0 or more"):
            operation(x, sample=wrong)
    with pytest.raises(TypeError, match="sample must be an integer"):
        operation(x, sample=1.0)


@row("shapes", "empty batch; zero categories")
def shapes(operation, dtype):
    for shape in ((0, 4), (3, 0, 4), (0, 2, 5, 4)):
        for name, part in operation(np.zeros(shape, dtype)).items():
            assert part.size == 0
            assert part.ndim >= len(shape) - (name not in operation.wide)
    for shape in ((3, 0), (0,), (0, 0)):
        with pytest.raises(ValueError, match="logits has no categories"):
            operation(np.zeros(shape, dtype))


@row("a scalar", "a scalar in place of logits")
def scalar(operation, dtype):
    with pytest.raises(ValueError, match="logits must have at least one axis"):
        operation(dtype(1.0))
    with pytest.raises(ValueError, match="logits must have at least one axis"):
        operation(np.zeros((), dtype))


@row("lists", "Python lists")
def lists(operation, dtype):
    x = [[0.1, 0.7, 0.2], [1, 2, 3]]
    got = operation(x)
    same(got, operation(np.array(x)) if operation.function != "merge" else OPERATIONS["draw"](np.array(x)))
    for part in got.values():
        assert isinstance(part, np.ndarray)
        assert part.dtype in (np.float64, np.int64)
    assert operation([1, 2, 3]).keys() == got.keys()


@row("halves", "float16, bfloat16 (of the package ml_dtypes)")
def of_16_bits(operation, dtype):
    half = HALVES[0 if dtype == np.float32 else -1]
    x = logits(5, 17).astype(half)
    x[1, 3:5] = -INF
    got, wanted = operation(x), operation(x.astype(np.float32))
    for name, part in got.items():
        if name in ("sample", "gradient"):
            np.testing.assert_array_equal(part.astype(np.float64), wanted[name].astype(half).astype(np.float64))
            assert part.dtype == half
        else:
            np.testing.assert_array_equal(part, wanted[name])
            assert part.dtype == wanted[name].dtype
    if "probs" in operation.arguments:
        p = np.random.default_rng(0).random((5, 17)).astype(half)
        wide = operation(None, probs=p.astype(np.float32))
        for name, part in operation(None, probs=p).items():
            np.testing.assert_array_equal(part.astype(np.float64), wide[name].astype(part.dtype).astype(np.float64))


@row("same ids", "two columns of a row with the same id", "cols")
def same_ids(operation, dtype):
    x = logits(200, 6, dtype=dtype)
    ids = np.array([4, 9, 4, 9, 4, 1])
    noise = ng.gumbel(KEY, rows=np.arange(200), cols=ids, dtype=dtype)
    np.testing.assert_array_equal(noise[:, 0], noise[:, 4])
    got = operation(x, cols=ids)
    scores = (x.astype(np.float64) + noise).argmax(axis=1)  # no two of these are within rounding
    if "noise" in got and operation.function == "gumbel":
        np.testing.assert_array_equal(got["noise"], noise)
    elif operation.function == "conditional_gumbel":
        free = ng.gumbel(ng.fold(KEY, 0, tag=2), rows=np.arange(200), cols=ids, dtype=dtype)
        wanted = oracle.conditional(x.astype(np.float64), x.argmax(axis=1), np.exp(-free.astype(np.float64)), np.ones(200))
        wanted = x + wanted if "scores" in got else wanted
        np.testing.assert_allclose(next(iter(got.values())), wanted, rtol=1e-4, atol=1e-4)
    elif "gradient" in got:
        y = ng.gumbel_softmax(KEY, x, cols=ids)
        wanted = oracle.softmax_vjp(y.astype(np.float64), waves(x, {}), np.ones(200))
        np.testing.assert_allclose(got["gradient"], wanted, atol=1e-5)
    elif "sample" in got:
        np.testing.assert_array_equal(got["sample"].argmax(axis=1), scores)
    elif operation.is_deterministic:
        np.testing.assert_array_equal(got["action"], x.argmax(axis=1))
    elif operation.has_heads:
        np.testing.assert_array_equal(got["action"][:, 0], (x + noise)[:, :3].argmax(axis=1))
    elif operation.function == "merge":
        assert np.isin(got["col"], ids).all()
        np.testing.assert_array_equal(got["col"], ids[scores])
    elif "index" in got:
        first = got["index"][:, 0] if "index" in operation.wide else got["index"]
        np.testing.assert_array_equal(first, scores)
    else:
        np.testing.assert_array_equal(got["action"], scores)


@row("no values", "categorical_ragged: a row without values", "offsets")
def no_values(operation, dtype):
    values = logits(9, dtype=dtype)
    got = ng.categorical_ragged(KEY, values, [1, 4, 4, 8], invalid="mark")
    assert got[1] == -1
    alone = operation(values[None, 1:4]), operation(values[None, 4:8], rows=[2])
    np.testing.assert_array_equal(got[[0, 2]], [part["index"][0] for part in alone])
    spoilt = values.copy()
    spoilt[[0, 8]] = NAN
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, spoilt, [1, 4, 4, 8], invalid="mark"), got)
    with pytest.raises(ValueError, match=r"categorical_ragged: 1 of 3 rows invalid .* row 1;"):
        ng.categorical_ragged(KEY, values, [1, 4, 4, 8])


@row("offsets", "categorical_ragged: offsets that decrease, or lie outside the values", "offsets")
def wrong_offsets(operation, dtype):
    values = logits(9, dtype=dtype)
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, values, [0, 9]), operation(values[None])["index"])
    for offsets, message in (
        ([0, 5, 4], "at position 2"),
        ([-1, 3], "at position 0"),
        ([0, 10], "at position 1"),
        ([], "axis"),
    ):
        with pytest.raises(ValueError, match=f"offsets must .*{message}"):
            ng.categorical_ragged(KEY, values, offsets)
    for offsets in (None, [0.0, 9.0]):
        with pytest.raises(TypeError, match="offsets"):
            ng.categorical_ragged(KEY, values, offsets)


@row(
    "all taken",
    "inclusion_log_prob: all allowed categories taken, a logit of +inf, or temperature 0, where the sample is no "
    "matter of chance",
    "inclusion_log_prob",
)
def all_taken(operation, dtype):
    x = logits(4, 9, dtype=dtype)
    x[0, 2:] = -INF
    x[1, 3] = INF
    got = operation(x)["log_q"]
    assert (got[0] == 0).all()
    assert got[1, 0] == 0
    assert (got[2:] < 0).all()
    assert (operation(x, temperature=0)["log_q"] == 0).all()


@row("not included", "inclusion_log_prob: an empty place (index -1); a marked row", "inclusion_log_prob")
def not_included(operation, dtype):
    x = logits(3, 9, dtype=dtype)
    x[0, 1:], x[1] = -INF, NAN
    got = operation(x)["log_q"]
    np.testing.assert_array_equal(got[:2], [[0, -INF], [NAN, NAN]])
    assert np.isfinite(got[2]).all()


@row("key", "an int where a key belongs", "key")
def wrong_key(operation, dtype):
    for key in (42, None, "seed", np.uint64(3), (1, 2), True):
        with pytest.raises(TypeError, match=r"key must be a Key as numgumbel\.key\(seed, \*stream\) makes it"):
            operation(logits(2, 3, dtype=dtype), key=key)


REFUSED = {
    "int64": (np.ones((2, 3), np.int64), r"logits\.astype\(np\.float64\)"),
    "uint8": (np.ones((2, 3), np.uint8), r"logits\.astype\(np\.float64\)"),
    "bool": (np.ones((2, 3), bool), r"mask="),
    "complex": (np.ones((2, 3), complex), r"logits\.real"),
    "object": (np.ones((2, 3), object), r"np\.asarray\(logits, dtype=np\.float64\)"),
    "text": (np.array([["a", "b"]]), r"np\.asarray"),
    "longdouble": (np.ones((2, 3), np.longdouble), r"logits\.astype\(np\.float64\)"),
    "foreign byte order": (np.ones((2, 3), np.dtype(np.float64).newbyteorder()), r"foreign byte order"),
    "masked array": (np.ma.masked_less(np.ones((2, 3)), 0), r"filled\(-np\.inf\)"),
    "a string": ("abc", r"builtins\.str, which is none of"),
    "none of any kind": (object(), r"builtins\.object, which is none of"),
    "list of bool": ([True, False], r"mask="),
    "set": ({1.0}, r"builtins\.set"),
}


@row("other dtypes", "integer, bool, complex, object, longdouble, foreign byte order, masked arrays")
def other_dtypes(operation, dtype):
    for wrong, advice in REFUSED.values():
        if operation.function == "merge" and isinstance(wrong, np.ma.MaskedArray):
            continue  # its shards are what np.asarray makes of it
        with pytest.raises(TypeError, match=advice):
            operation(wrong)


@row("layouts", "non-contiguous, Fortran, read-only, negative stride, unaligned, axis not last", "axis")
def layouts(operation, dtype):
    base = logits(4, 5, 6, 7, dtype=dtype)
    arrays = {
        "fortran": np.asfortranarray(base),
        "negative strides": base[::-1, ::-1, ::-1, ::-1],
        "steps": base[::2, 1::2, :, ::3],
        "transposed": base.transpose(2, 0, 3, 1),
        "broadcast": np.broadcast_to(base[:, :1], base.shape),
        "unaligned": np.frombuffer(b"x" + base.tobytes(), dtype, offset=1).reshape(base.shape),
        "one row": base[0, 0, 0],
        "five axes": base.reshape(2, 2, 5, 6, 7).transpose(3, 1, 2, 0, 4),
    }
    for name, x in arrays.items():
        before = x.copy()
        x.flags.writeable = False
        for axis in range(-x.ndim, x.ndim):
            moved = np.ascontiguousarray(np.moveaxis(x, axis, -1))
            wanted, got = operation(moved), operation(x, axis=axis)
            for part in wanted:
                turned = np.moveaxis(got[part], axis, -1) if part in operation.wide else got[part]
                np.testing.assert_array_equal(turned, wanted[part], err_msg=f"{name}, axis {axis}, {part}")
        np.testing.assert_array_equal(x, before)
    for axis in (2, -3):
        with pytest.raises((ValueError, IndexError), match=r"out of (range|bounds)"):
            operation(base[0, 0], axis=axis)


@row("out", "out of a wrong dtype or shape, read-only, unaligned or with shared elements", "out")
def out(operation, dtype):
    x = logits(5, 6, dtype=dtype)
    wanted = {name: part for name, part in operation(x).items() if name != "col"}
    blank = lambda: {name: np.full_like(part, 99) for name, part in wanted.items()}
    places = blank()
    given = operation.as_out(places)
    got = operation(x, out=given)
    for name, part in wanted.items():
        assert got[name] is places[name]
        np.testing.assert_array_equal(places[name], part)
    strided = {name: np.full(tuple(2 * size for size in part.shape), 99, part.dtype) for name, part in wanted.items()}
    views = {name: part[tuple(slice(None, None, -2) for _ in part.shape)] for name, part in strided.items()}
    operation(x, out=operation.as_out(views))
    for name, part in strided.items():
        np.testing.assert_array_equal(views[name], wanted[name])
        assert (part == 99).sum() == part.size - wanted[name].size + (wanted[name] == 99).sum()
    for name, part in wanted.items():
        if part.dtype == np.int64:
            narrow = blank() | {name: np.zeros(part.shape, np.int32)}
            operation(x, out=operation.as_out(narrow))
            np.testing.assert_array_equal(narrow[name], part)
        for change, error in (
            (np.zeros(part.shape, np.int16), TypeError),
            (np.zeros(part.shape, np.float64 if dtype == np.float32 or part.dtype.kind == "i" else np.float32), TypeError),
            (np.zeros((*part.shape, 1), part.dtype), ValueError),
            (np.zeros((part.shape[0] + 1, *part.shape[1:]), part.dtype), ValueError),
            (np.broadcast_to(part.dtype.type(0), part.shape), ValueError),
            (np.lib.stride_tricks.as_strided(np.zeros(1, part.dtype), part.shape, (0,) * part.ndim), ValueError),
            (np.frombuffer(bytearray(part.nbytes + 1), part.dtype, part.size, 1).reshape(part.shape), ValueError),
            ([0] * 5, TypeError),
            (part.dtype.type(0), TypeError),
        ):
            if operation.function == "gumbel" and error is not ValueError:
                continue  # its dtype and shape are those of out
            if operation.function == "gumbel" and change.shape != part.shape:
                continue
            bad = blank() | {name: change}
            before = np.array(change)
            with pytest.raises(error, match="out"):
                operation(x, out=operation.as_out(bad))
            np.testing.assert_array_equal(np.asarray(change), before)
            for other in set(bad) - {name}:
                assert (bad[other] == 99).all()
    if len(wanted) > 1:
        with pytest.raises(TypeError, match="out must be"):
            operation(x, out=next(iter(places.values())))


@row("overlap", "out that overlaps an input or another of several", "out")
def overlapping(operation, dtype):
    wanted = {name: part for name, part in operation(logits(6, 8)).items() if name != "col"}
    for name, part in wanted.items():
        memory = np.zeros(max(part.size, 48) + 1)
        x = memory[:48].reshape(6, 8)
        x[:] = logits(6, 8)
        before = memory.copy()
        places = {other: np.full_like(there, 99) for other, there in wanted.items()}
        places[name] = memory.view(part.dtype)[1 : 1 + part.size].reshape(part.shape)
        with pytest.raises(ValueError, match="overlaps an input"):
            operation(x, out=operation.as_out(places))
        np.testing.assert_array_equal(memory, before)
        assert all((places[other] == 99).all() for other in set(places) - {name})
        for other, there in wanted.items():
            if other != name and there.shape == part.shape and there.dtype == part.dtype:
                places = {key: np.full_like(value, 99) for key, value in wanted.items()}
                places[other] = places[name]
                with pytest.raises(ValueError, match="the arrays of out overlap each other"):
                    operation(logits(6, 8), out=operation.as_out(places))
                assert all((array == 99).all() for array in places.values())


@row("n", "n", "n")
def several_draws(operation, dtype):
    x = logits(2, 3, 5, dtype=dtype)
    for step in (0, 2**30 - 1, np.arange(6).reshape(2, 3) + 2**40):
        together = operation(x, step=step, n=3)
        for d in range(3):
            for name, part in operation(x, step=step + d, n=None).items():
                np.testing.assert_array_equal(together[name][d], part)
    for part in operation(x, n=0).values():
        assert part.shape[0] == 0
    for wrong, error in ((-1, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="n must be"):
            operation(x, n=wrong)
    with pytest.raises(ValueError, match="with the draws that follow"):
        operation(x, n=2, step=2**63 - 1)


ADDRESSES = {
    "rows": [(np.zeros(3), TypeError), (np.zeros(4, int), ValueError), (np.zeros(3, bool), TypeError)],
    "cols": [
        (np.zeros(4), TypeError), (np.zeros(3, int), ValueError), ([0, 1, 2, -1], ValueError),
        ([0, 1, 2, 2**35 - 16], ValueError),
    ],
    "step": [
        (-1, ValueError), (2**63, ValueError), (1.0, TypeError), (True, TypeError), (np.zeros(2, int), ValueError),
        (np.array([0, -5, 0]), ValueError),
    ],
}  # fmt: skip


@row("addresses", "rows, cols or step of another dtype or shape, or out of range", "step")
def addresses(operation, dtype):
    x = logits(3, 4, dtype=dtype)
    for name, wrong in ADDRESSES.items():
        for value, error in wrong:
            if operation.function == "merge" and name == "cols" and len(np.shape(value)) and len(value) < 4:
                continue  # cut to size with the shards
            with pytest.raises(error, match=r"rows|cols|column ids|step"):
                operation(x, **{name: value})
    wanted = operation(x, rows=np.array([5, 6, 7]), cols=np.array([3, 1, 0, 9]), step=4)
    for kind in (np.int8, np.uint16, np.int32, np.uint64, np.dtype(">i4"), np.dtype(">i8")):
        rows, cols = np.array([5, 6, 7], kind), np.array([3, 1, 0, 9], kind)
        same(operation(x, rows=rows, cols=cols, step=np.full(3, 4, kind)), wanted)
    same(operation(x, rows=[5, 6, 7], cols=[3, 1, 0, 9], step=[4, 4, 4]), wanted)


@row("the same noise", "the same key and step in two calls", "step")
def the_same_noise(operation, dtype):
    x = logits(40, 30, dtype=dtype)
    first = operation(x, step=3)
    same(operation(x, step=3), first)
    same(operation(x, step=3, key=ng.key(7, "semantics table")), first)
    for other in ({"step": 4}, {"key": ng.key(7, "another table"), "step": 3}, {"rows": np.arange(1, 41), "step": 3}):
        changed = operation(x, **other)
        assert operation.is_deterministic == all(np.array_equal(changed[name], first[name]) for name in first)


@row("want", "want", "want")
def want(operation, dtype):
    x = logits(3, 4, dtype=dtype)
    function = getattr(ng, operation.function)
    for names in ("score", ["entropy", "log_prob"], (), {"logsumexp"}):
        got = function(KEY, x, want=names)
        wanted = {names} if isinstance(names, str) else set(names)
        everything = operation(x)
        for name in KNOWN:
            if name in wanted:
                np.testing.assert_array_equal(getattr(got, name), everything[name])
            else:
                assert getattr(got, name) is None
    with pytest.raises(ValueError, match="want must be of"):
        function(KEY, x, want="probability")
    with pytest.raises(TypeError, match="want must be names"):
        function(KEY, x, want=1)


@row("merge", "merge: no draws, no Draw, other shapes or dtypes, without score", "merge")
def cannot_merge(operation, dtype):
    a, b = (ng.draw(KEY, logits(3, 4, dtype=dtype), want=KNOWN, cols=np.arange(4) + first) for first in (0, 4))
    other = np.float64 if dtype == np.float32 else np.float32
    whole, joined = OPERATIONS["draw"](logits(3, 8, dtype=dtype)), operation(logits(3, 8, dtype=dtype))
    for name in ("index", "col", "score"):
        np.testing.assert_array_equal(joined[name], whole[name])
    for draws, error, message in (
        ([], ValueError, "one draw or more"),
        ([a, a.index], TypeError, "draws must be Draws"),
        ([a, b._replace(score=None)], TypeError, "must have their score"),
        ([a, ng.draw(KEY, logits(2, 4, dtype=dtype), want=KNOWN)], ValueError, "must have shape"),
        ([a, ng.draw(KEY, logits(3, 4, dtype=other), want=KNOWN)], TypeError, "must be float"),
    ):
        with pytest.raises(error, match=message):
            ng.merge(draws)
    for missing in KNOWN[1:]:
        joined = ng.merge([a, b._replace(**{missing: None})])
        assert getattr(joined, missing) is None
        np.testing.assert_array_equal(joined.score, ng.merge([a, b]).score)
        if missing == "logsumexp":
            assert joined.log_prob is joined.entropy is None
    with pytest.raises(ValueError, match="temperature must be 0 or from"):
        ng.merge([a, b], temperature=-1)


# --- the table -----------------------------------------------------------------------------------------------------------

CELLS = [(name, which) for name in ROWS for which in OPERATIONS if does_not_apply(name, OPERATIONS[which]) is None]
each_cell = pytest.mark.parametrize(("name", "which"), CELLS, ids=[f"{name}-{which}" for name, which in CELLS])


@each_cell
@pytest.mark.parametrize("dtype", REALS)
def test_the_table(name, which, dtype):
    ROWS[name].check(OPERATIONS[which], dtype)


def broken(operation):
    """The same operation, with other results each time it is called, and no error raised."""
    calls = iter(range(10**6))

    def call(key, x, **options):
        number = next(calls)
        try:
            result = operation.named(operation.call(key, x, **options))
        except Exception:
            return {}
        return {
            name: (part * 0 + 10_000_000 + number if part.dtype.kind == "i" else np.full_like(part, 7.25 + number % 64))
            for name, part in result.items()
        }

    return replace(operation, call=call)


@each_cell
def test_each_check_can_fail(name, which):
    with pytest.raises((AssertionError, pytest.fail.Exception, KeyError, StopIteration)):
        ROWS[name].check(broken(OPERATIONS[which]), np.float32)


def test_every_public_operation_has_an_entry():
    named = {operation.function for operation in OPERATIONS.values()}
    assert named == set(ng.__all__) - OTHERS - TYPES


@pytest.mark.parametrize("which", OPERATIONS)
def test_what_an_operation_lacks_is_said(which):
    """Every common argument is taken, or the entry says why not; and no reason is given for what is there."""
    operation = OPERATIONS[which]
    taken = set(inspect.signature(getattr(ng, operation.signature or operation.function)).parameters)
    unexplained = set(COMMON) - taken - set(operation.lacks) - set(operation.fixed)
    assert not unexplained, f"say why {which} does not take {unexplained}"
    assert set(operation.exempt) <= set(ROWS)
    if operation.signature is None:
        assert not (set(operation.lacks) & taken)
    assert set(operation.wide) <= set(operation.parts)


def test_the_document_has_the_same_rows():
    """Each line of the tables in docs/semantics.md has a check, and each check a line."""
    text = (Path(__file__).parents[1] / "docs" / "semantics.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| input")]
    titles = [re.sub(r"[`]", "", line.split(" | ")[0][2:]).strip() for line in lines]
    assert sorted(titles) == sorted(row.title for row in ROWS.values())
