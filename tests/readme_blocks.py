"""The code blocks of the README, for the tests and for the script that runs its commands.

``python tests/readme_blocks.py setup`` prints the commands under that name.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
DOCS = sorted((README.parent / "docs").glob("*.md"))
PAGES = [README, *(page for page in DOCS if ">>> " in page.read_text())]  # whose Python is run
NEEDS = {"torch.md": "torch"}  # what a page is about, in an extra of that name


def shell(name):
    """The commands under the comment ``<!-- name -->``."""
    return re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", README.read_text(), re.S).group(1)


def blocks(page=README):
    """(language, text) of every fenced block."""
    return re.findall(r"```(\w*)\n(.*?)```", page.read_text(), re.S)


if __name__ == "__main__":
    print(shell(sys.argv[1]), end="")
