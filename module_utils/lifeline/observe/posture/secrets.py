# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passwords and ACL users without what is secret in them.

A password leaves the host only as a short keyed digest. The key is made up for each run and goes to no report, so
digests can be compared within a run and say nothing outside it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Mapping

from ...formats import acl

DIGITS = 12

# Passwords that everybody tries first.
WEAK = (
    "", "redis", "redis123", "Redis", "foobared", "password", "password1", "Password1", "passw0rd", "P@ssw0rd", "admin",
    "admin123", "administrator", "root", "toor", "secret", "changeme", "change_me", "change-me", "default", "test",
    "test123", "guest", "qwerty", "qwerty123", "letmein", "welcome", "welcome1", "123456", "12345678", "123456789",
    "1234567890", "12345", "1234", "111111", "000000", "abc123", "iloveyou", "dragon", "master", "monkey", "sentinel",
    "replica", "application", "observer", "operator", "exporter", "valkey", "rq", "celery", "bitnami",
    "str0ng_passw0rd",
    "yourpassword", "your_password", "mypassword", "mysecretpassword", "supersecret", "pass", "pass123", "user",
    "docker",
    "vagrant", "ansible", "production", "staging", "development", "localhost", "cache", "queue", "session",
)  # fmt: skip
_WEAK = frozenset(hashlib.sha256(word.encode()).hexdigest() for word in WEAK)


class Digests:
    """Digests of one run; ``key`` is the run's own."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of_sha256(self, sha256: str) -> str:
        """Of a password that is known by its SHA-256, as ACL shows it."""
        return hmac.new(self._key, sha256.lower().encode(), "sha256").hexdigest()[:DIGITS]

    def of_password(self, password: str) -> str:
        """Of a password; empty where there is none."""
        return self.of_sha256(hashlib.sha256(password.encode()).hexdigest()) if password else ""


def weak(password: str) -> bool:
    """Whether a password is one of those that everybody tries first."""
    return hashlib.sha256(password.encode()).hexdigest() in _WEAK


def users(text: str, digests: Digests) -> dict[str, dict[str, Any]]:
    """``{name: {enabled, nopass, weak, digests, keys, channels, commands, selectors}}`` of an ACL file's text, or of
    ACL LIST's lines. ``selectors`` are ``{keys, channels, commands}``. Raises LifelineError for what is none."""
    return {name: _user(user, digests) for name, user in acl.parse(text).items()}


def _user(user: acl.User, digests: Digests) -> dict[str, Any]:
    return {
        "enabled": user.enabled,
        "nopass": user.nopass,
        "weak": any(one in _WEAK for one in user.passwords),
        "digests": sorted(digests.of_sha256(one) for one in user.passwords),
        **_rules(user.rules),
        "selectors": [_rules(selector) for selector in user.selectors],
    }


def _rules(rules: acl.Rules) -> dict[str, Any]:
    return {"keys": sorted(rules.keys), "channels": sorted(rules.channels), "commands": list(rules.commands)}


def plain_passwords(text: str) -> list[str]:
    """Names of users whose password stands in an ACL file, or in ``user`` lines of redis.conf, as it is."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] == "user" and any(word.startswith((">", "<")) for word in words[2:]):
            found.append(words[1])
    return found


def hidden(values: Mapping[str, str], names: frozenset[str], digests: Digests) -> tuple[dict[str, str], dict[str, str]]:
    """(settings without those that are secret, digests of these; empty where one is not set)."""
    shown = {name: value for name, value in values.items() if name not in names}
    return shown, {name: digests.of_password(values[name]) for name in values if name in names}
