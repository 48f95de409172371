"""The decorators of this folder, in one place: how a function is compiled, and where its machine code is kept.

`scalar`      numerics shared by both targets: ``@njit`` without a signature and without fastmath, because numba-cuda wraps
              the same dispatcher as a device function and carries its options along.
`loop`        a CPU loop over a tile, on the widest vectors that the processor has.
`row_kernel`  a CPU loop over rows: releases the GIL, compiled once per dtype of the logits with array layouts that accept
              every stride pattern and read-only input, kept on disk.

The disk cache lives in a folder named by a hash of every kernel source, the compiler's versions and the processor. Numba's
own stamp covers only the file of the function itself, so that an edited scalar would serve a stale caller.
"""

import contextlib
import functools
import gc
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.caching import FunctionCache, _CacheLocator
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.typed_passes import NativeLowering
from numba.extending import intrinsic, overload

from .journal import CACHE_HIT, CACHE_MISS, CACHE_OFF, enter


class _WideLower(Lower):
    """Lets LLVM use vectors of 512 bits where the processor has them; narrower processors are not affected.

    On Intel's processors with AVX-512 LLVM prefers 256 bits and mixes in 512 for shuffles, which closes a port to the narrow
    ones: Philox then takes 0.73 ns a word, on wide vectors throughout 0.34 (4 GHz, two ports).
    """

    def setup_function(self, fndesc):
        super().setup_function(fndesc)
        # llvmlite refuses attributes that it does not list; string attributes are not listed.
        set.add(self.function.attributes, '"prefer-vector-width"="512"')


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    """Lowers without the counting of references: arrays outlive the call, and an atomic count for every slice is 0.1 ns a cell.

    (Numba's own switch, ``_nrt=False``, refuses functions that return a slice of an argument.)
    """

    _name = "numgumbel_wide_lowering"

    def run_pass(self, state):
        state.targetctx = state.targetctx.subtarget(enable_nrt=False)
        return super().run_pass(state)

    @property
    def lowering_class(self):
        return _WideLower


def _without_machine_code(state):
    """A library that is linked, as LLVM's code, into those of its callers, and never turned into machine code of its own."""
    library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
    library.enable_object_caching()  # so far as Numba's own lowering does it
    library._finalize_final_module = lambda: setattr(library, "_finalized", True)
    state.targetctx = state.targetctx.subtarget()
    # Numba knows a function by its entry, and takes nothing but a builtin for one: a new list's method, which nobody calls.
    state.targetctx.get_executable = lambda library, fndesc, env: [].append
    return library


@register_pass(mutates_CFG=True, analysis_only=False)
class _ScalarLowering(NativeLowering):
    """Lowers a scalar and nothing else: it is optimised, inlined, in every caller."""

    _name = "numgumbel_scalar_lowering"

    def run_pass(self, state):
        state.library = _without_machine_code(state)
        state.library._optimize_final_module = lambda: None
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoopLowering(_WideLowering):
    """Lowers and optimises a loop."""

    _name = "numgumbel_loop_lowering"

    def run_pass(self, state):
        state.library = _without_machine_code(state)
        return super().run_pass(state)


# Passes for what kernels do not use (with blocks, closures, functions defined inside, loops over mixed tuples, None as an
# argument): each goes through the whole function, and all of them take 0.15 s of a kernel's 3.
_NOT_NEEDED = {
    "WithLifting",
    "InlineClosureLikes",
    "DeadBranchPrune",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
}


def _compiler(name, lowering):
    """Numba's compiler with another lowering, and without what is not needed."""

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        kept = [(step, why) for step, why in passes.passes if step.__name__ not in _NOT_NEEDED]
        passes.passes = [(lowering if step is NativeLowering else step, why) for step, why in kept]
        passes.finalize()
        return [passes]

    return type(name, (CompilerBase,), {"define_pipelines": define_pipelines})


_ScalarCompiler = _compiler("_ScalarCompiler", _ScalarLowering)
_LoopCompiler = _compiler("_LoopCompiler", _LoopLowering)
_KernelCompiler = _compiler("_KernelCompiler", _WideLowering)


class _Inner(CPUDispatcher):
    """A function that compiled code calls. Python may call it too, through an entry compiled when that happens.

    An entry made for every helper would be a third of the time that a kernel takes to compile.
    """

    _entry = None

    def get_call_template(self, args, kws):
        """One compilation for a number and for a literal: a constant is propagated where the function is inlined."""
        return super().get_call_template(tuple(types.unliteral(argument) for argument in args), kws)

    def __call__(self, *arguments):
        if self._entry is None:
            inner = self

            def entry(*arguments):
                return inner(*arguments)

            self._entry = njit(entry, error_model="numpy")
        return self._entry(*arguments)


