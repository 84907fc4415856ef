# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file that Sentinel rewrites as it goes: ``sentinel DIRECTIVE ...`` lines, quoted as in redis.conf."""

from __future__ import annotations

from typing import Iterator

from .redis_conf import split


def directives(text: str) -> Iterator[list[str]]:
    """The words of each sentinel line, without the first; lines that the server would refuse are left out."""
    for line in text.split("\n"):
        try:
            words = split(line.strip())
        except ValueError:
            continue
        if len(words) > 1 and words[0].lower() == "sentinel":
            yield [words[1].lower(), *words[2:]]


def of_master(text: str, name: str) -> dict[str, list[str]]:
    """By directive, what follows the name of one monitored estate; of several lines the last."""
    return {words[0]: words[2:] for words in directives(text) if words[1:2] == [name]}


def current_epoch(text: str) -> int:
    """The newest epoch that the file names; 0 where it names none."""
    epochs = [words[1] for words in directives(text) if words[0] == "current-epoch" and len(words) == 2]
    return max((int(epoch) for epoch in epochs if epoch.isdigit()), default=0)


def stored_secrets(text: str, name: str) -> dict[str, str]:
    """``auth-user`` and ``auth-pass`` of a monitored name. What cannot be read counts as absent."""
    found = of_master(text, name)
    return {option: found[option][0] for option in ("auth-user", "auth-pass") if len(found.get(option, ())) == 1}
