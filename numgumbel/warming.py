"""Compiling ahead of the first call: which row kernels each public function may run."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from .arguments import REALS, is_logits
from .dispatch import operation

__all__ = ["warmup"]


def warmup(operations: str | Iterable[str] | None = None, dtypes: Any = None) -> dict[str, float]:
    """Compile what functions need, or load it from the cache, so that their first call is as fast as any other.

    A kernel is compiled once a machine, in a few seconds, and kept in the cache folder that ``numgumbel info`` shows. Every
    further process loads it in some milliseconds. Threads are not started: a server may warm up and then fork.

    Parameters
    ----------
    operations : str or iterable of str, optional
        Names of functions: ``"categorical"`` (both methods), ``"categorical_ragged"``, ``"draw"``, ``"sample_actions"``,
        ``"log_prob_entropy"``, ``"log_prob_entropy_vjp"``, ``"merge"``, ``"gumbel"``, ``"gumbel_softmax"``,
        ``"gumbel_softmax_vjp"``, ``"gumbel_topk"``, ``"inclusion_log_prob"``, ``"conditional_gumbel"``, ``"row_ids"`` and
        ``"fold"``. All when left out. The methods of a `Generator` need what the functions of the same name need, and
        `Generator.split` needs ``"fold"``.
    dtypes : float32, float64, float16, bfloat16, or an iterable of them, optional
        Of the logits; float32 and float64 when left out. Names, types and dtypes will do; the name bfloat16 needs the package
        ml_dtypes. The noise of halves is the float32 field, and so is what ``"gumbel"`` compiles for them.

    Returns
    -------
    dict of float
        Seconds by kernel, such as ``"noise_rows[float32]"``, or ``"wait_until"`` where there is only one for all dtypes.
        A kernel that this process had already takes none.

    Raises
    ------
    TypeError
        For a dtype that logits cannot have, or an operation that is not named by a str.
    ValueError
        For a name that no operation has. Either way nothing is compiled.

    Examples
    --------
    >>> import numgumbel as ng
    >>> seconds = ng.warmup("gumbel", "float32")
    >>> "noise_rows[float32]" in seconds
    True
    """
    table = _table()
    names = _operation_names(operations, table)
    given = _dtypes(dtypes)
    precisions = list(dict.fromkeys(dtype if dtype.itemsize > 2 else REALS[0] for dtype in given))
    operation("categorical", "cpu")  # imports the driver
    seconds: dict[str, float] = {}
    for name in names:
        by_dtype, common = table[name]
        used = precisions if name == "gumbel" else given
        wanted = [(kernel, dtype, f"{kernel.__name__}[{dtype}]") for kernel in by_dtype for dtype in used]
        for kernel, dtype, label in [*wanted, *((kernel, None, kernel.__name__) for kernel in common)]:
            if label not in seconds:
                start = time.perf_counter()
                kernel[dtype]
                seconds[label] = time.perf_counter() - start
    return seconds


def _table() -> dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Name of a function: its kernels that exist once a dtype of the logits, and those that exist once.

    Kernels are imported here and not with the package, whose import is to take no longer than it must.
    """
    from .kernels.cpu.argmax import argmax_rows
    from .kernels.cpu.column_ids import survey_columns
    from .kernels.cpu.conditional import conditional_rows
    from .kernels.cpu.draw import draw_rows
    from .kernels.cpu.draw_short import draw_short_rows
    from .kernels.cpu.inclusion import inclusion_rows
    from .kernels.cpu.inverse_cdf import inverse_cdf_rows
    from .kernels.cpu.inverse_cdf_draws import inverse_cdf_draws
    from .kernels.cpu.lanes import argmax_short_rows
    from .kernels.cpu.lanes_of_ids import argmax_short_rows_of_ids
    from .kernels.cpu.log_prob import log_prob_vjp_rows
    from .kernels.cpu.merging import merge_rows
    from .kernels.cpu.noise import noise_rows
    from .kernels.cpu.ragged import argmax_ragged
    from .kernels.cpu.row_ids import fold_bytes, fold_integers, fold_key
    from .kernels.cpu.softmax import softmax_rows, softmax_vjp_rows
    from .kernels.cpu.topk import topk_rows
    from .kernels.cpu.waiting import wait_until

    besides = wait_until, survey_columns  # where a call shares its work among threads, and where columns have ids
    return {
        "categorical": (
            (argmax_short_rows, argmax_short_rows_of_ids, argmax_rows, inverse_cdf_rows, inverse_cdf_draws),
            besides,
        ),
        "categorical_ragged": ((argmax_ragged,), besides),
        "draw": ((draw_short_rows, draw_rows), besides),
        "sample_actions": ((draw_short_rows, draw_rows), besides),
        "log_prob_entropy": ((draw_short_rows, draw_rows), besides),
        "log_prob_entropy_vjp": ((log_prob_vjp_rows,), besides),
        "merge": ((merge_rows,), ()),
        "conditional_gumbel": ((conditional_rows,), besides),
        "gumbel": ((noise_rows,), besides),
        "gumbel_softmax": ((softmax_rows,), besides),
        "gumbel_softmax_vjp": ((softmax_rows, softmax_vjp_rows), besides),
        "gumbel_topk": ((topk_rows,), besides),
        "inclusion_log_prob": ((inclusion_rows,), (wait_until,)),
        "row_ids": ((), (fold_integers, fold_bytes)),
        "fold": ((), (fold_key,)),
    }


def _operation_names(operations: Any, known: Iterable[str]) -> list[str]:
    """The names asked for, each one known."""
    if operations is None:
        return list(known)
    names = [operations] if isinstance(operations, str) else _listed(operations, "operations")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"operations must be names such as 'categorical', got {type(name).__name__}: {name!r:.60}")
        if name not in known:
            raise ValueError(f"operations must be of {', '.join(known)}, got {name!r:.60}")
    return names


def _dtypes(dtypes: Any) -> list[np.dtype]:
    """The dtypes asked for."""
    if dtypes is None:
        return list(REALS)
    given = [dtypes] if isinstance(dtypes, (str, type, np.dtype)) else _listed(dtypes, "dtypes")
    return [dtype_of(dtype, "dtypes") for dtype in given]


def dtype_of(given: Any, name: str) -> np.dtype:
    """A dtype that logits may have, from a name, a type or a dtype; `name` is the argument's, for errors."""
    if isinstance(given, str) and given == "bfloat16":
        try:
            importlib.import_module("ml_dtypes")  # tells NumPy the name
        except ImportError:
            raise TypeError(f"{name} names bfloat16, which needs a package: python -m pip install ml_dtypes") from None
    if given is not None:  # for NumPy, None is float64
        with contextlib.suppress(TypeError, ValueError):
            dtype = np.dtype(given)
            if is_logits(dtype):
                return dtype
    raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {given!r:.60}")


def _listed(values: Any, name: str) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} must be a name or several, got {type(values).__name__}: {values!r:.60}") from None
