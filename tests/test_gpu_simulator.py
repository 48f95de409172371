"""The GPU's kernels on small shapes in Numba's simulator, against the CPU's."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cuda

FILES = sorted((Path(__file__).parent / "simulated").glob("test_*.py"))

# Scalars are compiled once a process, 20 s of it: two processes have them all, as many as the tests are run in.
GROUPS = {"one": FILES[0::2], "two": FILES[1::2]}


@pytest.mark.parametrize("group", GROUPS)
def test_simulated(group):
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip('numba-cuda is missing: pip install -e ".[cuda-compile]"')
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *map(str, GROUPS[group])],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
