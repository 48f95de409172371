"""Known answers of the generator: Philox4x32-10 as Random123 has it."""

from __future__ import annotations

from .outcome import Outcome, equal, joined
from .subject import Subject

__all__ = ["KNOWN", "known_answers"]

# The lines of Random123's kat_vectors (https://github.com/DEShawResearch/random123, tests/kat_vectors) for philox4x32 and 10
# rounds: counter, key, output.
KNOWN = (
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def known_answers(subject: Subject, seed: int) -> Outcome:
    """Philox at the counters and keys of Random123's vectors."""
    return joined(equal(f"counter {c[0]:#x}...", subject.philox(c, k), wanted) for c, k, wanted in KNOWN)
