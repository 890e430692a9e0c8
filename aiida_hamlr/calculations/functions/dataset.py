"""Make a dataset node from Hamiltonian nodes."""

from __future__ import annotations

import random
from collections.abc import Collection

from aiida.engine import calcfunction
from aiida.orm import Dict, Int

from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('assemble_dataset', 'copy_without', 'create_dataset', 'random_split')

#: Hamiltonians from which on a part of a random split has at least two.
FEWEST_FOR_PAIRS = 8


@calcfunction
def create_dataset(
    split: Dict, seed: Int, failures: Dict | None = None, **hamiltonians: HamiltonianData
) -> DatasetData:
    """Return the dataset of the given Hamiltonians.

    :param split: the labels of the Hamiltonians in each of ``train``, ``validation`` and ``test``, or, for a random
        split, the fractions of ``validation`` and ``test``.
    :param seed: seed of a random split; always recorded.
    :param failures: for each structure without Hamiltonian, by label, the reason.
    :param hamiltonians: the Hamiltonians by label.
    """
    reasons = {} if failures is None else failures.get_dict()
    return assemble_dataset(split.get_dict(), seed.value, hamiltonians, reasons)


def assemble_dataset(
    split: dict, seed: int, hamiltonians: dict[str, HamiltonianData], failures: dict[str, str] | None = None
) -> DatasetData:
    """Return the dataset as a node without links; see `create_dataset`, which makes the links.

    :raises ValueError: if the split leaves nothing to train on, or the Hamiltonians do not fit together.
    """
    parts = split
    if all(isinstance(part, int | float) for part in parts.values()):
        parts = random_split(sorted(hamiltonians), parts.get('validation', 0.0), parts.get('test', 0.0), seed)
    unknown = sorted(set().union(*parts.values()) - set(hamiltonians))
    if unknown:
        raise ValueError(f'the split names {unknown[0]!r}, but no Hamiltonian has that label')
    nodes = {name: [hamiltonians[label] for label in labels] for name, labels in parts.items()}
    return DatasetData.from_nodes(nodes, seed=seed, failures=failures)


def copy_without(dataset: DatasetData, excluded: Collection[HamiltonianData]) -> DatasetData:
    """Return a stored dataset of the Hamiltonians of another one but some, each in the same part of the split.

    :param excluded: Hamiltonians to leave out.
    :raises ValueError: if one of them is not in the dataset, or nothing is left to train on.
    """
    parts = {part: dataset.get_hamiltonians(part) for part in SPLITS}
    known = {node.uuid for nodes in parts.values() for node in nodes}
    foreign = sorted(node.pk for node in excluded if node.uuid not in known)
    if foreign:
        raise ValueError(f'node {foreign[0]} is not in dataset {dataset.pk}; see its content with dataset show')
    left_out = {node.uuid for node in excluded}
    kept = {part: [node for node in nodes if node.uuid not in left_out] for part, nodes in parts.items()}
    if not kept['train']:
        raise ValueError('the dataset has no Hamiltonians to train on; leave out fewer of them')
    split = {part: [f'h{node.pk}' for node in nodes] for part, nodes in kept.items()}
    hamiltonians = {f'h{node.pk}': node for nodes in kept.values() for node in nodes}
    more = {'failures': Dict(failures)} if (failures := dataset.base.attributes.get('failures', {})) else {}
    seed = Int(dataset.base.attributes.get('seed', None) or 0)
    return create_dataset(split=Dict(split), seed=seed, **more, **hamiltonians)


def random_split(labels: list[str], validation: float, test: float, seed: int) -> dict[str, list[str]]:
    """Return the labels of ``train``, ``validation`` and ``test``; a part with a positive fraction is never empty.

    Of eight or more Hamiltonians, at least two are in such a part: the error of one structure says little.

    :raises ValueError: if nothing is left to train on.
    """
    shuffled = list(labels)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    least = 2 if len(labels) >= FEWEST_FOR_PAIRS else 1
    n_validation, n_test = (max(least, round(share * len(labels))) if share > 0 else 0 for share in (validation, test))
    if n_validation + n_test >= len(labels):
        raise ValueError(
            f'{len(labels)} Hamiltonians are too few: {n_validation} for validation and {n_test} for the test leave '
            'none to train on'
        )
    return {
        'validation': sorted(shuffled[:n_validation]),
        'test': sorted(shuffled[n_validation : n_validation + n_test]),
        'train': sorted(shuffled[n_validation + n_test :]),
    }
