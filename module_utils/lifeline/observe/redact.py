# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep secrets out of evidence: what a log or a command line may hold is masked before anything else sees it."""

from __future__ import annotations

import re
from typing import Iterable

MASK = "***"

# Redis' and Sentinel's words that a secret follows, in redis.conf, in an ACL rule, in a command or in a URL.
_AFTER_WORD = re.compile(
    r"(?i)\b(requirepass|masterauth|auth-pass|sentinel-pass|tls-(?:client-)?key-file-pass|primaryauth|password|passwd|"
    r"pass|secret|token|auth)(\s+|\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s'\"]+(?:\s+[^\s'\"]+)?)"
)
_ACL_RULE = re.compile(r"(?<![\w-])([><#!])[^\s'\"]{4,}")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]*@")


class Redactor:
    """Masks known secrets, and whatever stands where a secret stands."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if secret and len(secret) > 2}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _URL.sub(rf"\1{MASK}@", text)
        text = _AFTER_WORD.sub(rf"\1\2{MASK}", text)
        return _ACL_RULE.sub(rf"\1{MASK}", text)
