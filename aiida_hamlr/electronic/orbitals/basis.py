"""Numerical atomic orbitals: containers, their file format and their identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from ase.data import atomic_numbers

from aiida_hamlr.electronic.files import (
    atomic_hdf5,
    check_digest,
    content_digest,
    damage_as_value_error,
    read_array,
    read_hdf5,
)
from aiida_hamlr.electronic.species import check_label

FORMAT = 'hamlr-basis'
VERSION = 2

#: Bounds far above what is useful, so that a damaged file is refused before it takes the memory. Radii in bohr.
LARGEST_ANGULAR_MOMENTUM, MOST_SHELLS, LARGEST_RADIUS = 5, 64, 60.0


@dataclass(frozen=True)
class Shell:
    """The 2l + 1 orbitals ``R(r) Y_lm`` with one radial function.

    Parameters
    ----------
    angular_momentum : int
    cutoff_radius : float
        Radius beyond which the orbital is exactly zero, bohr.
    radial : (n,) array
        ``R(r)`` on the uniform mesh of the species, bohr^-3/2; ``int R^2 r^2 dr = 1``.
    label : str
        Where the shell comes from, as in '3s' or '3s second zeta'.
    occupation : float
        Electrons in the shell of the free pseudo-atom.
    """

    angular_momentum: int
    cutoff_radius: float
    radial: np.ndarray
    label: str = ''
    occupation: float = 0.0


@dataclass(frozen=True)
class SpeciesBasis:
    """The shells of one species, in the order in which their orbitals stand in the matrices.

    Parameters
    ----------
    element : str
        Chemical symbol.
    step : float
        Step of the uniform radial mesh ``r = step * arange(n)``, bohr; all shells share it.
    shells : tuple of Shell
        Radial functions with their angular momenta.
    metadata : dict
        What made the basis (size, confinement, functional, code); plain JSON values, not part of the identity.
    """

    element: str
    step: float
    shells: tuple[Shell, ...]
    metadata: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.element not in atomic_numbers:
            raise ValueError(f'basis: {self.element!r} is not a chemical element')
        if not self.shells:
            raise ValueError(f'basis of {self.element} has no shells')
        if len(self.shells) > MOST_SHELLS:
            raise ValueError(
                f'basis of {self.element} has {len(self.shells)} shells; at most {MOST_SHELLS} are possible'
            )
        object.__setattr__(self, 'shells', tuple(self.shells))
        if len({len(shell.radial) for shell in self.shells}) > 1:
            raise ValueError(f'basis of {self.element}: its radial tables differ in length')
        for shell in self.shells:
            if not 0 <= shell.angular_momentum <= LARGEST_ANGULAR_MOMENTUM:
                raise ValueError(
                    f'basis of {self.element}: a shell of angular momentum {shell.angular_momentum}; only 0 to '
                    f'{LARGEST_ANGULAR_MOMENTUM} are possible'
                )
            if not 0.0 < shell.cutoff_radius <= LARGEST_RADIUS:
                raise ValueError(
                    f'basis of {self.element}: a shell that ends at {shell.cutoff_radius:g} bohr; it must end before '
                    f'{LARGEST_RADIUS:g} bohr'
                )

    @property
    def angular_momenta(self) -> tuple[int, ...]:
        """Angular momentum of every shell."""
        return tuple(shell.angular_momentum for shell in self.shells)

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals of one atom."""
        return sum(2 * l + 1 for l in self.angular_momenta)

    @property
    def has_radial_functions(self) -> bool:
        """Whether more is known than angular momenta, as of imported Hamiltonians without a basis."""
        return all(shell.radial.any() for shell in self.shells)

    @property
    def cutoff_radius(self) -> float:
        """Largest cutoff radius of the shells, bohr."""
        return max(shell.cutoff_radius for shell in self.shells)

    @property
    def shell_slices(self) -> tuple[slice, ...]:
        """Where each shell's orbitals stand among those of the atom."""
        offsets = np.concatenate([[0], np.cumsum([2 * l + 1 for l in self.angular_momenta])])
        return tuple(slice(int(a), int(b)) for a, b in zip(offsets[:-1], offsets[1:], strict=True))

    @property
    def content_hash(self) -> str:
        """sha256 of the element and the radial tables (rounded to 1e-10)."""
        digest = hashlib.sha256(f'{self.element} {self.step:.10e}'.encode())
        for shell in self.shells:
            digest.update(f'{shell.angular_momentum} {shell.cutoff_radius:.10e}'.encode())
            digest.update(np.round(shell.radial, 10).astype('<f8').tobytes())
        return digest.hexdigest()

    def write_group(self, group: h5py.Group):
        """Write into an open HDF5 group."""
        group.attrs['element'] = self.element
        group.attrs['step_bohr'] = self.step
        group.attrs['content_hash'] = self.content_hash
        group.attrs['metadata'] = json.dumps(self.metadata)
        group['angular_momentum'] = np.array(self.angular_momenta, dtype=np.int64)
        group['cutoff_radius_bohr'] = np.array([shell.cutoff_radius for shell in self.shells])
        group['occupation'] = np.array([shell.occupation for shell in self.shells])
        group['label'] = [shell.label for shell in self.shells]
        group['radial'] = np.array([shell.radial for shell in self.shells], dtype=np.float64)
        group.attrs['sha256'] = content_digest(self._content)

    @property
    def _content(self) -> dict[str, str | np.ndarray]:
        """Everything that is stored, for its digest."""
        return {
            'element': self.element,
            'step': np.float64(self.step),
            'angular_momentum': np.array(self.angular_momenta, dtype=np.int64),
            'cutoff_radius': np.array([shell.cutoff_radius for shell in self.shells], dtype=np.float64),
            'occupation': np.array([shell.occupation for shell in self.shells], dtype=np.float64),
            'label': json.dumps([shell.label for shell in self.shells]),
            'radial': np.array([shell.radial for shell in self.shells], dtype=np.float64),
            'metadata': json.dumps(self.metadata),
        }

    @classmethod
    def read_group(cls, group: h5py.Group) -> SpeciesBasis:
        """Read from an open HDF5 group.

        Raises
        ------
        ValueError
            If arrays are missing, disagree in length, are not finite, or do not have the recorded hash.
        """
        where = f'{group.file.filename}: basis {group.name}'
        with damage_as_value_error(where):
            momenta = read_array(group, 'angular_momentum')
            radii = read_array(group, 'cutoff_radius_bohr')
            occupations = read_array(group, 'occupation')
            labels = [label.decode() for label in read_array(group, 'label')]
            table = read_array(group, 'radial')
            element, step = str(group.attrs['element']), float(group.attrs['step_bohr'])
            recorded, metadata = str(group.attrs['content_hash']), json.loads(group.attrs['metadata'])
        if not table.ndim == 2 or not len(momenta) == len(radii) == len(occupations) == len(labels) == len(table):
            raise ValueError(f'{where}: its arrays disagree in the number of shells')
        if not (np.isfinite(table).all() and np.isfinite(radii).all()) or not 0 < step < np.inf:
            raise ValueError(f'{where}: radial tables are not finite')
        shells = tuple(
            Shell(int(l), float(radius), row, label, float(occupation))
            for l, radius, row, label, occupation in zip(momenta, radii, table, labels, occupations, strict=True)
        )
        with damage_as_value_error(where):
            basis = cls(element, step, shells, metadata)
            if basis.content_hash != recorded:
                raise ValueError(f'content does not have the recorded hash {recorded[:12]}; the file is damaged')
            check_digest(group, basis._content)
        return basis

    def write(self, path: str | Path):
        """Write a basis file, under a temporary name first."""
        with atomic_hdf5(path, FORMAT, VERSION) as handle:
            self.write_group(handle.create_group('basis'))

    @classmethod
    def read(cls, source) -> SpeciesBasis:
        """Read a basis file from a path or a binary stream.

        Raises
        ------
        ValueError
            If the file is not a basis file, damaged, or of a newer version.
        """
        with read_hdf5(source, FORMAT, VERSION) as handle:
            return cls.read_group(handle['basis'])


