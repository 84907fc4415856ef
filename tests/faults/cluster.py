# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Causes of the family cluster: there is no role for a Redis Cluster, so no lab that has one."""

from __future__ import annotations

from base import FIXTURES

REASON = (
    "no role sets up a Redis Cluster; recorded from redis-servers in cluster mode on loopback (test_causes_cluster.py)"
)
for cause in ("cluster_majority_lost", "cluster_slots_lost", "cluster_nodes_file", "cluster_slot_open"):
    FIXTURES[cause] = REASON
