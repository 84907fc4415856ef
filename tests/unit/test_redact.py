# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No secret enters evidence, and evidence stays evidence."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.formats.redis_conf import quote as config_quote
from lifeline.observe import redact as redaction
from lifeline.observe.redact import TEXT_LIMIT, Redactor, secrets_in, secrets_of

P = "pl4nted"

# Lines that real programs write, each with a secret in it that no file of this host names.
WITH_SECRET = (
    f">>> 'requirepass {P}'",
    f">>> 'requirepass \"{P} with # blanks\"'",
    f'>>> \'masterauth "a \\" quote and {P}"\'',
    f">>> 'user app on >{P} ~* +@all'",
    f">>> 'user app on \">{P} with blank\" ~* +@all'",
    f">>> 'sentinel auth-pass redis {P} and more'",
    f">>> 'sentinel sentinel-pass {P}'",
    f">>> 'tls-key-file-pass {P}'",
    f">>> 'requirepas={P}'",
    f">>> 'reqirepass {P} x'",
    f"Error in ACL SETUSER modifier '>{P}': Syntax error",
    f"users.acl:2: user app on #{'ab' * 32} ~* +@all: {P.replace(P, '')}Syntax error",
    f'1700000000.1 [0 127.0.0.1:5] "AUTH" "app" "{P}"',
    f'1700000000.1 [0 127.0.0.1:5] "HELLO" "3" "AUTH" "app" "{P}"',
    f"HELLO 3 AUTH app {P}",
    f"redis-cli -h 10.0.0.1 -a {P} PING",
    f"redis-cli -a{P} PING",
    f"/usr/bin/redis-cli --user app --pass {P} -p 6379",
    f"valkey-cli --pass={P}",
    f"REDISCLI_AUTH={P} redis-cli PING",
    f"/usr/bin/redis-server *:6379 --requirepass {P} with blank --masterauth {P}",
    f"Error connecting to redis://:{P}@10.0.0.1:6379/0: timed out",
    f"Error connecting to rediss://app:{P}%2Fx/@{P}@10.0.0.1:6379/0",
    f"django: SECRET_KEY={P}",
    f"config: {{'password': '{P} x', 'host': 'a'}}",
    f'{{"db_password": "{P} x", "token":"{P}"}}',
    f"--requirepass={P}",
)

# Lines of applications and their libraries, each with a secret in it.
OF_APPLICATIONS = (
    f"> Authorization: Bearer {P}",
    f"authorization: Basic {P}==",
    f"headers={{'Proxy-Authorization': 'Digest username=x, {P}'}}",
    f"sent with bearer {P}.{P}~+/=",
    f"Cookie: session={P}; csrf={P}",
    f"< set-cookie: {P}; HttpOnly",
    f"token eyJhbGciOi{P}.eyJzdWIi{P}.{P}-_{P} is refused",
    f"-----BEGIN RSA PRIVATE KEY-----\n{P}\n{P}==\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY----- {P}",
    f"key: {P}{'Ab3+/z' * 10}"[: len("key: ") + 64],
    f"unknown command: AUTH application {P}",
    f"AUTH {P}",
)

# What an operator needs to read as it is.
KEPT = (
    "Unable to AUTH to MASTER: -WRONGPASS invalid username-password pair or user is disabled.",
    "MASTER aborted replication with an error: NOAUTH Authentication required.",
    "(Non critical) Master does not understand REPLCONF listening-port: -NOAUTH Authentication required.",
    ">>> 'foo bar'",
    ">>> 'maxmemory 10xb'",
    "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***",
    "Reading the configuration file, at line 2277",
    "Background saving terminated by signal 9",
    "MASTER <-> REPLICA sync: Flushing old data",
    "+sdown master redis 10.0.0.1 6379",
    "-failover-abort-no-good-slave master redis 10.0.0.1 6379",
    "Client id=7 addr=10.0.0.9:40000 scheduled to be closed ASAP for overcoming of output buffer limits.",
    "Memory cgroup out of memory: Killed process 612 (redis-server) total-vm:1kB, anon-rss:2kB",
    "Failed opening the temp RDB file temp-1.rdb (in server root dir /var/lib/redis) for saving: Permission denied",
    "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
    "user app has no permission to run the 'flushall' command",
    "WARNING Memory overcommit must be enabled! a > b, c < d",
    "ERR Client sent AUTH, but no password is set",
    "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.",
    "the standard-bearer of the cookies",
)