def _inner(function, compiler, **options):
    # No fastmath: left out, Numba would let a function inherit that of the caller that compiles it first, a user's too.
    options |= {"nopython": True, "error_model": "numpy", "fastmath": False}
    options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = _Inner(function, targetoptions=options, pipeline_class=compiler)
    dispatcher.pipeline_class = compiler
    return functools.update_wrapper(dispatcher, function)


def scalar(function):
    """Decorate numerics shared by both targets."""
    return _inner(function, _ScalarCompiler, forceinline=True)


def loop(function):
    """Decorate a loop over a tile, CPU only. Whether it is inlined is left to LLVM: a call a tile costs nothing."""
    return _inner(function, _LoopCompiler, nogil=True)


def inlined_loop(function):
    """Decorate a loop over a small tile, CPU only, that is always inlined, so that its constants are made once for many."""
    return _inner(function, _LoopCompiler, nogil=True, forceinline=True)


def by_precision(f32, f64):
    """One name for two twins, on both targets and from Python: the first floating argument (scalar or array) decides."""

    def choose(*arguments):
        kinds = (argument.dtype for argument in arguments if hasattr(argument, "dtype"))
        real = next(kind for kind in kinds if kind.kind == "f")
        return (f32 if real.itemsize == 4 else f64)(*arguments)

    # The twin itself becomes the overload's body: a function that only calls it would be compiled as well.
    @overload(choose, strict=False, jit_options={**f32.targetoptions, "pipeline_class": f32.pipeline_class})
    def pick(*arguments):
        elements = (getattr(argument, "dtype", argument) for argument in arguments)
        real = next((element for element in elements if isinstance(element, types.Float)), None)
        return None if real is None else (f32 if real.bitwidth == 32 else f64).py_func

    return choose


class _OneOf(_Inner):
    """One name for twins on the CPU, of which the types of the arguments choose one: that is called, and compiled once.

    (Numba's `overload` compiles anew what is called from functions of other options: a tenth of a second a kernel.)
    """

    def __init__(self, twins, which):
        super().__init__(twins[0].py_func, targetoptions=dict(twins[0].targetoptions), pipeline_class=twins[0].pipeline_class)
        self._twin = lambda kinds: twins[which([getattr(kind, "dtype", kind) for kind in kinds])]

    def get_call_template(self, args, kws):
        return self._twin(args).get_call_template(args, kws)

    def get_overload(self, args):
        return self._twin(args).get_overload(args)


# What float16 and bfloat16 are to Numba, which knows neither: integers of 16 bits, whose sign tells which.
FLOAT16, BFLOAT16 = types.uint16, types.int16


def by_format(reals, f16, bf16):
    """One name for twins: the first argument (scalar or array) decides, which is a cell or holds cells."""
    return _OneOf((reals, f16, bf16), lambda elements: {FLOAT16: 1, BFLOAT16: 2}.get(elements[0], 0))


def by_buffer(reals, halves, packed):
    """One name for three, by the first two arguments: a buffer and cells of reals; and cells of halves; halves as both."""

    def which(elements):
        buffer, cells = (element in (FLOAT16, BFLOAT16) for element in elements[:2])
        return 2 if buffer else int(cells)

    return _OneOf((reals, halves, packed), which)


@intrinsic
def as_contiguous(typingctx, array):
    """The same 1-D array typed C-contiguous, so that LLVM may use packed loads. The caller has checked the stride.

    A read-only view loses that mark, so that a row and a buffer have one type; loops write to neither.
    """
    if not isinstance(array, types.Array) or array.ndim != 1:
        return None
    result = array.copy(layout="C", readonly=False)

    def codegen(context, builder, signature, arguments):
        return arguments[0]  # nobody counts references here

    return result(array), codegen


@intrinsic
def larger(typingctx, a, b):
    """The larger of two floats; what comes of a NaN, or which zero, is undefined: a loop over it becomes packed maxima.

    `max` and a conditional expression keep NaN's order and stay scalar (0.85 against 0.02 ns a float32).
    """
    if not isinstance(a, types.Float) or a != b:
        return None

    def codegen(context, builder, signature, arguments):
        real = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.maxnum", [real], ir.FunctionType(real, [real, real]))
        return builder.call(function, arguments, fastmath=("nnan", "nsz"))

    return a(a, a), codegen


