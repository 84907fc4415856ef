# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ACL users are compared by what they may do."""

from __future__ import annotations

import hashlib

import pytest
from lifeline.errors import LifelineError
from lifeline.formats import acl

CATEGORIES = {
    "read": frozenset({"get", "keys", "client|list"}),
    "write": frozenset({"set", "flushall"}),
    "dangerous": frozenset({"keys", "flushall", "client|list", "client|kill"}),
    "connection": frozenset({"client|list", "client|kill", "client|setname"}),
}
DIGEST = hashlib.sha256(b"secret").hexdigest()


def user(rules: str) -> acl.User:
    return acl.parse(f"user name {rules}")["name"]


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("on nopass ~* &* +@all", "on nopass allkeys allchannels allcommands", True),
        ("on >secret ~a", f"on #{DIGEST} ~a resetchannels -@all", True),
        ("on ~a ~b", "on ~b ~a", True),
        ("on %RW~a", "on ~a", True),
        ("on %R~a", "on ~a", False),
        ("on +@read -@dangerous", "on +get", True),
        ("on -@all +@read +client|list -keys", "on +@read -@dangerous +client|list", True),
        ("on +client", "on +client|list +client|kill +client|setname", True),
        ("on +client -client|kill", "on +client|list +client|setname", True),
        ("on +@all -flushall", "on +@all", False),
        ("on +set -set", "on", True),
        ("on", "off", False),
        ("on ~a resetkeys", "on", True),
        ("on (~a +get)", "on (+get ~a)", True),
        ("on (~a +get)", "on ~a +get", False),
        ("on >secret resetpass", "on", True),
        ("on skip-sanitize-payload", "on", False),
    ],
)
def test_same_rights(one: str, two: str, equal: bool) -> None:
    assert user(one).same(user(two), CATEGORIES) is equal
    assert (acl.differences({"x": user(one)}, {"x": user(two)}, CATEGORIES) == {}) is equal


def test_default_user_is_open_when_the_file_leaves_it_out() -> None:
    assert acl.parse("user a on")["default"].same(user("on nopass ~* &* +@all"), CATEGORIES)


def test_differences_show_rules_and_no_password() -> None:
    found = acl.differences({"a": user("on >one ~a"), "b": user("on")}, {"a": user("on >two ~a"), "c": user("on")}, {})
    assert found["user a"] == (
        "on ~a (no channels) -@all (old password)",
        "on ~a (no channels) -@all (new password)",
    )
    assert found["user b"][1] == "(none)"
    assert found["user c"][0] == "(none)"
    assert hashlib.sha256(b"two").hexdigest() not in str(found)


@pytest.mark.parametrize("line", ["user", "users a on", "user a on\nuser a off", "user a on frobnicate"])
def test_a_bad_line_is_named_by_number_only(line: str) -> None:
    with pytest.raises(LifelineError, match=r"Line \d of the ACL file") as caught:
        acl.parse(f"{line}\n")
    assert "frobnicate" not in str(caught.value)
