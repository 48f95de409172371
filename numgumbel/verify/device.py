"""Whether a device gives what the CPU gives: every operation on random rows, index for index.

Indices, scores, noise and thresholds must be equal to the bit; sums within 8 ulp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import numgumbel as ng

from .exactness import half_dtypes
from .outcome import ULP, Outcome, differing, joined
from .running import Check, run

__all__ = ["CASES", "COLUMNS", "DEVICE", "Case", "checks", "device_arrays", "verify"]

DEVICE = "gpu"  # the name of the group
COLUMNS = 1, 6, 18, 300, 5000

# Results that are made of sums.
SUMS = {
    "log_prob",
    "log_prob again",
    "logsumexp",
    "entropy",
    "entropy again",
    "soft",
    "soft at 1",
    "gradient",
    "inclusion",
}


@dataclass(frozen=True)
class Case:
    """One operation on one kind of request.

    Attributes
    ----------
    name : str
        The operation, and what is special about the request.
    run : callable
        (key, logits, array) -> dict of results; `array` brings a NumPy array to where the logits are.
    dtypes : tuple of str
        Of logits.
    """

    name: str
    run: Callable[[Any, Any, Callable[[np.ndarray], Any]], dict[str, Any]]
    dtypes: tuple[str, ...] = ("float32", "float64", "float16", "bfloat16")


def _generator(x: Any) -> np.random.Generator:
    return np.random.default_rng([*x.shape, 17])


def _rows(x: Any) -> np.ndarray:
    return _generator(x).integers(-(2**63), 2**63 - 1, x.shape[0])


def _mask(x: Any) -> np.ndarray:
    mask = _generator(x).random(x.shape) < 0.7
    mask[:, -1] = True
    return mask


def _categorical(key: Any, x: Any, array: Any) -> dict[str, Any]:
    return {"index": ng.categorical(key, x)}


def _categorical_with_everything(key: Any, x: Any, array: Any) -> dict[str, Any]:
    r, count = _generator(x), x.shape[0]
    index = ng.categorical(
        key,
        x,
        rows=array(_rows(x)),
        step=array(r.integers(0, 2**40, count)),
        cols=array(r.permutation(2**35 - 17 - np.arange(x.shape[1]))),
        mask=array(_mask(x)),
        temperature=array(r.uniform(0.2, 3, count)),
    )
    return {"index": index}


def _greedy(key: Any, x: Any, array: Any) -> dict[str, Any]:
    return {"index": ng.categorical(key, x, temperature=0.0)}


def _inverse_cdf(key: Any, x: Any, array: Any) -> dict[str, Any]:
    return {"index": ng.categorical(key, x, method="inverse_cdf")}


def _ragged(key: Any, x: Any, array: Any) -> dict[str, Any]:
    count, columns = x.shape
    ends = np.sort(_generator(x).integers(0, count * columns + 1, count))
    ends[0], ends[-1] = 0, count * columns
    flat = np.random.default_rng(columns).normal(size=count * columns).astype(np.float32)
    return {"index": ng.categorical_ragged(key, array(flat), array(ends), invalid="mark")}


def _topk(key: Any, x: Any, array: Any) -> dict[str, Any]:
    top = ng.gumbel_topk(key, x, min(x.shape[1], 7))
    return {**top._asdict(), "inclusion": ng.inclusion_log_prob(x, top)}


def _field(key: Any, x: Any, array: Any) -> dict[str, Any]:
    rows, cols = array(_rows(x)), array(np.arange(3, 3 + x.shape[1]))
    return {"noise": ng.gumbel(key, rows=rows, cols=cols, dtype=np.float64)}


def _soft(key: Any, x: Any, array: Any) -> dict[str, Any]:
    soft, simple = ng.gumbel_softmax(key, x, tau=0.5), ng.gumbel_softmax(key, x)
    return {"soft": soft, "soft at 1": simple, "hard": ng.gumbel_softmax(key, x, tau=0.5, hard=True)}


def _soft_gradient(key: Any, x: Any, array: Any) -> dict[str, Any]:
    cotangent = array(_generator(x).uniform(-1, 1, x.shape).astype(x.dtype))
    return {"gradient": ng.gumbel_softmax_vjp(key, x, cotangent, tau=0.5)}


def _draw(key: Any, x: Any, array: Any) -> dict[str, Any]:
    drawn = ng.draw(key, x, want=("score", "log_prob", "logsumexp", "entropy"), mask=array(_mask(x)))
    return dict(drawn._asdict())


def _actions(key: Any, x: Any, array: Any) -> dict[str, Any]:
    columns = x.shape[1]
    nvec = (columns,) if columns < 3 else (columns // 3, columns - columns // 3)
    actions = ng.sample_actions(key, x, nvec=nvec)
    told = ng.log_prob_entropy(x, actions.action, nvec=nvec)
    gradient = ng.log_prob_entropy_vjp(x, actions.action, 1.0, 0.1, nvec=nvec)  # so that slopes are of the size of 1
    return {**actions._asdict(), "log_prob again": told.log_prob, "entropy again": told.entropy, "gradient": gradient}


def _conditional(key: Any, x: Any, array: Any) -> dict[str, Any]:
    index = array(_generator(x).integers(0, x.shape[1], x.shape[0]))
    return {"noise": ng.conditional_gumbel(key, x, index)}


# What is run and compared.
CASES: list[Case] = [
    Case("categorical", _categorical),
    Case("categorical: ids, steps, mask, temperatures", _categorical_with_everything),
    Case("categorical: temperature 0", _greedy),
    Case("categorical: inverse CDF", _inverse_cdf),
    Case("categorical_ragged", _ragged, ("float32",)),
    Case("gumbel_topk, inclusion_log_prob", _topk),
    Case("gumbel", _field, ("float64",)),
    Case("gumbel_softmax", _soft),
    Case("gumbel_softmax_vjp", _soft_gradient, ("float32", "float64")),
    Case("draw", _draw),
    Case("sample_actions, log_prob_entropy and vjp", _actions, ("float32", "float64")),
    Case("conditional_gumbel", _conditional),
]


def device_arrays(device: str) -> tuple[Callable[[np.ndarray], Any], Callable[[Any], np.ndarray]]:
    """From NumPy to a device, and back.

    Raises
    ------
    ValueError
        For a device that is none.
    RuntimeError
        Where there is no such device here.
    """
    if device != "cuda":
        raise ValueError(f'device must be "cuda", got {device!r}')
    try:
        from ..kernels.gpu.loading import cuda
    except ImportError as problem:
        raise RuntimeError(str(problem)) from None
    if not cuda.is_available():
        raise RuntimeError("no CUDA device: the driver is missing, or it has none")
    return cuda.to_device, lambda array: np.asarray(array.copy_to_host())


def checks(device: str = "cuda", rows: int = 64, columns: tuple[int, ...] = COLUMNS) -> list[Check]:
    """Every case with every dtype that arrays can have here, each a check.

    Parameters
    ----------
    device : {"cuda"}
        Where to.
    rows : int
        Rows of a request.
    columns : tuple of int
        Numbers of categories.

    Returns
    -------
    list of Check

    Raises
    ------
    ValueError
        For a device that is none.
    RuntimeError
        Where there is no such device here.
    """
    to, back = device_arrays(device)
    known = {"float32", "float64", *half_dtypes()}

    def of(case: Case, dtype: str) -> Check:
        return Check(DEVICE, case.name, lambda _, seed: _compare(case, dtype, seed, rows, columns, to, back), dtype)

    return [of(case, dtype) for case in CASES for dtype in case.dtypes if dtype in known]


def verify(device: str = "cuda", rows: int = 64, columns: tuple[int, ...] = COLUMNS, seed: int = 0) -> Iterator[Outcome]:
    """Run `checks`, with their arguments and a seed of the key and the logits: an outcome for every case and dtype."""
    yield from run(checks(device, rows, columns), seed=seed)


def _compare(
    case: Case, dtype: str, seed: int, rows: int, columns: tuple[int, ...], to: Callable[..., Any], back: Callable[..., Any]
) -> Outcome:
    key, found = ng.key(seed, "verify"), []
    for count in columns:
        x = _logits(seed, rows, count, dtype)
        here, there = case.run(key, x, lambda array: array), case.run(key, _sent(x, to), to)
        for name, expected in here.items():
            different, ulps = differing(back(there[name]), expected, name in SUMS)
            worst, bounds = (ulps, (0.0, float(ULP))) if name in SUMS else (None, None)
            found.append(
                Outcome(expected.size, different, worst, bounds, f"{name}, {rows} x {count}", "ulp" if name in SUMS else "")
            )
    return joined(found)


def _logits(seed: int, rows: int, columns: int, dtype: str) -> np.ndarray:
    values = np.random.default_rng([seed, rows, columns]).normal(scale=3, size=(rows, columns))
    return values.astype(dtype)  # bfloat16 is a name that NumPy knows since `half_dtypes`


class _Bfloat16:
    """Bfloat16 on a device, of which Numba has no arrays: two bytes of anything, as such arrays tell of themselves."""

    def __init__(self, words: Any) -> None:
        self._words, self.shape = words, words.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        told: dict[str, Any] = self._words.__cuda_array_interface__
        return {**told, "typestr": "<V2"}


def _sent(x: np.ndarray, to: Callable[[np.ndarray], Any]) -> Any:
    """Logits on a device."""
    if x.dtype.kind != "V":
        return to(x)
    words = to(x.view(np.int16))
    return _Bfloat16(words) if hasattr(words, "__cuda_array_interface__") else to(x)
