"""Finding finished references and trainings with the same inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from aiida import orm

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.electronic.matrices.hamiltonian import FORMAT

__all__ = ('INPUTS_HASH', 'find_reference', 'find_training', 'hash_inputs')

#: Extra of a reference or a training with the hash of its inputs.
INPUTS_HASH = 'hamlr_inputs_hash'

#: Version of the Hamiltonian file that first had all that references record today: they are found again as long as it
#: stays. A version for data that only other Hamiltonians have, as 8 for both spins and spin-orbit coupling, is none.
_COMPLETE_VERSION = 7

#: Inputs that change neither the Hamiltonian nor the model.
_IRRELEVANT = (
    'metadata',
    'clean_workdir',
    'max_iterations',
    'handler_overrides',
    'on_unhandled_failure',
    'pause_on_max_iterations',
    'storage',
    'properties',
    'monitors',
)


def _leaves(inputs: Mapping, prefix: str = '') -> Iterator[tuple[str, orm.Node]]:
    for key, value in inputs.items():
        if key in _IRRELEVANT:
            continue
        if isinstance(value, orm.Node):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, f'{prefix}{key}.')


def hash_inputs(inputs: Mapping) -> str:
    """Return a hash of the content of all input nodes on which the result depends.

    :param inputs: inputs of a `ReferenceWorkChain` or a `TrainBaseWorkChain`.
    """
    digest = hashlib.sha256(f'{FORMAT} {_COMPLETE_VERSION};'.encode())
    for path, node in sorted(_leaves(inputs)):
        digest.update(f'{path}={node.base.caching.compute_hash()};'.encode())
    return digest.hexdigest()


def find_reference(inputs_hash: str) -> HamiltonianData | None:
    """Return the Hamiltonian of a finished reference with inputs of the same content, or nothing.

    References that were marked as invalid for the cache do not count, nor do those whose remote files are missing.
    """
    query = _query_finished('hamlr.reference', inputs_hash)
    query.append(
        HamiltonianData, with_incoming='process', edge_filters={'label': 'hamiltonian'}, project='*', tag='hamiltonian'
    )
    valid = (found for process, found in query.iterall() if process.base.caching.is_valid_cache)
    return next((found for found in valid if not find_gone([found])), None)


def find_training(inputs_hash: str) -> ModelData | None:
    """Return the model of a finished training with inputs of the same content, or nothing.

    Trainings that were marked as invalid for the cache do not count.
    """
    query = _query_finished('hamlr.train.base', inputs_hash)
    query.append(ModelData, with_incoming='process', edge_filters={'label': 'model'}, project='*', tag='model')
    return next((found for process, found in query.iterall() if process.base.caching.is_valid_cache), None)


def _query_finished(entry_point: str, inputs_hash: str) -> orm.QueryBuilder:
    """Return a query for the successful work chains with a hash of their inputs, the newest first."""
    query = orm.QueryBuilder()
    query.append(
        orm.WorkChainNode,
        filters={
            'process_type': f'aiida.workflows:{entry_point}',
            f'extras.{INPUTS_HASH}': inputs_hash,
            'attributes.exit_status': 0,
        },
        tag='process',
        project='*',
    )
    return query.order_by({'process': {'id': 'desc'}})
