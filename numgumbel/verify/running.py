"""Checks by name, run one after the other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .outcome import Outcome
from .subject import Subject

__all__ = ["Check", "run"]


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes
    ----------
    group, name : str
        What it is about, and what is checked.
    run : callable
        (subject, seed) -> Outcome.
    dtype : str
        Of the logits, where the check is about one.
    """

    group: str
    name: str
    run: Callable[[Subject, int], Outcome]
    dtype: str = ""


def run(
    checks: Iterable[Check], subject: Subject | None = None, seed: int = 0, say: Callable[[str], None] | None = None
) -> Iterator[Outcome]:
    """Run checks.

    Parameters
    ----------
    checks : iterable of Check
        Which.
    subject : Subject, optional
        The functions that are checked; the package's when left out.
    seed : int
        Of keys and logits.
    say : callable, optional
        Is told what is checked next.

    Yields
    ------
    Outcome
        One a check. Where a function raises, nothing was compared, one thing is wrong, and `first` says what was raised.
    """
    subject = Subject() if subject is None else subject
    for check in checks:
        if say is not None:
            say(f"{check.group}: {check.name}")
        started = time.perf_counter()
        try:
            found = check.run(subject, seed)
        except Exception as problem:  # shown with the name of the check, and the others still run
            found = Outcome(0, 1, first=f"{type(problem).__name__}: {problem}")
        seconds = time.perf_counter() - started
        yield dataclasses.replace(found, group=check.group, name=check.name, dtype=check.dtype, seconds=seconds)
