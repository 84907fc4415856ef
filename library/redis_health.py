#!/usr/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_health
short_description: Collect one host's evidence about a Redis estate
version_added: "0.1.0"
description:
  - Looks, from the host it runs on, at every server and sentinel of the estate, at the host's own systemd units, and at
    the data on its disk, in one call.
  - It changes nothing and does not fail because something is down. A dead server, a refused login or a missing Python
    library is part of the evidence.
  - The evidence holds no secret.
options:
  round:
    description:
      - What the caller calls this look at the estate. The control node notes it in RV(look), so that a plan is made of
        the answers of one look only.
    type: str
    default: ""
  name:
    description:
      - Inventory name of the host that the module runs on; goes with O(service) and O(nodes).
      - Without it nothing but O(endpoints) is looked at.
    type: str
  nodes:
    description: All Redis servers of the estate, as the inventory names them.
    required: false
    default: []
  service:
    description: Name that Sentinel monitors the estate under; without Sentinel any name of the estate.
    required: false
  url:
    description:
      - URL of a server without a host of ours, such as a managed one; the module then runs on the control node, and
        O(name) is the server's. Takes the place of O(nodes), and of all that is about the server's host.
    type: str
  endpoints:
    description:
      - Servers to look at side by side, such as a fleet. Each is asked whether it is there, what it is and how fast
        it answers. A thousand of them take about a second.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call it; the host when left out.
        type: str
      host:
        description: Address or name.
        type: str
      port:
        description: Port.
        type: int
        default: 6379
      url:
        description: URL with its own login, instead of O(endpoints[].host), O(endpoints[].port) and the login below.
        type: str
  units:
    description: systemd units of this host to look at.
    type: list
    elements: str
    default: []
  config_file:
    description: Configuration file of this host's Redis server; says where its data is.
    type: path
  sentinel_config_file:
    description: Configuration file of this host's sentinel. It is read only to know which secrets to leave out.
    type: path
  depth:
    description:
      - V(brief) looks at what a topology is made of.
      - V(full) looks as well at the host's system, processes and logs, and at its own server in detail.
      - V(posture) looks, beside V(brief), at how the host and its own server are set up, for M(redis_compliance).
    type: str
    choices: [brief, full, posture]
    default: brief
  details_user:
    description:
      - Who asks this host's own server for what O(login_user) may not ask, its settings, slow commands and users.
        Nobody else's server is asked as this user.
    type: str
  details_password:
    description: Password of O(details_user).
    type: str
  unix_socket:
    description: The host's own server is asked through this socket where its port does not do.
    type: path
  server_log:
    description: Log file of this host's server.
    type: path
  sentinel_log:
    description: Log file of this host's sentinel.
    type: path
  sentinel_config:
    description: Configuration file of this host's sentinel. Only whom it watches and who may write it are looked at.
    type: path
  log_minutes:
    description: How far back logs and journals are read, in minutes. A log of any size costs no more than its tail.
    type: float
    default: 15.0
  patience:
    description: Seconds that any single look of V(full) may take; what takes longer is named in RV(evidence.errors).
    type: float
    default: 2.0
  url_file:
    description: On an application host, the file whose variable O(url_variable) says how the application reaches Redis.
    type: path
  url_variable:
    description: Variable in O(url_file).
    type: str
    default: REDIS_URL
  cert_file:
    description: Certificate that this host's server and sentinel are to serve. Looked at with O(tls).
    type: path
  key_file:
    description: Private key that belongs to O(cert_file); only whether it does is looked at.
    type: path
  services:
    description: Units of the application on this host, as module M(rq_services) takes them.
    type: list
    elements: dict
    default: []
  endpoint_name:
    description: Name that role redis_endpoint gave the HAProxy of this host.
    type: str
  binds:
    description: Addresses with ports of this host, such as V(127.0.0.1:6379), whose holders are wanted.
    type: list
    elements: str
    default: []
  key_prefix:
    description: What RQ's keys begin with.
    type: str
    default: rq
  session_keys:
    description:
      - Patterns of keys that hold sessions. How many there are is estimated, from as many keys as can be read in 0.2 s.
    type: list
    elements: str
    default: []
  posture:
    description: Where O(depth=posture) finds what it cannot find out by itself.
    type: dict
    suboptions:
      key:
        description:
          - Key of the digests that passwords are compared by; the same for all hosts of a run, another for each run.
          - Without it, passwords of different hosts cannot be compared.
        type: str
      worker_units:
        description: Units of RQ's workers, or patterns of their names.
        type: list
        elements: str
        default: []
      log_shipper:
        description: Unit that sends this host's logs to another one.
        type: str
      baseline:
        description: JSON report of InSpec, cinc-auditor or goss about this host's operating system.
        type: path
      records:
        description: JSON records on this host that controls read, by name, such as C(backup).
        type: dict
        default: {}
