"""What MkDocs does not do by itself: formulas as MathML, and pages for files of the repository that the documentation links to.

Links are written as they work in the repository. One that leaves ``docs/`` leads, on the site, to a page with that file's text.
"""

import html
import os
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LANGUAGES = {".py": "python", ".sh": "sh", ".csv": "text", ".json": "json", ".svg": "xml"}
LINK = re.compile(r"(\]\()([^)#\s]+)([^)\s]*\))")
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1\n?", re.M | re.S)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def source_page(path):
    """Where the site has the page of a file of the repository, relative to docs/."""
    return "changelog.md" if path == ROOT / "CHANGELOG.md" else f"source/{path.relative_to(ROOT).as_posix()}.md"


def outside_code(change, markdown):
    """The text with all but its fenced blocks changed."""
    parts, end = [], 0
    for fence in FENCED.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def targets(markdown, folder):
    """Files and folders outside docs/ that a text in that folder links to."""
    found = []

    def note(text):
        for _, target, _ in LINK.findall(text):
            path = (folder / target).resolve()
            if "://" not in target and not path.is_relative_to(DOCS) and path.is_relative_to(ROOT):
                found.append(path)
        return text

    outside_code(note, markdown)
    return found


def relinked(markdown, folder, page):
    """The text with its links as they work from a page of the site (`page` is relative to docs/)."""

    def link(match):
        path = (folder / match[2]).resolve()
        if "://" in match[2] or not path.is_relative_to(ROOT):
            return match[0]
        inside = path.is_relative_to(DOCS) and (path.suffix != ".py")
        place = path.relative_to(DOCS).as_posix() if inside else source_page(path)
        return match[1] + Path(os.path.relpath(place, Path(page).parent)).as_posix() + match[3]

    return outside_code(lambda text: LINK.sub(link, text), markdown)


def shown(path):
    """Markdown of the page of a file or folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == ".md":
        return relinked(path.read_text(), path.parent, source_page(path))
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if each.suffix in (".py", ".md", ".csv"))
        return f"# {name}/\n\nIn the repository:\n\n" + "".join(f"- `{each}`\n" for each in names)
    return f"# {name}\n\n``````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}\n``````\n"


def scripts_of(markdown, folder):
    """Scripts within docs/, which are no pages of the site, that a text in that folder links to."""
    paths = [(folder / target).resolve() for _, target, _ in LINK.findall(markdown) if "://" not in target]
    return [path for path in paths if path.is_relative_to(DOCS) and path.suffix == ".py"]


def on_files(files, config):
    """Add the pages of linked files, and of those that these link to."""
    todo = [ROOT / "CHANGELOG.md"]
    for page in files.documentation_pages():
        path = Path(page.abs_src_path)
        todo += targets(path.read_text(), path.parent) + scripts_of(path.read_text(), path.parent)
    known = set()
    while todo:
        path = todo.pop()
        if path in known:
            continue
        if not path.exists():
            raise PluginError(f"a page links to {path.relative_to(ROOT)}, which is not there")
        known.add(path)
        if path.suffix == ".md":
            todo += targets(path.read_text(), path.parent)
        content = shown(path) if path.name == "CHANGELOG.md" else f"---\nsearch: {{exclude: true}}\n---\n{shown(path)}"
        files.append(File.generated(config, source_page(path), content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that leave docs/ lead to pages of the site; doctests are highlighted as what is typed at a prompt."""
    if page.file.generated_by is None:
        markdown = relinked(markdown, Path(page.file.abs_src_path).parent, page.file.src_uri)
    return re.sub(r"^```python\n(?=>>> )", "```pycon\n", markdown, flags=re.M)


def mathml(latex, display):
    """MathML of a formula; what is not understood is an error."""
    made = convert(latex, display=display)
    made = re.sub(r"(<mi>(?:exp|log|max|min)</mi>)(?=<m(?!o))", r'\1<mspace width="0.167em"/>', made)  # as TeX spaces them
    if "\\" in made or "<merror" in made:
        raise PluginError(f"the formula {latex!r} is not understood: {made}")
    return made


def on_page_content(content, page, config, files):
    """Formulas as MathML, which browsers show without a script."""

    def formula(match):
        return mathml(html.unescape(match[3]), "block" if match[2] == "[" else "inline")

    return FORMULA.sub(formula, content)
