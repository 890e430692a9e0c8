"""Looking whether the files of Hamiltonians that stay on computers are still there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiida_hamlr.data.connections import CONNECTION_ERRORS
from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('find_gone', 'group_by_computer')


def group_by_computer(nodes: Iterable[HamiltonianData]) -> list[list[HamiltonianData]]:
    """Return the remote Hamiltonians among the given ones, one list for each computer."""
    parts = defaultdict(list)
    for node in nodes:
        if node.is_remote:
            parts[node.computer.pk].append(node)
    return list(parts.values())


def find_gone(nodes: Iterable[HamiltonianData]) -> list[HamiltonianData]:
    """Return the remote Hamiltonians whose file is missing or has another size.

    Each computer is connected to once. If it cannot be reached, its files count as being there: the job that needs them
    tries again until the connection is back.
    """
    gone = []
    for part in group_by_computer(nodes):
        try:
            with part[0].computer.get_transport() as transport:
                gone += [node for node in part if not _is_there(node, transport)]
        except CONNECTION_ERRORS:
            continue
    return gone


def _is_there(node: HamiltonianData, transport) -> bool:
    path = node.base.attributes.get('remote_path')
    return transport.isfile(path) and transport.get_attribute(path).st_size == node.base.attributes.get('size')
