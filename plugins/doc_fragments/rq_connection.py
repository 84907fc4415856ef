# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the RQ modules find the primary; used together with redis_connection and redis_credentials."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_db:
    description: Number of the database that RQ uses.
    type: int
    default: 0
  url:
    description:
      - The URL that the application uses, C(redis://user:password@host:port/0), C(rediss://) for TLS or C(unix://).
      - Used instead of O(login_host), O(nodes) and O(sentinels). What it does not say comes from the other options.
    type: str
  nodes:
    description:
      - All nodes of the estate, as C(host:port) or as dictionaries with C(host) and C(port).
      - The one that says that it is primary is used; two that say so are refused.
    type: list
    elements: raw
    default: []
  sentinels:
    description:
      - Sentinels to ask for the primary, as O(nodes) are written. What they name is asked for its role first.
      - With O(nodes) too, those are tried when no sentinel answers.
    type: list
    elements: raw
    default: []
  sentinel_service:
    description: Name that the sentinels monitor the primary under. Needed with O(sentinels).
    type: str
  sentinel_user:
    description: ACL user at the sentinels. Without it, O(login_user); an empty text is the default user.
    type: str
  sentinel_password:
    description: Password at the sentinels. Without it, O(login_password); an empty text is no login at all.
    type: str
  sentinel_tls:
    description: Whether the sentinels talk TLS. Without it, as O(tls).
    type: bool
  ready_timeout:
    description: Seconds to wait for a server that is loading, or for an election, at the start and in mid-run.
    type: float
    default: 30.0
  key_prefix:
    description: Prefix of RQ's keys; RQ 3 reads its own from the environment variable RQ_KEY_PREFIX.
    type: str
    default: rq
"""
