"""Ways that are shorter than the general one, for arrays of some families."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .device import record
from .dispatch import family_of, known_family

__all__ = ["NEW", "adapted", "adapters", "again"]

# What `again` gives for a call that is to be made in the ordinary way.
NEW = object()

# Types whose arrays are more than memory, by package and name: the modules that take a whole call of them.
_ADAPTERS = {("dask", "Array"): "numgumbel.dask", ("pandas", "DataFrame"): "numgumbel.pandas"}
_adapters: dict[type, str | None] = {}  # by types that have been seen


def again(function: Callable[..., Any], arguments: dict[str, Any], first: Any) -> Any:
    """The result of a call that has a shorter way; `NEW` for any other.

    `arguments` are the function's own; `first` is the one whose family the results have. Dask's arrays and pandas' tables go to
    modules of their own. torch's CPU tensors are ndarrays for the length of a call. A call on a GPU whose like has been made
    before is a repetition of it; the first of its kind is made with a record of what it does, so that others may be.
    """
    if type(first) is np.ndarray or record() is not None:
        return NEW
    family = known_family(first)
    if family is None:
        adapter = _adapter(type(first))
        if adapter is not None:
            return _entry(adapter, "call")(function, {name: arguments[name] for name in names(function)})
        if type(first).__module__ != "torch":
            return NEW
        family = family_of(first, "logits")
    if family.name == "torch":
        return _entry("numgumbel.backends.cpu.tensors", "call")(function, {name: arguments[name] for name in names(function)})
    if family.is_host or "numgumbel.backends.gpu" not in sys.modules:  # then nothing has been made before
        return NEW
    return _entry("numgumbel.backends.gpu.repeats", "again")(function, arguments, first, family, NEW)


def adapted(*arrays: Any) -> Any:
    """The first of some arrays that is more than memory, or None."""
    return next((array for array in arrays if _adapter(type(array)) is not None), None)


def adapters() -> list[str]:
    """Packages whose arrays or tables take a whole call."""
    return [{"dask": "Dask"}.get(package, package) for package, _ in _ADAPTERS]


def _adapter(kind: type) -> str | None:
    """The module that takes calls of arrays of a type, told by names: nothing is imported."""
    if kind not in _adapters:
        bases = ((base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__)
        _adapters[kind] = next((_ADAPTERS[base] for base in bases if base in _ADAPTERS), None)
    return _adapters[kind]


# Not functools.cache, which torch.compile warns of wherever it traces as far as here.
_names: dict[Callable[..., Any], tuple[str, ...]] = {}
_entries: dict[tuple[str, str], Callable[..., Any]] = {}


def names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's arguments."""
    known = _names.get(function)
    if known is None:
        code = function.__code__
        known = _names[function] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return known


def _entry(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported when arrays for it have arrived."""
    found = _entries.get((module, name))
    if found is None:
        found = _entries[module, name] = getattr(importlib.import_module(module), name)
    return found
