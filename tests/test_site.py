"""The documentation site: what its hooks do to a page, that every public name has its place, that a bad page is refused."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numgumbel as ng

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INSTALL = 'pip install -e ".[docs]"'


@pytest.fixture
def hooks(monkeypatch):
    pytest.importorskip("mkdocs", reason=INSTALL)
    pytest.importorskip("latex2mathml", reason=INSTALL)
    monkeypatch.syspath_prepend(str(DOCS))
    yield __import__("site_hooks")
    del sys.modules["site_hooks"]


def public(module):
    """Names in ``__all__`` of a module, which need not be importable here."""
    path = ROOT / "numgumbel" / module
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


def undocumented(pages):
    """Public names without a place in the reference."""
    told = set(re.findall(r"^::: (\S+)$", pages, re.M))
    names = {f"numgumbel.{name}" for name in ng.__all__ if name != "distribution"}
    names |= {f"numgumbel.distribution.{name}" for name in ("pdf", "cdf", "ppf")}
    for prefix, module in {"nb": "nb.py", "torch": "torch/__init__.py", "jax": "jax/__init__.py", "dask": "dask.py"}.items():
        names |= {f"numgumbel.{prefix}.{name}" for name in public(module)}
    return names - told


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    assert undocumented(pages) == set()
    assert undocumented(pages.replace("::: numgumbel.nb.score_row\n", "").replace("::: numgumbel.draw\n", "")) == {
        "numgumbel.nb.score_row",
        "numgumbel.draw",
    }


def test_formulas_become_mathml(hooks):
    page = r'<p><span class="arithmatex">\(\pi_i &lt; 1\)</span></p><div class="arithmatex">\[' + "\n" + r"\frac{a}{b}\]</div>"
    made = hooks.on_page_content(page, None, None, None)
    assert "arithmatex" not in made
    assert made.count("<math") == 2
    assert made.count('display="block"') == 1
    assert "<mfrac>" in made
    assert "&lt;" in made or "&#x0003C;" in made
    assert "<mi>log</mi><mspace" in hooks.mathml(r"\log x", "inline")
    assert "mspace" not in hooks.mathml(r"\log(x)", "inline")
    with pytest.raises(Exception, match="not understood"):
        hooks.mathml(r"\nosuchcommand{x}", "inline")


def test_links_lead_to_pages_of_the_site(hooks):
    text = "[`b`](../kernels/cpu/bound.py) [r](../ROADMAP.md#x) [f](field.md#a) [w](https://a.b/c)\n```python\nx[0](../y.py)\n```\n"
    made = hooks.relinked(text, DOCS, "nb.md")
    assert "(source/kernels/cpu/bound.py.md)" in made
    assert "(source/ROADMAP.md.md#x)" in made
    assert "(field.md#a) [w](https://a.b/c)" in made
    assert "x[0](../y.py)" in made
    assert hooks.relinked("[n](../nb.md)", DOCS / "api", "api/nb.md") == "[n](../nb.md)"
    assert hooks.relinked("[c](../CHANGELOG.md)", DOCS, "index.md") == "[c](changelog.md)"
    assert hooks.targets(text, DOCS) == [ROOT / "kernels" / "cpu" / "bound.py", ROOT / "ROADMAP.md"]


@pytest.mark.parametrize(
    ("page", "said"),
    [("[a](nowhere.md)", "nowhere.md"), ("[a](../nowhere.py)", "nowhere.py"), ("$$\n\\nosuch{x}\n$$", "not understood"),
     ("::: numgumbel.no_such_name", "no_such_name"), ("", None)],
)  # fmt: skip
def test_a_bad_page_is_refused(hooks, tmp_path, page, said):
    """A site of one page, with the settings and hooks of the real one."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{page}\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n")
    (tmp_path / "docs" / "site_hooks.py").write_text((DOCS / "site_hooks.py").read_text())
    settings = (ROOT / "mkdocs.yml").read_text().replace("paths: [.]", f"paths: [{ROOT}]").replace("extra_css:", "#")
    (tmp_path / "mkdocs.yml").write_text(settings[: settings.index("nav:")] + "nav: [index.md, changelog.md]\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # --quiet would hide warnings from --strict
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    if said is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert said in done.stderr
