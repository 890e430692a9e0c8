"""A Hamiltonian file as a node."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from aiida.common.exceptions import ValidationError
from aiida.orm import Data, StructureData
from aiida.orm.pydantic import OrmMetadataField

from aiida_hamlr.electronic.hamiltonian import MATRICES, Hamiltonian

__all__ = ('HamiltonianData',)

#: What the node says of the verification of a reconstructed Hamiltonian.
VERIFICATION = (
    'band_mae_occupied_meV',
    'band_mae_conduction_meV',
    'band_mae_window_meV',
    'variational_violation_meV',
    'variational_violation_truncated_meV',
    'cutoff_error_meV',
    'overlap_condition_number',
)


class HamiltonianData(Data):
    """Hamiltonian, overlap and what belongs to them of one structure in a basis of atomic orbitals."""

    FILENAME = 'hamiltonian.h5'

    class AttributesModel(Data.AttributesModel):
        """Attributes to query for."""

        formula: str = OrmMetadataField('', description='Chemical formula in the order of Hill')
        elements: list[str] = OrmMetadataField(default_factory=list, description='Chemical symbols of the structure')
        n_atoms: int = OrmMetadataField(0, description='Number of atoms in the cell')
        n_orbitals: int = OrmMetadataField(0, description='Number of orbitals in the cell')
        n_pairs: int = OrmMetadataField(0, description='Number of stored blocks, both directions of a pair counted')
        n_spin: int = OrmMetadataField(1, description='Number of spin channels')
        magnetization: float | None = OrmMetadataField(
            None, description='Total magnetization in Bohr magnetons per cell; nothing without spin'
        )
        n_electrons: float | None = OrmMetadataField(None, description='Number of electrons in the cell')
        gap: float | None = OrmMetadataField(None, description='Band gap in eV on the k-points of the calculation')
        fermi_level: float | None = OrmMetadataField(None, description='Fermi level in eV, in the stored gauge')
        vacuum_level: float | None = OrmMetadataField(
            None, description='Electrostatic vacuum level of a slab in eV, in the stored gauge'
        )
        band_mae_occupied_meV: float | None = OrmMetadataField(  # noqa: N815 the key of the file
            None, description='Mean error in meV of the occupied bands against those of the plane-wave run'
        )
        band_mae_conduction_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the lowest conduction bands against those of the plane-wave run'
        )
        band_mae_window_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the empty states up to 2 eV above the conduction-band minimum'
        )
        variational_violation_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='How far in meV an eigenvalue lies below that of the plane-wave run at most'
        )
        variational_violation_truncated_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='The same of the basis truncated at the cutoff of the run, where it was checked'
        )
        cutoff_error_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='How far in meV the truncation at the cutoff of the run moves an eigenvalue at most'
        )
        overlap_condition_number: float | None = OrmMetadataField(
            None, description='Condition number of the overlap, the largest of some k-points'
        )
        gauge: str = OrmMetadataField('', description='What fixes the zero of energy, as in `neutral_atom`')
        origin: str = OrmMetadataField('', description='Where the numbers come from: reference, predicted or h0')
        functional: str = OrmMetadataField('', description='Exchange-correlation functional')
        matrices: list[str] = OrmMetadataField(default_factory=list, description='Names of the matrices in the file')
        labels: list[str] = OrmMetadataField(
            default_factory=list, description='What the file tells of every atom, as in `hirshfeld_charges`'
        )
        basis_hash: str = OrmMetadataField('', description='Sha256 of the orbitals, as in the basis node')
        storage: str = OrmMetadataField('repository', description='Where the file lies')
        size: int = OrmMetadataField(0, description='Size of the file in bytes')
        sha256: str = OrmMetadataField('', description='Sha256 of the file')

    @classmethod
    def from_file(cls, path: str | Path, **kwargs) -> HamiltonianData:
        """Return a new node with a Hamiltonian file.

        :raises ValueError: if it is not a Hamiltonian file, truncated or damaged.
        """
        path = Path(path)
        hamiltonian = Hamiltonian.read(path)
        node = cls(**kwargs)
        node.base.repository.put_object_from_file(str(path.absolute()), cls.FILENAME)
        with path.open('rb') as stream:
            digest = hashlib.file_digest(stream, 'sha256') if hasattr(hashlib, 'file_digest') else _digest(stream)
        node.base.attributes.set_many(
            {
                **cls._describe(hamiltonian),
                'storage': 'repository',
                'size': path.stat().st_size,
                'sha256': digest.hexdigest(),
            }
        )
        return node

    @classmethod
    def from_hamiltonian(cls, hamiltonian: Hamiltonian, **kwargs) -> HamiltonianData:
        """Return a new node with a Hamiltonian that is in memory."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / cls.FILENAME
            hamiltonian.write(path)
            return cls.from_file(path, **kwargs)

    def open(self, matrices=MATRICES) -> Hamiltonian:
        """Return the Hamiltonian with those of the named matrices that the file holds."""
        with self.base.repository.open(self.FILENAME, 'rb') as stream:
            return Hamiltonian.read(stream, matrices)

    def get_structure(self) -> StructureData:
        """Return the structure as a new node that is not stored."""
        return StructureData(ase=self.open(matrices=()).atoms)

    def export(self, path: str | Path):
        """Copy the file out of the repository."""
        Path(path).write_bytes(self.base.repository.get_object_content(self.FILENAME, 'rb'))

    @staticmethod
    def _describe(hamiltonian: Hamiltonian) -> dict:
        attributes = hamiltonian.attributes
        verification = attributes.get('verification') or {}
        return {
            'formula': hamiltonian.atoms.get_chemical_formula(mode='hill'),
            'elements': sorted(set(hamiltonian.symbols)),
            'n_atoms': len(hamiltonian.atoms),
            'n_orbitals': int(hamiltonian.pattern.orbital_offsets[-1]),
            'n_pairs': len(hamiltonian.pattern),
            'n_spin': int(attributes.get('n_spin', 1)),
            'magnetization': attributes.get('magnetization'),
            'n_electrons': attributes.get('n_electrons'),
            'gap': attributes.get('gap_eV'),
            'fermi_level': attributes.get('fermi_level_eV'),
            'vacuum_level': attributes.get('vacuum_level_eV'),
            **{key: verification.get(key) for key in VERIFICATION},
            'gauge': attributes.get('gauge', ''),
            'origin': attributes.get('origin', ''),
            'functional': attributes.get('functional', ''),
            'matrices': sorted(hamiltonian.matrices),
            'labels': sorted(hamiltonian.labels),
            'basis_hash': hamiltonian.basis.content_hash,
        }

    def _validate(self):
        super()._validate()
        if self.FILENAME not in self.base.repository.list_object_names():
            raise ValidationError(f'the node has no file {self.FILENAME}')
        try:
            found = self._describe(self.open(matrices=()))
        except ValueError as error:
            raise ValidationError(str(error)) from error
        for key in ('formula', 'n_atoms', 'n_orbitals', 'n_pairs', 'basis_hash'):
            if self.base.attributes.get(key, None) != found[key]:
                raise ValidationError(
                    f'attribute {key} is {self.base.attributes.get(key, None)!r}, but the file says {found[key]!r}'
                )
        return True


def _digest(stream):
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest
