"""Tools for those who look at compilation and machine code: the report, kernels, readers of texts, ``numgumbel asm``."""

import dataclasses
import functools
import importlib.util
import json
import os
import platform
import subprocess
import sys

import cuda_compile
import llvmlite.binding as llvm
import numpy as np
import pytest

import numgumbel as ng
from numgumbel import cli, warming
from numgumbel.files import FileError, writable
from numgumbel.inspecting import assembly, dispatchers, ptx, report
from numgumbel.inspecting.assembly import Counts
from numgumbel.kernels.jit import RowKernel

x86_64 = platform.machine().lower() in ("x86_64", "amd64")

# --- the report ----------------------------------------------------------------------------------------------------------

REPORTS = """
import dataclasses, json
import numpy as np
import numgumbel as ng

assert len(ng.compile_report()) == 0
ng.gumbel(ng.key(1), (1, 1), dtype=np.float32)
first = ng.compile_report()
ng.gumbel(ng.key(1), (1, 1), dtype=np.float32)
assert ng.compile_report() == first
ng.gumbel(ng.key(1), (1, 1))
print(json.dumps([dataclasses.asdict(each) for each in ng.compile_report()]))
"""


def reported(cache):
    """Kernels of float32 and float64, as a new process reports them."""
    environment = {**os.environ, "NUMGUMBEL_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REPORTS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [each for each in json.loads(done.stdout) if each["kernel"] == "noise_rows"]


def test_what_was_compiled_is_reported(tmp_path):
    """A miss in a new folder, then a hit; in the order in which they were made."""
    for folder, cache in ((tmp_path, "miss"), (tmp_path, "hit"), ("", "off")):
        found = reported(folder)
        assert [(each["dtype"], each["backend"], each["cache"]) for each in found] == [
            ("float32", "cpu", cache),
            ("float64", "cpu", cache),
        ]
        assert all(each["seconds"] > 0 for each in found)
        assert found[0]["signature"].startswith("uint32, uint32, int64, int64[:, :], int64[:, :], int64[:, :, :], ")
        assert found[0]["signature"].endswith(", float32[:, :, :]")
        assert found[1]["signature"].endswith(", float64[:, :, :]")


SOME = report.CompileReport(
    [
        report.Compilation("argmax_rows", "float32", "int64", "cpu", 1.25, "miss"),
        report.Compilation("wait_until", None, "", "cpu", 0.5, "hit"),
    ]
)


def test_report():
    assert [each.label for each in SOME] == ["argmax_rows[float32]", "wait_until"]
    assert SOME.total_seconds == 1.75
    assert SOME[1] is SOME[-1] and len(SOME[:1]) == 1 and SOME[:1] != SOME  # noqa: PT018
    lines = [line.split() for line in str(SOME).splitlines()]
    assert lines == [
        ["kernel", "backend", "cache", "s"],
        ["argmax_rows[float32]", "cpu", "miss", "1.250"],
        ["wait_until", "cpu", "hit", "0.500"],
        ["2", "in", "all", "1.750"],
    ]
    assert repr(SOME) == str(SOME)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SOME[0].seconds = 0


def test_what_is_imported_later():
    """The package's import does without it; and names that are none are still errors."""
    code = (
        "import sys, numgumbel; assert not [m for m in sys.modules if 'inspecting' in m or m == 'rich']; numgumbel.kernels_of"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'kernel_of'"):
        ng.kernel_of  # noqa: B018


# --- kernels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", warming._table())
def test_kernels_of_every_operation(operation, monkeypatch):
    """Those that are warmed up, each compiled when it is looked up."""
    asked = []
    monkeypatch.setattr(RowKernel, "readable", lambda kernel, dtype: asked.append((kernel.__name__, dtype)) or "a dispatcher")
    kernels = ng.kernels_of(operation, "float64")
    by_dtype, common = warming._table()[operation]
    assert list(kernels) == [kernel.__name__ for kernel in (*by_dtype, *common)]
    assert len(kernels) == len(by_dtype) + len(common)
    assert "no_such_kernel" not in kernels
    assert repr(kernels) == f"<kernels {', '.join(kernels)}>"
    assert not asked
    assert [kernels[name] for name in kernels] == ["a dispatcher"] * len(kernels)
    want = [(kernel.__name__, np.dtype(np.float64)) for kernel in by_dtype] + [(kernel.__name__, None) for kernel in common]
    assert asked == want
    assert list(kernels.values()) == ["a dispatcher"] * len(kernels)
    assert asked == want  # kept


def test_dispatchers_have_text(capsys):
    """Also of a kernel that the cache had, of which Numba has none."""
    dispatcher = ng.kernels_of("gumbel")["survey_columns"]
    ((arguments, text),) = dispatcher.inspect_llvm().items()
    assert dispatcher.signatures == [arguments]
    assert "define " in text
    assert "survey_columns" in "".join(dispatcher.inspect_asm().values())
    dispatcher.inspect_types()
    assert "survey_columns" in capsys.readouterr().out
    assert dispatcher is ng.kernels_of("categorical")["survey_columns"]


def test_text_of_what_the_cache_had(tmp_path):
    code = """
import warnings
warnings.simplefilter("error")
import numgumbel as ng
from numgumbel.kernels.cpu.column_ids import survey_columns
(text,) = ng.kernels_of("gumbel")["survey_columns"].inspect_asm().values()
used = survey_columns.dispatchers[None]
print(ng.compile_report()[0].cache, len(ng.compile_report()), used is ng.kernels_of("gumbel")["survey_columns"], len(text))
"""
    environment = {**os.environ, "NUMGUMBEL_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    )
    assert first[:3] == ["miss", "1", "True"]
    assert second[:3] == ["hit", "1", "False"]
    assert first[3] == second[3]
    assert int(first[3]) > 1000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("argmax",), ValueError, "op must be one of categorical, .*, fold, got 'argmax'"),
        ((ng.gumbel,), TypeError, "op must be a name such as 'categorical', got function"),
        (("gumbel", "int16"), TypeError, "dtype must be float32, float64, float16 or bfloat16, got 'int16'"),
        (("gumbel", "float32", "tpu"), ValueError, "backend must be 'cpu' or 'gpu', got 'tpu'"),
    ],
)
def test_wrong_kernels(arguments, error, message):
    with pytest.raises(error, match=message):
        ng.kernels_of(*arguments)


