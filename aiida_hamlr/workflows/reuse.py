"""Finding finished references and trainings with the same inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from aiida import orm

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.electronic.matrices.hamiltonian import FORMAT

__all__ = ('INPUTS_HASH', 'find_reference', 'find_training', 'hash_inputs', 'known_hashes')

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

    It does not depend on where `hamlr` is installed, so that an environment can be moved or made anew.

    :param inputs: inputs of a `ReferenceWorkChain` or a `TrainBaseWorkChain`.
    """
    return known_hashes(inputs)[0]


def known_hashes(inputs: Mapping) -> tuple[str, str]:
    """Return all hashes that a finished run with inputs of the same content may have.

    That of `hash_inputs`, and that of versions for which the place of `hamlr` counted.
    """
    leaves = [
        (f'{path}={node.base.caching.compute_hash()};', _is_hamlr(node)) for path, node in sorted(_leaves(inputs))
    ]
    texts = ''.join(text for text, is_hamlr in leaves if not is_hamlr), ''.join(text for text, _ in leaves)
    first, second = (hashlib.sha256(f'{FORMAT} {_COMPLETE_VERSION};{text}'.encode()).hexdigest() for text in texts)
    return first, second


def _is_hamlr(node: orm.Node) -> bool:
    return isinstance(node, orm.AbstractCode) and PurePath(node.filepath_executable).name == 'hamlr'


def find_reference(*hashes: str) -> HamiltonianData | None:
    """Return the Hamiltonian of a finished reference whose inputs have one of some hashes, or nothing.

    References that were marked as invalid for the cache do not count, nor do those whose remote files are missing.
    """
    query = _query_finished('hamlr.reference', hashes)
    query.append(
        HamiltonianData, with_incoming='process', edge_filters={'label': 'hamiltonian'}, project='*', tag='hamiltonian'
    )
    valid = (found for process, found in query.iterall() if process.base.caching.is_valid_cache)
    return next((found for found in valid if not find_gone([found])), None)


def find_training(*hashes: str) -> ModelData | None:
    """Return the model of a finished training whose inputs have one of some hashes, or nothing.

    Trainings that were marked as invalid for the cache do not count.
    """
    query = _query_finished('hamlr.train.base', hashes)
    query.append(ModelData, with_incoming='process', edge_filters={'label': 'model'}, project='*', tag='model')
    return next((found for process, found in query.iterall() if process.base.caching.is_valid_cache), None)


def _query_finished(entry_point: str, hashes: Sequence[str]) -> orm.QueryBuilder:
    """Return a query for the successful work chains whose inputs have one of some hashes, the newest first."""
    query = orm.QueryBuilder()
    query.append(
        orm.WorkChainNode,
        filters={
            'process_type': f'aiida.workflows:{entry_point}',
            f'extras.{INPUTS_HASH}': {'in': list(hashes)},
            'attributes.exit_status': 0,
        },
        tag='process',
        project='*',
    )
    return query.order_by({'process': {'id': 'desc'}})
