# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which certificate lies in a file, and which one a port serves: the two may differ (fault F32)."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timezone
from typing import Optional

from ..common import reading
from ..errors import LifelineError


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
        text = reading.text(path)
    except OSError as error:
        raise LifelineError(f"{path} cannot be read: {error.strerror}; install the TLS files first.") from error
    match = re.search("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    if not match:
        raise LifelineError(f"{path} holds no certificate: install the TLS files first.")
    return ssl.PEM_cert_to_DER_cert(match[0])


def validity(der: bytes) -> tuple[float, float]:
    """(not before, not after) of a certificate, in seconds since 1970. Raises ValueError when it is none.

    Python reads no certificate that it does not trust, and one that has expired it does not; so this walks X.509's
    tree as far as the dates: tbsCertificate, [version], serial number, algorithm, issuer, validity.
    """
    body = _inside(_inside(der, 0x30), 0x30)
    if body[:1] == b"\xa0":
        body = _after(body)
    dates = _inside(_after(_after(_after(body))), 0x30)
    return _moment(dates), _moment(_after(dates))


def key_fits(cert_file: str, key_file: str) -> Optional[bool]:
    """Whether the private key is the certificate's; None for an encrypted key, whose password is Redis' secret.

    Raises LifelineError when one of them cannot be read.
    """
    try:
        if "ENCRYPTED" in reading.text(key_file):
            return None
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except ssl.SSLError:
        return False
    except OSError as error:
        raise LifelineError(f"{key_file} cannot be read: {error.strerror}.") from error
    return True


def _length(der: bytes) -> tuple[int, int]:
    """(octets of the head, octets of the content) of what ``der`` begins with."""
    if len(der) < 2:
        raise ValueError("it ends too soon")
    size = der[1]
    if size < 0x80:
        return 2, size
    count = size & 0x7F
    if not 0 < count <= 4 or len(der) < 2 + count:
        raise ValueError("no length")
    return 2 + count, int.from_bytes(der[2 : 2 + count], "big")


def _inside(der: bytes, tag: int) -> bytes:
    head, size = _length(der)
    if der[0] != tag or len(der) < head + size:
        raise ValueError("it is no certificate")
    return der[head : head + size]


def _after(der: bytes) -> bytes:
    head, size = _length(der)
    return der[head + size :]


def _moment(der: bytes) -> float:
    text = _inside(der, der[0] if der[:1] in (b"\x17", b"\x18") else 0x17).decode("ascii")
    if der[0] == 0x17:  # UTCTime: two digits of the year, 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