@intrinsic
def reinterpret(typingctx, array, dtype):
    """The memory of a contiguous array as smaller elements. (`array.view` checks it first: 0.1 s of compilation each.)"""
    if not isinstance(dtype, types.NumberClass):
        return None
    result = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, arguments):
        source = context.make_array(array)(context, builder, arguments[0])
        target, word = context.make_array(result)(context, builder), context.get_value_type(types.intp)
        element, old = context.get_data_type(dtype.dtype), context.get_data_type(array.dtype)
        size, ratio = context.get_abi_sizeof(element), context.get_abi_sizeof(old) // context.get_abi_sizeof(element)
        length = builder.mul(builder.extract_value(source.shape, 0), word(ratio))
        data = builder.bitcast(source.data, element.as_pointer())
        bytes_each = word(size)
        context.populate_array(target, data=data, shape=[length], strides=[bytes_each], itemsize=bytes_each, meminfo=None)
        return target._getvalue()

    return result(array, dtype), codegen


@intrinsic(prefer_literal=True)
def stack_array(typingctx, size, dtype):
    """A 1-D array on the stack, uninitialised, of a literal size: for the body of a row kernel, where it lives for the call.

    Kernels do without counted references, and so without arrays on the heap.
    """
    if not isinstance(size, types.IntegerLiteral) or not isinstance(dtype, (types.NumberClass, types.DType)):
        return None
    result = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, arguments):
        element = context.get_data_type(dtype.dtype)
        data = cgutils.alloca_once(builder, element, size=ir.Constant(ir.IntType(32), size.literal_value))
        data.align = 64
        array, word = context.make_array(result)(context, builder), context.get_value_type(types.intp)
        bytes_each = word(context.get_abi_sizeof(element))
        shape = word(size.literal_value)
        context.populate_array(array, data=data, shape=[shape], strides=[bytes_each], itemsize=bytes_each, meminfo=None)
        return array._getvalue()

    return result(size, dtype), codegen


_ELEMENTS = {np.dtype(np.float16): FLOAT16, np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}


def is_bfloat16(dtype):
    """Whether a dtype is ml_dtypes' bfloat16, or any package's that calls it so: none is imported to ask it."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.name == "bfloat16"


def element_of(dtype):
    """What a dtype of logits is in a kernel's signature."""
    return BFLOAT16 if is_bfloat16(dtype) else _ELEMENTS[dtype]


def working(element):
    """The working precision of logits: float32 for halves, else their own."""
    return types.float32 if element in (FLOAT16, BFLOAT16) else element


@intrinsic
def real_of(typingctx, array):
    """The working precision of an array's elements, as the type that makes numbers: ``real = real_of(cells); real(0.5)``."""
    result = types.NumberClass(working(array.dtype))

    def codegen(context, builder, signature, arguments):
        return context.get_dummy_value()

    return result(array), codegen


def has_instruction(name):
    """Whether the processor compiled for is known to have an instruction, by LLVM's name of it."""
    return f"+{name}" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def view(element, ndim):
    """Type of an IN array: any strides, read-only welcome."""
    return types.Array(element, ndim, "A", readonly=True)


def sink(element, ndim):
    """Type of an OUT or INOUT array: any strides."""
    return types.Array(element, ndim, "A")


