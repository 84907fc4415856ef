# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which certificate lies in a file, and which one a port serves: the two may differ (fault F32)."""

from __future__ import annotations

import re
import socket
import ssl

from .errors import LifelineError


def served_certificate(host: str, port: int, seconds: float) -> bytes:
    """The certificate (DER) that a TLS port shows, unchecked: even one that has expired. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), seconds) as plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True) or b""


def file_certificate(path: str) -> bytes:
    """The first certificate (DER) of a PEM file. Raises LifelineError."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise LifelineError(f"{path} cannot be read: {error.strerror}; install the TLS files first.") from error
    match = re.search("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    if not match:
        raise LifelineError(f"{path} holds no certificate: install the TLS files first.")
    return ssl.PEM_cert_to_DER_cert(match[0])
