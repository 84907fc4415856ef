# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading evidence that may be anything: truncated, of another version, or written by an enemy.

Every question names its default, and gets a value of the default's type back or the default itself. So whoever reads
evidence through ``Facts`` cannot be crashed by it.
"""

from __future__ import annotations

import math
import re
from typing import Any, Iterator, Mapping, Optional

# No text of the evidence is longer in a report; a log line of a megabyte is no evidence.
TEXT_LIMIT = 2000


# Nor is a number larger.
NUMBER_LIMIT = 2**63

# Evidence is no deeper than this; what is would exhaust whoever walks through it.
DEPTH_LIMIT = 40


def plain(value: Any, depth: int = DEPTH_LIMIT) -> Any:
    """Ordinary dicts and lists all the way down, out of whatever containers: Ansible's own are lazy.

    What lies deeper than ``depth`` is dropped, and so is what JSON or a file in UTF-8 cannot hold: a number that is
    none or beyond 64 bits, half a character.
    """
    if isinstance(value, dict):
        # Most items of any evidence are short words and numbers: no step further for those, as there are very many.
        return {
            (key if key.__class__ is str and key.isascii() else _whole(str(key))): (
                item
                if (item.__class__ is str and item.isascii())
                or (item.__class__ is int and -NUMBER_LIMIT < item < NUMBER_LIMIT)
                or item.__class__ is bool
                else plain(item, depth - 1)
            )
            for key, item in value.items()
        } if depth > 0 else None  # fmt: skip
    if isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in value] if depth > 0 else None
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, (int, float)):
        return value if -NUMBER_LIMIT < value < NUMBER_LIMIT else None
    return value


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Facts:
    """A tree of plain data (dicts, lists, text, numbers) that answers in known types.

    Paths are keys separated by dots: ``facts.number("memory.total")``. A key that holds dots itself is asked for
    with ``sub``.
    """

    def __init__(self, tree: Any) -> None:
        self._tree: Mapping[Any, Any] = tree if isinstance(tree, dict) else {}

    def __bool__(self) -> bool:
        return bool(self._tree)

    def __contains__(self, path: str) -> bool:
        return self._at(path) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self._tree == other._tree

    __hash__ = None  # type: ignore[assignment] # holds a mutable tree

    def __repr__(self) -> str:
        return f"Facts({sorted(map(str, self._tree))})"

    @property
    def plain(self) -> Mapping[Any, Any]:
        """The tree itself."""
        return self._tree

    def _at(self, path: str) -> Any:
        found: Any = self._tree
        for key in path.split("."):
            if not isinstance(found, dict):
                return None
            found = found.get(key)
        return found

    def number(self, path: str, default: float = 0) -> float:
        """A finite number; text that is one counts, truth values do not."""
        value = self.maybe_number(path)
        return default if value is None else value

    def maybe_number(self, path: str) -> Optional[float]:
        """A finite number, or None where there is none."""
        return _number(self._at(path))

    def count(self, path: str, default: int = 0) -> int:
        """A whole number."""
        return int(self.number(path, default))

    def text(self, path: str, default: str = "") -> str:
        """Text without control characters, of bounded length."""
        value = self._at(path)
        return clean_text(value) if isinstance(value, str) else default

    def flag(self, path: str, default: bool = False) -> bool:
        """True or false; nothing else counts as either."""
        value = self._at(path)
        return value if isinstance(value, bool) else default

    def maybe_flag(self, path: str) -> Optional[bool]:
        """True, false, or None where it was not found out."""
        value = self._at(path)
        return value if isinstance(value, bool) else None

    def texts(self, path: str) -> list[str]:
        """All texts of a list."""
        value = self._at(path)
        return [clean_text(item) for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []

    def sub(self, *keys: str) -> Facts:
        """The tree below some keys, each taken literally; empty where there is none."""
        found: Any = self._tree
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return Facts(found)

    def rows(self, path: str) -> list[Facts]:
        """The trees of a list."""
        value = self._at(path)
        return [Facts(item) for item in value if isinstance(item, dict)] if isinstance(value, (list, tuple)) else []

    def named(self, path: str = "") -> Iterator[tuple[str, Facts]]:
        """The trees of a dict, by name."""
        value = self._at(path) if path else self._tree
        if isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, dict):
                    yield clean_text(str(name)), Facts(item)

    def numbers(self, path: str) -> Iterator[tuple[str, float]]:
        """The numbers of a dict, by name."""
        value = self._at(path)
        if isinstance(value, dict):
            for name, item in value.items():
                number = _number(item)
                if number is not None:
                    yield clean_text(str(name)), number


def _number(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Printable, on one line, of bounded length: what comes from a log must not steer a terminal or a page.

    Control characters are not printable, nor is what turns the direction of writing or has no width.
    """
    if text.isprintable() and len(text) <= limit:
        return text
    return "".join(char if char.isprintable() else " " for char in text[:limit])


def clean_all(value: Any) -> Any:
    """Every text in lists and dicts cleaned, for what a terminal is to show."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_all(key): clean_all(item) for key, item in value.items()}
    return [clean_all(item) for item in value] if isinstance(value, (list, tuple)) else value


def version(text: Any) -> tuple[int, ...]:
    """``7.0.15`` as something that compares."""
    return tuple(int(part) for part in re.findall(r"\d+", str(text))[:3])