@contextlib.contextmanager
def _without_collection():
    """No garbage collection meanwhile: it goes through the compiler's many objects again and again, a tenth of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class RowKernel(dict):
    """One row kernel: ``kernel[dtype](...)`` runs the machine code for logits of a dtype, compiling it on first use.

    A dictionary of entry points, so that a call costs one look-up. A kernel that reads no logits is called as
    ``kernel[None](...)``. Types are the caller's business: nothing looks at them again, and an array of another dtype of the
    same size is read as if it were of the right one.
    """

    def __init__(self, function, signature):
        super().__init__()
        functools.update_wrapper(self, function)
        self.signature = signature
        self.dispatchers = {}  # by dtype, for those who look at machine code
        self._readable = {}

    def __missing__(self, dtype):
        with global_compiler_lock:
            if dtype not in self:
                start = time.perf_counter()
                dispatcher = self._compiled(dtype, kept=cache_folder() is not None)
                self.dispatchers[dtype] = dispatcher
                # Its machine code, without the look-up of argument types: 0.2 us a call.
                (self[dtype],) = (result.entry_point for result in dispatcher.overloads.values())
                cache = CACHE_OFF if cache_folder() is None else CACHE_HIT if dispatcher.stats.cache_hits else CACHE_MISS
                (arguments,) = dispatcher.signatures
                enter(self.__name__, dtype, arguments, "cpu", time.perf_counter() - start, cache)
        return self[dtype]

    def _compiled(self, dtype, kept):
        """A dispatcher of the kernel for logits of a dtype; `kept`: loaded from the cache, or put there."""
        dispatcher = njit(nogil=True, error_model="numpy", pipeline_class=_KernelCompiler)(self.__wrapped__)
        if kept:
            dispatcher._cache = _kernel_cache(self.__wrapped__, dtype)
        with _without_collection():
            dispatcher.compile(self.signature(None if dtype is None else element_of(dtype)))
        return dispatcher

    def readable(self, dtype):
        """A dispatcher with the text of its code: of what the cache had, Numba knows no text, and that is compiled anew."""
        with global_compiler_lock:
            self[dtype]
            dispatcher = self._readable.get(dtype, self.dispatchers[dtype])
            if dispatcher.stats.cache_hits:
                dispatcher = self._readable[dtype] = self._compiled(dtype, kept=False)
        return dispatcher

    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


if hasattr(os, "register_at_fork"):
    # A child would wait for ever for a lock that a thread of its parent held: fork when nobody compiles.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def row_kernel(signature):
    """Decorate a row kernel; `signature` maps the Numba type of a logit, from `element_of`, to the full signature."""
    return lambda function: RowKernel(function, signature)


def _hash_of_sources():
    digest = hashlib.blake2b(digest_size=12)
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


# Read now, since the functions are: a file edited between import and first call must not pass for what was compiled.
SOURCES = _hash_of_sources()


@functools.cache
def source_hash():
    """Hash of all kernel sources, compiler versions and the processor compiled for: the name of the cache folder."""
    digest = hashlib.blake2b(SOURCES, digest_size=12)
    versions = numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:3]
    processor = cpu_target.target_context.codegen().magic_tuple()
    digest.update(repr((versions, processor)).encode())
    return digest.hexdigest()


@functools.cache
def cache_folder():
    """Folder of compiled kernels, or None where none can be written (kernels are then compiled in every process).

    ``NUMGUMBEL_CACHE_DIR`` names the parent; otherwise the platform's user cache folder, then the temporary folder of
    this user. An empty ``NUMGUMBEL_CACHE_DIR`` turns the cache off.
    """
    named = os.environ.get("NUMGUMBEL_CACHE_DIR")
    if named == "":
        return None
    if not any(Path(__file__).parent.rglob("*.py")):
        return None  # installed without sources: nothing would tell a stale cache
    for parent in [Path(named).absolute()] if named else _default_parents():
        folder = parent / f"v1-{source_hash()}"
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Code is loaded from here: a folder of somebody else's, as may lie in a shared temporary folder, is not trusted.
            if not named and hasattr(os, "getuid") and parent.stat().st_uid != os.getuid():
                continue
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue  # not writable: the next candidate, or no cache
    return None


def _default_parents():
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA")
    else:
        home = os.environ.get("XDG_CACHE_HOME")
        with contextlib.suppress(RuntimeError):  # a user without a home folder
            home = home or Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return ([Path(home) / "numgumbel"] if home else []) + [Path(tempfile.gettempdir()) / f"numgumbel-{user}"]


def _kernel_cache(function, dtype):
    """A disk cache for one kernel and one dtype, with an index of its own.

    Numba writes index and data without a lock: processes that compile for different dtypes at once would mix them up in a
    common index. Of one dtype they write the same. A file that cannot be read or written costs a compilation, no more.
    """

    class Locator(_CacheLocator):
        def get_cache_path(self):
            return str(cache_folder())

        def get_source_stamp(self):
            return source_hash()

        def get_disambiguator(self):
            return f"{function.__code__.co_firstlineno}-{dtype}"

        @classmethod
        def from_function(cls, function, path):
            return cls()

    class Implementation(FunctionCache._impl_class):
        _locator_classes: ClassVar = [Locator]

    class Cache(FunctionCache):
        _impl_class = Implementation

        def load_overload(self, signature, target_context):
            try:
                return super().load_overload(signature, target_context)
            except Exception:  # a damaged file may raise anything that unpickling can: begin again
                with contextlib.suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, signature, data):
            with contextlib.suppress(OSError):  # the disk is full or has become read-only: the code is in memory
                super().save_overload(signature, data)

    return Cache(function)
