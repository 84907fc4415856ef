# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whom a connection with TLS trusts: the CA that it was told, and nobody else's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lifeline.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason, tls_context
from servers import Servers, TlsFiles


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


def test_names_are_checked_where_that_is_asked_for(redis_server: Servers, tls_files: TlsFiles) -> None:
    server = redis_server(tls=True, config={"bind": "127.0.0.1 127.0.0.2"})
    assert ping(server, ca_certs=str(tls_files.ca), check_hostname=True)
    server.host = "127.0.0.2"  # the same server, at an address that its certificate does not have
    assert ping(server, ca_certs=str(tls_files.ca))
    with pytest.raises(CONNECTION_ERRORS):
        ping(server, ca_certs=str(tls_files.ca), check_hostname=True)
