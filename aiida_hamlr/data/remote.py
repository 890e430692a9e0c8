"""Looking for files on computers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from asyncssh import Error as AsyncSshError
from paramiko import SSHException

if TYPE_CHECKING:
    from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('CONNECTION_ERRORS', 'find_gone', 'group_by_computer')

#: What a broken connection raises, depending on the transport.
CONNECTION_ERRORS = (OSError, EOFError, AsyncSshError, SSHException)


def group_by_computer(nodes: Iterable[HamiltonianData]) -> list[list[HamiltonianData]]:
    """Return the remote ones of some Hamiltonians, those on one computer together."""
    parts = defaultdict(list)
    for node in nodes:
        if node.is_remote:
            parts[node.computer.pk].append(node)
    return list(parts.values())


def find_gone(nodes: Iterable[HamiltonianData]) -> list[HamiltonianData]:
    """Return those remote Hamiltonians whose files are known to be no longer where they were left, with their size.

    There is one connection for each computer. Of a computer that cannot be reached nothing is known: the job that needs
    the files tries until the connection is back.
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
