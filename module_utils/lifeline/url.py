# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one Redis URL that an application knows: where it stands, and what it says."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qs, unquote, urlsplit

from . import files
from .client import Credentials, Endpoint
from .errors import LifelineError


def url_from_file(path: str, variable: str) -> str:
    """The URL that an application's EnvironmentFile sets. Raises LifelineError, without the URL, when it does not."""
    try:
        text = Path(path).read_text(encoding="utf-8")
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
        return "".join(shlex.split(value))
    return value


def parse_url(url: str, base: Optional[Credentials] = None, database: int = 0) -> tuple[Endpoint, Credentials, int]:
    """(where, login, database) from a URL as redis-py and RQ take it.

    What the URL does not say stays as in ``base`` and ``database``. The message of the LifelineError holds no secret.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(parts.scheme)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        path = "" if parts.scheme == "unix" else parts.path.strip("/")
        port, database = parts.port or 6379, int(query.get("db") or path or database)
    except ValueError:
        raise LifelineError(
            "The Redis URL is not valid: it must look like redis://user:password@host:6379/0, with rediss:// for TLS "
            "or unix:// for a socket, and reserved characters in user and password written as %XX."
        ) from None
    base = base or Credentials()
    credentials = replace(
        base,
        tls=parts.scheme == "rediss" or base.tls,
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
        strict = query["ssl_check_hostname"].lower() in ("true", "yes", "1")
        credentials = replace(credentials, check_hostname=strict)
    if parts.scheme == "unix":
        return Endpoint("localhost", unix_socket=unquote(parts.path)), credentials, database
    return Endpoint(unquote(parts.hostname or "localhost"), port), credentials, database


def repointed(text: str, variable: str, host: str, port: int) -> tuple[str, Optional[str]]:
    """An EnvironmentFile whose URL in ``variable`` has another address, and the address until now (None: not set)."""
    lines, before = text.splitlines(keepends=True), None
    for index, line in enumerate(lines):
        url = read_environment(line, variable)
        if not url or "://" not in url or url.startswith("unix:"):
            continue
        netloc = urlsplit(url).netloc
        login, at, before = netloc.rpartition("@")
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines[index] = line.replace(netloc, f"{login}{at}{address}", 1)
    return "".join(lines), before


def point(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module redis_url. Raises LifelineError when no variable holds a URL."""
    path, before = params["path"], {}
    try:
        text = old = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise LifelineError(f"{path} cannot be read on this host ({error.strerror}): name the right file.") from None
    for variable in params["variables"]:
        text, address = repointed(text, variable, params["host"], params["port"])
        if address:
            before[variable] = address
    if not before:
        raise LifelineError(f"{path} on this host sets none of {', '.join(params['variables'])} to a Redis URL.")
    if text != old and not check:
        files.work({"secret_files": [{"path": path, "content": text}]}, False)
    after = dict.fromkeys(before, f"{params['host']}:{params['port']}")
    return {"changed": text != old, "before": before, "diff": {"before": before, "after": after}}


def lock_name(estate: str, url: str) -> str:
    """The name of an estate's lock: a Redis that is only a URL is known by its address, not by the estate's name."""
    if not url:
        return estate
    where = parse_url(url)[0]
    return where.unix_socket or f"{where.host}:{where.port}"
