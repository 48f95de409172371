"""Custom operators of torch: what `torch.compile`, autograd and `vmap` know of relaxed samples.

    numgumbel::draw_key             a key from torch's default generator, when it runs and not when it is traced
    numgumbel::gumbel_softmax       a relaxed sample at an address
    numgumbel::gumbel_softmax_vjp   its gradient

A soft sample is all that its gradient needs. An exact one-hot does not tell it: the sample is made again, at the same address.
"""

from __future__ import annotations

from typing import Any

import torch as _torch

from .. import ops as _ops
from ..keys import Key
from .memory import SMALLEST, empty_like

__all__ = ["OPERATORS", "drawn_key", "relaxed"]

_library = _torch.library.Library("numgumbel", "DEF")
_ADDRESS = (
    "Tensor key, SymInt step, float tau, Tensor? taus, SymInt dim, Tensor? mask, Tensor? rows, Tensor? cols, str? invalid"
)
_library.define("draw_key(Tensor(a!) key) -> ()")
_library.define(f"gumbel_softmax(Tensor logits, bool hard, {_ADDRESS}) -> Tensor")
_library.define(f"gumbel_softmax_vjp(Tensor logits, Tensor? sample, Tensor cotangent, {_ADDRESS}) -> Tensor")

OPERATORS = _torch.ops.numgumbel

_WORD = 1 << 64
_AFTER = 9  # arguments of an address


def _arguments(
    key: Any, step: int, tau: float, taus: Any, dim: int, mask: Any, rows: Any, cols: Any, invalid: str | None
) -> tuple[Key, dict[str, Any]]:
    options = {"step": step, "tau": tau if taus is None else taus, "axis": dim, "mask": mask, "rows": rows, "cols": cols}
    return Key(int(key) % _WORD), {**options, "invalid": invalid}


def drawn_key() -> Any:
    """A key from torch's default generator, drawn anew whenever compiled code runs.

    It is written into new memory, since equal calls of what only returns something are one call to compilers.
    """
    number = _torch.empty((), dtype=_torch.int64)
    OPERATORS.draw_key(number)
    return number


def _draw_key(number: Any) -> None:
    number.random_(-(1 << 63), None)


def _gumbel_softmax(logits: Any, hard: bool, *address: Any) -> Any:
    key, options = _arguments(*address)
    return _ops.gumbel_softmax(key, logits, hard=hard, out=_place_for(logits), **options)


def _gumbel_softmax_vjp(logits: Any, sample: Any, cotangent: Any, *address: Any) -> Any:
    key, options = _arguments(*address)
    cotangent = cotangent.to(logits.dtype)
    return _ops.gumbel_softmax_vjp(key, logits, cotangent, sample=sample, out=_place_for(logits), **options)


def _place_for(logits: Any) -> Any:
    """Where a large result on the CPU goes; None where the function makes its own."""
    return empty_like(logits) if logits.is_cpu and logits.nbytes >= SMALLEST else None


def _like(logits: Any, *_rest: Any) -> Any:
    return logits.new_empty(logits.shape)


_library.impl("draw_key", _draw_key, "CPU")
for _device in ("CPU", "CUDA"):
    _library.impl("gumbel_softmax", _gumbel_softmax, _device)
    _library.impl("gumbel_softmax_vjp", _gumbel_softmax_vjp, _device)
_torch.library.register_fake("numgumbel::draw_key", lambda number: None, lib=_library)
_torch.library.register_fake("numgumbel::gumbel_softmax", _like, lib=_library)
_torch.library.register_fake("numgumbel::gumbel_softmax_vjp", _like, lib=_library)


# --- gradients ----------------------------------------------------------------------------------------------------------------


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    logits, hard, key, step, tau, taus, dim, mask, rows, cols, invalid = inputs
    ctx.hard, ctx.numbers = hard, (step, tau, dim, invalid)
    ctx.save_for_backward(logits if hard else output, key, taus, mask, *((rows, cols) if hard else (None, None)))


def _gradient(ctx: Any, cotangent: Any, slope_of: Any = OPERATORS.gumbel_softmax_vjp) -> Any:
    kept, key, taus, mask, rows, cols = ctx.saved_tensors
    step, tau, dim, invalid = ctx.numbers
    address = key, step, tau, taus, dim, mask, rows, cols, invalid
    tau_wanted = taus is not None and ctx.needs_input_grad[5]
    sample = OPERATORS.gumbel_softmax(kept, False, *address) if ctx.hard and tau_wanted else None if ctx.hard else kept
    gradient = slope_of(kept, sample, cotangent, *address)
    slope = _slope_of_tau(sample, cotangent, taus, dim) if tau_wanted else None
    return gradient, *[None] * 4, slope, *[None] * (_AFTER - 4)