attributes:
  check_mode:
    description: Reads only, so a check run is the same as a real one.
    support: full
  diff_mode:
    description: Changes nothing, so there is no diff.
    support: none
author:
  - Lifeline contributors (@lifeline)
extends_documentation_fragment:
  - redis_estate
  - redis_credentials
notes:
  - A login is enough that may run INFO on the servers, and INFO and SENTINEL on the sentinels.
"""

EXAMPLES = r"""
- name: Look at the estate from this host
  redis_health:
    name: "{{ inventory_hostname }}"
    nodes:
      - {name: redis1, host: 192.0.2.11, port: 6379}
      - {name: redis2, host: 192.0.2.12, port: 6379}
    service: orders
    units: [redis-server@main.service]
    config_file: /etc/redis/redis-main.conf
    login_user: observer
    login_password: "{{ redis_password_observer }}"

- name: Look at a managed server from the control node
  redis_health:
    name: managed
    service: orders
    url: "{{ vault_redis_url }}"
    depth: full
  delegate_to: localhost

- name: Look at a fleet
  redis_health:
    endpoints:
      - {name: orders, url: "{{ vault_orders_url }}"}
      - {name: billing, host: 192.0.2.12}
    login_password: "{{ vault_redis_password }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
endpoints:
  description: Each of O(endpoints), in their order. C(latency_ms) is what INFO took, all else that went on included.
  returned: with O(endpoints)
  type: list
  elements: dict
  sample:
    - {name: orders, host: 192.0.2.11, port: 6379, reachable: true, error: "", role: primary, version: 7.0.15,
       connect_ms: 0.4, latency_ms: 1.2, flavour: redis, loading: false, keys: 12, used_memory: 900000, maxmemory: 0,
       uptime_s: 86400}
    - {name: billing, host: 192.0.2.12, port: 6379, reachable: false, error: "refused: Connection refused",
       connect_ms: null, latency_ms: null}
look:
  description: Which host was asked, and O(round), as the control node knows it; not returned where there is none.
  returned: always
  type: dict
  sample: {host: redis1, round: "0"}
