# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates: how long the one on disk and the ones that are served are good for, and whether they are the same."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..common.client import Endpoint
from ..errors import LifelineError
from ..formats import certificate


def look(
    cert_file: Optional[str], key_file: Optional[str], ports: Mapping[str, Endpoint], seconds: float
) -> dict[str, Any]:
    """``{file, ports}``: the certificate in ``cert_file``, and those that some ports serve.

    ``file`` is ``{path, not_before, not_after, error, key_fits}``, empty without a ``cert_file``; ``ports`` has by name
    ``{port, not_before, not_after, error, same}``. Times are seconds since 1970; ``key_fits`` and ``same`` (as the
    file's) are null where they are not known. A port is asked without checking what it shows. Public parts only.
    """
    der: Optional[bytes] = None
    file: dict[str, Any] = {}
    if cert_file:
        file = {"path": cert_file, "error": "", "key_fits": None}
        try:
            der = certificate.file_certificate(cert_file)
            file.update(_dates(der))
            file["key_fits"] = certificate.key_fits(cert_file, key_file) if key_file else None
        except (LifelineError, ValueError) as error:
            file["error"] = str(error)
    return {"file": file, "ports": {name: _served(port, der, seconds) for name, port in ports.items()}}


def _served(endpoint: Endpoint, der: Optional[bytes], seconds: float) -> dict[str, Any]:
    view: dict[str, Any] = {"port": endpoint.port, "error": "", "same": None}
    try:
        shown = certificate.served_certificate(endpoint.host, endpoint.port, seconds)
        view.update(_dates(shown))
        view["same"] = None if der is None else shown == der
    except (OSError, ValueError) as error:
        view["error"] = str(error)[:200]
    return view


def _dates(der: bytes) -> dict[str, float]:
    not_before, not_after = certificate.validity(der)
    return {"not_before": not_before, "not_after": not_after}