@pytest.mark.parametrize("line", WITH_SECRET)
def test_what_stands_where_a_secret_stands_is_masked(line: str) -> None:
    assert P not in Redactor()(line)
    assert "ab" * 32 not in Redactor()(line)


@pytest.mark.parametrize("line", OF_APPLICATIONS)
def test_B14_tokens_cookies_and_keys_in_log_lines_are_masked(line: str) -> None:
    """Before: headers with tokens, cookies, JWTs, keys and AUTH commands that a log holds were in the evidence.

    Now: they are masked, as passwords are.
    """
    assert P not in Redactor()(line)


@pytest.mark.parametrize("line", KEPT)
def test_what_is_no_secret_is_left_as_it_is(line: str) -> None:
    assert Redactor(["s3cret-of-this-host"])(line) == line


KEY_LINES = ("MIIEvQ" + "Ab3+/z09Qr" * 5 + "x" * 8, "Zz8/" * 16, "Q29tZSBvbi4uLg+/7yQ==")


@pytest.mark.parametrize("line", KEY_LINES)
@pytest.mark.parametrize(
    "text", ["{}", "read {} of it", "key='{}'", "x\\n{}\\n", "{}\n-----END PRIVATE KEY-----", "a/{}/b"]
)
def test_B14_any_line_of_a_hosts_own_key_is_masked(tmp_path: Path, line: str, text: str) -> None:
    """Before: the last line of a private key, which is shorter than the others, was shown where it stood alone.

    Now: keys that configuration files name are known, and a known secret of several lines is masked line by line.
    """
    key = tmp_path / "server.key"
    key.write_text("\n".join(("-----BEGIN PRIVATE KEY-----", *KEY_LINES, "-----END PRIVATE KEY-----", "")))
    config = tmp_path / "redis.conf"
    config.write_text(f"port 0\ntls-key-file {key}\n")
    redact = Redactor(secrets_of(str(config)))
    told = text.format(line)
    assert line not in redact(told) and line not in json.dumps(redact.document({told: [told]}))
    kept = "Certificate /etc/redis/tls/server.crt of CN=redis1 expires; see /var/lib/redis/main/appendonlydir/x"
    assert redact(kept) == kept


def test_each_long_line_of_a_known_secret_is_masked_whatever_it_holds() -> None:
    redact = Redactor(["first line: is a secret\nshort\nand the third one too"])
    assert redact("said first line: is a secret, short") == "said ***, short"
    assert redact("> and the third one too <") == "> *** <"
    assert redact("all: first line: is a secret\nshort\nand the third one too.") == "all: ***."


SECRETS = (
    "with blank",
    'qu"ote',
    "apo'strophe",
    "hash#tag",
    "per%cent",
    "back\\slash",
    "sl/ash@at:colon",
    "umläut-ß",
    "short1",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_secret_is_masked_in_every_spelling(secret: str) -> None:
    redact = Redactor([secret])
    for text in (
        f"he said {secret} aloud",
        f"url {quote(secret, safe='')} of it",
        f"conf {config_quote(secret)} of it",
        f"twice {secret} and {secret}",
    ):
        masked = redact(text)
        assert secret not in masked and quote(secret, safe="") not in masked and "***" in masked


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=30))
def test_a_secret_that_redis_conf_holds_is_known(secret: str) -> None:
    text = f"# requirepass nothing\nrequirepass {config_quote(secret)}\nuser app on {config_quote('>' + secret)} ~*\n"
    assert secret in secrets_in(text)