def test_halves_have_the_noise_of_float32(monkeypatch):
    monkeypatch.setattr(RowKernel, "readable", lambda kernel, dtype: dtype)
    assert ng.kernels_of("gumbel", np.float16)["noise_rows"] == np.float32
    assert ng.kernels_of("gumbel_softmax", np.float16)["softmax_rows"] == np.float16


# --- reading assembly ------------------------------------------------------------------------------------------------------

X86 = """
	.type	_ZN9numgumbel7kernels3cpu4some9some_rowsB2v1B4xyzE,@function
_ZN9numgumbel7kernels3cpu4some9some_rowsB2v1B4xyzE:
# %bb.0:                                # %entry
	pushq	%rbp
	movq	%rsp, %rbp
	movq	%rdi, 16(%rsp)                  # 8-byte Spill
	vmovaps	%zmm3, 64(%rsp)                 # 64-byte Spill
	vmovss	8(%rdi), %xmm0                  # xmm0 = mem[0],zero,zero,zero
	vmulss	%xmm0, %xmm0, %xmm1
	movl	$0, 704(%rsp)
	.p2align	4
.LBB0_2:                                # %loop
                                        # =>This Loop Header: Depth=1
                                        #     Child Loop BB0_3 Depth 2
	leaq	8(%rsi), %rsi
.LBB0_3:                                # %vector.body
                                        #   Parent Loop BB0_2 Depth=1
                                        # =>  This Inner Loop Header: Depth=2
	vmovups	(%rdi,%rax,4), %zmm0
	vfmadd213ps	64(%rsp), %zmm1, %zmm0  # 64-byte Folded Reload
	vaddps	%zmm0, %zmm2, %zmm2
	vpaddd	%ymm0, %ymm1, %ymm1
	vmovups	%zmm2, (%rsi,%rax,4)
	je	.LBB0_5
# %bb.4:                                #   in Loop: Header=BB0_3 Depth=2
	addq	$1, 8(%rdx)
	cmpq	%rax, 16(%rdx)
	jne	.LBB0_3
.LBB0_5:                                #   in Loop: Header=BB0_2 Depth=1
	movabsq	$_ZN4some, %rax
	callq	*%rax
	movq	16(%rsp), %rdi                  # 8-byte Reload
	vcvtsi2ss	%eax, %xmm1, %xmm1
	jne	.LBB0_2
	popq	%rbp
	retq
.Lfunc_end0:
	.size	_ZN9numgumbel7kernels3cpu4some9some_rowsB2v1B4xyzE, .Lfunc_end0
	.type	_ZN7cpython9numgumbel7kernels3cpu4some9some_rowsE,@function
_ZN7cpython9numgumbel7kernels3cpu4some9some_rowsE:
	vaddps	%zmm0, %zmm2, %zmm2
	callq	PyErr_Format
.Lfunc_end1:
	.type	NRT_incref,@function
NRT_incref:
	lock	incq	(%rdi)
	retq
.Lfunc_end3:
	.type	helper,@function
helper:
	vmulpd	%xmm0, %xmm1, %xmm1
	prefetcht0	64(%rdi)
	incl	4(%rsp)
	retq
.Lfunc_end2:
	.type	.const.some,@object
.const.some:
	.asciz	"some"
"""


