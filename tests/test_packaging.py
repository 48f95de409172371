"""Distribution files: what sdist and wheel hold, and that an installed wheel works from anywhere."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).as_posix()
    for folder in ("numgumbel", "kernels")
    for path in (ROOT / folder).rglob("*.py")
    if "numgumbel/kernels" not in path.as_posix()
}
IN_WHEEL = {f"numgumbel/{name}" if name.startswith("kernels/") else name for name in MODULES} | {"numgumbel/py.typed"}

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel built from the sdist, wheel built from the tree), from a clean copy of the tracked files."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    run("git", "-c", "core.symlinks=true", "clone", "--quiet", str(ROOT), str(source))
    run("git", "checkout-index", "--all", "--force", cwd=source)
    run(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source))  # wheel from sdist
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "direct"), str(source))
    return next(folder.glob("dist/*.tar.gz")), next(folder.glob("dist/*.whl")), next(folder.glob("direct/*.whl"))


def test_sdist_holds_the_sources(built):
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert names >= MODULES | {"pyproject.toml", "README.md", "LICENSE", "numgumbel/py.typed"}
    assert not any(name.endswith((".pyc", ".nbc", ".nbi")) for name in names)


def test_wheels_hold_the_package_and_nothing_else(built):
    for wheel in built[1:]:
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == IN_WHEEL


def test_installed_wheel_runs_from_elsewhere_and_from_the_root(built, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(str(python), "-m", "pip", "install", "--quiet", str(built[1]))
    code = (
        "import numpy as np, numgumbel as ng; "
        "print(ng.categorical(ng.key(1), np.zeros((3, 4), np.float32)).tolist(), ng.kernels.__file__)"
    )
    outputs = []
    for folder in (tmp_path, ROOT):
        # -P or not: from the root, the checkout's own numgumbel/ and its symlink come first on the path, and must work too.
        outputs.append(run(str(python), "-c", code, cwd=folder).split("] ")[0])
    assert outputs[0] == outputs[1]
    assert "numgumbel" in run(str(python.parent / "numgumbel"), "--version", cwd=tmp_path)


def test_a_checkout_without_symlinks_installs(tmp_path):
    """As on Windows without developer mode: the link comes out as a small text file, and the mapping alone must do."""
    source = tmp_path / "source"
    run("git", "-c", "core.symlinks=false", "clone", "--quiet", str(ROOT), str(source))
    assert not (source / "numgumbel" / "kernels").is_symlink()
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(source))
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        assert {name for name in archive.namelist() if name.endswith(".py")} == {n for n in IN_WHEEL if n.endswith(".py")}
