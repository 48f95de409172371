"""A GPU played by the host: numba-cuda compiles kernels as ever, and what it launches is their PTX, turned into C.

`start()` builds a driver and puts it where numba-cuda looks for NVIDIA's, before that is imported. From then on device arrays,
streams, graphs and launches work as on a GPU, one thread at a time: threads of a block take turns only where they wait for each
other, what waits for ever, reads where nothing is or at a misaligned address ends the launch, and shared memory holds rubbish
until it is written.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from translate import Translation

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC", "gcc")
_FLAGS = ["-w", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off", "-U_FORTIFY_SOURCE", f"-I{HERE}"]


def missing():
    """What to install for it, or None."""
    return None if shutil.which(COMPILER) else f"a C compiler is missing: install {COMPILER}, or name another in CC"


@functools.cache
def folder():
    """Where compiled objects are kept, by what they are made of."""
    place = Path(os.environ.get("NUMGUMBEL_EMULATOR_DIR") or Path(tempfile.gettempdir()) / f"numgumbel-emulator-{os.getuid()}")
    place.mkdir(parents=True, exist_ok=True)
    return place


def compiled(sources, kind, *options):
    """Path of a shared object made of C texts, made once."""
    texts = [source.encode() for source in sources]
    shared = (HERE / "gpu.h").read_bytes() + (HERE / "threads.h").read_bytes()
    name = hashlib.sha256(b"\0".join([*texts, shared, " ".join([kind, *options, *_FLAGS]).encode()])).hexdigest()[:32]
    target = folder() / f"{kind}-{name}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as scratch:
            paths = []
            for i, text in enumerate(texts):
                paths.append(Path(scratch) / f"{i}.c")
                paths[-1].write_bytes(text)
            made = Path(scratch) / "object.so"
            subprocess.run([COMPILER, *_FLAGS, *options, *paths, "-o", made, "-lm", "-ldl", "-lpthread"], check=True)
            made.rename(target)
    return target


@functools.cache
def start():
    """The driver, loaded in place of NVIDIA's."""
    sources = [(HERE / name).read_text() for name in ("driver.c", "threads.c")]
    library = ctypes.CDLL(str(compiled(sources, "driver", "-O2", "-Wl,-soname,libcuda.so.1")), ctypes.RTLD_GLOBAL)
    library.emulator_error.restype = ctypes.c_char_p
    from cuda.core import ObjectCode
    from numba.cuda import codegen
    from numba.cuda.cudadrv import driver

    driver._have_nvjitlink = lambda: False  # no optimisation at link time, which would give no PTX

    def get_cubin(self, cc=None):
        cc = self._ensure_cc(cc)
        if cc not in self._cubin_cache:
            translation = Translation(self.get_asm_str(cc=cc))
            path = compiled([translation.source], "kernel", os.environ.get("EMULATOR_OPTIMISE", "-O0"), "-march=native")
            self._cubin_cache[cc] = ObjectCode.from_cubin(str(path).encode() + b"\0", name=translation.name)
        return self._cubin_cache[cc]

    codegen.CUDACodeLibrary.get_cubin = get_cubin

    from numgumbel.backends.gpu import compiled as backend
    from numgumbel.kernels.jit import source_hash

    made_by = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("translate.py", "gpu.h"))).hexdigest()[:12]

    @functools.cache
    def cache_folder():
        place = folder() / f"{source_hash()}-{made_by}"
        place.mkdir(exist_ok=True)
        return place

    backend.cache_folder = cache_folder  # never where a real GPU's code is looked for
    return library


@contextlib.contextmanager
def backwards():
    """Threads take turns the other way round meanwhile: what depends on their order differs."""
    library = start()
    library.emulator_order(1)
    try:
        yield
    finally:
        library.emulator_order(0)


@contextlib.contextmanager
def lent(arrays):
    """Host arrays that kernels may read and write meanwhile, where they lie."""
    library, spans = start(), sorted(np.lib.array_utils.byte_bounds(array) for array in arrays if array.size)
    pieces = []
    for low, high in spans:
        if pieces and low <= pieces[-1][1]:
            pieces[-1][1] = max(pieces[-1][1], high)
        else:
            pieces.append([low, high])
    for low, high in pieces:
        library.emulator_lend(ctypes.c_uint64(low), ctypes.c_size_t(high - low))
    try:
        yield
    finally:
        for low, _ in pieces:
            library.emulator_return(ctypes.c_uint64(low))


@contextlib.contextmanager
def skipping():
    """Launches end where they begin: for what they cost the host."""
    library = start()
    library.emulator_skip(1)
    try:
        yield
    finally:
        library.emulator_skip(0)


def counts():
    """Launches, copies, synchronisations, changes of threads and allocations of memory so far."""
    out = (ctypes.c_long * 5)()
    start().emulator_counts(out)
    return dict(zip(("launches", "copies", "synchronisations", "switches", "allocations"), out, strict=True))
