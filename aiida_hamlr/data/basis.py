"""Atomic orbitals as a node."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiida.common.exceptions import ValidationError
from aiida.orm import Data
from aiida.orm.pydantic import OrmMetadataField
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import check_label
from aiida_hamlr.io.bases import read_basis

__all__ = ('BasisData',)

#: Keys of the basis files that the node takes over: band errors of contracted and of plain orbitals.
BAND_ERRORS = tuple(
    f'band_error_{bands}{recipe}_meV' for bands in ('occupied', 'conduction') for recipe in ('', '_plain')
)


class BasisData(Data):
    """Numerical atomic orbitals of one or several elements, one basis file for each."""

    class AttributesModel(Data.AttributesModel):
        """Attributes to query for."""

        elements: list[str] = OrmMetadataField(
            default_factory=list, description='Chemical symbols, in alphabetical order'
        )
        species: list[str] = OrmMetadataField(
            default_factory=list,
            description='Labels of the species: chemical symbols, and such as H1 where an element has several',
        )
        sizes: dict = OrmMetadataField(default_factory=dict, description="Size of each species' basis, as in `dzp`")
        cutoffs: dict = OrmMetadataField(
            default_factory=dict, description="Largest cutoff radius of each species' orbitals in bohr"
        )
        n_orbitals: dict = OrmMetadataField(
            default_factory=dict, description='Number of orbitals of an atom of each species'
        )
        functional: str = OrmMetadataField('', description='Exchange-correlation functional of the pseudopotentials')
        recipe: str = OrmMetadataField('', description='Origin of the orbitals: contracted, plain or imported')
        band_error_occupied_meV: float | None = OrmMetadataField(  # noqa: N815 the key of the file
            None, description='Mean error in meV of the occupied bands of the crystals used for the contraction'
        )
        band_error_conduction_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the lowest four conduction bands of these crystals'
        )
        band_error_occupied_plain_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the occupied bands of these crystals with plain orbitals'
        )
        band_error_conduction_plain_meV: float | None = OrmMetadataField(  # noqa: N815
            None, description='Mean error in meV of the conduction bands of these crystals with plain orbitals'
        )
        content_hash: str = OrmMetadataField('', description='Sha256 of the radial functions of all elements')

    @staticmethod
    def filename(label: str) -> str:
        """Return the name of the file of a species in the repository of the node."""
        return f'{label}.basis.h5'

    @classmethod
    def from_files(
        cls,
        paths: Iterable[str | Path] | Mapping[str, str | Path],
        selections: Mapping[str, str] | None = None,
        **kwargs,
    ) -> BasisData:
        """Return a new node with the given basis files, one of each element, or of each species.

        Orbitals of SIESTA (``.ion.xml``), ABACUS (``.orb``) and OpenMX (``.pao``) are converted to basis files, whose
        metadata record the original format and file name.

        :param paths: the files, or the files by label of the species.
        :param selections: orbitals to take from a ``.pao`` file, by file name, as in ``{'Al_CA19.pao': 's2p2d1'}``.
        :raises ValueError: if a file has no orbitals, two are of one species, or a label is one of another element.
        """
        species: dict[str, tuple[SpeciesBasis, Path]] = {}
        for label, path in paths.items() if isinstance(paths, Mapping) else ((None, path) for path in paths):
            path = Path(path)
            basis = read_basis(path, (selections or {}).get(path.name))
            label = label or basis.element
            if label in species:
                raise ValueError(f'{path}: a basis of {label} was already given by {species[label][1]}')
            check_label(label, basis.element, f'{path}: basis')
            species[label] = (basis, path)
        node = cls(**kwargs)
        with tempfile.TemporaryDirectory() as folder:
            for label, (basis, path) in species.items():
                name, source = cls.filename(label), path
                if path.suffix != '.h5':
                    source = Path(folder) / name
                    basis.write(source)
                node.base.repository.put_object_from_file(str(source.absolute()), name)
        node._set_attributes(Basis({label: basis for label, (basis, _) in species.items()}))
        return node

    @classmethod
    def from_file(cls, path: str | Path, **kwargs) -> BasisData:
        """Return a new node with the orbitals of one element."""
        return cls.from_files([path], **kwargs)

    @classmethod
    def from_basis(cls, basis: Basis, **kwargs) -> BasisData:
        """Return a new node with a basis that is in memory."""
        with tempfile.TemporaryDirectory() as folder:
            paths = {label: Path(folder) / cls.filename(label) for label in basis}
            for label, path in paths.items():
                basis[label].write(path)
            return cls.from_files(paths, **kwargs)

    def get_basis(self) -> Basis:
        """Return the orbitals."""
        return Basis({label: self._read(label) for label in self.species})

    @property
    def elements(self) -> list[str]:
        """Return the chemical symbols."""
        return self.base.attributes.get('elements')

    @property
    def species(self) -> list[str]:
        """Return the labels of the species."""
        # Nodes without this attribute are older than species.
        return self.base.attributes.get('species', self.elements)

    @property
    def content_hash(self) -> str:
        """Return the hash that Hamiltonians and models record."""
        return self.base.attributes.get('content_hash')

    def get_pseudos(self) -> dict[str, UpfData]:
        """Return the pseudopotentials of the calculation that generated the orbitals, by species; empty if imported."""
        return {} if self.creator is None else dict(self.creator.inputs.pseudos)

    def plot(self, path: str | Path, pseudos: Mapping[str, UpfData] | None = None) -> Path:
        """Draw the bands of a simple crystal in plane waves and in the orbitals; as slow as generating them.

        :param path: PNG, SVG or PDF file.
        :param pseudos: pseudopotentials by species; by default those of the calculation that generated the orbitals.
        :raises ValueError: if a species has no pseudopotential.
        """
        from aiida_hamlr.electronic.contraction.basis_bands import bands_of_basis, crystal_of_basis
        from aiida_hamlr.plotting.basis import plot_basis

        basis = self.get_basis()
        given = pseudos or self.get_pseudos()
        missing = [label for label in basis if label not in given]
        if missing:
            raise ValueError(
                f'no pseudopotential of {", ".join(missing)}: no calculation made the orbitals, give pseudopotentials'
            )
        read = {label: Pseudopotential.from_text(given[label].get_content(), given[label].filename) for label in basis}
        return plot_basis(bands_of_basis(crystal_of_basis(basis), read, basis), path)

    def _read(self, label: str) -> SpeciesBasis:
        with self.base.repository.open(self.filename(label), 'rb') as stream:
            return SpeciesBasis.read(stream)

    def _set_attributes(self, basis: Basis):
        functionals = {species.metadata.get('functional', '') for species in basis.values()}
        if len(functionals) > 1:
            raise ValueError(f'the elements have bases of different functionals: {", ".join(sorted(functionals))}')
        self.base.attributes.set_many(
            {
                'elements': sorted({species.element for species in basis.values()}),
                'species': list(basis),
                'sizes': {label: species.metadata.get('size', '') for label, species in basis.items()},
                'cutoffs': {label: species.cutoff_radius for label, species in basis.items()},
                'n_orbitals': {label: species.n_orbitals for label, species in basis.items()},
                'functional': functionals.pop() if functionals else '',
                'recipe': ', '.join(sorted({species.metadata.get('recipe', '') for species in basis.values()})),
                **{key: _mean(species.metadata.get(key) for species in basis.values()) for key in BAND_ERRORS},
                'content_hash': basis.content_hash,
            }
        )

    def _validate(self):
        super()._validate()
        if not self.base.attributes.get('elements', []):
            raise ValidationError('the basis has no elements')
        missing = [
            name for name in map(self.filename, self.species) if name not in self.base.repository.list_object_names()
        ]
        if missing:
            raise ValidationError(f'the basis files {", ".join(missing)} are missing')
        try:
            content_hash = self.get_basis().content_hash
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if content_hash != self.content_hash:
            raise ValidationError('the hash of the basis files differs from the hash that the node records')
        return True


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values, or nothing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
