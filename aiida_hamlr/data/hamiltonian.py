"""A Hamiltonian file as a node."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from aiida.common.exceptions import NotExistent, ValidationError
from aiida.orm import Computer, Data, StructureData
from aiida.orm.pydantic import OrmMetadataField

from aiida_hamlr.data.connections import CONNECTION_ERRORS
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.electronic.files import file_sha256
from aiida_hamlr.electronic.matrices.description import describe, description_path, read_description, structure_of
from aiida_hamlr.electronic.matrices.hamiltonian import MATRICES, Hamiltonian
from aiida_hamlr.electronic.reading import read_text, shortened

__all__ = ('STORAGES', 'HamiltonianData')

#: Where the file of a Hamiltonian can be: in the repository of AiiDA, or on the computer where it was computed.
STORAGES = ('repository', 'remote')

#: Largest description of a file that stays where it is, bytes: one atom takes about a hundred.
LARGEST_DESCRIPTION = 1_000_000_000


class HamiltonianData(Data):
    """Hamiltonian, overlap and further matrices of one structure in a basis of atomic orbitals.

    The file is in the repository, or it stays on the computer where it was computed. In the latter case the node has a
    description of the file, and its path, size and sha256.
    """

    FILENAME = 'hamiltonian.h5'
    DESCRIPTION = description_path(FILENAME).name

    class AttributesModel(Data.AttributesModel):
        """Attributes to query for."""

        formula: str = OrmMetadataField('', description='Chemical formula in Hill order')
        elements: list[str] = OrmMetadataField(default_factory=list, description='Chemical symbols of the structure')
        species: list[str] = OrmMetadataField(
            default_factory=list,
            description='Labels of the species: chemical symbols, and such as H1 where an element has several',
        )
        n_atoms: int = OrmMetadataField(0, description='Number of atoms in the cell')
        n_orbitals: int = OrmMetadataField(0, description='Number of orbitals in the cell')
        n_pairs: int = OrmMetadataField(
            0, description='Number of stored blocks; a pair of atoms has one block in each direction'
        )
        n_spin: int = OrmMetadataField(1, description='Number of spin channels')
        magnetization: float | None = OrmMetadataField(
            None, description='Total magnetization in Bohr magnetons per cell; null without spin'
        )
        magnetic_moments: list[float] | None = OrmMetadataField(
            None, description='Mulliken moments of the atoms of a reference in Bohr magnetons; null without spin'
        )
        n_electrons: float | None = OrmMetadataField(None, description='Number of electrons in the cell')
        gap: float | None = OrmMetadataField(
            None, description='Band gap in eV over the mesh of k-points and the band path'
        )
        direct_gap: float | None = OrmMetadataField(
            None, description='Smallest vertical gap in eV, on the same k-points'
        )
        spin_gaps: list[float | None] | None = OrmMetadataField(
            None,
            description='Gaps in eV of spin up and down on their own, 0 of a metallic spin; null without spin',
        )
        vbm_kpoint: list[float] | None = OrmMetadataField(
            None, description='k-point of the valence-band maximum, fractions of the reciprocal vectors'
        )
        cbm_kpoint: list[float] | None = OrmMetadataField(
            None, description='k-point of the conduction-band minimum, fractions of the reciprocal vectors'
        )
        kpoints: list[int] | None = OrmMetadataField(None, description='Mesh of k-points of Fermi level and gap')
        fermi_level: float | None = OrmMetadataField(None, description='Fermi level in eV, in the stored gauge')
        vacuum_level: float | None = OrmMetadataField(
            None, description='Electrostatic vacuum level of a slab in eV, in the stored gauge'
        )
        band_mae_occupied_meV: float | None = OrmMetadataField(  # noqa: N815 the key of the file
            None, description='Mean error in meV of the occupied bands with respect to the plane-wave run'
        )
        band_mae_conduction_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the lowest conduction bands with respect to the plane-wave run'
        )
        band_mae_window_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the empty states up to 2 eV above the conduction-band minimum'
        )
        variational_violation_meV: float | None = OrmMetadataField(  # noqa: N815
            None,
            description='Largest amount in meV by which an eigenvalue is below the eigenvalue of the plane-wave run',
        )
        variational_violation_truncated_meV: float | None = OrmMetadataField(  # noqa: N815
            None,
            description='Variational violation in meV of the basis truncated at the cutoff of the run, if checked',
        )
        cutoff_error_meV: float | None = OrmMetadataField(  # noqa: N815
            None,
            description='Largest shift in meV of an eigenvalue when the basis is truncated at the cutoff of the run',
        )
        overlap_condition_number: float | None = OrmMetadataField(
            None, description='Condition number of the overlap, the largest value of several k-points'
        )
        plane_wave_error_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='How far in meV plane-wave levels of its potential are from those of the run at most'
        )
        vacuum_levels: list[float] | None = OrmMetadataField(
            None, description='Vacuum levels in eV below and above a slab, where the run resolves its sides'
        )
        warnings: list[str] = OrmMetadataField(
            default_factory=list, description='What speaks against the use of the Hamiltonian, a line each'
        )
        gauge: str = OrmMetadataField('', description='Convention for the zero of energy, for example neutral_atom')
        origin: str = OrmMetadataField('', description='Origin of the matrices: reference, predicted, h0 or imported')
        source_format: str | None = OrmMetadataField(
            None, description='Format that an imported Hamiltonian was read from, for example deepx; else null'
        )
        functional: str = OrmMetadataField('', description='Exchange-correlation functional')
        matrices: list[str] = OrmMetadataField(default_factory=list, description='Names of the matrices in the file')
        labels: list[str] = OrmMetadataField(
            default_factory=list,
            description='Names of further data in the file, for example `hirshfeld_charges` or `born_charges`',
        )
        basis_hash: str = OrmMetadataField('', description='Sha256 of the orbitals, as in the basis node')
        basis_hashes: dict = OrmMetadataField(default_factory=dict, description='Sha256 of the orbitals by species')
        storage: str = OrmMetadataField('repository', description='Where the file is: repository or remote')
        remote_path: str | None = OrmMetadataField(
            None, description='Absolute path of a remote file, on the computer of the node'
        )
        size: int = OrmMetadataField(0, description='Size of the file in bytes')
        sha256: str = OrmMetadataField('', description='Sha256 of the file')

    @classmethod
    def from_file(cls, path: str | Path, **kwargs) -> HamiltonianData:
        """Return a new node with a Hamiltonian file.

        :raises ValueError: if the file is not a Hamiltonian file, or is truncated or damaged.
        """
        path = Path(path)
        hamiltonian = Hamiltonian.read(path)
        _check_finite(describe(hamiltonian), path)
        node = cls(**kwargs)
        node.base.repository.put_object_from_file(str(path.absolute()), cls.FILENAME)
        node.base.attributes.set_many(
            {
                **describe(hamiltonian),
                'storage': 'repository',
                'size': path.stat().st_size,
                'sha256': file_sha256(path),
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

    @classmethod
    def from_remote(
        cls, description: str | Path, computer: Computer, remote_path: str | PurePosixPath, **kwargs
    ) -> HamiltonianData:
        """Return a new node for a Hamiltonian file that stays on a computer; the file itself is not read.

        :param description: the JSON file that `hamlr` wrote beside the Hamiltonian file.
        :param remote_path: absolute path of the Hamiltonian file.
        :raises ValueError: if the description is damaged or the path is not absolute.
        """
        text = read_text(description, LARGEST_DESCRIPTION)
        content = read_description(text, str(description))
        unknown = sorted(set(content['attributes']) - set(cls.AttributesModel.model_fields))
        if unknown:
            raise ValueError(f'{description}: unknown attribute {shortened(unknown[0])!r}')
        _check_finite(content['attributes'], description)
        remote_path = PurePosixPath(remote_path)
        if not remote_path.is_absolute():
            raise ValueError(f'{remote_path}: not an absolute path')
        node = cls(computer=computer, **kwargs)
        node.base.repository.put_object_from_bytes(text.encode(), cls.DESCRIPTION)
        node.base.attributes.set_many(
            {
                **content['attributes'],
                'storage': 'remote',
                'remote_path': str(remote_path),
                'size': content['size'],
                'sha256': content['sha256'],
            }
        )
        return node

    @property
    def species(self) -> list[str]:
        """Return the labels of the species."""
        # Nodes without this attribute are older than species.
        return self.base.attributes.get('species', self.base.attributes.get('elements'))

    @property
    def is_remote(self) -> bool:
        """Return whether the file is on the computer of the node instead of in the repository."""
        return self.base.attributes.get('storage', None) == 'remote'

    def open(self, matrices=MATRICES) -> Hamiltonian:
        """Return the Hamiltonian with the named matrices, as far as the file has them; a remote file is fetched first.

        :raises ValueError: if a remote file is missing or has changed.
        """
        with self._open_file() as stream:
            return Hamiltonian.read(stream, matrices)

    def get_structure(self) -> StructureData:
        """Return the structure as a new node that is not stored."""
        if self.is_remote:
            content = read_description(self.base.repository.get_object_content(self.DESCRIPTION), self.DESCRIPTION)
            return structure_from_atoms(structure_of(content, self.DESCRIPTION))
        return structure_from_atoms(self.open(matrices=()).atoms)

    def export(self, path: str | Path):
        """Copy the file from the repository, or from the computer where it is.

        :raises ValueError: if a remote file is missing or has changed.
        """
        with self._open_file() as stream, Path(path).open('wb') as output:
            shutil.copyfileobj(stream, output)

    def check_file(self, path: str | Path):
        """Raise ``ValueError`` unless a file has the size and the sha256 that the node records."""
        size, sha256 = Path(path).stat().st_size, file_sha256(path)
        expected = self.base.attributes.get('size'), self.base.attributes.get('sha256')
        if (size, sha256) != expected:
            raise ValueError(
                f'{self._place}: not the file that the node was created from: {size} bytes with sha256 {sha256[:12]}… '
                f'instead of {expected[0]} with {expected[1][:12]}…; it was overwritten or '
                'damaged: compute the Hamiltonian again'
            )

    @property
    def _place(self) -> str:
        return f'HamiltonianData<{self.pk}>: {self.base.attributes.get("remote_path")} on {self.computer.label}'

    @contextmanager
    def _open_file(self) -> Iterator[BinaryIO]:
        """Yield the file, from a temporary copy if it is remote."""
        if not self.is_remote:
            with self.base.repository.open(self.FILENAME, 'rb') as stream:
                yield stream
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.FILENAME
            self._fetch(path)
            self.check_file(path)
            with path.open('rb') as stream:
                yield stream

    def _fetch(self, path: Path):
        remote_path = self.base.attributes.get('remote_path')
        try:
            with self.computer.get_transport() as transport:
                there = transport.isfile(remote_path)
                if there:
                    transport.getfile(remote_path, str(path))
        except NotExistent as error:
            raise ValueError(f'{self._place}: the computer is not configured; run verdi computer configure') from error
        except CONNECTION_ERRORS as error:
            raise ValueError(f'{self._place}: the file cannot be fetched: {error}') from error
        if not there:
            raise ValueError(
                f'{self._place}: the file is gone; restore it at that place, or compute the Hamiltonian again'
            )

    def _validate(self):
        super()._validate()
        filename = self.DESCRIPTION if self.is_remote else self.FILENAME
        if filename not in self.base.repository.list_object_names():
            raise ValidationError(f'the node has no file {filename}')
        try:
            if self.is_remote:
                found = read_description(self.base.repository.get_object_content(filename), filename)['attributes']
            else:
                found = describe(self.open(matrices=()))
        except ValueError as error:
            raise ValidationError(str(error)) from error
        for key in ('formula', 'n_atoms', 'n_orbitals', 'n_pairs', 'basis_hash'):
            if self.base.attributes.get(key, None) != found.get(key):
                raise ValidationError(
                    f'attribute {key} is {self.base.attributes.get(key, None)!r}, but the file says {found.get(key)!r}'
                )
        if self.is_remote and self.computer is None:
            raise ValidationError('a remote Hamiltonian needs the computer where its file is')
        return True


def _check_finite(attributes: dict, path: str | Path):
    """Raise ``ValueError`` if a number is one that a database cannot hold."""
    for key, value in attributes.items():
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f'{path}: {key} is {value}')
