#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Do the unit tests notice when a decision is turned round? ``mutants.py [--count N] [--seed N] [PATH ...]``.

Each mutant is one small change of a file that decides: another comparison, ``and`` for ``or``, a ``not`` less, another
number. The unit tests that import the file's package, or the loop, run on a copy of the working tree until one fails.
Prints each survivor, and at the end one line of JSON with the share that was killed. Nothing in the tree is touched.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from modules import ROOT

PACKAGE = Path("module_utils/lifeline")
DECIDES = ("plan", "diagnose/topology.py", "diagnose/survey.py", "diagnose/liveness.py", "act/lock.py", "verify")
SECONDS = 300.0

#: Mutants that change nothing which anybody could see, by (file, line's text, change), with the reason.
EQUIVALENT: dict[tuple[str, str, str], str] = {}

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A change of ``before`` to ``after`` at a place of a file; offsets count characters of its text."""

    path: Path
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def change(self) -> str:
        return f"{' '.join(self.before.split())} -> {' '.join(self.after.split())}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.change}"


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
        yield ast.Compare(node.left, [COMPARED[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        yield from (ast.BoolOp(node.op, [*node.values[:i], *node.values[i + 1 :]]) for i in range(len(node.values)))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a file. Annotations and texts inside f-strings stay."""
    text = (ROOT / path).read_text()
    starts = [0]
    for line in text.splitlines(True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(text)
    left_alone = {id(inner) for node in ast.walk(tree) for inner in _no_decision(node)}
    for node in ast.walk(tree):
        if id(node) in left_alone or not isinstance(node, ast.expr):
            continue
        before = ast.get_source_segment(text, node)
        for new in changed(node) if before else ():
            first = text.splitlines()[node.lineno - 1].encode()[: node.col_offset].decode()
            start = starts[node.lineno - 1] + len(first)
            after = f"({ast.unparse(ast.fix_missing_locations(new))})"
            yield Mutant(path, node.lineno, start, start + len(before or ""), before or "", after)


def _no_decision(node: ast.AST) -> Iterator[ast.AST]:
    """Parts of a node that decide nothing at run time, or stand in a text."""
    parts: list[ast.AST | None] = []
    if isinstance(node, (ast.AnnAssign, ast.arg)):
        parts.append(node.annotation)
    elif isinstance(node, ast.FunctionDef):
        parts.append(node.returns)
    elif isinstance(node, ast.JoinedStr):
        parts.append(node)
    for part in parts:
        if part is not None:
            yield from ast.walk(part)


def tests_of(path: Path) -> list[str]:
    """Unit tests that reach a file, those that name it first."""
    package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    named, others = [], []
    for test in sorted((ROOT / "tests" / "unit").glob("test_*.py")):
        text = test.read_text()
        if re.search(rf"lifeline\.{package}[\w.]* import .*\b{path.stem}\b|lifeline\.{package}\.{path.stem}\b", text):
            named.append(str(test.relative_to(ROOT)))
        elif re.search(rf"lifeline\.({package}|loop)\b|import estates|from estates", text):
            others.append(str(test.relative_to(ROOT)))
    return named + others


def copied(folder: Path) -> Path:
    """A copy of what git knows of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def survives(mutant: Mutant, tree: Path) -> bool:
    """Whether no test notices. One that hangs is noticed."""
    file = tree / mutant.path
    text = file.read_text()
    file.write_text(text[: mutant.start] + mutant.after + text[mutant.end :])
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(mutant.path)],
            cwd=tree, env=environment, capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        file.write_text(text)


def chosen(paths: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Mutants drawn at random, the same for a seed."""
    files = [
        file for name in paths for file in sorted((ROOT / PACKAGE / name).rglob("*.py")) or [ROOT / PACKAGE / name]
    ]
    every = [mutant for file in files for mutant in mutants(file.relative_to(ROOT))]
    return random.Random(seed).sample(every, min(count, len(every)))


def main() -> int:
    """0 whatever survives: it is read by people."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=130)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("paths", nargs="*", default=DECIDES, help="under module_utils/lifeline")
    options = parser.parse_args()
    drawn = chosen(options.paths, options.count, options.seed)
    trees: Queue[Path] = Queue()
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(os.cpu_count() or 1):
            trees.put(copied(Path(scratch) / str(number)))

        def judge(mutant: Mutant) -> None:
            tree = trees.get()
            try:
                if survives(mutant, tree):
                    survivors.append(mutant)
                    print(mutant, flush=True)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(trees.qsize()) as pool:
            list(pool.map(judge, drawn))
    lines = {mutant: (ROOT / mutant.path).read_text().splitlines()[mutant.line - 1].strip() for mutant in survivors}
    alike = [m for m in survivors if (str(m.path.relative_to(PACKAGE)), lines[m], m.change) in EQUIVALENT]
    killed = len(drawn) - len(survivors)
    share = killed / max(1, len(drawn) - len(alike))
    print(json.dumps({"mutants": len(drawn), "killed": killed, "equivalent": len(alike), "share": round(share, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
