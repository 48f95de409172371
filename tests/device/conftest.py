"""Tests of the GPU's kernels, drivers and public functions on the device that ``NUMGUMBEL_TEST_DEVICE`` names.

"emulated"    the host plays a GPU and runs the kernels' PTX (tests/emulated): everything
"simulated"   Numba's simulator runs the kernels' Python: what is marked so, a test or two a kernel; 1000 times slower
"gpu"         a GPU: the public functions, since tests of kernels pass host arrays

Each is run by a test of its own, in a process of its own (`test_gpu_emulated`, `test_gpu_simulator`, `test_gpu`).
"""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DEVICE = os.environ.get("NUMGUMBEL_TEST_DEVICE")
PUBLIC = {"test_face.py", "test_nb.py", "test_properties.py", "test_verify.py"}

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "emulated")]
if DEVICE == "simulated":
    import gpu_simulator  # noqa: F401
elif DEVICE == "emulated":
    import emulator

    emulator.start()
elif DEVICE == "gpu":
    collect_ignore_glob = [file.name for file in HERE.glob("test_*.py") if file.name not in PUBLIC]
else:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(config, items):
    """Leave out what is too slow for the simulator, and what only it has."""
    if DEVICE == "simulated":
        kept = [item for item in items if item.get_closest_marker("simulated")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(params=["forwards", "backwards"] if DEVICE == "emulated" else ["as they come"])
def order(request):
    """Threads take turns in the order of their numbers, and the other way round."""
    if request.param == "backwards":
        with emulator.backwards():
            yield
    else:
        yield