evidence:
  description: What this host saw.
  returned: with O(name)
  type: dict
  contains:
    version:
      description: Version of the evidence's format.
      type: int
      sample: 1
    host:
      description: O(name).
      type: str
      sample: redis1
    service:
      description: O(service).
      type: str
      sample: orders
    time:
      description: This host's clock, in seconds since 1970.
      type: float
      sample: 1790000000.123
    took_s:
      description: Seconds that the look took.
      type: float
      sample: 0.041
    library:
      description: Whether this host has the Python library redis. Without it, nodes and sentinels are not asked.
      type: bool
      sample: true
    managed:
      description: Whether the server was looked at through its O(url) alone.
      type: bool
      sample: true
    platform:
      description: The distribution that this host runs, and the first number of its release.
      type: dict
      sample: {distribution: debian, release: "12"}
    nodes:
      description: By name, what each server says of itself, or why it does not answer.
      type: dict
      sample: {redis1: {reachable: true, role: master, offset: 1234}}
    sentinels:
      description: By name, what each sentinel says of the estate, or why it does not answer.
      type: dict
      sample: {redis1: {reachable: true, primary: {host: 192.0.2.11, port: 6379}, quorum_ok: true}}
    units:
      description: By unit, its state.
      type: dict
      sample: {redis-server@main.service: {active: active, sub: running, result: success, pid: 612}}
    disk:
      description: Bytes free in the folders that configuration, data and logs go to.
      type: dict
      sample: {/etc: 8000000000, /var/lib: 8000000000, /var/log: 8000000000}
    files:
      description: What O(config_file) says about persistence, and what lies on disk (sizes in bytes).
      type: dict
      sample: {aof_configured: true, replicaof: null, aof: {size: 1048576, manifest: true, missing: []}}
    port:
      description:
        - Who holds the port of this host's server in O(nodes), on any address of the host. C(evidence.port.state) is
          V(held), V(free) or V(unknown). With a server of this host in O(nodes).
      type: dict
      sample: {number: 6379, state: held, pid: 612, name: redis-server, exe: /usr/bin/redis-check-rdb,
               unit: redis-server@main.service}
    sentinel_port:
      description: The same for the port of this host's sentinel in O(sentinels).
      type: dict
      sample: {number: 26379, state: free, pid: null, name: "", exe: "", unit: ""}
    binds:
      description: The same for each of O(binds).
      type: dict
      sample: {"127.0.0.1:6379": {number: 6379, state: held, pid: 77, name: haproxy, exe: /usr/sbin/haproxy,
                                  unit: redis-endpoint.service}}
    holdings:
      description:
        - Every server of the Redis family that runs on the host, and every snapshot and append-only file in the folders
          that processes, units, configuration files and the distribution name. C(evidence.holdings.complete) is false
          where anything could not be looked at.
      type: dict
      sample: {complete: true, data: [{path: /var/lib/redis/dump.rdb, kind: rdb, size: 88, age_s: 60.0, empty: true}],
               servers: [{pid: 612, name: redis-server, exe: /usr/bin/redis-check-rdb, unit: redis-server@main.service,
                          port: 6379, ports: [6379], config: /etc/redis/redis-main.conf, dir: /var/lib/redis/main}]}
    owned:
      description: What Lifeline made on this host, by the marks that it left there.
      type: list
      elements: str
      sample: [firewall, server, sentinel]
    system:
      description: Processor, memory, pressure, network, kernel settings and disks of the host. With O(depth=full).
      type: dict
      sample: {load: {cores: 2, one: 0.2}, memory: {total: 4000000000, available: 3000000000}}
    processes:
      description: By unit, its main process as the kernel sees it. With O(depth=full).
      type: dict
      sample: {redis-server@main.service: {pid: 612, state: S, rss_kb: 12000}}
    start:
      description: What the server will meet at its next start, its directives, addresses, ports and rights. With
        O(depth=full).
      type: dict
      sample: {directives: [bind, port], addresses: {192.0.2.11: true}, holders: {}, denied: {}}
    logs:
      description: Anomalies in logs and journals, grouped, and the last lines. With O(depth=full).
      type: dict
      sample: {server: {groups: {killed: {count: 1, sample: ...}}, last: []}}
    server:
      description: What the host's own server says in detail, without secrets. With O(depth=full).
      type: dict
      sample: {reachable: true, via: tcp, info: {maxmemory: 0}, config: {maxclients: "10000"}}
    sentinel_config:
      description: Whom the sentinel's file watches, and whether it may be rewritten. With O(sentinel_config).
      type: dict
      sample: {exists: true, writable: true, monitor: {host: 192.0.2.11, port: 6379, quorum: 2}}
    application:
      description: Whether the application's URL is answered from here, and by whom. With O(url_file).
      type: dict
      sample: {configured: true, host: 127.0.0.1, port: 6379, reachable: true, role: primary}
    jobs:
      description:
        - RQ's queues, workers and leases, and how many sessions there are, as the host's own server or the
          application's URL tells. With O(depth=full).
      type: dict
      sample: {reachable: true, queues: {default: {length: 3, failed: 12}}, workers: {live: 2, dead: 0}}
    services:
      description: What M(rq_services) finds wrong with the units in O(services).
      type: dict
      sample: {units: [{name: rq-web.service, kind: web, healthy: true, action: nothing}]}
    endpoint:
      description: The unit O(endpoint_name), and which servers it holds for up.
      type: dict
      sample: {unit: redis-endpoint.service, servers: {chosen: {redis1: UP}}}
    connections:
      description: How many connections there are to the host's own server, and from where. With O(depth=full).
      type: dict
      sample: {total: 12, by_address: {192.0.2.21: 6}}
    paths:
      description: Whether some connections to each other host lose packets, and how long they take. With O(depth=full).
      type: dict
      sample: {redis2: {tries: 6, answered: 6, refused: 0, best_ms: 0.2, error: ""}}
    names:
      description: What the names among the estate's addresses resolve to on this host. With O(depth=full).
      type: dict
      sample: {redis2.example.com: {addresses: [192.0.2.12], error: ""}}
    tls:
      description: Until when the certificates on disk and on the wire are good, and whether they are the same.
      type: dict
      sample: {file: {not_after: 1790000000.0, key_fits: true}, ports: {server: {port: 6379, same: true}}}
    posture:
      description: How the host and its own server are set up. With O(depth=posture).
      type: dict
      sample: {container: false, listening: [{address: 192.0.2.11, port: 6379}]}
    errors:
      description: Sections that could not be looked at, and why. With O(depth=full).
      type: dict
      sample: {logs: "timeout: nothing within 4 s"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lifeline.common.spec import credentials_spec, endpoint_list, estate_spec, run, unlogged
from ansible.module_utils.lifeline.observe.host import look


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "round": {"type": "str", "default": ""},
            **estate_spec(),
            "nodes": endpoint_list(default=[]),
            "service": {"type": "str"},
            "url": {"type": "str", "no_log": True},
            "endpoints": unlogged(
                {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "name": {"type": "str"},
                        "host": {"type": "str"},
                        "port": {"type": "int", "default": 6379},
                        "url": {"type": "str", "no_log": True},
                    },
                }
            ),
            "units": {"type": "list", "elements": "str", "default": []},
            "config_file": {"type": "path"},
            "sentinel_config_file": {"type": "path"},
            "depth": {"type": "str", "choices": ["brief", "full", "posture"], "default": "brief"},
            "posture": unlogged(
                {
                    "type": "dict",
                    "options": {
                        "key": {"type": "str", "no_log": True},
                        "worker_units": {"type": "list", "elements": "str", "default": []},
                        "log_shipper": {"type": "str"},
                        "baseline": {"type": "path"},
                        "records": {"type": "dict", "default": {}},
                    },
                }
            ),
            "details_user": {"type": "str"},
            "details_password": {"type": "str", "no_log": True},
            "unix_socket": {"type": "path"},
            "server_log": {"type": "path"},
            "sentinel_log": {"type": "path"},
            "sentinel_config": {"type": "path"},
            "log_minutes": {"type": "float", "default": 15.0},
            "patience": {"type": "float", "default": 2.0},
            "url_file": {"type": "path"},
            "url_variable": {"type": "str", "default": "REDIS_URL"},
            "cert_file": {"type": "path"},
            "key_file": {"type": "path", "no_log": False},
            "services": {"type": "list", "elements": "dict", "default": []},
            "endpoint_name": {"type": "str"},
            "binds": {"type": "list", "elements": "str", "default": []},
            "key_prefix": {"type": "str", "default": "rq", "no_log": False},
            "session_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            **credentials_spec(),
        },
        required_one_of=[("name", "endpoints")],
        required_by={"name": ("service",)},
        supports_check_mode=True,
    )
    run(module, look, shown=("endpoints", "posture"))


if __name__ == "__main__":
    main()
