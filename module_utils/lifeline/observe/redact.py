# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep secrets out of evidence.

Two nets: the secrets that this host's own files name are masked wherever they show, in every spelling that a log or a
URL may give them; and whatever stands where a secret stands is masked, whoever wrote it. ``document`` goes over all of
a host's evidence at the end, so that no look at the host has to think of it.

Whoever can write to a log or to a server chooses texts that are looked at here. They are cut first, and one that still
takes long is dropped: better no text than a secret, or a look that never ends.
"""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Iterable, Mapping, Optional, Union
from urllib.parse import quote as url_quote
from urllib.parse import quote_plus, unquote

from ..common.shell import read
from ..formats.redis_conf import directives
from ..formats.redis_conf import quote as config_quote
from .deadline import LateError, Watch

MASK = "***"

# A secret as short as this is masked only where it stands as a word of its own in a sentence: in a role, a name or an
# address it is chance.
SHORT = 8
SHORTEST = 4

# Of a secret of several lines, such as a private key, each line so long is a secret by itself: logs cut texts into
# lines. One that is longer than WHOLE is looked for in no other way.
LINE, WHOLE = 16, 250

# No host's evidence has longer texts or lists, however much a server talks.
TEXT_LIMIT, ITEMS_LIMIT = 2000, 2000

# A text as short as this takes no time to speak of, whatever it is.
BRIEF = 32

# Seconds of a processor that one text, and that all of a host's texts may take; what is late is replaced.
TEXT_S, ALL_S = 0.1, 2.0
DROPPED = "(left out: it took too long to look for secrets in it)"

# Runs of letters in which a line of a key may stand, by the length of the shortest: most texts have none, and are
# looked at no further.
_RUNS = tuple((least, re.compile(rf"[A-Za-z0-9+/=]{{{least},}}")) for least in (60, 48, 36, 24, LINE))
_LINE_OF_KEY = re.compile(r"[A-Za-z0-9+/=]+")
_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----((?:(?!-----)[\s\S])*)")

_WHOLE_SETTING = "requirepass|masterauth|primaryauth|tls-(?:client-)?key-file-pass|sentinel-pass"
_WORD = "passw(?:or)?d|passphrase|secret|token|credential|apikey|api-key"
_NAMED = rf"(?:{_WORD})(?:(?!{_WORD})[\w-])*|REDISCLI_AUTH|_PASS"
# A quote that is never closed goes to the end: what was cut off is no reason to show what is left.
_QUOTED = r"\"(?:[^\"\\]|\\[\s\S])*(?:\"|\\?\Z)|'(?:[^'\\]|\\[\s\S])*(?:'|\\?\Z)"
# Words that follow AUTH in a sentence; what else does is a user or a password.
_PROSE = "to|failed|fails|fail|errors?|is|was|with|without|but|by|for|command|required|from|on|and|or|in|as|when"
_CLI = "(?:redis|valkey)-(?:cli|benchmark)\\b"
_OPTION = r"(?:.+?)(?=\s-{1,2}[A-Za-z]|\n|$)"


def _userinfo(match: re.Match[str]) -> str:
    """A URL with what is before its last @ masked."""
    rest = match[2]
    return f"{match[1]}{MASK}{rest[rest.rindex('@') :]}" if "@" in rest else match[0]


# (the words that a line must hold to be looked at, what stands before a secret and the secret, what is left of both).
# Whoever writes a line chooses it against these: each takes time in proportion to the line (tests/unit/test_patterns).
_RULES: tuple[tuple[re.Pattern[str], re.Pattern[str], Union[str, Callable[[re.Match[str]], str]]], ...] = tuple(
    (re.compile(hint, re.IGNORECASE), re.compile(pattern), kept)
    for hint, pattern, kept in (
        # Settings and commands whose rest is the secret, with blanks and quotes in it.
        ("pass|auth", rf"(?i)\b({_WHOLE_SETTING})(['\"]?(?:\s*[=:]\s*|\s+)).+", rf"\1\2{MASK}"),
        (">>>", r"(?i)(>>> ['\"]?(?=[\w-]*(?:pas|auth|secret))[\w-]*[\s=]+).+", rf"\1{MASK}"),
        ("auth-pass", r"(?i)\b(auth-pass['\"]?\s+\S+\s+).+", rf"\1{MASK}"),
        ("auth", r"(?i)(['\"]auth['\"]\s+).+|\b(hello\s+\d\s+auth\s+).+", rf"\1\2{MASK}"),
        # Options of command lines: up to the next option.
        ("-a|pass", rf"(?<!\S)(--(?:pass|user-pass|authpass))(\s+|=){_OPTION}", rf"\1\2{MASK}"),
        ("(?:redis|valkey)-", rf"({_CLI}(?:(?!{_CLI}).)*?\s-a)(\s*){_OPTION}", rf"\1\2{MASK}"),
        # name=value and name: value.
        (
            "pass|secret|token|cred|api|auth",
            rf"(?i)({_NAMED})(['\"]?\s*[=:]\s*)(?:{_QUOTED}|[^\s,;&'\"]+)",
            rf"\1\2{MASK}",
        ),
        # Headers of HTTP, whose rest is the secret; tokens that stand alone; keys, whole or a line of one.
        (
            "authorization|cookie",
            r"(?i)\b(authorization|cookie)(['\"]?\s*[:=]\s*).+",
            rf"\1\2{MASK}",
        ),
        ("bearer", r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}", rf"\1{MASK}"),
        ("eyJ", r"\beyJ[\w-]{6,}(?:\.[\w-]*)*", MASK),
        ("private key", r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?:(?!-----END)[\s\S])*", rf"\1{MASK}"),
        ("[a-z0-9+/]{64}", r"(?<![\w+/=])[A-Za-z0-9+/]{64}(?![\w+/=])", MASK),
        ("auth", rf"\bAUTH\s+(?!(?:{_PROSE})\b)[^\s<]\S*(?:\s+\S+)?", f"AUTH {MASK}"),
        # What is before the last @ of a URL.
        ("://", r"(://)([^\s\"'<>]*)", _userinfo),
        # Passwords and hashes in the rules of a user.
        ("user|acl|modifier|rule", r"(['\"])([><])(?:\\[\s\S]|(?!\1)[^\\])*(?:\1|\\?\Z)", rf"\1\2{MASK}\1"),
        ("user|acl|modifier|rule", r"(?<![^\s'\"(])([><])(?![><=\s])[^\s'\"]+", rf"\1{MASK}"),
        ("[0-9a-f]{64}", r"([#!]?)\b[0-9a-f]{64}\b", rf"\1{MASK}"),
    )
)


class Redactor:
    """Masks known secrets, and whatever stands where a secret stands."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        whole, self._lines = _lines_apart(secrets)
        spellings = {spelling for secret in whole if len(secret) >= SHORTEST for spelling in _spellings(secret)}
        self._long = _any_of([spelling for spelling in spellings if len(spelling) >= SHORT], "", "")
        self._short = _any_of([spelling for spelling in spellings if len(spelling) < SHORT], r"(?<!\w)", r"(?!\w)")
        self._least = len(self._lines[0]) if self._lines else TEXT_LIMIT
        self._run = next(run for least, run in _RUNS if least <= self._least)
        self._longest = max(map(len, (*spellings, *self._lines)), default=0)
        self._spent = 0.0
        self._watch = Watch(TEXT_S)

    def __call__(self, text: str) -> str:
        """A sentence, a line of a log or of a command without secrets, of bounded length."""
        if len(text) <= BRIEF:
            return self._masked(text)
        if self._spent > ALL_S:
            return DROPPED
        started = time.thread_time()
        try:
            with self._watch:
                return self._cut(text, self._masked)
        except LateError:
            return DROPPED
        finally:
            self._spent += time.thread_time() - started

    def _cut(self, text: str, masked: Callable[[str], str]) -> str:
        """The text's beginning, masked; no part of a secret that the end of the beginning would cut in two is left."""
        if len(text) <= TEXT_LIMIT:
            return masked(text)
        found = masked(text[: TEXT_LIMIT + self._longest])
        return found[: max(0, len(found) - self._longest)][:TEXT_LIMIT]

    def _masked(self, text: str) -> str:
        text = self._known(text)
        if self._short is not None:
            text = self._short.sub(MASK, text)
        for hint, pattern, kept in _RULES:
            if hint.search(text):
                text = pattern.sub(kept, text)
        return text

    def _known(self, text: str) -> str:
        if self._lines and len(text) >= self._least:
            text = self._run.sub(self._without_lines, text)
        return self._long.sub(MASK, text) if self._long is not None else text

    def _without_lines(self, run: re.Match[str]) -> str:
        found = run[0]
        for line in self._lines:
            if len(line) > len(found):
                break
            found = found.replace(line, MASK)
        return found

    def document(self, value: Any) -> Any:
        """Evidence without secrets, its texts and lists cut to what any host has."""
        with self._watch.on():
            return self._document(value)

    def _document(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            pairs = list(value.items())[:ITEMS_LIMIT]
            return {self._text(key) if isinstance(key, str) else key: self._document(item) for key, item in pairs}
        if isinstance(value, (list, tuple)):
            return [self._document(item) for item in value[:ITEMS_LIMIT]]
        return value

    def _text(self, text: str) -> str:
        """Names, roles and addresses have no blanks; in them only what is certainly a secret is masked."""
        if " " in text or "://" in text or "=" in text:
            return self(text)
        return self._known(text) if len(text) <= TEXT_LIMIT else self._cut(text, self._known)


def _lines_apart(secrets: Iterable[str]) -> tuple[set[str], list[str]]:
    """Secrets to look for as they are, and the lines of keys, shortest first, which are looked for in runs only."""
    whole: set[str] = set()
    lines: set[str] = set()
    for secret in secrets:
        parts = {part for line in secret.splitlines() if len(part := line.strip()) >= LINE} - {secret}
        lines |= {part for part in parts if _LINE_OF_KEY.fullmatch(part)}
        whole |= parts - lines
        if not parts or len(secret) <= WHOLE:
            whole.add(secret)
    return whole, sorted(lines, key=len)


def _any_of(words: list[str], before: str, after: str) -> Optional[re.Pattern[str]]:
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(f"{before}(?:{'|'.join(map(re.escape, longest_first))}){after}") if words else None


def _spellings(secret: str) -> set[str]:
    """A secret as it is, as a URL and as a configuration file write it."""
    told = {secret, url_quote(secret, safe=""), url_quote(secret), quote_plus(secret), unquote(secret)}
    told.add(secret.replace("\\", "\\\\").replace('"', '\\"'))
    if "\0" not in secret:
        told.add(config_quote(secret).strip('"'))
    return {spelling for spelling in told if len(spelling) >= SHORTEST}


def secrets_of(*files: Optional[str]) -> set[str]:
    """The secrets in configuration files of Redis and Sentinel, and in ACL files and private keys that they name."""
    found: set[str] = set()
    for path in files:
        text = read(path, 1 << 20) if path else ""
        found |= secrets_in(text)
        for name, arguments in directives(text):
            if name == "aclfile" and arguments:
                found |= secrets_in(read(arguments[0], 1 << 20))
            elif name in ("tls-key-file", "tls-client-key-file") and arguments:
                found |= set(_KEY.findall(read(arguments[0])))
    return found


_SECRET_SETTINGS = re.compile(rf"(?:{_WHOLE_SETTING})")


def secrets_in(text: str) -> set[str]:
    """The secrets that the lines of a configuration or ACL file set; hashes are none."""
    found: set[str] = set()
    for name, arguments in directives(text):
        if arguments is None or not arguments:
            continue
        if _SECRET_SETTINGS.fullmatch(name):
            found.add(" ".join(arguments))
        elif name == "sentinel" and arguments[0].lower() in ("auth-pass", "sentinel-pass"):
            found.add(arguments[-1])
        elif name == "user":
            found |= {rule[1:] for rule in arguments[1:] if rule[:1] in "><"}
    return {secret for secret in found if secret}
