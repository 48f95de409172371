"""Whether results stay the same on this machine, whatever they must not depend on: threads, pieces, layouts, storage."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Iterator

import numpy as np

from .. import threads
from .outcome import ULP, Outcome, equal, joined
from .subject import Subject

__all__ = ["half_dtypes", "halves", "layouts", "operations", "pieces_of_columns", "pieces_of_rows", "thread_counts"]

THREADS = 1, 2, 3, 8
# Rows and columns: short rows side by side, longer ones, and some of more than one tile.
SHAPES = (300, 7), (120, 40), (20, 2500)
# Calls that are worth sharing among threads: many short rows, middling ones, and few long ones, shared by columns.
LARGE = (30_000, 9), (60, 6000), (1, 400_000)
KNOWN = "score", "log_prob", "logsumexp", "entropy"
# Results in the dtype of the logits; others of 16 bits are of float32.
ROUNDED = "gumbel_softmax", "log_prob_entropy_vjp"


def _logits(seed: int, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Logits of which a tenth is excluded, never the first of a row."""
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(scale=3, size=shape)
    x[rng.random(shape) < 0.1] = -np.inf
    x[:, 0] = 0
    return x.astype(dtype)


def _row_ids(seed: int, rows: int) -> np.ndarray:
    """Row ids of 64 bits."""
    return np.random.default_rng([seed, rows]).integers(-(2**63), 2**63 - 1, rows)


