# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whom a connection with TLS trusts: the CA that it was told, and nobody else's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lifeline.common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason, tls_context
from lifeline.errors import LifelineError
from lifeline.observe import fleet
from lifeline.observe.host import look
from lifeline.rq.server import Server as Primary
from lifeline.rq.server import target
from servers import Server, Servers, TlsFiles

# What redis_health takes, as far as a URL is looked at.
DEFAULTS = {
    **dict.fromkeys(("url_file", "config_file", "sentinel_config_file", "endpoints", "login_password"), None),
    "url_variable": "REDIS_URL",
}


def ping(server: Any, **options: Any) -> bool:
    login = Credentials(tls=True, connect_timeout=5.0, **options)
    with closing(connect(Endpoint(server.host, server.port), login)) as client:
        return bool(client.ping())


def test_the_systems_cas_are_not_trusted_beside_the_one_that_was_told(
    redis_server: Servers, tls_files: TlsFiles, other_ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server(tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files.ca))  # where OpenSSL looks for the system's
    assert ping(server)
    assert ping(server, ca_certs=str(tls_files.ca))
    with pytest.raises(CONNECTION_ERRORS) as refused:
        ping(server, ca_certs=str(other_ca))
    assert reason(refused.value).startswith("tls: ")
    assert ping(server, ca_certs=str(other_ca), validate_certs=False)


def test_a_ca_that_is_missing_or_changed_is_noticed(
    redis_server: Servers, tls_files: TlsFiles, other_ca: Path, tmp_path: Path
) -> None:
    server = redis_server(tls=True)
    ca = tmp_path / "ca.crt"
    with pytest.raises(CONNECTION_ERRORS):
        ping(server, ca_certs=str(ca))
    ca.write_text(other_ca.read_text())
    with pytest.raises(CONNECTION_ERRORS):
        ping(server, ca_certs=str(ca))
    ca.write_text(tls_files.ca.read_text())
    assert ping(server, ca_certs=str(ca))
    assert tls_context(Credentials(ca_certs=str(ca))) is tls_context(Credentials(ca_certs=str(ca), user="another"))


@pytest.fixture
def elsewhere(redis_server: Servers) -> Server:
    """A server with a certificate of a trusted CA, at an address that the certificate does not have."""
    users = {"default": ("s3cret", "~* &* +@all")}
    server = redis_server(tls=True, users=users, config={"bind": "127.0.0.1 127.0.0.2"})
    server.client().config_resetstat()
    server.host = "127.0.0.2"
    return server


def logins(server: Server) -> int:
    """How often a password was sent to it since the start of the test, this look's own left out."""
    calls = server.client(host="127.0.0.1").info("commandstats")
    return sum(int(calls.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("auth", "hello")) - 1


@pytest.mark.parametrize("option", ["", "&ssl_cert_reqs=required", "&ssl_check_hostname=true"])
def test_B6_a_certificate_of_another_name_gets_no_password(elsewhere: Server, tls_files: TlsFiles, option: str) -> None:
    """Before: a rediss:// URL whose certificate names another host counted as HEALTHY, and the password was sent.

    Now: the name is checked before the login is sent, unless the URL says ssl_check_hostname=false.
    """
    url = f"rediss://default:s3cret@127.0.0.2:{elsewhere.port}/0?ssl_ca_certs={tls_files.ca}{option}"
    with pytest.raises(LifelineError, match=r"tls: .*(mismatch|not valid for)"):
        Primary(target({"url": url, "ready_timeout": 0.0}))
    found = look({**DEFAULTS, "name": "endpoint", "service": "s", "url": url, "depth": "brief"}, False)
    assert found["evidence"]["nodes"]["endpoint"]["error"].startswith("tls: ")
    (row,) = fleet.look(fleet.targets([{"url": url}], Credentials()))
    assert row["error"].startswith("tls: "), row
    assert logins(elsewhere) == 0


@pytest.mark.parametrize("option", ["ssl_check_hostname=false", "ssl_cert_reqs=none"])
def test_B6_a_url_may_say_that_the_name_does_not_matter(elsewhere: Server, tls_files: TlsFiles, option: str) -> None:
    url = f"rediss://default:s3cret@127.0.0.2:{elsewhere.port}/0?ssl_ca_certs={tls_files.ca}&{option}"
    assert Primary(target({"url": url, "ready_timeout": 0.0})).client.ping()
    (row,) = fleet.look(fleet.targets([{"url": url}], Credentials()))
    assert (row["reachable"], row["error"]) == (True, "")


def test_B6_names_are_checked_for_estates_unless_they_are_told_not_to(elsewhere: Server, tls_files: TlsFiles) -> None:
    login = {"user": "default", "password": "s3cret", "ca_certs": str(tls_files.ca)}
    with pytest.raises(CONNECTION_ERRORS):
        ping(elsewhere, **login)
    assert logins(elsewhere) == 0
    assert ping(elsewhere, **login, check_hostname=False)
    elsewhere.host = "127.0.0.1"
    assert ping(elsewhere, **login)
