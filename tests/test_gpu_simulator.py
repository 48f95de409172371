"""The GPU's kernels on small shapes in Numba's simulator, against the CPU's."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cuda

FILES = sorted((Path(__file__).parent / "simulated").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_simulated(file):
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip('numba-cuda is missing: pip install -e ".[cuda-compile]"')
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", str(file)],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
