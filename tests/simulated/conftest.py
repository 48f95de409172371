"""Tests of the GPU's kernels in Numba's simulator: each file is run by `test_gpu_simulator` in a process of its own.

With ``NUMGUMBEL_ON_DEVICE=1`` the public functions are tested on a GPU instead (see `test_gpu`).
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    import gpu_simulator  # noqa: F401
elif os.environ.get("NUMGUMBEL_ON_DEVICE") == "1":
    collect_ignore_glob = [file.name for file in Path(__file__).parent.glob("test_*.py") if file.name != "test_face.py"]
else:
    collect_ignore_glob = ["test_*.py"]
