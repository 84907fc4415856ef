# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every regular expression of the product, found in its source, and the texts that a pattern can be made slow with."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import itertools
import re
import re._constants as opcodes
import re._parser as parser
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

Text = Union[str, bytes]
METHODS = ("compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn")


@dataclass(frozen=True)
class Use:
    """A pattern, where it stands, and how it is used (``finditer`` for all that go through the whole text)."""

    where: str
    pattern: Text
    flags: int
    how: str

    def __str__(self) -> str:
        return f"{self.where} {self.how}({self.pattern!r})"


class _Names(Mapping[str, Any]):
    """A module's names; a function's own names, which only a run would tell, stand for a word."""

    def __init__(self, module: Any) -> None:
        self._known = {**vars(builtins), **vars(module)}

    def __getitem__(self, name: str) -> Any:
        return self._known.get(name, "word")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def uses(root: Path, imported: Callable[[Path], Any]) -> list[Use]:
    """All of a tree's patterns: those that a module holds, and those that stand in a call of ``re``."""
    found: dict[tuple[Text, int, str], Use] = {}
    held: set[tuple[Text, int]] = set()
    for path in sorted(root.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "import re\n" not in source and "from re import" not in source:
            continue
        module = imported(path)
        for use in _held(path, module, source):
            held.add((use.pattern, use.flags))
            found.setdefault((use.pattern, use.flags, use.how), use)
        for use in _called(path, module, source):
            if use.how != "compile":
                found.setdefault((use.pattern, use.flags, use.how), use)
            elif (use.pattern, use.flags) not in held:
                found.setdefault((use.pattern, use.flags, "finditer"), replace(use, how="finditer"))
    return list(found.values())


def _held(path: Path, module: Any, source: str) -> Iterator[Use]:
    for name, value in vars(module).items():
        method = re.findall(rf"\b{re.escape(name)}\.({'|'.join(METHODS)})\b", source)
        for pattern in _patterns(value):
            for how in {_way(one) for one in method} or {"finditer"}:
                yield Use(f"{path.name}:{name}", pattern.pattern, pattern.flags, how)


def _patterns(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _patterns(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _patterns(item)


def _called(path: Path, module: Any, source: str) -> Iterator[Use]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            raise AssertionError(f"{path}:{node.lineno}: write `import re`, so that its patterns are found")
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        names = _Names(module)
        pattern = eval(compile(ast.Expression(node.args[0]), str(path), "eval"), {}, names)
        flags = 0
        for keyword in node.keywords:
            if keyword.arg == "flags":
                flags = int(eval(compile(ast.Expression(keyword.value), str(path), "eval"), {}, names))
        for argument in node.args[1:]:
            if re.match(r"re\.[A-Z]", ast.unparse(argument)):
                flags = int(eval(compile(ast.Expression(argument), str(path), "eval"), {}, names))
        if not isinstance(pattern, (str, bytes)):
            raise AssertionError(f"{path}:{node.lineno}: this pattern could not be told from the source")
        how = node.func.attr
        flags = re.compile(pattern, flags).flags
        yield Use(f"{path.name}:{node.lineno}", pattern, flags, how if how == "compile" else _way(how))


def _way(method: str) -> str:
    return method if method in ("match", "fullmatch") else "finditer"


def texts(pattern: Text, flags: int, length: int) -> Iterator[Text]:
    """Long texts made of what the pattern itself looks for: each part again and again, and then not what it wants."""
    source = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    made: dict[str, None] = {}
    tree = parser.parse(source, flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE))
    for before, body in _pumps(tree):
        for word in {body, body[:1], body + body[:1]}:
            for end in ("", "\0", "!", body[-1:] + "\0"):
                made[before + _filled(word, length) + end] = None
        made[_filled(before + body, length)] = None
        made[_filled(before + " ", length)] = None
        made[_filled(before + body * 3, length)] = None
    alphabet = list(dict.fromkeys(itertools.chain(_sample(tree), "a1 \"'\\-=:.\t\n")))[:24]
    for one in alphabet:
        made[_filled(one, length) + "\0"] = None
        made[_sample(tree)[:-1] + _filled(one, length) + "\0"] = None
    for word in re.findall(r"[\w'\"<>@/-]{2,}", _sample(tree))[:8]:
        for between in ("", "-", " ", "=", ": ", "\\", '"', "'"):
            made[_filled(word + between, length) + " "] = None
    for text in made:
        yield text.encode("latin-1", "replace") if isinstance(pattern, bytes) else text


def _filled(word: str, length: int) -> str:
    return (word * (length // max(1, len(word)) + 1))[:length]


def _pumps(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(what leads there, what is repeated) of each repeat in a parsed pattern."""
    for operation, argument in tree:
        if operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            if argument[1] > 1:
                for choice in range(3):
                    yield before, _sample(argument[2], choice) or "a"
            yield from _pumps(argument[2], before)
        elif operation is opcodes.SUBPATTERN:
            yield from _pumps(argument[-1], before)
        elif operation is opcodes.BRANCH:
            for branch in argument[1]:
                yield from _pumps(branch, before)
        elif operation in (opcodes.ASSERT, opcodes.ASSERT_NOT):
            yield from _pumps(argument[1], before)
        before += _sample([(operation, argument)])


def _sample(tree: Any, choice: int = 0) -> str:
    """A text that the parsed pattern fits, or nearly; ``choice`` takes another alternative."""
    return "".join(_one(operation, argument, choice) for operation, argument in tree)


def _one(operation: Any, argument: Any, choice: int) -> str:
    if operation is opcodes.LITERAL:
        return chr(int(argument))
    if operation is opcodes.NOT_LITERAL:
        return "b" if argument == ord("a") else "a"
    if operation is opcodes.ANY:
        return "a"
    if operation is opcodes.IN:
        return str(_of_class(argument, choice))
    if operation is opcodes.BRANCH:
        branches = argument[1]
        return _sample(branches[choice % len(branches)], choice)
    if operation is opcodes.SUBPATTERN:
        return _sample(argument[-1], choice)
    if operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
        return _sample(argument[2], choice) * max(1, int(argument[0]))
    if operation is opcodes.ASSERT and argument[0] > 0:
        return _sample(argument[1], choice)
    return "'" if operation is opcodes.GROUPREF else ""


_CATEGORIES = {"DIGIT": "1", "SPACE": " \n\t", "WORD": "a", "NOT_DIGIT": "a", "NOT_SPACE": "a", "NOT_WORD": " "}


def _of_class(items: Any, choice: int) -> str:
    if items[0][0] is opcodes.NEGATE:
        refused = {chr(value) for kind, value in items[1:] if kind is opcodes.LITERAL}
        return next((char for char in "a\\-. "[choice:] + "abc" if char not in refused), "~")
    made = []
    for kind, value in items:
        if kind is opcodes.LITERAL:
            made.append(chr(int(value)))
        elif kind is opcodes.RANGE:
            made.append(chr(value[0]))
        elif kind is opcodes.CATEGORY:
            made += _CATEGORIES.get(str(value).removeprefix("CATEGORY_"), "a")
    return str(made[choice % len(made)]) if made else ""


class _LateError(Exception):
    pass


def seconds(use: Use, text: Text, limit: float) -> Optional[float]:
    """Processor time that a use of the pattern takes with the text; None when that is beyond the limit."""
    compiled: Any = re.compile(use.pattern, use.flags)
    work = getattr(compiled, use.how)

    def late(*_: object) -> None:
        raise _LateError

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    started = time.process_time()
    try:
        found = work(text)
        if use.how == "finditer":
            for _match in found:
                pass
        return time.process_time() - started
    except _LateError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def slow(use: Use, length: int, limit: float) -> Optional[Text]:
    """A text of that length with which the pattern takes longer than the limit; tried twice, for a busy machine."""
    for text in texts(use.pattern, use.flags, length):
        if all(_too_slow(use, text, limit) for _try in range(2)):
            return text
    return None


def _too_slow(use: Use, text: Text, limit: float) -> bool:
    took = None
    with suppress(_LateError):
        took = seconds(use, text, limit)
    return took is None


def module_of(path: Path) -> Any:
    """The module in a file of module_utils/, plugins/ or library/."""
    parts = path.with_suffix("").parts
    if "lifeline" in parts and "module_utils" in parts:
        return importlib.import_module(".".join(parts[parts.index("module_utils") + 1 :]).removesuffix(".__init__"))
    spec = importlib.util.spec_from_file_location(f"_patterns_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
