"""Calls like one that has been made: the same function on arrays of the same layouts, with other addresses, keys and steps.

Such a call queues the same kernels, of whose parameters only those differ. Which they are is found once, from a record of the
call; a repetition compares layouts, makes arrays for the results, fills the parameters in and launches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arguments import STEP_END
from ...device import Record, recording
from ...dispatch import Family, known_family
from ...kernels.gpu.loading import SIMULATED
from ...keys import Key
from ...shortcuts import names
from .families import layout_of, makers
from .launches import Launch
from .memory import current_gpu, is_captured, stream_of_owner, workspace_block

# Calls kept a thread; beyond, all are forgotten.
MOST = 256

# Whether an array starts at a multiple of so many bytes decides how it is loaded.
PIECE = 16

# Numbers in host memory that are looked at one by one: sizes of heads.
SMALL = 64

# Steps that are passed to kernels as they are; those of several draws follow.
FAR = STEP_END >> 1

# What stands for a call that cannot be repeated.
_NEVER = object()


class _Known(threading.local):
    def __init__(self) -> None:
        self.calls: dict[Any, Any] = {}


_known = _Known()


class _Strange(Exception):
    """An argument of which nothing is known here."""


class Given:
    """The arguments of a call: what kernels depend on of them, and the device arrays among them with their addresses."""

    def __init__(self) -> None:
        self.layout: list[Any] = []
        self.arrays: list[Any] = []
        self.pointers: list[int] = []

    def add(self, value: Any) -> None:
        """Take an argument in."""
        kind = type(value)
        look = _looks.get(kind)
        if look is not None:
            layout, pointer = look(value)
            same = 0
            for other in self.arrays:  # which of those before it it is, if any
                if other is value:
                    break
                same += 1
            self.arrays.append(value)
            self.pointers.append(pointer)
            self.layout += kind, layout, pointer % PIECE, same
        elif value is None or kind is Key:
            self.layout.append(kind)
        elif kind in _PLAIN:
            self.layout += kind, value
        elif kind is np.ndarray and value.size <= SMALL and value.dtype.kind in "iu":
            self.layout += kind, value.dtype, value.shape, value.tobytes()
        elif isinstance(value, (tuple, list)):
            self.layout += kind, len(value)
            for each in value:
                self.add(each)
        else:
            family = known_family(value)
            if family is None or family.is_host:
                raise _Strange
            _looks[kind] = layout_of(family)
            self.add(value)


_PLAIN = frozenset((int, float, bool, str))
_looks: dict[type, Callable[[Any], tuple[Any, int]]] = {}


def again(function: Callable[..., Any], arguments: dict[str, Any], first: Any, family: Family, new: Any) -> Any:
    """The result of the call, from a repetition or from a call that is recorded; `new` where neither will do."""
    if SIMULATED or arguments.get("invalid") == "raise":
        return new
    key, step, given = arguments.get("key"), arguments.get("step"), Given()
    moves = type(step) is int and 0 <= step < FAR
    try:
        for name in names(function):
            if name != "step" or not moves:
                given.add(arguments[name])
        signature = function, current_gpu(), stream_of_owner(first), moves, *given.layout
        call = _known.calls.get(signature)
    except (_Strange, TypeError):  # TypeError: of what no dictionary takes for a key
        return new
    if call is _NEVER:
        return new
    if call is not None and call.fits(given.pointers):
        return call.make(key, step, given)
    arguments = {name: arguments[name] for name in names(function)}
    with recording(owns=False) as made:
        result = function(**arguments)
    if len(_known.calls) >= MOST:
        _known.calls.clear()
    _known.calls[signature] = _prepared(made, result, arguments, given, first, family, moves) or _NEVER
    return result


class _Part:
    """One kernel of a repeated call, and which of its parameters are filled in."""

    def __init__(self, launch: Launch, addresses: list[tuple[int, int, int]], key: Any, step: int | None) -> None:
        self.launch, self.addresses = launch, addresses
        self.words = (launch.named["k0"], launch.named["k1"]) if key is not None and "k0" in launch.named else None
        self.step = launch.named.get("step") if step is not None else None
        self.later = 0 if self.step is None else launch.values[self.step] - step

    def place(self, sources: list[int]) -> None:
        """Let it work on this memory from now on."""
        values = self.launch.values
        for at, source, offset in self.addresses:
            values[at] = sources[source] + offset

    def queue(self, key: Any, step: Any) -> None:
        """Queue it with key and step of a call."""
        values = self.launch.values
        if self.words is not None:
            values[self.words[0]], values[self.words[1]] = key.words
        if self.step is not None:
            values[self.step] = step + self.later
        self.launch.queue(values)


class Repeated:
    """A call that can be made again, by the thread that has made it."""

    def __init__(
        self,
        parts: list[_Part],
        makers: list[Callable[[], tuple[Any, int]]],
        result: Callable[[list[Any]], Any],
        spans: list[tuple[int, int]],
        written: list[int],
        block: Any,
    ) -> None:
        self._parts, self._makers, self._result, self._spans, self._written = parts, makers, result, spans, written
        self._block = block
        self._stream = parts[0].launch.stream if parts else 0
        self._sources: list[int] = []  # where the last one worked, and its results lay on none of its inputs

    def fits(self, pointers: list[int]) -> bool:
        """Whether the workspace is as it was, and no result lies on an input."""
        if self._block is not None and (
            workspace_block(self._stream) is not self._block or is_captured(self._stream)
        ):  # a graph's is kept for good
            return False
        if not self._written or (not self._makers and pointers == self._sources):
            return True
        pieces = [(pointer + low, pointer + high) for pointer, (low, high) in zip(pointers, self._spans, strict=True)]
        return not any(
            low < pieces[at][1] and pieces[at][0] < high
            for at in self._written
            for other, (low, high) in enumerate(pieces)
            if other != at
        )

    def make(self, key: Any, step: Any, given: Given) -> Any:
        """Make it with these arrays."""
        made = [maker() for maker in self._makers]
        sources = given.pointers + [pointer for _, pointer in made]
        if sources != self._sources:
            self._sources = sources
            for part in self._parts:
                part.place(sources)
        for part in self._parts:
            part.queue(key, step)
        return self._result(given.arrays + [array for array, _ in made])


def _prepared(
    made: Record, result: Any, arguments: dict[str, Any], given: Given, first: Any, family: Family, moves: bool
) -> Repeated | None:
    """A repetition of the call of which there is a record, or None where something in it could not be told apart."""
    if family.view(first).gpu not in (None, current_gpu()):  # type: ignore[attr-defined]  # a device's view
        return None
    key, step, out = arguments.get("key"), arguments.get("step") if moves else None, arguments.get("out")
    known = given.arrays + [array for array, _, _ in made.created]
    pointers = given.pointers + [layout_of(family)(array)[1] for array, _, _ in made.created]
    parts, block = [], None
    for launch in made.launches:
        if key is not None and "k0" in launch.named:
            words = launch.values[launch.named["k0"]], launch.values[launch.named["k1"]]
            if words != key.words:
                return None
        addresses, fixed = [], []
        for at, view in launch.places:
            source = next((i for i, array in enumerate(known) if array is view.owner), None)
            if source is None:
                fixed.append(view)
                shared = workspace_block(launch.stream)
                if shared is not None and view.owner is shared.owner:
                    block = shared
            elif view.size:
                addresses.append((at, source, launch.values[at] - pointers[source]))
        launch.keep(fixed)
        parts.append(_Part(launch, addresses, key, step))
    results: list[Any] = list(result) if isinstance(result, tuple) else [result]
    places = [None if each is None else next((i for i, array in enumerate(known) if array is each), -1) for each in results]
    if -1 in places:
        return None

    kind = type(result) if isinstance(result, tuple) else None
    del result, results  # what is made here holds no array

    def gathered(arrays: list[Any]) -> Any:
        items: list[Any] = [None if place is None else arrays[place] for place in places]
        return items[0] if kind is None else kind(*items)

    outs = [each for each in (out if isinstance(out, tuple) else (out,)) if each is not None]
    written = [i for i, array in enumerate(given.arrays) if any(array is each for each in outs)]
    inputs_too = [i for i in written if sum(array is given.arrays[i] for array in given.arrays) > 1]
    if inputs_too:  # a result that takes the place of an input: told by identity, and checked anew each time
        return None
    spans = [_span(family.view(array)) for array in given.arrays]
    makes = [makers(family)(shape, dtype, first) for _, shape, dtype in made.created]
    return Repeated(parts, makes, gathered, spans, written, block)


def _span(view: np.ndarray) -> tuple[int, int]:
    """First byte of an array and the one behind its last, from its address on."""
    if not view.size:
        return 0, 0
    steps = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
    return sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps) + view.itemsize
