# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ACL users: what a file says against what the server has in force.

The server shows its users in a form of its own (``ACL LIST``): Redis 7.0 computes the shortest list of command rules
that gives the same rights, later servers drop only what a later rule undid. So rules are compared by what they allow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

from ..common.client import CONNECTION_ERRORS, reason
from ..errors import LifelineError


@dataclass
class Rules:
    """The rights of a user, or of one of its selectors. ``commands`` in the order in which they apply."""

    keys: set[str] = field(default_factory=set)
    channels: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=lambda: ["-@all"])

    def apply(self, rule: str) -> bool:
        """Take one rule; False when it is none about rights."""
        word = rule.lower()
        if word in ("allkeys", "~*", "%rw~*"):
            self.keys = {"~*"}
        elif word == "resetkeys":
            self.keys = set()
        elif word in ("allchannels", "&*"):
            self.channels = {"&*"}
        elif word == "resetchannels":
            self.channels = set()
        elif word in ("allcommands", "+@all", "nocommands", "-@all"):
            self.commands = ["+@all" if word in ("allcommands", "+@all") else "-@all"]
        elif rule.startswith(("~", "%")):
            self.keys.add(_key(rule))
        elif rule.startswith("&"):
            self.channels.add(rule)
        elif rule.startswith(("+", "-")):
            self._command(word)
        else:
            return False
        return True

    def _command(self, rule: str) -> None:
        """A rule about a command takes the place of those that it undoes, its subcommands' among them."""
        name = rule[1:]
        self.commands = [old for old in self.commands if old[1:] != name and not old[1:].startswith(f"{name}|")]
        self.commands.append(rule)

    def allowed(self, categories: Mapping[str, frozenset[str]]) -> frozenset[str]:
        """The commands and subcommands that these rules allow, with the server's ``{category: commands}``."""
        every = frozenset[str]().union(*categories.values())
        found: frozenset[str] = frozenset()
        for rule in self.commands:
            name = rule[1:]
            if name == "@all":
                named = every
            elif name.startswith("@"):
                named = categories.get(name[1:], frozenset())
            else:
                named = frozenset(one for one in every if one.startswith(f"{name}|")) or frozenset({name})
            found = found | named if rule[0] == "+" else found - named
        return found

    def same(self, other: Rules, categories: Mapping[str, frozenset[str]]) -> bool:
        """Whether both give the same rights."""
        return (self.keys, self.channels, self.allowed(categories)) == (
            other.keys,
            other.channels,
            other.allowed(categories),
        )

    def words(self) -> list[str]:
        """The rules in a fixed order, for the diff."""
        keys = sorted(self.keys) or ["(no keys)"]
        channels = sorted(self.channels) or ["(no channels)"]
        return [*keys, *channels, *self.commands]


@dataclass
class User:
    """One ACL user. ``passwords`` are SHA-256 in hexadecimal."""

    enabled: bool = False
    nopass: bool = False
    sanitize: bool = True
    passwords: frozenset[str] = frozenset()
    rules: Rules = field(default_factory=Rules)
    selectors: list[Rules] = field(default_factory=list)

    def same(self, other: User, categories: Mapping[str, frozenset[str]]) -> bool:
        """Whether both may log in with the same passwords and have the same rights."""
        mine = (self.enabled, self.nopass, self.sanitize, self.passwords, len(self.selectors))
        if mine != (other.enabled, other.nopass, other.sanitize, other.passwords, len(other.selectors)):
            return False
        pairs = zip([self.rules, *self.selectors], [other.rules, *other.selectors])
        return all(one.same(two, categories) for one, two in pairs)

    def words(self) -> list[str]:
        """Everything but the passwords."""
        found = ["on" if self.enabled else "off"]
        if self.nopass:
            found.append("nopass")
        if not self.sanitize:
            found.append("skip-sanitize-payload")
        found += self.rules.words()
        for selector in self.selectors:
            found.append(f"({' '.join(selector.words())})")
        return found


def _key(rule: str) -> str:
    """``%RW~x`` is ``~x``."""
    head, _, pattern = rule.partition("~")
    kind = "".join(sorted(head.strip("%").upper()))
    return f"~{pattern}" if kind in ("", "RW") else f"%{kind}~{pattern}"


def _tokens(line: str) -> list[str]:
    """A line's rules; a selector in parentheses is one."""
    found: list[str] = []
    inside = False
    for word in line.split():
        if inside:
            found[-1] += f" {word}"
        else:
            found.append(word)
        if word.startswith("(") and not inside:
            inside = True
        if word.endswith(")"):
            inside = False
    return found


