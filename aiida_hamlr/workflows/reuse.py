"""Finding finished references with the same inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from aiida import orm

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.electronic.matrices.hamiltonian import FORMAT, VERSION

__all__ = ('INPUTS_HASH', 'find_reference', 'hash_inputs')

#: Extra of a reference with the hash of its inputs.
INPUTS_HASH = 'hamlr_inputs_hash'

#: Inputs that do not change the Hamiltonian.
_IRRELEVANT = ('metadata', 'clean_workdir', 'max_iterations', 'handler_overrides', 'on_unhandled_failure', 'storage')


def _leaves(inputs: Mapping, prefix: str = '') -> Iterator[tuple[str, orm.Node]]:
    for key, value in inputs.items():
        if key in _IRRELEVANT:
            continue
        if isinstance(value, orm.Node):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, f'{prefix}{key}.')


def hash_inputs(inputs: Mapping) -> str:
    """Return a hash of the content of all input nodes on which the Hamiltonian depends.

    :param inputs: inputs of a `ReferenceWorkChain`.
    """
    # Hamiltonians of an earlier version of the file lack data.
    digest = hashlib.sha256(f'{FORMAT} {VERSION};'.encode())
    for path, node in sorted(_leaves(inputs)):
        digest.update(f'{path}={node.base.caching.compute_hash()};'.encode())
    return digest.hexdigest()


def find_reference(inputs_hash: str) -> HamiltonianData | None:
    """Return the Hamiltonian of a finished reference with inputs of the same content, or nothing.

    References that were marked as invalid for the cache do not count, nor do those whose remote files are missing.
    """
    query = orm.QueryBuilder()
    query.append(
        orm.WorkChainNode,
        filters={
            'process_type': 'aiida.workflows:hamlr.reference',
            f'extras.{INPUTS_HASH}': inputs_hash,
            'attributes.exit_status': 0,
        },
        tag='reference',
        project='*',
    )
    query.append(
        HamiltonianData,
        with_incoming='reference',
        edge_filters={'label': 'hamiltonian'},
        project='*',
        tag='hamiltonian',
    )
    query.order_by({'reference': {'id': 'desc'}})
    valid = (found for reference, found in query.iterall() if reference.base.caching.is_valid_cache)
    return next((found for found in valid if not find_gone([found])), None)
