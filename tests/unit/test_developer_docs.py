# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the developer's pages name is there: packages, files, decisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from modules import ROOT

PACKAGE = ROOT / "module_utils" / "lifeline"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = (
    ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "development.md",
    *sorted(DECISIONS.glob("*.md")),
)  # fmt: skip
# Where a page's path may begin, besides anywhere in the package.
PLACES = (ROOT, ROOT / "playbooks", ROOT / "tests" / "unit", ROOT / "tests" / "integration" / "rq")
FOLDER_OR_FILE = re.compile(r"[a-z0-9_./*-]+/[a-z0-9_.*-]*|[a-z0-9_*]+\.(?:py|md|yml|toml)")
# Made by setting up or by a run, or on hosts.
ELSEWHERE = ("reports/", "/etc/", ".venv/", "defaults/main.yml", "meta/")


def found(name: str) -> bool:
    return any(PACKAGE.rglob(name)) or any(found for place in PLACES for found in place.glob(name))


def named(page: Path) -> set[str]:
    """Paths that a page names; words in capitals stand for the reader's own."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    words = set(re.findall(r"`([^`\n]+)`", text))
    return {word for word in words if FOLDER_OR_FILE.fullmatch(word) and not word.startswith(ELSEWHERE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    missing = [name for name in sorted(named(page)) if not found(name)]
    assert not missing, f"{page.name} names what is not there"


def test_the_test_sees_paths() -> None:
    assert {"common/atomic.py", "tests/unit/test_layout.py", "errors.py"} <= named(ROOT / "docs" / "architecture.md")


def test_the_architecture_has_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {name for name in packages if f"| `{name}/`" not in page and f", `{name}/`" not in page} == set()


def test_the_index_has_every_decision_under_its_title() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\((\S+\.md)\) \| (.+) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    pages = [path.name for path in sorted(DECISIONS.glob("[0-9]*.md"))]
    assert [name for _, name, _ in rows] == pages
    for number, name, title in rows:
        text = (DECISIONS / name).read_text()
        assert text.startswith(f"# {number}. {title}\n") and name.startswith(f"{int(number):04}-")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Measured", "Consequences"], name