def test_files_that_a_configuration_names_are_read_too(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text("user a on >from-the-acl-file ~* +@all\nuser b on #" + "ab" * 32 + "\n")
    server, sentinel = tmp_path / "redis.conf", tmp_path / "sentinel.conf"
    server.write_text(f'port 1\nrequirepass "one two"\naclfile {acl}\nbroken "line\nmasterauth x1234\n')
    sentinel.write_text("sentinel monitor m 127.0.0.1 1 2\nsentinel auth-pass m sentinels-own\n")
    assert secrets_of(str(server), str(sentinel), None, str(tmp_path / "none")) == {
        "one two", "x1234", "from-the-acl-file", "sentinels-own",
    }  # fmt: skip


def test_a_document_is_masked_everywhere_but_keeps_its_names() -> None:
    redact = Redactor(["redis", "a-long-secret"])
    document = {
        "host": "redis1", "role": "master", "nodes": {"redis1": {"error": "said redis and a-long-secret"}},
        "list": ["a-long-secret", {"key with a-long-secret": 1}], "number": 7, "none": None, "flag": True,
    }  # fmt: skip
    told = redact.document(document)
    assert told["host"] == "redis1" and told["nodes"]["redis1"]["error"] == "said *** and ***"
    assert told["list"] == ["***", {"key with ***": 1}]
    assert (told["number"], told["none"], told["flag"]) == (7, None, True)
    assert "a-long-secret" not in json.dumps(told)


def test_a_document_is_cut_to_what_a_host_may_have() -> None:
    told = Redactor().document(
        {"text": "x" * 10_000_000, "list": [1] * 100_000, "dict": {str(i): i for i in range(99_999)}}
    )
    assert (len(told["text"]), len(told["list"]), len(told["dict"])) == (2000, 2000, 2000)


# Texts that strangers can leave in ACL LOG, in a log or as the name of a queue; each kept a rule busy.
SLOW = {
    "backslashes": "AUTH user '>" + "\\" * 60,
    "many backslashes": "AUTH user '>" + "\\" * 1990,
    "tokens": "token-" * 333 + " ",
    "blanks": "user --pass a" + " " * 1900 + "-",
    "quotes": "user '>\\" * 280,
    "schemes": "a+" * 900 + "://" * 60,
    "settings": "requirepass" + "\n" * 1900,
    "a mebibyte": "user token='>\\ " * 70_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_B1_no_text_keeps_the_redaction_busy(name: str) -> None:
    """Before: an unauthenticated `AUTH` with 60 backslashes hung diagnose, recover --check and compliance forever.

    Now: every rule takes time in proportion to the text, and the text is cut before it is looked at.
    """
    redact = Redactor(["a-planted-secret"])
    started = time.process_time()
    said = redact.document({"acl_log": [{"object": SLOW[name], SLOW[name]: 1}], "name": SLOW[name]})
    assert time.process_time() - started < 0.3
    assert len(said["name"]) <= TEXT_LIMIT


def test_B1_a_late_text_is_dropped_and_the_next_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that nobody tried in time costs its text, not the look."""
    slow = (re.compile("slow"), re.compile(r"slow (?:a|a)+b"), "")
    monkeypatch.setattr(redaction, "_RULES", (slow, *redaction._RULES))
    started = time.process_time()
    said = Redactor().document(["before", "slow " + "a" * 60, "password=x after", "slow ab"])
    assert said == ["before", redaction.DROPPED, "password=*** after", ""]
    assert time.process_time() - started < 1


def test_B1_what_is_slow_all_the_time_is_dropped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts are slow, all of them have two seconds."""
    redact = Redactor()
    redact._spent = redaction.ALL_S + 1
    assert redact.document(["a b" * 20, "plain", "a b"]) == [redaction.DROPPED, "plain", "a b"]


@pytest.mark.parametrize("over", range(0, 40, 3))
def test_B1_a_cut_leaves_no_part_of_a_secret(over: int) -> None:
    secret = "planted/secret-of-thirty-letters"
    text = "x" * (TEXT_LIMIT - 38 + over) + " " + secret + " end" * 50
    said = Redactor([secret])(text)
    assert len(said) <= TEXT_LIMIT
    assert secret[:4] not in said


def test_B1_a_quote_that_was_cut_off_hides_its_rest() -> None:
    assert "pl4nted" not in Redactor()('the password="pl4nted and more')
    assert "pl4nted" not in Redactor()("user app on '>pl4nted and more")
