"""The GPU's backend on a GPU that the host plays: kernels' PTX, drivers, launches, streams, graphs, index for index."""

import os
import subprocess
import sys
from pathlib import Path

import cuda_compile
import pytest

pytestmark = pytest.mark.cuda

DEVICE = Path(__file__).parent / "device"


def test_on_the_emulated_device():
    cuda_compile.need_compilers()
    sys.path.insert(0, str(DEVICE.parent / "emulated"))
    import emulator

    if emulator.missing():
        pytest.skip(emulator.missing())
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", str(DEVICE)],
        env={**os.environ, "NUMGUMBEL_TEST_DEVICE": "emulated"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
