"""Packages that are not required are not imported unasked, and what needs one that is absent says how to install it."""

import subprocess
import sys

import pytest

OPTIONAL = ("cupy", "dask", "distributed", "jax", "ml_dtypes", "pandas", "polars", "torch", "zarr")
CALLS = """
import sys
import numpy as np
import numgumbel as ng
key, x = ng.key(1), np.zeros((2, 3))
ng.categorical(key, x), ng.categorical(key, [[0.0, 1.0]]), ng.gumbel_softmax(key, x), ng.gumbel(key, (2, 3)), ng.draw(key, x)
try:
    ng.categorical(key, object())
except TypeError:
    pass
print(*sys.modules)
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_none_is_imported_unasked():
    done = run(CALLS)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "numgumbel" in loaded
    assert not loaded & {*OPTIONAL, "numgumbel.dask", "numgumbel.pandas", "numgumbel.torch"}


@pytest.mark.parametrize("name", ["dask", "pandas", "torch"])
def test_what_needs_one_names_the_extra(name):
    done = run(f"import sys; sys.modules[{name!r}] = None; import numgumbel.{name}")
    assert done.returncode == 1
    assert f"ImportError: numgumbel.{name} needs " in done.stderr
    assert f'pip install "numgumbel[{name}]"' in done.stderr
