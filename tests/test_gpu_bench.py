"""`bench/gpu.py` on the GPU that the host plays: it runs, checks, writes what its tables need, and refuses wrong answers."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import cuda_compile
import pytest

pytestmark = pytest.mark.cuda

ROOT = Path(__file__).parents[1]
START = """
    import sys
    sys.path[:0] = [{emulated!r}, {bench!r}]
    import emulator
    emulator.start()
    import gpu
"""


def run(code, *arguments):
    cuda_compile.need_compilers()
    start = START.format(emulated=str(ROOT / "tests" / "emulated"), bench=str(ROOT / "bench"))
    text = textwrap.dedent(start) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=False)


def test_it_runs(tmp_path):
    ended = run("gpu.main(sys.argv[1:])", "--quick", "--json", str(tmp_path / "gpu.json"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert len(results["workloads"]) > 15
    for entry in results["workloads"]:
        assert entry["cold_us"] > 0
        assert entry["enqueue_us"] > 0
        assert entry["bytes_read"] > 0
    assert "asked of an H200" in ended.stdout
    assert "is left out: pip install cupy-cuda13x" in ended.stdout


def test_a_wrong_answer_ends_it():
    """One step too many on the device alone."""
    ended = run(
        """
        right = gpu.ng.categorical

        def wrong(key, x, **options):
            return right(key, x, **options | {"step": options["step"] + hasattr(x, "copy_to_host")})

        gpu.ng.categorical = wrong
        gpu.main(["--quick", "--only", "categorical 1024 *"])
        """
    )
    assert ended.returncode != 0
    assert "categorical 1024 x 1000 float32: result 0 is not the CPU's" in ended.stderr
