"""What has been compiled in this process, in order: an entry for each kernel and signature, made when the kernel is."""

from typing import Any, NamedTuple

CACHE_HIT, CACHE_MISS, CACHE_OFF = "hit", "miss", "off"


class Entry(NamedTuple):
    """A kernel for a dtype of the logits, or None; its signature as Numba has it; and whether the disk cache had it."""

    kernel: str
    dtype: Any
    arguments: tuple
    backend: str
    seconds: float
    cache: str


entries: list[Entry] = []


def enter(*facts):
    """Add an entry."""
    entries.append(Entry(*facts))
