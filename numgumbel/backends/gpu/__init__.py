"""GPU drivers: requests laid out as rows, kernels queued on the caller's stream. Imported when a device array first arrives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .draws import chosen_columns, conditional, draw, inclusion, log_prob_vjp, merge
from .memory import on_device_of
from .samples import categorical, inverse_cdf, noise, ragged, softmax, softmax_gradient, softmax_vjp, topk


def _on_its_device(driver: Callable[..., Any]) -> Callable[..., Any]:
    """A driver of a request, run on the GPU that has the logits, or the last argument where there are none."""

    @functools.wraps(driver)
    def run(request: Any, *arguments: Any, **options: Any) -> Any:
        with on_device_of(arguments[-1] if request.cells is None else request.cells):
            return driver(request, *arguments, **options)

    return run


# Those of a request; the others find their device themselves.
_DRIVERS = (
    categorical,
    chosen_columns,
    conditional,
    draw,
    inverse_cdf,
    log_prob_vjp,
    noise,
    ragged,
    softmax,
    softmax_gradient,
    softmax_vjp,
    topk,
)

OPERATIONS: dict[str, Callable[..., Any]] = {
    **{driver.__name__: _on_its_device(driver) for driver in _DRIVERS},
    "inclusion": inclusion,
    "merge": merge,
}