def test_ptx_of_qualified_instructions():
    found = ptx.read("\tld.global.L1::no_allocate.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];\n\tfma.rn.ftz.f32 %f1, %f2, %f3, %f4;\n")
    assert (found.loads, found.fma) == ({16: 1}, {"f32": 1, "f64": 0})


@pytest.mark.parametrize(
    ("code", "bits"),
    [
        ("vbroadcastss\t(%rdi), %zmm0", 512),
        ("vpcompressd\t%zmm0, (%rax) {%k1}", 512),
        ("vpabsd\t%ymm1, %ymm0", 256),
        ("vbroadcastsd\t%xmm0, %ymm0", 256),
        ("vaddss\t%xmm0, %xmm1, %xmm2", 0),
        ("vcvtsi2sd\t%rax, %xmm0, %xmm0", 0),
        ("vmovd\t%eax, %xmm0", 0),
    ],
)
def test_which_instructions_are_of_vectors(code, bits):
    """Some names end as those of single numbers do."""
    assert assembly._line(f"\t{code}", False).width == bits


def test_assembly():
    """What stands in it, counted by hand."""
    rows, helper = assembly.functions(X86)
    assert (rows.name, helper.name) == ("some_rows", "helper")
    assert rows.counts == Counts(
        instructions=24,
        calls=1,
        packed=2,
        scalar=1,
        wide={512: 4 + 1, 256: 1, 128: 0},
        loads=4,
        stores=3,
        spills=2,
        reloads=2,
        spilled_bytes=72,
    )
    assert helper.counts == Counts(instructions=4, packed=1, wide={512: 0, 256: 0, 128: 1}, loads=1, stores=1)
    both = assembly.total([rows, helper])
    assert (both.instructions, both.width, both.packed) == (28, 512, 3)
    assert helper.counts.width == 128
    assert Counts().width == 0


def test_the_main_loop():
    """The innermost one: what belongs to the loop around it does not count, what stands in its other blocks does."""
    found = assembly.functions(X86)
    loop = assembly.vector_loops(found)[0]
    assert (loop.function, loop.label) == ("some_rows", "BB0_3")
    assert loop.counts == Counts(
        instructions=9, packed=2, wide={512: 4, 256: 1, 128: 0}, loads=3, stores=2, reloads=1, spills=0, spilled_bytes=0
    )
    assert assembly.vector_loops(found[1:]) == []
    slower = X86.replace("%zmm", "%xmm").replace("%ymm", "%xmm").replace("vaddps", "vaddss")
    assert assembly.vector_loops(assembly.functions(slower))[0].counts.width == 128
    assert assembly.total(assembly.functions(slower)).scalar == 2


