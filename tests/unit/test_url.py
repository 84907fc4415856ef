# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passwords in URLs: encoded they arrive as they are, bare they are refused, and no text ever shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act.url_file import point
from lifeline.common.client import Credentials
from lifeline.common.url import INVALID, parse_url, place, repointed, secrets
from lifeline.errors import LifelineError
from lifeline.rq.server import target

# Long enough that it is in no sentence by chance; with what ends a part of a URL, and what libraries complain about.
WORD = "Zq7vXw9"
SPECIAL = "#/?@:[]%&=+\\\"'`^{}|<>,;!$*()~ \t\n\r\x00\u2100é漢"
passwords = st.text(st.sampled_from(SPECIAL), min_size=1, max_size=6).map(
    lambda odd: f"{WORD}{odd[: len(odd) // 2]}{WORD[::-1]}{odd[len(odd) // 2 :]}"
)
LEADING = st.sampled_from(["", "12", "1:"])


def pieces(password: str) -> set[str]:
    return {WORD, WORD[::-1], password}


def everybody(url: str) -> list[str]:
    """What all who take a URL say of it, and where they would connect to."""
    said = [str(place(url))]
    for ask in (parse_url, secrets, lambda given: target({"url": given, "ready_timeout": 1.0})):
        try:
            found: Any = ask(url)  # type: ignore[operator]
        except LifelineError as error:
            said.append(str(error))
            assert error.__suppress_context__ or error.__context__ is None, "the cause would be printed beside it"
        else:
            said.append("" if isinstance(found, set) else repr(found))
    return said


@given(LEADING, passwords, st.sampled_from(["user:{}", ":{}"]))
def test_B15_a_bare_password_is_never_shown_nor_taken_for_a_host(leading: str, password: str, login: str) -> None:
    """Before: a # / or ? in the password of REDIS_URL printed it ("Port could not be cast to integer value as ...").

    Now: one sentence without it that says to write %XX; an encoded password logs in as it is.
    """
    url = f"redis://{login.format(leading + password)}@cache.example:6379/0"
    for text in everybody(url):
        assert not [piece for piece in pieces(password) if piece in text or piece.lower() in text], text
    try:
        endpoint, _, _ = parse_url(url)
    except LifelineError:
        return
    assert endpoint.host == "cache.example"


@given(passwords)
def test_B15_an_encoded_password_is_what_it_was(password: str) -> None:
    url = f"rediss://user:{quote(password, safe='')}@cache.example:6380/2"
    endpoint, login, database = parse_url(url)
    assert (endpoint.host, endpoint.port, database, login.password) == ("cache.example", 6380, 2, password)
    assert secrets(url) == {password, quote(password, safe="")}
    assert password not in repr(login)


@pytest.mark.parametrize("bare", ["pa#ss", "pa/ss", "pa?ss", "12#ss", "12/ss", "12?ss"])
def test_B15_a_file_whose_url_is_not_valid_is_neither_changed_nor_shown(bare: str, tmp_path: Path) -> None:
    file = tmp_path / "redis.env"
    file.write_text(f"REDIS_URL=redis://user:{bare}@cache.example:6379/0\n")
    with pytest.raises(LifelineError) as refused:
        point({"path": str(file), "variables": ["REDIS_URL"], "host": "192.0.2.1", "port": 6379}, False)
    assert str(refused.value) == INVALID
    assert bare in file.read_text()
    with pytest.raises(LifelineError):
        repointed(file.read_text(), "REDIS_URL", "192.0.2.1", 6379)


@pytest.mark.parametrize(
    "url", ["redis:///0", "redis://:secret@/0", "redis://", "//cache.example", "cache.example:6379", "unix://", "x"]
)
def test_A4_a_url_without_a_host_is_not_this_machine(url: str) -> None:
    with pytest.raises(LifelineError):
        parse_url(url)
    assert place(url)["host"] == ""


@pytest.mark.parametrize(
    ("option", "checked", "validated"),
    [
        ("", True, True),
        ("?ssl_check_hostname=true", True, True),
        ("?ssl_check_hostname=false", False, True),
        ("?ssl_check_hostname=0", False, True),
        ("?ssl_check_hostname=no", False, True),
        ("?ssl_cert_reqs=required", True, True),
        ("?ssl_cert_reqs=none", True, False),  # and then nothing at all is checked, as in redis-py
    ],
)
def test_B6_a_url_says_whether_the_name_is_checked(option: str, checked: bool, validated: bool) -> None:
    """Before: the name in a server's certificate was not checked for a URL.

    Now: it is, unless the URL says otherwise, whatever the module's own options say.
    """
    for base in (None, Credentials(check_hostname=False)):
        _, login, _ = parse_url(f"rediss://cache.example{option}", base)
        assert (login.check_hostname, login.validate_certs) == (checked, validated)