class Basis(Mapping[str, SpeciesBasis]):
    """The orbitals of several species, by label (`aiida_hamlr.electronic.species`).

    Parameters
    ----------
    species : mapping of str to SpeciesBasis
        Orbitals of each species; lengths in bohr.

    Raises
    ------
    ValueError
        If a label is not possible, or its orbitals are those of another element.
    """

    def __init__(self, species: Mapping[str, SpeciesBasis]):
        self._species = dict(sorted(species.items()))
        for label, basis in self._species.items():
            check_label(label, basis.element, 'basis')

    def __getitem__(self, label: str) -> SpeciesBasis:
        return self._species[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._species)

    def __len__(self):
        return len(self._species)

    def for_labels(self, labels) -> list[SpeciesBasis]:
        """The basis of every atom, by its species label.

        Raises
        ------
        ValueError
            If a species has no basis; the message names it.
        """
        missing = sorted(set(labels) - set(self._species))
        if missing:
            raise ValueError(f'no basis for {", ".join(missing)}; there is one for {", ".join(self._species)}')
        return [self._species[label] for label in labels]

    def n_orbitals(self, labels) -> np.ndarray:
        """(N,) number of orbitals of every atom."""
        return np.array([basis.n_orbitals for basis in self.for_labels(labels)], dtype=np.int64)

    def restricted(self, labels) -> Basis:
        """The basis of the given species only."""
        labels = sorted(set(labels))
        return Basis(dict(zip(labels, self.for_labels(labels), strict=True)))

    @property
    def content_hash(self) -> str:
        """sha256 over the hashes of the species, independent of the order in which they were given."""
        return joint_hash({label: species.content_hash for label, species in self._species.items()})


def joint_hash(hashes: Mapping[str, str]) -> str:
    """sha256 of the orbitals of several species, from those of each by label."""
    # Chemical symbols are left out: their orbitals name the element, and hashes are older than other labels.
    parts = (hashes[label] if label in atomic_numbers else label + hashes[label] for label in sorted(hashes))
    return hashlib.sha256(''.join(parts).encode()).hexdigest()
