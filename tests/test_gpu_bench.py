"""bench/gpu.py on a GPU played by the host: what it writes, and that it refuses a wrong result."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cuda_compile
import pytest

pytestmark = pytest.mark.cuda

ROOT = Path(__file__).parents[1]
EMULATED = ROOT / "tests" / "emulated"

EMULATOR = """
import emulator

emulator.start()
"""

# Draws on the GPU are those of the step after.
WRONG = """
import numpy as np
import numgumbel as ng

right = ng.categorical


def wrong(key, logits, *, step=0, **given):
    return right(key, logits, step=step if isinstance(logits, np.ndarray) else step + 1, **given)


ng.categorical = wrong
"""


@pytest.fixture(autouse=True)
def _compilers():
    cuda_compile.need_compilers()
    spec = importlib.util.spec_from_file_location("emulator_of_bench", EMULATED / "emulator.py")
    sys.path.insert(0, str(EMULATED))
    try:
        emulator = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(emulator)
    finally:
        sys.path.remove(str(EMULATED))
    if line := emulator.missing():
        pytest.skip(line)


def run(folder, *options, code=EMULATOR):
    """The command in a process that begins with `code`, and what it has written."""
    (folder / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(folder), str(EMULATED), os.environ.get("PYTHONPATH", "")])
    written = folder / "gpu.json"
    ended = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--quick", "--rounds", "1", "--json", written, *options],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended, json.loads(written.read_text()) if written.exists() else None


def test_figures(tmp_path):
    """Figures of every contender that is there, a line for each that is not, and lines for all that was asked."""
    ended, results = run(tmp_path, "--only", r"^rl\.b4096_a18\.actions\.f32$|^vocab\.b1_k|^vocab\.b64_k128256\.bf16")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "python -m pip install cupy-cuda13x" in ended.stderr or "cupy" not in results["left_out"]
    assert results["machine"]["gpu"]["name"] == "Emulated GPU 0"
    assert results["copy"]["bytes_a_second"] == pytest.approx(2 * results["copy"]["bytes"] / results["copy"]["us"] * 1e6)
    entries = {entry["id"]: entry for entry in results["workloads"]}
    assert list(entries) == ["vocab.b1_k128256.f32", "rl.b4096_a18.actions.f32", "vocab.b64_k128256.bf16"]
    for entry in entries.values():
        figures = {each["name"]: each for each in entry["contenders"]}
        assert {"numgumbel", "numgumbel, plan"} <= set(figures)
        assert ("max, Numba" in figures) == (entry["dtype"] == "float32")
        for each in figures.values():
            assert min(each["cold_us"], each["warm_us"], each["enqueue_us"]) > 0, each
    actions = entries["rl.b4096_a18.actions.f32"]
    assert (actions["operation"], actions["launches"]) == ("sample_actions", 1)
    rows, columns = actions["shape"]
    assert (actions["bytes_read"], actions["bytes_written"]) == (4 * rows * columns, rows * (8 + 4 + 4))
    assert set(results["first_calls"]["filled"]["calls_s"]) == {"rl.b4096_a18.actions.f32"}
    asked = {line["asked"]: line for line in results["asked"]}
    assert asked["sample_actions 4096 x 18, launches"]["seen"] == 1
    assert asked["categorical 1 x 128256 over a device-wide max, cold"]["seen"] is not None
    assert not any(line["met"] for line in asked.values()), "small workloads meet nothing"
    assert "asked" in ended.stdout


def test_a_wrong_result_is_refused(tmp_path):
    ended, results = run(tmp_path, "--only", r"^rl\.b8_a6\.f32$", code=EMULATOR + WRONG)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "differ from the CPU's" in ended.stdout
    (entry,) = results["workloads"]
    (ours,) = [each for each in entry["contenders"] if each["name"] == "numgumbel"]
    assert "refused" in ours
    assert "warm_us" not in ours


COMMAND = "import sys; from numgumbel.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("wrong", [False, True])
def test_the_command(tmp_path, wrong):
    """`numgumbel bench --backend cuda`: times of a GPU, verified; a wrong kernel ends it."""
    (tmp_path / "sitecustomize.py").write_text(EMULATOR + (WRONG if wrong else ""))
    written = tmp_path / "bench.json"
    shrunk = "from numgumbel.bench import passes; passes.QUICK_COPY = 1 << 20\n"
    ended = subprocess.run(
        [sys.executable, "-c", shrunk + COMMAND, "bench", "rl.b8_a6*", "--backend", "cuda", "--quick", "--json", written],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(EMULATED), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    if wrong:
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "wrong result: rl.b8_a6.f32 on cuda: the checksum of index is" in ended.stderr
        assert not written.exists()
        return
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads(written.read_text())
    assert results["machine"]["gpu"]["name"] == "Emulated GPU 0"
    assert min(results["bandwidth"]["cuda"][name] for name in ("read", "copy")) > 0
    assert [each["workload"] for each in results["times"]] == ["rl.b8_a6.f32", "rl.b8_a6.actions.f32"]
    for each in results["times"]:
        assert (each["backend"], each["timed"]) == ("cuda", "cold")
        assert min(each[f"{name}_ns"] for name in ("median", "warm", "enqueue", "completion")) > 0


# NVBench itself wants NVIDIA's driver: a state as its Python package has it, which makes one launch.
NVBENCH = """
import sys, types

class State:
    def __init__(self):
        self.said = {}
    def get_string(self, name):
        return {"workload": "rl.b8_a6.actions.f32"}[name]
    def get_stream(self):
        from numba import cuda
        self.stream = cuda.stream()
        return types.SimpleNamespace(addressof=lambda: int(self.stream))
    def skip(self, reason):
        self.said["skipped"] = reason
    def add_element_count(self, count, column_name=None):
        self.said[column_name] = count
    def add_global_memory_reads(self, nbytes):
        self.said["reads"] = nbytes
    def add_global_memory_writes(self, nbytes):
        self.said["writes"] = nbytes
    def exec(self, fn):
        fn(types.SimpleNamespace(get_stream=self.get_stream))
        self.said["launched"] = True

bench = types.ModuleType("cuda.bench")
import cuda
sys.modules["cuda.bench"] = cuda.bench = bench
sys.path.insert(0, sys.argv[1])
import nvbench_example
state = State()
nvbench_example.workload(state)
print(state.said)
"""


@pytest.mark.parametrize("wrong", [False, True])
def test_the_example_of_nvbench(tmp_path, wrong):
    (tmp_path / "sitecustomize.py").write_text(EMULATOR)
    swap = "import numgumbel as ng; right = ng.sample_actions\n"
    swap += "ng.sample_actions = lambda key, x, *, step=0, **given: right(key, x, step=step + ('invalid' in given), **given)\n"
    ended = subprocess.run(
        [sys.executable, "-c", (swap if wrong else "") + NVBENCH, ROOT / "bench"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(EMULATED), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if wrong:
        assert "'skipped': 'wrong result: the checksum of action is" in ended.stdout
        assert "launched" not in ended.stdout
    else:
        assert "{'categories': 48, 'reads': 192, 'writes': 128, 'launched': True}" in ended.stdout
