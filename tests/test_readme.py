"""Every code block of the README is run: Python as doctests, commands in a shell, set-up and test commands by the CI script."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import readme_blocks

ROOT = Path(__file__).parents[1]


def test_every_block_is_known():
    """A new block must be a doctest or one of the named commands."""
    for language, text in readme_blocks.blocks():
        if language == "python":
            assert ">>> " in text
        else:
            assert language == "sh"
            assert text in {readme_blocks.shell(name) for name in ("setup", "job", "tests")}


@pytest.mark.parametrize("page", readme_blocks.PAGES, ids=lambda page: page.name)
def test_python_blocks(page):
    """All of them in order, in one namespace."""
    if page.name in readme_blocks.NEEDS:
        package = readme_blocks.NEEDS[page.name]
        pytest.importorskip(package, reason=f'pip install -e ".[{package}]"')
    text = "\n".join(block for language, block in readme_blocks.blocks(page) if language == "python")
    assert ">>> " in text
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, page.name, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    if page.name == "torch.md":
        sys.modules["torch"]._dynamo.reset()  # it clears what it knows of a namespace while that is there, or complains
    assert runner.summarize().failed == 0


def test_main_job(tmp_path):
    """The command as written, with this environment standing in for .venv."""
    numgumbel = shutil.which("numgumbel", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert numgumbel, "the console script is missing: pip install -e ."
    command = readme_blocks.shell("job").replace(".venv/bin/numgumbel", numgumbel)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for mode in ("air", "train", "bus", "car"):
        assert mode in done.stdout


def test_test_command_is_pytest():
    assert readme_blocks.shell("tests").strip() == ".venv/bin/python -m pytest"


@pytest.mark.parametrize("page", readme_blocks.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_docstrings():
    """Every example in a docstring of the package."""
    import numgumbel
    from numgumbel import actions, distribution, draws, generator, ids, keys, nb, ops, warming, workloads
    from numgumbel.bench import clock, compare, compiling, peers, report, roofline
    from numgumbel.inspecting import dispatchers
    from numgumbel.inspecting import report as compilation

    for module in (
        *(numgumbel, actions, distribution, draws, generator, ids, keys, nb, ops, warming, workloads),
        *(clock, compare, compiling, peers, report, roofline, dispatchers, compilation),
    ):
        result = doctest.testmod(module)
        assert result.failed == 0, module
        assert result.attempted > 0, module


@pytest.mark.parametrize(
    "name",
    [
        *("categorical", "conditional_gumbel", "gumbel", "gumbel_softmax", "gumbel_softmax_vjp", "gumbel_topk"),
        *(
            "inclusion_log_prob",
            "draw",
            "merge",
            "sample_actions",
            "log_prob_entropy",
            "log_prob_entropy_vjp",
            "categorical_ragged",
        ),
        *("key", "fold", "row_ids", "default_rng", "warmup", "kernels_of"),
    ],
)
def test_docstrings_are_complete(name):
    """Public functions state parameters, results, errors and an example."""
    import numgumbel

    text = getattr(numgumbel, name).__doc__
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"    {section}\n    {'-' * len(section)}" in text, section
