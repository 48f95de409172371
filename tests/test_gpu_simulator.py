"""The GPU's kernels on small shapes in Numba's simulator, against the CPU's: every operation through its public function."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cuda


def test_in_numbas_simulator():
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip('numba-cuda is missing: pip install -e ".[cuda-compile]"')
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            str(Path(__file__).parent / "device"),
        ],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMGUMBEL_TEST_DEVICE": "simulated"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