def _slope_of_tau(y: Any, cotangent: Any, taus: Any, dim: int) -> Any:
    """Derivative in a temperature: dy_i / dtau = -y_i (log y_i - sum_j y_j log y_j) / tau, with 0 log 0 = 0."""
    log_y = _torch.where(y > 0, y, 1).log()
    mean = (y * log_y).sum(dim, keepdim=True)
    slopes = -(cotangent * y * (log_y - mean)).sum(dim)
    return (slopes.to(taus.dtype) / taus).sum_to_size(taus.shape)


def _no_second(ctx: Any, *_cotangents: Any) -> Any:
    raise RuntimeError(
        "numgumbel: the gradient of gumbel_softmax has no gradient; for second derivatives write the relaxation in torch: "
        "torch.softmax((logits + numgumbel.gumbel(...)) / tau, -1)"
    )


_torch.library.register_autograd("numgumbel::gumbel_softmax", _gradient, setup_context=_keep, lib=_library)
_torch.library.register_autograd("numgumbel::gumbel_softmax_vjp", _no_second, lib=_library)


# --- vmap ---------------------------------------------------------------------------------------------------------------------


def _over_batch(info: Any, in_dims: Any, *arguments: Any, tensors: int) -> Any:
    """An operator over a batch of logits: every example has the noise that it would have alone.

    `tensors` of its first arguments are tensors of the logits' shape, or None.
    """
    size = info.batch_size
    shapes = arguments[:tensors]
    key, step, tau, taus, dim, mask, rows, cols, invalid = arguments[-_AFTER:]
    if any(each is not None for each in in_dims[-_AFTER : -_AFTER + 1]):
        raise RuntimeError("numgumbel: a batch of keys cannot be mapped over: pass rows= in place of it")

    def first(tensor: Any, place: Any) -> Any:
        return (
            tensor
            if not _torch.is_tensor(tensor)
            else tensor.movedim(place, 0)
            if place is not None
            else tensor.expand(size, *tensor.shape)
        )

    logits, *others = (first(tensor, place) for tensor, place in zip(shapes, in_dims, strict=False))
    axes = logits.dim() - 1
    dim = 1 + dim % axes
    batch = [each for i, each in enumerate(logits.shape) if i not in (0, dim)]
    if rows is None:
        count = 1
        for each in batch:
            count *= each
        rows = _torch.arange(count, device=logits.device).reshape(batch).expand(size, *batch).contiguous()
    else:
        rows = first(rows, in_dims[-3]).contiguous()
    mask = None if mask is None else first(mask, in_dims[-4]).expand_as(logits) if mask.dim() else mask
    if taus is not None:
        taus = first(taus, in_dims[-6]).expand(size, *batch).contiguous()
    if cols is not None and in_dims[-2] is not None:
        cols = first(cols, in_dims[-2])
    return (logits, *others), (key, step, tau, taus, dim, mask, rows, cols, invalid)


def _sample_over_batch(info: Any, in_dims: Any, logits: Any, hard: bool, *address: Any) -> Any:
    (logits,), address = _over_batch(info, (in_dims[0], *in_dims[2:]), logits, *address, tensors=1)
    return OPERATORS.gumbel_softmax(logits, hard, *address), 0


def _gradient_over_batch(info: Any, in_dims: Any, logits: Any, sample: Any, cotangent: Any, *address: Any) -> Any:
    tensors, address = _over_batch(info, in_dims, logits, sample, cotangent, *address, tensors=3)
    return OPERATORS.gumbel_softmax_vjp(*tensors, *address), 0


# --- torch.func ---------------------------------------------------------------------------------------------------------------


class _Sample(_torch.autograd.Function):  # type: ignore[misc]  # torch is not looked at
    """The operator for transforms of torch.func, which the gradients registered above are not for."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return OPERATORS.gumbel_softmax(*arguments)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, cotangent: Any) -> Any:
        return _gradient(ctx, cotangent, _Slope.apply)

    vmap = staticmethod(_sample_over_batch)


class _Slope(_torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(*arguments: Any) -> Any:
        return OPERATORS.gumbel_softmax_vjp(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: there is no second gradient."""

    backward = staticmethod(_no_second)
    vmap = staticmethod(_gradient_over_batch)


def relaxed(logits: Any, hard: bool, *address: Any) -> Any:
    """A relaxed sample, whatever transforms it is asked for under."""
    if _torch._C._are_functorch_transforms_active():
        return _Sample.apply(logits, hard, *address)
    return OPERATORS.gumbel_softmax(logits, hard, *address)


_torch.library.register_vmap("numgumbel::gumbel_softmax", _sample_over_batch, lib=_library)
_torch.library.register_vmap("numgumbel::gumbel_softmax_vjp", _gradient_over_batch, lib=_library)