_WORDS: dict[str, dict[str, Any]] = {
    "on": {"enabled": True},
    "off": {"enabled": False},
    "nopass": {"nopass": True, "passwords": frozenset()},
    "resetpass": {"nopass": False, "passwords": frozenset()},
    "sanitize-payload": {"sanitize": True},
    "skip-sanitize-payload": {"sanitize": False},
}


def _apply(user: User, rule: str) -> None:
    """Take one rule of a user, as ACL SETUSER would. Raises ValueError."""
    if rule.lower() in _WORDS:
        for name, value in _WORDS[rule.lower()].items():
            setattr(user, name, value)
    elif rule.startswith("("):
        selector = Rules()
        for part in rule.strip("()").split():
            if not selector.apply(part):
                raise ValueError(f"{part} is not a rule of a selector")
        user.selectors.append(selector)
    elif rule.startswith((">", "#")):
        digest = hashlib.sha256(rule[1:].encode()).hexdigest() if rule[0] == ">" else rule[1:].lower()
        user.nopass, user.passwords = False, user.passwords | {digest}
    elif not user.rules.apply(rule):
        raise ValueError("a rule is not known")


def parse(text: str) -> dict[str, User]:
    """``{name: User}`` from an ACL file's text, or from the lines of ACL LIST.

    Raises LifelineError with the line's number; never with its text, which may hold a secret.
    """
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = _tokens(line)
        if len(words) < 2 or words[0] != "user" or words[1] in users:
            raise LifelineError(f"Line {number} of the ACL file is not of the form 'user NAME RULES' for a new user.")
        user = User()
        try:
            for rule in words[2:]:
                _apply(user, rule)
        except ValueError as error:
            raise LifelineError(f"Line {number} of the ACL file, user {words[1]}: {error}; correct it.") from error
        users[words[1]] = user
    if "default" not in users:
        # What the server makes of a file that leaves it out.
        users["default"] = User(
            enabled=True, nopass=True, rules=Rules(keys={"~*"}, channels={"&*"}, commands=["+@all"])
        )
    return users


def differences(
    current: Mapping[str, User], wanted: Mapping[str, User], categories: Mapping[str, frozenset[str]]
) -> dict[str, tuple[str, str]]:
    """``{"user NAME": (before, after)}`` for those that differ; a password only as the fact that it does."""
    found: dict[str, tuple[str, str]] = {}
    for name in sorted({*current, *wanted}):
        have, want = current.get(name), wanted.get(name)
        if have == want or (have and want and have.same(want, categories)):
            continue
        before = " ".join(have.words()) if have else "(none)"
        after = " ".join(want.words()) if want else "(none)"
        if have and want and have.passwords != want.passwords:
            before, after = f"{before} (old password)", f"{after} (new password)"
        found[f"user {name}"] = (before, after)
    return found


def converge(
    client: Any, server: str, text: str, check: bool, diff: dict[str, dict[str, str]], again: Callable[[], Any]
) -> bool:
    """Load the ACL file when the users in force are others. Returns whether that was, or would be, so.

    ``again`` makes a client with the new passwords: loading may have changed the one that we came with.
    """
    wanted = parse(text)
    try:
        found = differences(in_force(client), wanted, categories_of(client))
        for name, (before, after) in found.items():
            diff["before"][name], diff["after"][name] = before, after
        if not found or check:
            return bool(found)
        client.acl_load()
    except CONNECTION_ERRORS as error:
        raise LifelineError(
            f"Redis at {server} refuses the ACL file: {reason(error)}; its users are as before, correct the file."
        ) from error
    try:
        renewed = again()
        left = differences(in_force(renewed), wanted, categories_of(renewed))
    except CONNECTION_ERRORS as error:
        raise LifelineError(
            f"Redis at {server} loaded its ACL file and lets us in no more ({reason(error)}): check the operator's "
            "password and rules in it."
        ) from error
    if left:
        raise LifelineError(
            f"Redis at {server} loaded its ACL file and shows other rules for {', '.join(left)}: "
            "write these rules as ACL LIST shows them."
        )
    return True


def in_force(client: Any) -> dict[str, User]:
    """The users that the server has now. Raises the client's errors."""
    return parse("\n".join(client.acl_list()))


def categories_of(client: Any) -> dict[str, frozenset[str]]:
    """``{category: commands}`` of the server. Raises the client's errors."""
    names = client.execute_command("ACL", "CAT")
    with client.pipeline(transaction=False) as batch:
        for name in names:
            batch.execute_command("ACL", "CAT", name)
        return {name: frozenset(commands) for name, commands in zip(names, batch.execute())}
