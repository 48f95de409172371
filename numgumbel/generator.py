"""A generator in the manner of NumPy's: a key and a step counter, so that successive calls draw afresh."""

from __future__ import annotations

import json
import threading
from typing import Any

from . import actions, draws, ops
from .actions import Actions
from .arguments import STEP_END, draws_of, integer
from .draws import Draw
from .kernels.field import FOLD_SPLIT
from .keys import Key, KeyPart, check_key, fold
from .keys import key as make_key

__all__ = ["Generator", "default_rng"]


class Generator:
    """Draws from the field of one key, each call at the next free step.

    A draw of the generator is the pure function's at ``(rng.key, rng.step)``; ``n`` draws in one call take ``n`` steps. Calls
    from several threads each get steps of their own. Instances can be pickled and copied; `to_json` shows the whole
    state. A call that raises has taken its steps too.

    Parameters
    ----------
    key : Key
        From `numgumbel.key`.
    step : int, default 0
        The step of the next draw.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> rng = ng.default_rng(42, "agents")
    >>> a = rng.categorical(np.zeros((3, 5)))
    >>> b = rng.categorical(np.zeros((3, 5)))
    >>> rng.step
    2
    >>> bool((rng.at(0).categorical(np.zeros((3, 5))) == a).all())
    True
    """

    __slots__ = ("_children", "_key", "_lock", "_step")

    def __init__(self, key: Key, step: int = 0) -> None:
        check_key(key)
        self._key = key
        self._step = _checked(step, "step")
        self._children = 0
        self._lock = threading.Lock()

    @property
    def key(self) -> Key:
        """The key of the field."""
        return self._key

    @property
    def step(self) -> int:
        """The step of the next draw."""
        return self._step

    def at(self, step: int) -> Generator:
        """A generator of the same key whose next draw is at `step`: to draw again what was drawn there.

        It counts its own splits from 0, so its children are those of this generator: split one of the two.
        """
        return Generator(self._key, step)

    def split(self, n: int) -> list[Generator]:
        """`n` generators with independent keys, for workers; successive splits give different ones.

        Child number i, counted over all splits of this generator, has the key ``fold(key, i, tag=3)``.
        """
        count = integer(n, "n")
        if count < 0:
            raise ValueError(f"n must be 0 or more, got {count}")
        with self._lock:
            first = self._children
            self._children += count
        return [Generator(fold(self._key, number, int(FOLD_SPLIT))) for number in range(first, first + count)]

    def categorical(self, logits: Any = None, **options: Any) -> Any:
        """`numgumbel.categorical` at the next step; every option but `step`."""
        return ops.categorical(self._key, logits, step=self._take(options), **options)

    def categorical_ragged(self, logits: Any = None, offsets: Any = None, **options: Any) -> Any:
        """`numgumbel.categorical_ragged` at the next step; every option but `step`."""
        return ops.categorical_ragged(self._key, logits, offsets, step=self._take(options), **options)

    def draw(self, logits: Any = None, **options: Any) -> Draw:
        """`numgumbel.draw` at the next step; every option but `step`."""
        return draws.draw(self._key, logits, step=self._take(options), **options)

    def sample_actions(self, logits: Any, **options: Any) -> Actions:
        """`numgumbel.sample_actions` at the next step; every option but `step`."""
        return actions.sample_actions(self._key, logits, step=self._take(options), **options)

    def gumbel_softmax(self, logits: Any = None, **options: Any) -> Any:
        """`numgumbel.gumbel_softmax` at the next step; every option but `step`."""
        return ops.gumbel_softmax(self._key, logits, step=self._take(options), **options)

    def gumbel_topk(self, logits: Any = None, k: Any = None, **options: Any) -> ops.TopK:
        """`numgumbel.gumbel_topk` at the next step; every option but `step`."""
        return ops.gumbel_topk(self._key, logits, k, step=self._take(options), **options)

    def gumbel(self, shape: Any = None, **options: Any) -> Any:
        """`numgumbel.gumbel` at the next step; every option but `step`."""
        return ops.gumbel(self._key, shape, step=self._take(options), **options)

    def _take(self, options: dict[str, Any]) -> int:
        """Reserve the steps of one call."""
        if "step" in options:
            raise TypeError(
                "a Generator counts the steps itself; call the function of the same name with rng.key to choose one"
            )
        count = draws_of(options.get("n"))
        with self._lock:
            step = self._step
            self._step = _checked(step + (1 if count is None else count), "step")
        return step

    def to_json(self) -> str:
        """The state as JSON text; `from_json` makes an equal generator of it."""
        with self._lock:
            state = {"version": 1, "key": f"{int(self._key):#018x}", "step": self._step, "children": self._children}
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str) -> Generator:
        """The generator whose state `to_json` wrote.

        Raises
        ------
        ValueError
            If the text is not such a state.
        """
        state = json.loads(text)
        if not isinstance(state, dict) or set(state) != {"version", "key", "step", "children"} or state["version"] != 1:
            raise ValueError(f"not the state of a Generator: {text!r:.80}")
        try:
            generator = cls(Key(int(state["key"], 16)), state["step"])
            generator._children = _checked(state["children"], "children")
        except TypeError:
            raise ValueError(f"not the state of a Generator: {text!r:.80}") from None
        return generator

    def __getstate__(self) -> str:
        return self.to_json()

    def __setstate__(self, state: str) -> None:
        other = Generator.from_json(state)
        self._key, self._step, self._children = other._key, other._step, other._children
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Generator) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes with every draw

    def __repr__(self) -> str:
        return f"Generator({self._key!r}, step={self._step})"


def default_rng(seed: KeyPart, *stream: KeyPart) -> Generator:
    """A `Generator` of ``key(seed, *stream)`` at step 0.

    Parameters
    ----------
    seed, *stream : int or str
        As in `key`. There is no seed from the operating system: name one, and write it down.

    Returns
    -------
    Generator

    Raises
    ------
    TypeError
        As in `key`.

    Examples
    --------
    >>> import numgumbel as ng
    >>> ng.default_rng(42).gumbel(3).shape
    (3,)
    """
    return Generator(make_key(seed, *stream))


def _checked(value: Any, name: str) -> int:
    number = integer(value, name)
    if not 0 <= number < STEP_END:
        raise ValueError(f"{name} must be from 0 to 2^63 - 1, got {number}")
    return number
