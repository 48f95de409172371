"""Tests of the GPU's kernels in Numba's simulator: each file is run by `test_gpu_simulator` in a process of its own."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    import gpu_simulator  # noqa: F401
else:
    collect_ignore_glob = ["test_*.py"]
