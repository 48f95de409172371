"""Waiting without sleeping: a thread watches one word of memory, outside the interpreter's lock.

A thread that sleeps takes some 50 us to wake, as long as a small batch takes to sample; one that watches takes 0.2 us.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import row_kernel, sink


@intrinsic
def load_shared(typingctx, words):
    """words[0], read from memory each time: another thread may have changed it. IN int64[n]."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(words), codegen


@intrinsic
def add_shared(typingctx, words):
    """words[0] += 1 in one step, for another thread to see after everything written before. INOUT int64[n]."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.atomic_rmw("add", array.data, ir.IntType(64)(1), "release")
        return context.get_dummy_value()

    return types.none(words), codegen


@intrinsic
def pause(typingctx):
    """Tells the processor that this is a waiting loop, where it has an instruction for it."""

    def codegen(context, builder, signature, arguments):
        triple, nothing, number = builder.module.triple, ir.VoidType(), ir.IntType(32)
        if triple.startswith("x86_64"):
            hint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(nothing, []), "llvm.x86.sse2.pause")
            builder.call(hint, [])
        elif triple.startswith(("aarch64", "arm64")):
            hint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(nothing, [number]), "llvm.aarch64.hint")
            builder.call(hint, [number(1)])
        return context.get_dummy_value()

    return types.none(), codegen


@row_kernel(lambda _: types.int64(sink(types.int64, 1), sink(types.int64, 1), types.int64, types.int64, types.int64))
def wait_until(ended, words, wanted, rounds, hold):
    """Say that something has ended; then look at words[0] until it is `wanted` or more, or so many rounds have gone by.

    Whoever is waited for, or waits, runs Python just before and after. So the end is announced from here, when the
    interpreter's lock has been given away, and a change is held back until whoever made it has had time to give it away too:
    a thread that finds the lock taken sleeps.

    Parameters
    ----------
    ended : INOUT int64[1]
        One is added.
    words : IN int64[1]
        Raised by another thread.
    wanted : int64
        The value that is waited for.
    rounds : int64
        How many times to look, at most.
    hold : int64
        Rounds to go on for after a change.

    Returns
    -------
    int64
        The last value seen.
    """
    add_shared(ended)
    value = load_shared(words)
    if value >= wanted:
        return value
    while value < wanted and rounds > 0:
        pause()
        value = load_shared(words)
        rounds -= 1
    if value >= wanted:
        for _ in range(hold):
            pause()
    return value
