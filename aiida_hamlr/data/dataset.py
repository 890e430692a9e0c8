"""Hamiltonians of a study, split into training, validation and test, as a node."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from aiida.common.exceptions import ValidationError
from aiida.orm import Data, QueryBuilder
from aiida.orm.pydantic import OrmMetadataField

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.orbitals.basis import joint_hash

__all__ = ('DatasetData',)

SPLITS = ('train', 'validation', 'test')


class DatasetData(Data):
    """The Hamiltonians for the training, the validation and the test of a model.

    The node contains the UUIDs of the Hamiltonians. It is created by the calculation function
    :func:`~aiida_hamlr.calculations.functions.dataset.create_dataset`, which links it to them.
    """

    class AttributesModel(Data.AttributesModel):
        """Attributes to query for."""

        train: list[str] = OrmMetadataField(default_factory=list, description='UUIDs of the training Hamiltonians')
        validation: list[str] = OrmMetadataField(
            default_factory=list, description='UUIDs of the Hamiltonians whose errors choose the best epoch'
        )
        test: list[str] = OrmMetadataField(
            default_factory=list,
            description='UUIDs of the Hamiltonians for the test errors, which the training does not use',
        )
        n_train: int = OrmMetadataField(0, description='Number of Hamiltonians for training')
        n_validation: int = OrmMetadataField(0, description='Number of Hamiltonians for validation')
        n_test: int = OrmMetadataField(0, description='Number of Hamiltonians for the test')
        seed: int | None = OrmMetadataField(None, description='Seed of a random split')
        failures: dict = OrmMetadataField(
            default_factory=dict, description='For each structure without Hamiltonian, by label, the reason'
        )
        elements: list[str] = OrmMetadataField(default_factory=list, description='Chemical symbols of all structures')
        species: list[str] = OrmMetadataField(
            default_factory=list,
            description='Labels of the species: chemical symbols, and such as H1 where an element has several',
        )
        functional: str = OrmMetadataField('', description='Exchange-correlation functional')
        basis_hash: str = OrmMetadataField('', description='Sha256 of the orbitals of all species')
        fingerprint: str = OrmMetadataField('', description='Sha256 of the files and of the split')

    # The same files in the same split are the same dataset, even if other nodes have them.
    _hash_ignored_attributes = SPLITS

    @classmethod
    def from_nodes(
        cls,
        split: Mapping[str, Sequence[HamiltonianData]],
        seed: int | None = None,
        failures: Mapping[str, str] | None = None,
    ) -> DatasetData:
        """Return a new node for stored Hamiltonians; ``create_dataset`` also creates the provenance links.

        :param split: the Hamiltonians of ``train``, ``validation`` and ``test``; the latter two may be empty.
        :param failures: for each structure without Hamiltonian, by label, the reason.
        :raises ValueError: if no Hamiltonian is for training, one occurs twice, or functionals or bases differ.
        """
        unknown = sorted(set(split) - set(SPLITS))
        if unknown:
            raise ValueError(f'unknown part {unknown[0]!r} of the split; known are {", ".join(SPLITS)}')
        parts = {name: list(split.get(name, [])) for name in SPLITS}
        nodes = [node for part in parts.values() for node in part]
        if not parts['train']:
            raise ValueError('the dataset has no Hamiltonians to train on; put at least one into `train`')
        hashes = [node.base.attributes.get('sha256') for node in nodes]
        twice = sorted({node.pk for node, sha256 in zip(nodes, hashes, strict=True) if hashes.count(sha256) > 1})
        if twice:
            raise ValueError(f'the same Hamiltonian occurs twice in the dataset: nodes {twice}')
        functionals = sorted({node.base.attributes.get('functional') for node in nodes})
        if len(functionals) > 1:
            raise ValueError(
                f'the Hamiltonians have different functionals: {", ".join(functionals)}; use pseudopotentials of one '
                'functional'
            )
        # One node of each set of species knows the basis of these species.
        bases = {}
        for node in nodes:
            key = tuple(node.species)
            bases.setdefault(key, {}).setdefault(node.base.attributes.get('basis_hash'), node)
        for species, found in bases.items():
            if len(found) > 1:
                raise ValueError(
                    f'the Hamiltonians of {", ".join(species)} are in different bases: nodes '
                    f'{", ".join(str(node.pk) for node in found.values())}; give one basis node to all references'
                )
        fingerprint = hashlib.sha256()
        for name, part in parts.items():
            fingerprint.update(f'{name}:'.encode())
            fingerprint.update(' '.join(node.base.attributes.get('sha256') for node in part).encode())
        dataset = cls()
        dataset.base.attributes.set_many(
            {
                **{name: [node.uuid for node in part] for name, part in parts.items()},
                **{f'n_{name}': len(part) for name, part in parts.items()},
                'seed': seed,
                'failures': dict(failures or {}),
                'elements': sorted({element for node in nodes for element in node.base.attributes.get('elements')}),
                'species': sorted({label for species in bases for label in species}),
                'functional': functionals[0],
                'basis_hash': _joint_basis_hash([next(iter(found.values())) for found in bases.values()]),
                'fingerprint': fingerprint.hexdigest(),
            }
        )
        return dataset

    def get_uuids(self, part: str) -> list[str]:
        """Return the UUIDs of the Hamiltonians of ``train``, ``validation`` or ``test``."""
        return self.base.attributes.get(part)

    def get_hamiltonians(self, part: str) -> list[HamiltonianData]:
        """Return the nodes of ``train``, ``validation`` or ``test``, in their order.

        :raises ValueError: if Hamiltonians are missing in the database.
        """
        uuids = self.get_uuids(part)
        query = QueryBuilder().append(HamiltonianData, filters={'uuid': {'in': uuids}})
        nodes = {node.uuid: node for node in query.all(flat=True)} if uuids else {}
        missing = [uuid for uuid in uuids if uuid not in nodes]
        if missing:
            raise ValueError(
                f'{len(missing)} Hamiltonians of the dataset are not in this profile, for example {missing[0]}; import '
                'an archive that contains them'
            )
        return [nodes[uuid] for uuid in uuids]

    def get_remote(self) -> list[HamiltonianData]:
        """Return the Hamiltonians whose files are on a computer instead of in the repository."""
        uuids = [uuid for part in SPLITS for uuid in self.get_uuids(part)]
        query = QueryBuilder().append(
            HamiltonianData, filters={'uuid': {'in': uuids}, 'attributes.storage': 'remote'}, tag='node'
        )
        return query.order_by({'node': 'id'}).all(flat=True) if uuids else []

    def _validate(self):
        super()._validate()
        for name in SPLITS:
            if len(self.base.attributes.get(name, [])) != self.base.attributes.get(f'n_{name}', 0):
                raise ValidationError(f'n_{name} differs from the number of Hamiltonians in {name}')
        if not self.base.attributes.get('train', []):
            raise ValidationError('the dataset has no Hamiltonians to train on')
        return True


def _joint_basis_hash(nodes: Sequence[HamiltonianData]) -> str:
    """Hash of the union of the bases of some Hamiltonians.

    :raises ValueError: if two Hamiltonians have different orbitals of one species.
    """
    species = {}
    for node in nodes:
        for label, content_hash in node.base.attributes.get('basis_hashes').items():
            if species.setdefault(label, content_hash) != content_hash:
                raise ValueError(
                    f'the Hamiltonians have different orbitals of {label} (node {node.pk} is one of them); give one '
                    'basis node to all references'
                )
    return joint_hash(species)
