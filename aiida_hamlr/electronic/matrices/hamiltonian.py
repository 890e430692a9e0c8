"""A Hamiltonian in an orbital basis, its overlap, labels and attributes, and its file, ``hamiltonian.h5``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import (
    atomic_hdf5,
    check_digest,
    content_digest,
    read_array,
    read_hdf5,
)
from aiida_hamlr.electronic.lattice import unit_vector
from aiida_hamlr.electronic.magnetism import set_starting_moments, starting_moments
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes, count_occupied
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.species import set_species_labels, species_labels

FORMAT = 'hamlr-hamiltonian'
#: Version 8 has collinear spin and a spin-orbit part together, version 7 starting moments, version 6 a spin-orbit part,
#: version 5 species labels; what has none of them is written as version 4.
VERSION = 8

#: Name of the spin-orbit part, with a leading axis of length 3.
SPIN_ORBIT = 'spin_orbit'

#: The matrices that the file may hold, by name.
MATRICES = ('hamiltonian', 'overlap', 'h0', 'density_matrix', SPIN_ORBIT)

#: Those that states and their energies follow from, the last where a file has it.
OF_STATES = ('hamiltonian', 'overlap', SPIN_ORBIT)

#: Labels that the file may hold, and their shapes; None stands for the number of atoms.
LABELS = {
    'hirshfeld_charges': (None,),
    'hirshfeld_dipoles': (None, 3),
    'dielectric_tensor': (3, 3),
    'born_charges': (None, 3, 3),
}

#: Real spherical harmonics as e3nn defines them: a shell l is the irrep l of parity (-1)^l; p is (x, y, z).
ORBITAL_ORDER = 'e3nn'

#: What matrices of version 1, which have no sha256, must keep: M = M^T to this (eV), S_mumu = 1 to this.
SAME_WITHOUT_DIGEST, NORMALISED = 1e-6, 1e-2

#: Matrices that have a leading axis of length 2, spin up and spin down, in a spin-polarised Hamiltonian.
SPIN_MATRICES = ('hamiltonian', 'density_matrix')


@dataclass
class Hamiltonian:
    """Matrices of one structure in an orbital basis.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å, the species if elements have several (`aiida_hamlr.electronic.species`), and the
        starting moments of a magnetic structure (`aiida_hamlr.electronic.magnetism`).
    basis : Basis
        Orbitals of every species of the structure.
    pattern : BlockPattern
        Which atom pairs are stored; the same for all matrices.
    matrices : mapping of str to (M,), (2, M) or (3, M) float arrays
        Entries by name (``MATRICES``): ``hamiltonian`` and ``h0`` in eV, ``overlap`` and ``density_matrix`` without
        unit. ``density_matrix`` is ``P = sum_nk f c c^+`` in real space; the trace of P S is the number of electrons.
        With collinear spin, ``hamiltonian`` and ``density_matrix`` are those of spin up and of spin down.
        ``spin_orbit`` holds K_x, K_y and K_z (eV, antisymmetric) of ``H_SO = sum_a sigma_a (x) (-i K_a)``; with it
        the bands are those of spinors. Spin up of a collinear Hamiltonian is along ``magnetization_axis`` then.
    pseudopotentials : mapping of str to str
        The UPF text of every species: with the basis, all that H0 of another structure needs.
    attributes : HamiltonianAttributes
        Electrons, spin, Fermi level, cutoffs, checks and what else is known of the run or of the model.
    labels : mapping of str to float arrays
        By name (``LABELS``): ``hirshfeld_charges`` (N,), elementary charges, ``hirshfeld_dipoles`` (N, 3), the same
        times Å, see `hirshfeld_moments`; ``dielectric_tensor`` (3, 3), with the atoms at rest, and ``born_charges``
        (N, 3, 3), elementary charges, ``[i, a, b]``: force on atom i along b per field along a. The latter sum to zero;
        the largest element of their sum before that is the attribute ``born_charge_sum``.

    Raises
    ------
    ValueError
        If an array does not have the shape that pattern and spin ask for.
    """

    atoms: Atoms
    basis: Basis
    pattern: BlockPattern
    matrices: dict[str, np.ndarray]
    pseudopotentials: Mapping[str, str] = field(default_factory=dict)
    attributes: HamiltonianAttributes = field(default_factory=HamiltonianAttributes)
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        expected = self.basis.n_orbitals(species_labels(self.atoms))
        if not np.array_equal(expected, self.pattern.n_orbitals):
            raise ValueError('the number of orbitals per atom does not agree with the basis')
        for name, entries in self.matrices.items():
            if name not in MATRICES:
                raise ValueError(f'unknown matrix {name!r}; known are {", ".join(MATRICES)}')
            if entries.shape[-1] != self.pattern.n_entries:
                raise ValueError(f'{name} has {entries.shape[-1]} entries, the pattern {self.pattern.n_entries}')
            _check_spin_axis(name, entries.shape, None)
        for name, values in self.labels.items():
            _check_label(name, np.shape(values), len(self.atoms))

    @property
    def n_spin(self) -> int:
        """2 with collinear spin, else 1."""
        axes = [self.matrices[name].ndim for name in SPIN_MATRICES if name in self.matrices]
        return max(axes, default=int(self.attributes.n_spin or 1))

    @property
    def has_spin_orbit(self) -> bool:
        """Whether it holds a spin-orbit part: its states are spinors then."""
        return SPIN_ORBIT in self.matrices

    @property
    def magnetization_axis(self) -> np.ndarray | None:
        """Cartesian unit vector (3,) of spin up; None unless there are collinear spin and a spin-orbit part."""
        if not self.has_spin_orbit or self.n_spin == 1:
            return None
        recorded = self.attributes.magnetization_axis
        return np.array([0.0, 0.0, 1.0]) if recorded is None else unit_vector(recorded, 'magnetization axis')

    @property
    def electrons_per_band(self) -> int:
        """Electrons that a band holds: 2, with collinear spin or spin-orbit coupling 1."""
        return 1 if self.has_spin_orbit or self.n_spin == 2 else 2

    @property
    def n_orbitals(self) -> int:
        """Orbitals of the cell."""
        return self.pattern.dimension

    @property
    def n_electrons(self) -> float:
        """Valence electrons per cell.

        Raises
        ------
        ValueError
            If they are not recorded.
        """
        if self.attributes.n_electrons is None:
            raise ValueError(
                'the number of electrons is not known, which gap, Fermi level and filling need; give it to hamlr '
                'import with --electrons N, or in Python as hamiltonian.attributes.n_electrons'
            )
        return float(self.attributes.n_electrons)

    @property
    def n_occupied(self) -> int:
        """Bands that the electrons need, the last may be half filled; with collinear spin, in the mean of both."""
        return count_occupied(self.n_electrons, 1 if self.has_spin_orbit else 2)

    @property
    def symbols(self) -> list[str]:
        """Chemical symbol of every atom."""
        return self.atoms.get_chemical_symbols()

    @property
    def species(self) -> list[str]:
        """Species label of every atom: its chemical symbol, unless the structure has labels."""
        return species_labels(self.atoms)

    @property
    def _labelled(self) -> bool:
        return self.species != self.symbols

    @property
    def _version(self) -> int:
        """The oldest version that can hold it."""
        if self.magnetization_axis is not None:
            return 8
        if starting_moments(self.atoms) is not None:
            return 7
        return 6 if self.has_spin_orbit else 5 if self._labelled else 4

    def __getattr__(self, name):
        if name in MATRICES:
            try:
                return self.__dict__['matrices'][name]
            except KeyError:
                raise AttributeError(f'this Hamiltonian holds no {name}') from None
        raise AttributeError(name)

    def write(self, path: str | Path):
        """Write ``hamiltonian.h5``, under a temporary name first."""
        attributes = self.attributes.to_dict()
        moments = starting_moments(self.atoms)
        with atomic_hdf5(path, FORMAT, self._version) as handle:
            handle.attrs['units'] = 'energies eV, lengths Å (basis: bohr)'
            handle.attrs['orbital_order'] = ORBITAL_ORDER
            handle.attrs['created_by'] = f'aiida-hamlr {__version__}'
            handle.attrs['attributes'] = json.dumps(attributes)
            handle.attrs['matrices'] = json.dumps(list(self.matrices))
            handle.attrs['labels'] = json.dumps(list(self.labels))
            handle.attrs['sha256'] = content_digest(self._content)
            for key in ('gauge', 'gauge_shift_eV', 'fermi_level_eV', 'n_electrons', 'origin', 'code'):
                if attributes.get(key) is not None:
                    handle.attrs[key] = attributes[key]
            structure = handle.create_group('structure')
            structure['cell'] = np.asarray(self.atoms.cell)
            structure['positions'] = self.atoms.positions
            structure['atomic_numbers'] = self.atoms.numbers
            structure['pbc'] = self.atoms.pbc
            if self._labelled:
                structure['species'] = np.array(self.species, dtype=bytes)
            if moments is not None:
                structure['starting_moments'] = moments
            basis = handle.create_group('basis')
            basis.attrs['content_hash'] = self.basis.content_hash
            for label, species in self.basis.items():
                species.write_group(basis.create_group(label))
            pseudos = handle.create_group('pseudopotentials')
            for label, text in self.pseudopotentials.items():
                data = np.frombuffer(text.encode(), dtype=np.uint8)
                pseudos.create_dataset(label, data=data, compression='gzip', shuffle=False)
            blocks = handle.create_group('blocks')
            blocks['atom_pairs'] = self.pattern.atom_pairs
            blocks['chunk_shapes'] = self.pattern.chunk_shapes
            blocks['chunk_boundaries'] = self.pattern.chunk_boundaries
            for name, entries in self.matrices.items():
                dataset = handle.create_group(name).create_dataset('entries', data=entries)
                dataset.attrs['sha256'] = content_digest({name: entries})
            labels = handle.create_group('labels')
            for name, values in self.labels.items():
                dataset = labels.create_dataset(name, data=values)
                dataset.attrs['sha256'] = content_digest({name: values})

    @property
    def _content(self) -> dict[str, str | np.ndarray]:
        """Stored content apart from matrices, labels and bases, which have separate digests."""
        # Before version 3 there were no labels, and nothing of them in the digest.
        labels = {'labels': json.dumps(list(self.labels))} if self.labels else {}
        species = {'species': json.dumps(self.species)} if self._labelled else {}
        moments = starting_moments(self.atoms)
        return (
            labels
            | species
            | ({} if moments is None else {'starting_moments': moments})
            | {
                'attributes': json.dumps(self.attributes.to_dict()),
                'matrices': json.dumps(list(self.matrices)),
                'cell': np.array(self.atoms.cell, dtype=np.float64),
                'positions': np.array(self.atoms.positions, dtype=np.float64),
                'atomic_numbers': np.array(self.atoms.numbers, dtype=np.int64),
                'pbc': np.array(self.atoms.pbc, dtype=np.int64),
                'atom_pairs': self.pattern.atom_pairs,
                'basis': json.dumps({label: basis.content_hash for label, basis in self.basis.items()}),
                'pseudopotentials': json.dumps(dict(self.pseudopotentials), sort_keys=True),
            }
        )

    @classmethod
    def read(cls, source, matrices=MATRICES) -> Hamiltonian:
        """Read ``hamiltonian.h5`` from a path or a binary stream, with those of the named matrices that it holds.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, newer than this program or damaged; the message names the file.
        """
        with read_hdf5(source, FORMAT, VERSION) as handle:
            return cls._read(handle, matrices)

    @classmethod
    def _read(cls, handle, wanted) -> Hamiltonian:
        if handle.attrs.get('orbital_order') != ORBITAL_ORDER:
            raise ValueError(f'orbital order {handle.attrs.get("orbital_order")!r} instead of {ORBITAL_ORDER!r}')
        structure = handle['structure']
        numbers, positions, cell = (read_array(structure, name) for name in ('atomic_numbers', 'positions', 'cell'))
        if positions.shape != (len(numbers), 3) or cell.shape != (3, 3):
            raise ValueError('cell, positions and atomic numbers disagree in shape')
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise ValueError('cell or positions are not finite')
        if len(numbers) == 0 or numbers.min() < 1 or numbers.max() > 118:
            raise ValueError('atomic numbers are not those of chemical elements')
        atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=read_array(structure, 'pbc'))
        if 'species' in structure:
            set_species_labels(atoms, [label.decode() for label in read_array(structure, 'species')])
        if 'starting_moments' in structure:
            set_starting_moments(atoms, read_array(structure, 'starting_moments'))
        basis = Basis({label: SpeciesBasis.read_group(group) for label, group in handle['basis'].items()})
        n_orbitals = basis.n_orbitals(species_labels(atoms))
        blocks = handle['blocks']
        pattern = BlockPattern(read_array(blocks, 'atom_pairs'), n_orbitals)
        if not np.array_equal(pattern.chunk_boundaries, read_array(blocks, 'chunk_boundaries')) or not np.array_equal(
            pattern.chunk_shapes, read_array(blocks, 'chunk_shapes')
        ):
            raise ValueError('blocks do not agree with the basis')
        pseudos = {
            label: read_array(handle['pseudopotentials'], label).tobytes().decode()
            for label in handle['pseudopotentials']
        }
        # Files of version 1 do not name their matrices.
        names = json.loads(handle.attrs.get('matrices', json.dumps([name for name in MATRICES if name in handle])))
        attributes = HamiltonianAttributes.from_dict(json.loads(handle.attrs['attributes']))
        # The digest is checked before the matrices, which may be large, are read.
        axes = {name: (3,) if name == SPIN_ORBIT else () for name in names}
        placeholders = {name: np.broadcast_to(0.0, (*axes[name], pattern.n_entries)) for name in names}
        result = cls(atoms, basis, pattern, placeholders, pseudos, attributes)
        result.labels = dict.fromkeys(json.loads(handle.attrs.get('labels', '[]')))
        check_digest(handle, result._content)
        result.labels = {name: _read_label(handle['labels'], name, len(atoms)) for name in result.labels}
        result.matrices = {
            name: _read_matrix(handle, name, pattern, attributes.n_spin) for name in names if name in wanted
        }
        return result


def _check_spin_axis(name: str, shape: tuple[int, ...], n_spin: int | None):
    """Raise ``ValueError`` unless a matrix has the axes of its spin; ``n_spin`` is None if that is not known."""
    if name == SPIN_ORBIT:
        if len(shape) != 2 or shape[0] != 3:
            raise ValueError(f'{name} has shape {shape}; it needs a leading axis of length 3 for x, y and z')
        return
    allowed = [()] if n_spin in (1, None) or name not in SPIN_MATRICES else []
    if n_spin in (2, None) and name in SPIN_MATRICES:
        allowed.append((2,))
    if shape[:-1] not in allowed:
        spin = '' if n_spin is None else f' of a Hamiltonian with n_spin = {n_spin}'
        raise ValueError(
            f'{name}{spin} has shape {shape}; only {" and ".join(SPIN_MATRICES)} have a leading axis, of length 2 '
            'for spin up and down'
        )


def _read_matrix(handle, name: str, pattern: BlockPattern, n_spin: int | None) -> np.ndarray:
    dataset = handle[name]['entries']
    if dataset.shape[-1:] != (pattern.n_entries,) or dataset.dtype.kind != 'f':
        raise ValueError(f'{name} has shape {dataset.shape}, its blocks need {pattern.n_entries} entries')
    _check_spin_axis(name, dataset.shape, n_spin)
    entries = read_array(handle[name], 'entries')
    if not np.isfinite(entries).all():
        raise ValueError(f'{name} has entries that are not finite')
    check_digest(dataset, {name: entries})
    if handle.attrs['version'] == 1:
        _check_without_digest(name, entries, pattern)
    return entries


def _check_without_digest(name: str, entries: np.ndarray, pattern: BlockPattern):
    """Raise ``ValueError`` unless a matrix is symmetric and, if it is the overlap, its orbitals are normalised."""
    asymmetry = pattern.asymmetry(entries)
    if asymmetry > SAME_WITHOUT_DIGEST:
        raise ValueError(f'{name} differs from its transpose by {asymmetry:.3g}; the file is damaged')
    if name == 'overlap':
        for pair in pattern.onsite:
            norms = np.diagonal(pattern.block(entries, pair))
            if np.abs(norms - 1.0).max(initial=0.0) > NORMALISED:
                raise ValueError('overlap has orbitals that are not normalised; the file is damaged')


def _check_label(name: str, shape: tuple[int, ...], n_atoms: int):
    if name not in LABELS:
        raise ValueError(f'unknown label {name!r}; known are {", ".join(LABELS)}')
    expected = tuple(n_atoms if length is None else length for length in LABELS[name])
    if shape != expected:
        raise ValueError(f'{name} has shape {shape} instead of {expected}')


def _read_label(group, name: str, n_atoms: int) -> np.ndarray:
    _check_label(name, group[name].shape, n_atoms)
    values = read_array(group, name)
    if values.dtype.kind != 'f' or not np.isfinite(values).all():
        raise ValueError(f'{name} has values that are not finite numbers')
    check_digest(group[name], {name: values})
    return values