def test_without_comments_nothing_is_a_spill():
    """Kernels have buffers on the stack."""
    found = assembly.total(assembly.functions(X86.replace("Spill", "").replace("Reload", "")))
    assert (found.spills, found.reloads, found.spilled_bytes) == (0, 0, 0)
    assert (found.loads, found.stores) == (4 + 1 + 2, 3 + 1 + 2)


ARM = """
	.type	some_rows,@function
some_rows:
// %bb.0:
	stp	x29, x30, [sp, #-32]!
	str	q8, [sp, #16]                   // 16-byte Folded Spill
	fmul	s0, s1, s2
.LBB0_1:                                // =>This Inner Loop Header: Depth=1
	ldr	q0, [x0], #16
	fmla	v0.4s, v1.4s, v2.4s
	fadd	v0.2d, v1.2d, v2.2d
	str	q0, [x1], #16
	b.ne	.LBB0_1
// %bb.2:
	ldr	q8, [sp, #16]                   // 16-byte Folded Reload
	bl	somewhere
	ret
.Lfunc_end0:
"""


def test_assembly_of_aarch64():
    (rows,) = assembly.functions(ARM)
    assert rows.counts == Counts(
        instructions=11,
        calls=1,
        packed=2,
        scalar=1,
        wide={512: 0, 256: 0, 128: 6},
        loads=1,
        stores=2,
        spills=1,
        reloads=1,
        spilled_bytes=16,
    )
    loop = assembly.vector_loops([rows])[0]
    assert (loop.counts.instructions, loop.counts.packed, loop.counts.loads, loop.counts.stores) == (5, 2, 1, 1)


LLVM = """
define void @some_rows(ptr noalias %x, ptr noalias %y, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  %p = getelementptr <4 x float>, ptr %x, i64 %i
  %q = getelementptr <4 x float>, ptr %y, i64 %i
  %a = load <4 x float>, ptr %p
  %b = fmul <4 x float> %a, %a
  %c = fadd <4 x float> %b, %a
  call void @other()
  store <4 x float> %c, ptr %q
  %j = add i64 %i, 1
  %d = icmp slt i64 %j, %n
  br i1 %d, label %loop, label %end
end:
  ret void
}
declare void @other()
"""


@pytest.mark.parametrize(
    "triple",
    [
        "x86_64-unknown-linux-gnu",
        "x86_64-apple-darwin",
        "x86_64-pc-windows-msvc",
        "aarch64-unknown-linux-gnu",
        "arm64-apple-darwin",
    ],
)
def test_assembly_of_other_systems(triple):
    """As LLVM writes it: a loop with a load, a product, a sum, a call and a store."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=3)
    machine.set_asm_verbosity(True)
    module = llvm.parse_assembly(LLVM)
    module.triple = triple
    text = machine.emit_assembly(module)
    (rows,) = assembly.functions(text)
    (loop,) = rows.loops
    assert rows.name == "some_rows"
    counts = loop.counts
    assert (counts.packed, counts.scalar, counts.calls, counts.loads, counts.stores) == (2, 0, 1, 1, 1)
    assert counts.width == rows.counts.width == 128
    assert rows.counts.instructions > counts.instructions
    assert rows.counts.spills == text.count("Spill")
    assert rows.counts.reloads == text.count("Reload")


def test_names():
    assert assembly.plain_name("_ZN9numgumbel7kernels3cpu5noise10noise_rowsB2v1B56c8tJTI") == "noise_rows"
    assert assembly.plain_name("NRT_incref") == "NRT_incref"


def test_comments_end_with_the_block():
    with dispatchers.annotated():
        (told,) = ng.kernels_of("gumbel")["survey_columns"].inspect_asm().values()
    (silent,) = ng.kernels_of("gumbel")["survey_columns"].inspect_asm().values()
    assert "Loop Header" in told
    assert "Loop Header" not in silent


# --- reading PTX -----------------------------------------------------------------------------------------------------------

PTX = """
.visible .entry some(
	.param .u64 some_param_0
)
{
	.reg .pred 	%p<3>;
	.shared .align 8 .b8 room[64];
	ld.param.u64 	%rd1, [some_param_0];
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd1];
	ld.global.nc.v2.u64 	{%rd5, %rd6}, [%rd1+16];
	ld.f32 	%f5, [%rd2];
	fma.rn.f32 	%f6, %f1, %f2, %f3;
	fma.rn.f64 	%fd6, %fd1, %fd2, %fd3;
	@%p1 bra 	$L__BB0_2;
	st.shared.f32 	[%rd9], %f6;
	bar.sync 	0;
	ld.shared.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd9];
	st.local.u32 	[%rd8], %r1;
	@!%p2 st.global.v4.f32 	[%rd7], {%f1, %f2, %f3, %f4};
	st.u64 	[%rd7], %rd1;
