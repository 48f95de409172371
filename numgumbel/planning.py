"""A call prepared once and made many times, at one step after the other, on the same arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import actions, draws, ops
from .arguments import STEP_END, integer
from .device import recording

__all__ = ["OPERATIONS", "Plan", "plan"]

OPERATIONS: dict[str, Callable[..., Any]] = {
    "categorical": ops.categorical,
    "categorical_ragged": ops.categorical_ragged,
    "conditional_gumbel": ops.conditional_gumbel,
    "draw": draws.draw,
    "gumbel": ops.gumbel,
    "gumbel_softmax": ops.gumbel_softmax,
    "gumbel_topk": ops.gumbel_topk,
    "sample_actions": actions.sample_actions,
}


class Plan:
    """A prepared call; made by `plan`.

    Attributes
    ----------
    result : array or tuple of arrays
        What the call returns. Every launch writes into these same arrays.
    """

    def __init__(self, operation: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._function, self._arguments, self._options = OPERATIONS[operation], arguments, options
        step = options.get("step", 0)
        self._step = int(step) if isinstance(step, (int, np.integer)) else step
        self.result, self._launches = _recorded(lambda: self._function(*arguments, **options))
        if not self._launches:  # in host memory: what is left of a call is its checks and its kernels
            self._options = {**options, "out": self.result}

    def launch(self, step: Any = None) -> Any:
        """Make the call once more.

        Parameters
        ----------
        step : int, optional
            Draw counter, in place of that of the plan; of the first draw where there are several.

        Returns
        -------
        array or tuple of arrays
            `result`.

        Raises
        ------
        TypeError
            If `step` is no integer, or the plan's are an array, in which they may be changed instead.
        ValueError
            If it is negative, or 2^63 or more.
        """
        if step is not None:
            if not isinstance(self._step, int):
                raise TypeError("step must be left out where the plan has an array of them: write into that")
            if not 0 <= integer(step, "step") < STEP_END:
                raise ValueError(f"step must be 0 or more and below 2^63, got {step}")
        if not self._launches:
            again = self._options if step is None else {**self._options, "step": step}
            made = self._function(*self._arguments, **again)
            if isinstance(made, tuple):  # a draw's column ids are made anew where columns have ids
                for kept, new in zip(self.result, made, strict=True):
                    if kept is not new:
                        kept[...] = new
        for each in self._launches:
            each.again(0 if step is None else step - self._step)
        return self.result


def _recorded(call: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """What a call returns, and the kernels that it queues on a GPU, if it does."""
    with recording() as made:
        result = call()
    return result, made.launches


def plan(operation: str, *arguments: Any, **options: Any) -> Plan:
    """Prepare a call that is to be made many times on the same arrays.

    Parameters
    ----------
    operation : str
        "categorical", "categorical_ragged", "conditional_gumbel", "draw", "gumbel", "gumbel_softmax", "gumbel_topk" or
        "sample_actions".
    *arguments, **options
        Those of the function of this name. The arrays are kept, and read anew by every launch.

    Returns
    -------
    Plan
        Its first results are there already.

    Raises
    ------
    ValueError
        For an operation that is none, or ``invalid="raise"`` on a GPU, which would wait in every launch.
    TypeError, ValueError
        As the function does.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> logits = np.log([[0.1, 0.7, 0.2]] * 3)
    >>> prepared = ng.plan("categorical", ng.key(42, "plan"), logits)
    >>> counts = sum(np.bincount(prepared.launch(step), minlength=3) for step in range(1000))
    >>> (counts / 3000).round(1)
    array([0.1, 0.7, 0.2])
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {operation!r}")
    return Plan(operation, arguments, options)
