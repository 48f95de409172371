"""torch's CPU tensors as ndarrays on the same memory, and back. Imported when a tensor has arrived, and torch with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as _torch

from ...keys import Key

__all__ = ["call", "direct", "view", "wrap"]

_AS_THEY_ARE = {type(None), bool, int, float, str, Key, np.ndarray}
_PLAIN = {_torch.float32, _torch.float64}
_LOGITS = "logits", "probs"
_WORDS = _torch.int16  # of bfloat16, of which torch gives NumPy no view


def view(tensor: Any) -> np.ndarray:
    """The memory of a tensor; its gradient is the caller's matter."""
    if tensor.layout is not _torch.strided:
        raise TypeError(f"torch tensors are taken where they are strided, got {tensor.layout}: call tensor.to_dense()")
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is _torch.bfloat16:
        import ml_dtypes as _ml_dtypes

        words: np.ndarray = tensor.view(_WORDS).numpy()
        return words.view(_ml_dtypes.bfloat16)
    array: np.ndarray = tensor.numpy()
    return array


def wrap(array: np.ndarray) -> Any:
    """A tensor on the memory of an ndarray."""
    if array.dtype.kind == "V":
        return _torch.from_numpy(array.view(np.int16)).view(_torch.bfloat16)
    return _torch.from_numpy(array)


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a function of ndarrays gives for tensors, as tensors: the tensors given in ``out`` where there are any.

    Tensors go in as ndarrays on their memory, so that calls of few arguments take their short way. Where torch.compile traces,
    the graph ends before the call and another begins after it: kernels are not for a compiler that takes ndarrays for tensors.
    """
    if _torch.compiler.is_compiling():
        return _torch.compiler.disable(_call)(function, arguments)
    return _call(function, arguments)


def direct(function: Callable[..., Any], logits: Any, *others: Any, key: Key | None = None, **options: Any) -> Any:
    """`function` of tensors, as tensors: where these are on the CPU and no option is a tensor without a look at what each is.

    The usual way, by `call`, looks at every argument that there may be, which takes longer than small kernels do.
    """
    front, tensors = () if key is None else (key,), (logits, *others)
    plain = type(logits) is _torch.Tensor and logits.dtype in _PLAIN and not _torch.compiler.is_compiling()
    if not (plain and all(each.is_cpu for each in tensors) and all(type(each) in _AS_THEY_ARE for each in options.values())):
        return function(*front, *tensors, **options)
    result = function(*front, *map(view, tensors), **options)
    return wrap(result) if type(result) is np.ndarray else type(result)(*map(wrap, result))


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    for name in _LOGITS:
        values = arguments.get(name)
        if isinstance(values, _torch.Tensor) and not values.is_floating_point():
            got = str(values.dtype).removeprefix("torch.")
            raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {got}: call {name}.to(torch.float32)")
    given = {name: value if type(value) in _AS_THEY_ARE else _outward(value) for name, value in arguments.items()}
    result = function(**given)
    return _inward(result, given.get("out"), arguments.get("out"))


def _outward(value: Any) -> Any:
    if isinstance(value, _torch.Tensor):
        return view(value) if value.device.type == "cpu" else value
    if isinstance(value, tuple):
        parts = [_outward(each) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _inward(result: Any, out: Any, given: Any) -> Any:
    if isinstance(result, tuple):
        outs = out if isinstance(out, tuple) else (None,) * len(result)
        tensors = given if isinstance(given, tuple) else (None,) * len(result)
        return type(result)(*(_inward(part, a, b) for part, a, b in zip(result, outs, tensors, strict=True)))
    if result is None:
        return None
    if result is out and given is not None:
        return given
    return wrap(result if type(result) is np.ndarray else np.asarray(result))
