"""The same bits on other processors: the code for AVX2, and for a plain x86-64 without fused multiply-add, run here.

Each child computes a digest over a million words of every scalar loop and over whole operations, compiled for the processor
that the environment names. Compiling everything takes a while: the default run leaves out all operations but two.
"""

import hashlib
import os
import platform
import subprocess
import sys

import pytest

x86_64 = platform.machine().lower() in ("x86_64", "amd64")
pytestmark = pytest.mark.skipif(not x86_64, reason="the other targets are x86-64 ones: run on such a machine")

# What a child runs. With ALTERED set, one function is changed in one place, to see that the digest notices.
CODE = """
import hashlib, os
import numpy as np
from numba import njit
import numgumbel as ng
from numgumbel.kernels import elementary, field

rng = np.random.default_rng(0)
edges32 = [0, 255, 256, 2**31 - 1, 2**31, 2**32 - 1]
b32 = np.concatenate([np.array(edges32, np.uint32), rng.integers(0, 2**32, 1_000_000, np.uint32)])
b64 = rng.integers(0, 2**64, 1_000_000, np.uint64)
digest = hashlib.blake2b()


def add(array):
    digest.update(np.ascontiguousarray(array).tobytes())


def over(function, x, out):
    @njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    loop(x, out)
    return out


e32 = over(field.exponential_f32, b32, np.empty(len(b32), np.float32))
e64 = over(field.exponential_f64, b64, np.empty(len(b64)))
add(e32)
add(e64)
add(over(field.gumbel_of_exponential_f32, e32, np.empty_like(e32)))
add(over(field.gumbel_of_exponential_f64, e64, np.empty_like(e64)))
x32, x64 = b32.view(np.float32), b64.view(np.float64)
for x, log, exp in ((x32, elementary.log_f32, elementary.exp_f32), (x64, elementary.log_f64, elementary.exp_f64)):
    for function in (log, exp):
        y = over(function, x, np.empty_like(x))
        add(np.where(np.isnan(y), 0, y))  # which NaN it is is nobody's promise

key = ng.key(1, "targets")
if os.environ.get("ALTERED"):
    key = ng.key(2, "targets")
for dtype in (np.float32, np.float64):
    logits = ng.gumbel(ng.key(3), (40, 1500), dtype=dtype)
    for options in ({}, {"cols": rng.integers(0, 2**35 - 16, 1500), "step": 2**40, "temperature": 0.7}):
        add(ng.gumbel(key, logits.shape, dtype=dtype, cols=options.get("cols"), step=options.get("step", 0)))
        if dtype == np.float32:
            add(ng.categorical(key, logits, **options))
            half = logits.astype(np.float16)  # read by an instruction here, by bit tricks where that may be missing
            add(ng.categorical(key, half.reshape(-1, 6)))
            if os.environ.get("WHOLE"):
                add(ng.categorical(key, half, **options))
                add(ng.gumbel_softmax(key, half, step=options.get("step", 0)))
        if not os.environ.get("WHOLE"):
            continue
        add(ng.categorical(key, logits, **options))
        add(ng.categorical(key, logits, method="inverse_cdf", **options))
        for part in ng.gumbel_topk(key, logits, 9, **options):
            add(part)
        add(ng.conditional_gumbel(key, logits, np.arange(40), n=2, **options))
        short, ids = logits[:, :30], rng.integers(0, 2**35 - 16, 60_000)
        add(ng.categorical(key, short, cols=ids[: short.size].reshape(short.shape)))
        add(ng.categorical_ragged(key, logits.reshape(-1), np.cumsum(np.arange(300)), cols=ids, invalid="mark"))
        add(ng.categorical_ragged(key, logits.reshape(-1), np.cumsum(np.arange(300)), invalid="mark"))
        options.pop("temperature", None)
        y = ng.gumbel_softmax(key, logits, tau=0.6, **options)
        add(y)
        add(ng.gumbel_softmax_vjp(key, logits, logits, tau=0.6, **options))
import llvmlite.binding as llvm
from numba.core.registry import cpu_target
print(digest.hexdigest(), cpu_target.target_context.codegen().magic_tuple()[1])
"""


def digest_for(**environment):
    """(digest, processor that the code was compiled for) in a process of its own; only the host's kernels may be cached."""
    settings = {**os.environ, **({"NUMGUMBEL_CACHE_DIR": ""} if "NUMBA_CPU_NAME" in environment else {}), **environment}
    done = subprocess.run([sys.executable, "-c", CODE], env=settings, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def host():
    return digest_for()


def check_same(host, name, **environment):
    digest, compiled_for = digest_for(NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="", **environment)
    print(f"{name}: {digest[:16]}, host {host[1]}: {host[0][:16]}")
    assert compiled_for == name
    assert digest == host[0]


@pytest.mark.parametrize("name", ["haswell", pytest.param("generic", marks=pytest.mark.slow)])
def test_same_bits_as_on_the_host(host, name):
    check_same(host, name)


@pytest.mark.slow
def test_same_bits_of_every_operation():
    host = digest_for(WHOLE="1")
    for name in ("haswell", "generic"):
        check_same(host, name, WHOLE="1")


@pytest.mark.slow
def test_another_field_has_another_digest(host):
    assert digest_for(ALTERED="1")[0] != host[0]
    assert len(host[0]) == 2 * hashlib.blake2b().digest_size
