"""Keys from torch's generators."""

from __future__ import annotations

from typing import Any

import torch as _torch

from ..keys import Key, check_key
from .operators import drawn_key

__all__ = ["draw_key", "key_of", "key_tensor"]

_SIGN, _WORD = 1 << 63, 1 << 64


def draw_key(generator: Any = None) -> Key:
    """A key from one int64 of a generator.

    torch's generators on the CPU tell nothing of where they are, so that noise cannot be addressed by their offset; one number
    drawn from them is a key.

    Parameters
    ----------
    generator : torch.Generator, optional
        Of the CPU. By default torch's own, which `torch.manual_seed` sets.

    Returns
    -------
    Key
        Which the same state of the generator gives again.

    Examples
    --------
    >>> import torch
    >>> import numgumbel.torch
    >>> _ = torch.manual_seed(3)
    >>> a = numgumbel.torch.draw_key()
    >>> _ = torch.manual_seed(3)
    >>> a == numgumbel.torch.draw_key(), a == numgumbel.torch.draw_key()
    (True, False)
    """
    return key_of(_drawn(generator))


def _drawn(generator: Any) -> Any:
    return _torch.empty((), dtype=_torch.int64).random_(-_SIGN, None, generator=generator)


def key_of(number: Any) -> Key:
    """The key that an int64 of torch stands for."""
    return Key(int(number) % _WORD)


def key_tensor(key: Key | None, generator: Any) -> Any:
    """A key for an operator: as an int64 tensor, drawn from a generator where none is given.

    Raises
    ------
    TypeError
        For a key that is none, or both.
    """
    if key is None:
        if not _torch.compiler.is_compiling():
            return _drawn(generator)
        if generator is not None:
            raise TypeError("generator cannot be passed where torch.compile traces: pass key=, or leave both out")
        return drawn_key()
    if generator is not None:
        raise TypeError("one of key and generator may be given, got both")
    if _torch.is_tensor(key):  # of an operator, or of a caller that compiles
        return key
    check_key(key)
    number = int(key)
    return _torch.tensor(number - _WORD if number >= _SIGN else number, dtype=_torch.int64)
