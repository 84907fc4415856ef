# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options for logging in, shared by every module that opens a connection."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_user:
    description: ACL user to log in as. Without it, Redis' C(default) user is used.
    type: str
  login_password:
    description: Password of O(login_user).
    type: str
  tls:
    description: Whether to talk TLS.
    type: bool
    default: false
  validate_certs:
    description: Whether the server's certificate must be signed by O(ca_certs) (or by a CA that the system trusts).
    type: bool
    default: true
  check_hostname:
    description:
      - Whether the certificate must also name the host that is connected to, before a password is sent there.
      - Nodes are mostly reached by address; where their certificates name no addresses, this has to be off.
    type: bool
    default: true
  ca_certs:
    description: File with the CA certificates to trust, on the host that the module runs on.
    type: path
  client_cert_file:
    description: Client certificate, where the server asks for one.
    type: path
  client_key_file:
    description: Private key of O(client_cert_file).
    type: path
  connect_timeout:
    description: Seconds to wait for a connection.
    type: float
    default: 2.0
  command_timeout:
    description: Seconds to wait for one reply.
    type: float
    default: 5.0
requirements:
  - redis (Python library, 4.3.4 or later; Debian package python3-redis) on the host that the module runs on
"""
