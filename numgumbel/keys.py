"""Keys: 64 bits that name a field of noise, made from a seed and a named stream."""

from __future__ import annotations

import hashlib
import operator
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.core.imputils import lower_constant
from numba.extending import typeof_impl

from .kernels.cpu.row_ids import fold_key

__all__ = ["Key", "fold", "key"]

KeyPart: TypeAlias = "int | str"

_PERSON = b"numgumbel.v1"


class Key:
    """A 64-bit key of the Gumbel field. Made by `numgumbel.key`; immutable, hashable, picklable.

    ``int(key)`` is the 64-bit number, ``Key(number)`` the key back from it; ``key.words`` are its low and high 32 bits.
    Compiled code takes a key as argument or global and sees that number, a uint64.
    """

    __slots__ = ("_value",)

    _value: int

    def __init__(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"Key takes the 64-bit int that int(key) gave, got {type(value).__name__}; numgumbel.key makes keys"
            )
        if not 0 <= value < 1 << 64:
            raise ValueError(f"Key takes an int from 0 to 2^64 - 1, got {value}")
        object.__setattr__(self, "_value", value)

    @property
    def words(self) -> tuple[int, int]:
        """The Philox key words (k0, k1): low and high 32 bits."""
        return self._value & 0xFFFFFFFF, self._value >> 32

    def __int__(self) -> int:
        return self._value

    def __dask_tokenize__(self) -> tuple[str, int]:
        return "numgumbel.Key", self._value

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Key) else NotImplemented

    def __hash__(self) -> int:
        return hash((Key, self._value))

    def __repr__(self) -> str:
        return f"Key({self._value:#018x})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Key is immutable")

    def __reduce__(self) -> tuple[type[Key], tuple[int]]:
        return Key, (self._value,)


def _constant(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """A uint64 that is a global: Numba's own rule writes the object itself into LLVM's text, which is no number for a Key."""
    return context.get_value_type(kind)(int(value))


# In compiled code a key is the number ``int(key)``.
typeof_impl.register(Key)(lambda key, context: types.uint64)
lower_constant(types.uint64)(_constant)


def check_key(key: object) -> tuple[int, int]:
    """Key words of a `Key`; TypeError for anything else."""
    if not isinstance(key, Key):
        raise TypeError(f"key must be a Key as numgumbel.key(seed, *stream) makes it, got {type(key).__name__}: {key!r:.60}")
    return key.words


def key(seed: KeyPart, *stream: KeyPart) -> Key:
    """The key of a seed and a named stream.

    Two streams of one seed are independent fields. Name the purpose in the stream: the same key and step in two calls is the
    same noise, on purpose.

    Parameters
    ----------
    seed : int or str
        Any integer, also negative or beyond 64 bits, or a text.
    *stream : int or str
        Further parts, e.g. ``"mode_choice", 2030``. The order counts, and so does the type: 1 is not "1".

    Returns
    -------
    Key
        BLAKE2b (digest of 8 bytes, person ``b"numgumbel.v1"``) of the parts, an int as ``b"i" + digits + b";"``, a text as
        ``b"s" + byte length + b":" + utf8``; k0 is the first four bytes, little-endian.

    Raises
    ------
    TypeError
        For a part that is neither int nor str; a bool is not an int here. NumPy integers count as ints.

    Examples
    --------
    >>> import numgumbel as ng
    >>> ng.key(42, "mode_choice", 2030)
    Key(0xa8782fefe51c3430)
    >>> ng.key(42) == ng.key(42, 0)
    False
    """
    digest = hashlib.blake2b(b"".join(map(_encode, (seed, *stream))), digest_size=8, person=_PERSON)
    return Key(int.from_bytes(digest.digest(), "little"))


def _encode(part: KeyPart) -> bytes:
    if isinstance(part, str):
        text = part.encode()
        return b"s%d:%s" % (len(text), text)
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return b"i%s;" % str(operator.index(part)).encode()
    raise TypeError(f"a key is made of int and str parts, got {type(part).__name__}: {part!r}")


def fold(key: Key, x: int, tag: int) -> Key:
    """A new key from a key and a 64-bit number.

    Parameters
    ----------
    key : Key
        The key to start from.
    x : int
        From -2^63 to 2^64 - 1, taken modulo 2^64.
    tag : int
        Purpose, from 0 to 2^32 - 1. The package uses 1 for steps beyond 2^30, 2 for conditional samples, 3 for
        `Generator.split` and 16 to 20 for `row_ids`; take tags from 2^16 on for your own.

    Returns
    -------
    Key
        Words 0 and 1 of Philox4x32-10 at c0 = 0xFFFFFFFE, c1, c2 = x low, high, c3 = tag.

    Raises
    ------
    TypeError
        If `key` is not a `Key`, or a number is not an int.
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import numgumbel as ng
    >>> ng.fold(ng.key(42), 7, tag=1 << 16)
    Key(0x975c9705270a61a2)
    """
    k0, k1 = check_key(key)
    for name, number in (("x", x), ("tag", tag)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise TypeError(f"{name} must be an int, got {type(number).__name__}: {number!r:.60}")
    x, tag = int(x), int(tag)
    if not -(1 << 63) <= x < 1 << 64:
        raise ValueError(f"x must be from -2^63 to 2^64 - 1, got {x}")
    if not 0 <= tag < 1 << 32:
        raise ValueError(f"tag must be from 0 to 2^32 - 1, got {tag}")
    return Key(int(fold_key[None](np.uint32(k0), np.uint32(k1), np.uint64(x % (1 << 64)), np.uint32(tag))))
