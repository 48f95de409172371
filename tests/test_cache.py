"""The disk cache of compiled kernels: used, never stale, and silent where nothing can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng

PACKAGE = Path(ng.__file__).parent

CODE = """
import numpy as np, numgumbel as ng
from numgumbel.kernels.jit import cache_folder
print(ng.gumbel(ng.key(1), 3, dtype=np.float32).tolist(), cache_folder(), sep="|")
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, kernels included, that may be edited."""
    shutil.copytree(PACKAGE, tmp_path / "source" / "numgumbel", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "source"


def run(source, cache, code=CODE):
    """(values, cache folder) of a process that imports the copy."""
    environment = {**os.environ, "PYTHONPATH": str(source), "NUMGUMBEL_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, cwd=source, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip().split("|")


def test_a_second_process_compiles_nothing_and_an_edited_scalar_is_seen(copy, tmp_path):
    cache = tmp_path / "cache"
    values, folder = run(copy, cache)
    assert values == str(ng.gumbel(ng.key(1), 3, dtype=np.float32).tolist())
    files = {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    assert any(path.suffix == ".nbc" for path in files)
    assert run(copy, cache) == [values, folder]
    assert {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()} == files

    scalars = copy / "numgumbel" / "kernels" / "field.py"
    text = scalars.read_text()
    assert text.count("DOMAIN_FINE = uint32(1)") == 1
    scalars.write_text(text.replace("DOMAIN_FINE = uint32(1)", "DOMAIN_FINE = uint32(2)"))
    edited, other_folder = run(copy, cache)
    assert edited != values
    assert other_folder != folder


def test_an_edit_between_import_and_first_call_is_not_kept_as_the_new_source(copy, tmp_path):
    """What was imported is what is compiled: it must not lie in the folder of the sources as they are by then."""
    cache, scalars = tmp_path / "cache", copy / "numgumbel" / "kernels" / "field.py"
    text = scalars.read_text()
    edited = text.replace("DOMAIN_FINE = uint32(1)", "DOMAIN_FINE = uint32(2)")
    edit = f"import numgumbel; from pathlib import Path; Path({str(scalars)!r}).write_text({edited!r})"
    old = run(copy, cache, edit + CODE)
    new = run(copy, cache)
    assert old[0] == str(ng.gumbel(ng.key(1), 3, dtype=np.float32).tolist()) != new[0]
    assert old[1] != new[1]


def test_damaged_files_are_compiled_anew(copy, tmp_path):
    values, folder = run(copy, tmp_path / "cache")
    for path in Path(folder).iterdir():
        path.write_bytes(b"")
    assert run(copy, tmp_path / "cache") == [values, folder]


def test_precisions_have_indexes_of_their_own(copy, tmp_path):
    """Processes write without a lock: what they write at once must be the same."""
    _, folder = run(copy, tmp_path / "cache")
    names = [path.name for path in Path(folder).iterdir() if path.suffix == ".nbi"]
    assert any("noise_rows" in name and "float32" in name for name in names)


def test_no_folder_to_write_to(copy, tmp_path):
    """A file where the folder should be: no cache, no message."""
    (tmp_path / "file").write_text("")
    values, folder = run(copy, tmp_path / "file")
    assert folder == "None"
    assert values == str(ng.gumbel(ng.key(1), 3, dtype=np.float32).tolist())