$L__BB0_2:
	ret;
}
"""


def test_ptx():
    assert ptx.read(PTX) == ptx.Reading(
        instructions=14,
        barriers=1,
        fma={"f32": 1, "f64": 1},
        loads={4: 1, 16: 2},
        stores={8: 1, 16: 1},
        shared=2,
        local=1,
    )
    assert ptx.read(PTX.replace("v4.f32", "f32")).loads == {4: 2, 16: 1}


def test_what_the_assembler_says():
    said = """ptxas info    : Compiling entry function 'x' for 'sm_90'
ptxas info    : Function properties for x
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 46 registers, used 1 barriers, 96 bytes smem
"""
    assert ptx._said(said) == ptx.Assembled(46, 16, 96)
    assert ptx._said("nothing") == ptx.Assembled(0, 0, 0)


# --- the command -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(command_line):
    """Run the command: (exit code, standard output, standard error)."""
    return functools.partial(command_line, "asm")


SURVEY = ["gumbel", "--kernel", "survey_columns"]


def test_command(command):
    code, out, err = command(*SURVEY)
    assert (code, err) == (0, "")
    assert out.startswith("# survey_columns, float32\n# functions: survey_columns\n# widest vectors: ")
    assert "# spills: " in out
    assert "Lfunc_end0:" in out
    code, out, err = command(*SURVEY, "--kind", "llvm")
    assert (code, err) == (0, "")
    assert out.startswith("; survey_columns, float32\n")
    assert "\ndefine " in out


@pytest.mark.skipif(not x86_64, reason="reads x86-64 assembly: run on such a machine")
def test_command_tells_what_stands_in_the_text(command):
    _, out, _ = command(*SURVEY)
    counts = assembly.total(assembly.functions(out))
    assert counts.instructions > 100
    assert f"# instructions: {counts.instructions}, of them {counts.loads} loads, {counts.stores} stores" in out
    assert f"# widest vectors: {counts.width} bits" in out


def test_command_summary(command):
    code, out, err = command("row_ids", "--summary")
    assert (code, err) == (0, "")
    assert "whole kernels" in out
    assert "main loops" in out
    assert "fold_bytes" in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, err = command(*SURVEY, "--summary")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "survey_columns" in out
    assert "Lfunc" not in out


@pytest.mark.skipif(not x86_64, reason="reads x86-64 assembly: run on such a machine")
def test_summary_of_one_kernel_has_all_its_loops(command):
    _, out, _ = command(*SURVEY, "--summary")
    _, text, _ = command(*SURVEY)
    loops = [loop for each in assembly.functions(text) for loop in each.loops if loop.counts.width]
    assert len(loops) > 1
    assert all(f"survey_columns, {loop.label} " in out for loop in loops)


def test_command_writes_a_file(command, tmp_path):
    path = tmp_path / "code.s"
    code, out, err = command(*SURVEY, "--out", str(path))
    assert (code, out, err) == (0, f"written to {path}\n", "")
    assert path.read_text().startswith("# survey_columns, float32\n")
    code, out, err = command(*SURVEY, "--summary", "--out", str(tmp_path / "other.s"))
    assert code == 0
    assert "innermost loops" in out
    assert "Lfunc_end0:" in (tmp_path / "other.s").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["argmax"], "op must be one of categorical"),
        (["gumbel", "--dtype", "int16"], "'int16' is not one of 'f32', 'f64', 'f16', 'bf16'"),
        (["gumbel", "--kernel", "argmax_rows"], "--kernel must be one of noise_rows, wait_until, survey_columns, got"),
        (["gumbel", "--kind", "ptx"], "--kind ptx is not for --backend cpu, which has asm, llvm"),
        (["gumbel", "--backend", "gpu", "--kind", "asm"], "--kind asm is not for --backend gpu"),
        (["gumbel", "--arch", "sm_90"], "--arch is for --backend gpu"),
        (["gumbel", "--out", "/no/such/folder/x.s", "--kernel", "survey_columns"], "there is no folder /no/such/folder"),
        (["gumbel", "--colour"], "--colour"),
    ],
)
def test_command_refuses(command, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("numgumbel: error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("arguments", [SURVEY, [*SURVEY, "--summary"]])
def test_a_reader_that_leaves(arguments):
    """``| head``: quiet, and no trace of a broken pipe."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from numgumbel import cli; sys.exit(cli.main(sys.argv[1:]))"
    with os.fdopen(write, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-c", code, "asm", *arguments], stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""
    assert done.returncode == 1


def test_without_numba_cuda(monkeypatch, command):
    """A line that says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    for name in [name for name in sys.modules if name.startswith(("numgumbel.kernels.gpu", "numgumbel.inspecting.gpu"))]:
        monkeypatch.delitem(sys.modules, name)
    code, out, err = command("gumbel", "--backend", "gpu")
    assert (code, out) == (2, "")
    assert err == 'numgumbel: error: numba-cuda is missing: pip install "numgumbel[cuda13]"\n'
    with pytest.raises(ImportError, match="numba-cuda is missing"):
        ng.kernels_of("gumbel", backend="gpu")


@pytest.mark.parametrize(
    "arguments", [["asm", "gumbel", "--out"], ["verify", "--json"], ["bench", "--json"], ["bench", "--plot"]]
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(command, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(ng, "kernels_of", lambda *given: pytest.fail("compiled"))
    monkeypatch.setattr("numgumbel.verify.run", lambda *given, **named: pytest.fail("checked"))
    monkeypatch.setattr("numgumbel.bench.passes.measure", lambda *given, **named: pytest.fail("measured"))
    name = tmp_path / "nowhere" / "x.svg"
    code = cli.main([*arguments, str(name)])
    assert code == 2
    monkeypatch.setattr(os, "access", lambda *given: False)
    with pytest.raises(FileError, match="no permission to write there"):
        writable(tmp_path / "x")


def test_warmup_tells_what_the_cache_had(tmp_path):
    """Compiled, then cached; and neither where the process had it."""
    code = "import sys; from numgumbel import cli; sys.exit(cli.main(['warmup', 'row_ids']) or cli.main(['warmup', 'row_ids']))"
    environment = {**os.environ, "NUMGUMBEL_CACHE_DIR": str(tmp_path)}
    for word in ("compiled", "cached"):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("fold_")]
        assert [(line[0], *line[2:]) for line in lines] == [
            ("fold_integers", word),
            ("fold_bytes", word),
            ("fold_integers",),
            ("fold_bytes",),
        ]


# --- GPUs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
class TestCuda:
    @pytest.fixture(autouse=True)
    def _compilers(self):
        cuda_compile.need_compilers()

    def test_kernels_of_every_operation(self):
        from numgumbel.inspecting.signatures import BESIDE, KERNELS, OF_OPERATION

        assert {name for names in OF_OPERATION.values() for name in names} == {*KERNELS, *BESIDE}
        assert set(warming._table()) == {*OF_OPERATION, "row_ids", "fold"}
        for operation, names in OF_OPERATION.items():
            for dtype in ("float32", "float64", "float16"):
                kernels = ng.kernels_of(operation, dtype, "gpu")
                assert tuple(kernels) == names
                assert all(len(kernel.signatures) == 1 for kernel in kernels.values())
        with pytest.raises(ValueError, match="op 'fold' has no kernels on a GPU"):
            ng.kernels_of("fold", backend="gpu")

    def test_ptx_for_any_capability(self, capsys):
        kernel = ng.kernels_of("merge", backend="gpu")["copy_rows"]
        (text,) = kernel.inspect_asm().values()
        (older,) = kernel.inspect_asm((7, 5)).values()
        assert ".target sm_90" in text
        assert ".target sm_75" in older
        assert "copy_rows" in "".join(kernel.inspect_llvm().values())
        kernel.inspect_types()
        assert "copy_rows(float32[:, :], float32[:, :])" in capsys.readouterr().out
        assert kernel.dispatcher.py_func is kernel.py_func
        for unknown in ((2, 0), (9, 1)):
            with pytest.raises(ValueError, match=r"arch sm_\d\d is not known to the compiler"):
                kernel.inspect_asm(unknown)

    def test_the_device_is_asked_again_afterwards(self):
        from numba.cuda import dispatcher

        before = dispatcher.get_current_device
        next(iter(ng.kernels_of("merge", backend="gpu").values())).inspect_llvm()
        assert dispatcher.get_current_device is before

    def test_command(self, command):
        code, out, err = command("merge", "--backend", "gpu", "--kernel", "copy_rows", "--arch", "sm_80")
        assert (code, err) == (0, "")
        assert out.startswith("// copy_rows, float32\n// sm_80, ptxas: ")
        assert ".target sm_80" in out
        code, out, err = command("merge", "--backend", "gpu", "--kernel", "copy_rows", "--kind", "sass")
        assert (code, err) == (0, "")
        assert "EXIT" in out
        code, out, err = command("merge", "--backend", "gpu", "--summary")
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
        assert "merge_rows" in out

    def test_figures_are_those_of_the_tests(self):
        """Registers and spills as the tests of the kernels read them."""
        kernel = ng.kernels_of("gumbel", backend="gpu")["noise_rows"]
        (text,) = kernel.inspect_asm().values()
        said, _ = ptx.assembled(text, (9, 0))
        _, want = cuda_compile.assembled(text)
        assert dataclasses.asdict(said) == want
        assert want["registers"] > 0
        with pytest.raises(ValueError, match="ptxas refuses"):
            ptx.assembled("nonsense", (9, 0))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--arch", "hopper"], "arch must be sm_ and a compute capability, such as sm_90, got 'hopper'"),
            (["--arch", "sm_20"], "arch sm_20 is not known to the compiler"),
            (["--kernel", "argmax_rows"], "--kernel must be one of noise_rows"),
        ],
    )
    def test_command_refuses(self, command, arguments, words):
        code, out, err = command("gumbel", "--backend", "gpu", *arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert words in err

    def test_without_the_assembler(self, command, monkeypatch):
        monkeypatch.setattr(ptx, "tool", lambda name: None)
        code, out, _ = command("merge", "--backend", "gpu", "--kernel", "copy_rows", "--summary")
        assert code == 0
        assert "numgumbel[cuda-compile]" in out
        assert "registers are virtual" in command("merge", "--backend", "gpu", "--kernel", "copy_rows")[1]
        code, _, err = command("merge", "--backend", "gpu", "--kernel", "copy_rows", "--kind", "sass")
        assert code == 2
        assert "numgumbel[cuda-compile]" in err
