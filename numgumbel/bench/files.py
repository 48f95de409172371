"""Results on disk: JSON, with every sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = "numgumbel bench 1"
NEEDED: dict[str, Any] = {"workload": str, "backend": str, "contender": str, "blocks_ns": list, "median_ns": (int, float)}


def save(path: Path, results: Mapping[str, Any]) -> None:
    """Write results."""
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    """Read results.

    Parameters
    ----------
    path : pathlib.Path
        What ``numgumbel bench --json`` has written.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If it is none, with the reason.
    OSError
        If it cannot be read.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise ValueError(f"{path} is no JSON: {problem}") from None
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by numgumbel bench --json: its format is not {FORMAT!r}")
    times = results.get("times")
    if not isinstance(times, list) or not all(_is_entry(entry) for entry in times):
        raise ValueError(f"{path} is damaged: an entry of its times lacks one of {', '.join(NEEDED)}")
    return results


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in NEEDED.items()):
        return False
    blocks = [*entry["blocks_ns"], *(entry.get("steady_ns") or [])]
    samples = [sample for block in blocks for sample in (block if isinstance(block, list) and block else [None])]
    return bool(samples) and all(isinstance(sample, (int, float)) and sample > 0 for sample in samples)
