# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one Redis URL that an application knows: where it stands, and what it says."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any, Optional
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ..errors import LifelineError
from . import reading
from .client import Credentials, Endpoint
from .words import address

# What the error of a node begins with whose URL says nothing.
NO_URL = "url:"


# What stands for a URL that an inventory means to give, and does not.
UNSET = "unset:"
INVALID = (
    "The Redis URL is not valid: it must look like redis://user:password@host:6379/0, with rediss:// for TLS or "
    "unix:// for a socket, and characters such as # / ? @ : [ ] % in user and password must be written as %XX."
)


def url_from_file(path: str, variable: str) -> str:
    """The URL that an application's EnvironmentFile sets. Raises LifelineError, without the URL, when it does not."""
    try:
        text = reading.text(path)
    except FileNotFoundError:
        raise LifelineError(f"{path} does not exist on this host: set rq_services_environment_file.") from None
    except OSError as error:
        raise LifelineError(f"{path} cannot be read on this host ({error.strerror}): run this with become.") from None
    url = read_environment(text, variable)
    if not url:
        raise LifelineError(f"{path} on this host does not set {variable}: add it, or name another variable.")
    return url


def read_environment(text: str, variable: str) -> Optional[str]:
    """The value of a variable in a systemd EnvironmentFile; None when it is not set there."""
    value = None
    for line in text.splitlines():
        name, found, rest = line.strip().partition("=")
        if found and name.strip() == variable and not line.lstrip().startswith(("#", ";")):
            value = rest.strip()
    if value and value[0] in "\"'":
        try:
            return "".join(shlex.split(value))
        except ValueError:  # a quote that nobody closed: systemd does not take the line either
            return None
    return value


def parse_url(url: str, base: Optional[Credentials] = None, database: int = 0) -> tuple[Endpoint, Credentials, int]:
    """(where, login, database) from a URL as redis-py and RQ take it.

    What the URL does not say stays as in ``base`` and ``database``, but for the host's name, which a certificate has to
    bear unless the URL says otherwise. The message of the LifelineError holds nothing of the URL.
    """
    url = url.strip()
    if not url or url == UNSET:
        raise LifelineError(
            "No Redis URL is given: set redis_url, or REDIS_URL in the environment, and run this again."
        )
    try:
        parts, port, database = _split(url, database)
    except ValueError:
        raise LifelineError(INVALID) from None
    base = base or Credentials()
    query = _options(parts.query)
    credentials = replace(
        base,
        tls=parts.scheme == "rediss" or base.tls,
        check_hostname=True,
        ca_certs=query.get("ssl_ca_certs", base.ca_certs),
        cert_file=query.get("ssl_certfile", base.cert_file),
        key_file=query.get("ssl_keyfile", base.key_file),
    )
    if parts.username is not None or parts.password is not None:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        credentials = replace(credentials, user=user or None, password=password or None)
    if "ssl_cert_reqs" in query:
        lax = query["ssl_cert_reqs"].lower() in ("none", "cert_none", "0")
        credentials = replace(credentials, validate_certs=not lax)
    if "ssl_check_hostname" in query:
        # As redis-py reads it: only these words switch the check off.
        lax = query["ssl_check_hostname"].upper() in ("0", "F", "FALSE", "N", "NO")
        credentials = replace(credentials, check_hostname=not lax)
    if parts.scheme == "unix":
        return Endpoint("localhost", unix_socket=unquote(parts.path)), credentials, database
    return Endpoint(unquote(parts.hostname or ""), port), credentials, database


def _split(url: str, database: int) -> tuple[SplitResult, int, int]:
    """(parts, port, database). Raises ValueError, whose text may hold a piece of a password, for what is no URL.

    A password with a bare #, / or ? in it ends the part of the URL that names the host, so that a piece of it would be
    taken for the host, and the rest be sent there. None of these is right behind that part, nor is an @.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("blanks")
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix") or "#" in url or "@" in parts.path + parts.query:
        raise ValueError("not a Redis URL")
    if not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise ValueError("no host")
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return parts, parts.port or 6379, int(_options(parts.query).get("db") or path or database)


def _options(query: str) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(query).items()}


def place(url: str) -> dict[str, Any]:
    """``{host, port}`` of a URL, for an inventory; no host where it is not valid. Never raises, never shows it."""
    try:
        endpoint, _, _ = parse_url(url)
    except LifelineError:
        return {"host": "", "port": 6379}
    return {"host": endpoint.host, "port": endpoint.port}


def secrets(url: str) -> set[str]:
    """The password of a URL, as it is and as it is written there. Raises LifelineError when the URL is not valid."""
    _, credentials, _ = parse_url(url)
    return {credentials.password or "", urlsplit(url.strip()).password or ""} - {""}


def repointed(text: str, variable: str, host: str, port: int) -> tuple[str, Optional[str]]:
    """An EnvironmentFile whose URL in ``variable`` has another address, and the address until now (None: not set).

    Raises LifelineError, without the URL, when that is not valid.
    """
    lines, before = text.splitlines(keepends=True), None
    for index, line in enumerate(lines):
        url = read_environment(line, variable)
        if not url or "://" not in url or url.startswith("unix:"):
            continue
        parse_url(url)  # else a piece of the password may be taken for the address, replaced and shown
        netloc = urlsplit(url).netloc
        login, at, before = netloc.rpartition("@")
        lines[index] = line.replace(netloc, f"{login}{at}{address(host, port)}", 1)
    return "".join(lines), before


def lock_name(estate: str, url: str) -> str:
    """The name of an estate's lock: a Redis that is only a URL is known by its address, not by the estate's name."""
    if not url:
        return estate
    where = parse_url(url)[0]
    return where.unix_socket or f"{where.host}:{where.port}"
