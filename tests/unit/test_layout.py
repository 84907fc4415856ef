# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The package is laid out in the order of the loop: who reads it from top to bottom meets each thing before its use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "module_utils" / "lifeline"

# A floor imports from itself and from those before it; floors of one line do not import each other.
ORDER = (
    ("common",),
    ("formats",),
    ("inventory",),
    ("rq",),
    ("observe",),
    ("diagnose",),
    ("plan",),
    ("act", "verify", "report"),
    ("compliance", "loop"),
    ("lab",),
)
HEIGHT = {floor: number for number, line in enumerate(ORDER) for floor in line}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """The package's own modules that a module imports, wherever in its text."""
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}".lstrip(".")
                yield whole if whole in MODULES else source


def floor(name: str) -> str:
    """The errors belong to what everything stands on."""
    return name.partition(".")[0].replace("errors", "common")


GRAPH = {name: sorted({found for found in imports(name) if found and found != name}) for name in MODULES if name}


@pytest.mark.parametrize("name", GRAPH)
def test_no_arrow_runs_against_the_loop(name: str) -> None:
    mine = floor(name)
    wrong = [found for found in GRAPH[name] if floor(found) != mine and HEIGHT[floor(found)] >= HEIGHT[mine]]
    assert not wrong, f"{name} imports {wrong}, which come later"


def test_no_imports_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"in a circle: {' -> '.join((*way, name))}"
        if name not in done:
            for found in GRAPH.get(name, ()):
                visit(found, (*way, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_a_package_holds_its_docstring_only(name: str) -> None:
    """What it imported would be packed into every module that uses one file of it."""
    tree = ast.parse(MODULES[name].read_text())
    assert ast.get_docstring(tree), "it says what the package is for"
    assert len(tree.body) == 1


def test_the_test_sees_the_real_imports() -> None:
    assert "common.client" in GRAPH["observe.server"]
    assert {floor(name) for name in GRAPH} == set(HEIGHT)
