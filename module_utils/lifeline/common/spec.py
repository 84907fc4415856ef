# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Argument specs that several modules share, and the few lines every module ends in.

The option names are those of community.general's redis modules, which users know already.
Their documentation is ``plugins/doc_fragments/redis_connection.py`` and ``redis_credentials.py``.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

from ..errors import LifelineError
from .facts import clean_text


def credentials_spec() -> dict[str, Any]:
    """Options that say who we are and how to talk: used by every module that opens a connection."""
    return {
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "tls": {"type": "bool", "default": False},
        "validate_certs": {"type": "bool", "default": True},
        "check_hostname": {"type": "bool", "default": True},
        "ca_certs": {"type": "path"},
        "client_cert_file": {"type": "path"},
        "client_key_file": {"type": "path", "no_log": False},
        "connect_timeout": {"type": "float", "default": 2.0},
        "command_timeout": {"type": "float", "default": 5.0},
    }


def endpoint_list(**extra: Any) -> dict[str, Any]:
    """An option that takes ``[{name, host, port}]``; ``extra`` is added to it (required, default)."""
    return {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str"},
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
        **extra,
    }


def estate_spec() -> dict[str, Any]:
    """Options that name the members of an estate."""
    return {
        "nodes": endpoint_list(required=True),
        "sentinels": endpoint_list(default=[]),
        "service": {"type": "str", "required": True},
    }


def connection_spec() -> dict[str, Any]:
    """``credentials_spec`` and the one server to talk to."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int", "default": 6379},
        "login_unix_socket": {"type": "path"},
        **credentials_spec(),
    }


def unlogged(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option whose value stays out of the host's log, where Ansible writes the arguments of each call.

    Needed by whatever has a secret inside: of a list or dict, Ansible writes the representation, in which it does not
    find a secret that has a line break, a quote or a backslash. Results may show it: name it in ``run``'s ``shown``.
    """
    return {**option, "no_log": True}


def secrets(options: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any], shown: Sequence[str]) -> Iterator[str]:
    """What a result must not show: values of options with ``no_log``; of those in ``shown``, only such suboptions'."""
    for name, option in options.items():
        value = params.get(name)
        if option.get("no_log") and name not in shown:
            yield from _texts(value)
        elif option.get("options"):
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, dict):
                    yield from secrets(option["options"], entry, ())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple, dict)):
        inside: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for item in inside:
            yield from _texts(item)
    elif value not in (None, "") and not isinstance(value, bool):
        yield str(value)


def run(module: Any, work: Callable[..., dict[str, Any]], shown: Sequence[str] = ()) -> None:
    """Call ``work(params, check)`` and leave the module with its result.

    ``module`` is an AnsibleModule. ``work`` returns the module's result; ``changed`` defaults to false, ``diff``
    is dropped unless the user asked for one, and ``warnings`` (a list of sentences) are shown to the user.
    A LifelineError becomes ``fail_json`` with its partial result. ``shown``: options that are unlogged only.
    """
    if shown:
        module.no_log_values = set(secrets(module.argument_spec, module.params, shown))
    try:
        result = work(module.params, module.check_mode)
    except LifelineError as error:
        module.fail_json(msg=str(error), **error.partial)
        return
    for warning in result.pop("warnings", []):
        module.warn(clean_text(warning))
    if not module._diff:
        result.pop("diff", None)
    result.setdefault("changed", False)
    module.exit_json(**result)
