"""Memory beyond input and output stays under 1 MiB a thread at any size: `memory_cases`, each group in a fresh process.

Relaxed samples in float16 and bfloat16 take a row of float32 more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import memory_cases
import pytest

LIMIT = 1 << 20

pytestmark = pytest.mark.skipif(
    not (os.access(memory_cases.CLEAR, os.W_OK) and memory_cases.STATUS.exists()),
    reason="peak memory is read from /proc/self, which Linux alone has",
)


def measured(group, threads):
    """Bytes of every case of a group."""
    script = Path(memory_cases.__file__)
    environment = os.environ | memory_cases.ENVIRONMENT
    command = [sys.executable, "-W", "error", str(script), group, str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def report(found):
    """The peaks as lines of text."""
    lines = [f"{name:28}{peaks['resident'] / 2**20:10.3f}{peaks['traced'] / 2**20:10.3f}" for name, peaks in found.items()]
    return "\n".join([f"{'MiB beyond input and output':28}{'resident':>10}{'traced':>10}", *lines])


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("group", "threads"),
    [
        ("short rows", 1),
        pytest.param("long rows", 1, marks=SLOW),
        ("many draws", 1),
        ("halves", 2),
        pytest.param("halves", 1, marks=SLOW),
        pytest.param("halves, short rows", 1, marks=SLOW),
        pytest.param("short rows", 2, marks=SLOW),
        pytest.param("short rows, others", 1, marks=SLOW),
        pytest.param("short rows, others", 2, marks=SLOW),
        pytest.param("long rows", 2, marks=SLOW),
        pytest.param("middle rows", 1, marks=SLOW),
        pytest.param("middle rows", 2, marks=SLOW),
        pytest.param("rows by bound", 1, marks=SLOW),
        pytest.param("rows by bound", 2, marks=SLOW),
        pytest.param("one row", 1, marks=SLOW),
        pytest.param("one row", 2, marks=SLOW),
    ],
)
def test_beyond_input_and_output(group, threads):
    found = measured(group, threads)
    print(report(found))
    rows, columns = memory_cases.GROUPS[group][1]
    limits = dict.fromkeys(found, LIMIT * threads)
    for name in limits:
        limits[name] += 8 * rows if name in memory_cases.CONVERTED else 0
        limits[name] += 4 * columns * threads if name in memory_cases.SPARE_ROW else 0
        limits[name] += 16 * columns * threads if name in memory_cases.TABLES else 0
    above = {name: peaks for name, peaks in found.items() if max(peaks.values()) >= limits[name]}
    assert not above, report(above)


def test_stored_noise_is_seen():
    """200,000 x 6 numbers in float64 are 9.2 MiB: seen both ways, by NumPy or by compiled code."""
    found = measured("wrong", 1)
    print(report(found))
    assert len(found) == len(memory_cases.WRONG)
    assert min(peak for peaks in found.values() for peak in peaks.values()) > 9 * LIMIT