def operations(subject: Subject, seed: int, x: np.ndarray, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every operation on the same logits: names and arrays with a row of each result at its place.

    What a call is given besides the logits goes by row ids or by columns, so that it is the same for a part of the rows.
    """
    key, columns = subject.key(seed, "verify"), x.shape[1]
    nvec = (columns // 3, columns - columns // 3)
    temperature = 0.5 + (rows & 3) / 2
    yield "categorical", subject.categorical(key, x, rows=rows)
    mask = np.arange(columns) % 3 < 2
    yield (
        "categorical, step, mask, temperatures",
        subject.categorical(key, x, rows=rows, step=2**31, mask=mask, temperature=temperature),
    )
    yield "categorical, ids", subject.categorical(key, x, rows=rows, cols=np.arange(columns)[::-1] * 977)
    yield "categorical, inverse CDF", subject.categorical(key, x, rows=rows, method="inverse_cdf")
    yield "categorical, n draws", subject.categorical(key, x, rows=rows, n=2).T
    top = subject.gumbel_topk(key, x, 3, rows=rows)
    for name, array in top._asdict().items():
        yield f"gumbel_topk, {name}", array
    yield "inclusion_log_prob", subject.inclusion_log_prob(x, top)
    yield "gumbel_softmax", subject.gumbel_softmax(key, x, rows=rows, tau=0.7)
    yield "gumbel_softmax, tau 1", subject.gumbel_softmax(key, x, rows=rows)
    yield "gumbel_softmax, hard", subject.gumbel_softmax(key, x, rows=rows, tau=0.7, hard=True)
    cotangent = np.broadcast_to((np.arange(columns) % 5 / 4 - 0.5).astype(x.dtype), x.shape)  # exact in every dtype
    yield "gumbel_softmax_vjp", subject.gumbel_softmax_vjp(key, x, cotangent, rows=rows, tau=0.7)
    drawn = subject.draw(key, x, want=KNOWN, rows=rows)
    for name, array in drawn._asdict().items():
        yield f"draw, {name}", array
    acted = subject.sample_actions(key, x, nvec=nvec, rows=rows, invalid="mark")
    for name, array in acted._asdict().items():
        yield f"sample_actions, {name}", array
    told = subject.log_prob_entropy(x, acted.action, nvec=nvec, invalid="mark")
    for name, array in told._asdict().items():
        yield f"log_prob_entropy, {name}", array
    yield "log_prob_entropy_vjp", subject.log_prob_entropy_vjp(x, drawn.index, 1.0, 0.5)
    yield "conditional_gumbel", subject.conditional_gumbel(key, x, drawn.index, rows=rows)
    real = np.float64 if x.dtype == np.float64 else np.float32
    yield "gumbel", subject.gumbel(key, rows=rows, cols=np.arange(columns), dtype=real)


def _ragged(subject: Subject, seed: int, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of different lengths: the first i mod the number of columns, plus 1, of row i."""
    lengths = rows % x.shape[1] + 1
    flat = np.concatenate([row[:length] for row, length in zip(x, lengths.tolist(), strict=True)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.asarray(subject.categorical_ragged(subject.key(seed, "verify"), flat, offsets, rows=rows))


def _everything(subject: Subject, seed: int, x: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    found = dict(operations(subject, seed, x, rows))
    if len(x) > 1:
        found["categorical_ragged"] = _ragged(subject, seed, x, rows)
    return found


def _compared(wanted: dict[str, np.ndarray], got: dict[str, np.ndarray], what: str) -> Iterator[Outcome]:
    for name, array in got.items():
        yield equal(f"{name}, {what}", array, wanted[name])


def _requests(seed: int, shapes: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for shape in shapes:
        for dtype in ("float32", "float64"):
            yield f"{shape[0]} x {shape[1]} {dtype}", _logits(seed, shape, dtype), _row_ids(seed, shape[0])


# --- the checks ----------------------------------------------------------------------------------------------------------


def thread_counts(subject: Subject, seed: int) -> Outcome:
    """Calls that are shared among 2, 3 and 8 threads, against one."""
    before = threads.get_num_threads()
    found: list[Outcome] = []
    try:
        for what, x, rows in _requests(seed, LARGE):
            threads.set_num_threads(THREADS[0])
            wanted = _everything(subject, seed, x, rows)
            for count in THREADS[1:]:
                threads.set_num_threads(count)
                found += _compared(wanted, _everything(subject, seed, x, rows), f"{what}, {count} threads")
    finally:
        threads.set_num_threads(before)
    return joined(found)


def pieces_of_rows(subject: Subject, seed: int) -> Outcome:
    """Rows in pieces of uneven size and in another order, with their ids, against the whole."""
    found: list[Outcome] = []
    for what, x, rows in _requests(seed, SHAPES):
        wanted = _everything(subject, seed, x, rows)
        ends = [0, 1, len(x) // 3, len(x) // 3 + 2, len(x)]
        parts = [dict(operations(subject, seed, x[a:b], rows[a:b])) for a, b in itertools.pairwise(ends)]
        together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        found += _compared(wanted, together, f"{what}, in pieces")
        order = np.random.default_rng(seed).permutation(len(x))
        turned = {name: array[order] for name, array in wanted.items()}
        found += _compared(turned, _everything(subject, seed, x[order], rows[order]), f"{what}, in another order")
    return joined(found)


def pieces_of_columns(subject: Subject, seed: int) -> Outcome:
    """Columns in pieces, joined by `merge`, against the whole: samples and scores equal, sums within 8 ulp of the logsumexp."""
    found: list[Outcome] = []
    key = subject.key(seed, "verify")
    for what, x, rows in _requests(seed, SHAPES):
        columns = x.shape[1]
        ends = [0, columns // 3, columns // 3 + 1, columns]
        cols = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
        parts = [subject.draw(key, x[:, ids], cols=ids, want=KNOWN, rows=rows, invalid="mark") for ids in cols]
        whole, merged = subject.draw(key, x, want=KNOWN, rows=rows), subject.merge(parts)
        for name in ("index", "col", "score"):
            found.append(equal(f"merge, {name}, {what}", getattr(merged, name), getattr(whole, name)))
        scale = np.spacing(np.maximum(np.abs(whole.logsumexp), 1))
        for name in ("logsumexp", "log_prob", "entropy"):
            ulps = np.abs(getattr(merged, name) - getattr(whole, name)) / scale
            worst = float(np.where(np.isnan(ulps), np.inf, ulps).max())
            found.append(
                Outcome(ulps.size, int((~(ulps <= ULP)).sum()), worst, (0.0, float(ULP)), f"merge, {name}, {what}", "ulp")
            )
        noise = [subject.gumbel(key, rows=rows, cols=ids, dtype=x.dtype) for ids in cols]
        together = subject.gumbel(key, rows=rows, cols=np.arange(columns), dtype=x.dtype)
        found.append(equal(f"gumbel, {what}", np.concatenate(noise, axis=1), together))
    return joined(found)


def layouts(subject: Subject, seed: int) -> Outcome:
    """Views with gaps and backwards, Fortran's order, and read-only arrays, against contiguous ones."""
    found: list[Outcome] = []
    for what, x, rows in _requests(seed, SHAPES):
        wanted = _everything(subject, seed, x, rows)
        wide = np.full((2 * len(x), 3 * x.shape[1]), np.nan, x.dtype)
        strided = wide[::-2, 1::3]
        strided[:] = x
        read_only = x.copy()
        read_only.flags.writeable = False
        for name, other in {"strided": strided, "Fortran": np.asfortranarray(x), "read-only": read_only}.items():
            found += _compared(wanted, _everything(subject, seed, other, rows), f"{what}, {name}")
            found.append(equal(f"the input afterwards, {what}, {name}", other, x))
    return joined(found)


def halves(subject: Subject, seed: int) -> Outcome:
    """float16, and bfloat16 where ml_dtypes is installed, against float32 of the same values, rounded once."""
    found: list[Outcome] = []
    for name in half_dtypes():
        for shape in SHAPES:
            x, rows = _logits(seed, shape, "float32").astype(name), _row_ids(seed, shape[0])
            wanted = _everything(subject, seed, x.astype(np.float32), rows)
            wanted |= {each: array.astype(name) for each, array in wanted.items() if each.startswith(ROUNDED)}
            found += _compared(wanted, _everything(subject, seed, x, rows), f"{shape[0]} x {shape[1]} {name}")
    return joined(found)


def half_dtypes() -> list[str]:
    """Names of the dtypes of 16 bits that arrays can have here."""
    if importlib.util.find_spec("ml_dtypes") is None:
        return ["float16"]
    importlib.import_module("ml_dtypes")  # from now on NumPy knows bfloat16 by its name
    return ["float16", "bfloat16"]
