"""Matrices of another program on their way to a Hamiltonian file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import LARGEST_ANGULAR_MOMENTUM, MOST_SHELLS, Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.species import element_of_label, set_species_labels, species_labels
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.block_merging import RawMatrix, merge
from aiida_hamlr.io.orbital_orders import LETTERS, atom_turns, change_orbitals, shell_letters, shell_permutation

#: Largest atomic number.
LAST_ELEMENT = 118


@dataclass(frozen=True)
class ForeignMatrices:
    """What a reader of a foreign format returns.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å.
    angular_momenta : (N,) tuple of tuples of int
        The l of the shells of every atom.
    pattern : BlockPattern
        Blocks of all matrices.
    matrices : dict of str to arrays
        By the names of `Hamiltonian`, in the order and sign of this package, energies in eV.
    attributes : HamiltonianAttributes
        What the file says beside them.
    """

    atoms: Atoms
    angular_momenta: tuple[tuple[int, ...], ...]
    pattern: BlockPattern
    matrices: dict[str, np.ndarray]
    attributes: HamiltonianAttributes

    @classmethod
    def assemble(
        cls,
        atoms: Atoms,
        momenta: Sequence[Sequence[int]],
        raw: Mapping[str, RawMatrix],
        order: str,
        attributes: HamiltonianAttributes,
    ) -> ForeignMatrices:
        """Merge matrices that may have different blocks, fill in transposes and turn the orbitals.

        Parameters
        ----------
        atoms : ase.Atoms
            Cell and positions in Å.
        momenta : (N,) sequence of sequences of int
            Angular momenta of the shells of every atom.
        raw : mapping of str to RawMatrix
            Energies in eV.
        order : str
            Of the orbitals in the file, see `aiida_hamlr.io.orbital_orders`.
        attributes : HamiltonianAttributes
            What the file says beside the matrices.

        Raises
        ------
        ValueError
            If atoms, shells or blocks are impossible, or a matrix is not symmetric.
        """
        check_atoms(atoms)
        momenta = tuple(check_shells(shells, index) for index, shells in enumerate(momenta))
        if len(momenta) != len(atoms):
            raise ValueError(f'{len(atoms)} atoms, but shells of {len(momenta)}')
        pattern, entries = merge(raw, np.array([sum(2 * l + 1 for l in shells) for shells in momenta]))
        turns = atom_turns(order, momenta, inverse=True)
        matrices = {name: change_orbitals(pattern, values, turns) for name, values in entries.items()}
        n_spin = 2 if matrices['hamiltonian'].ndim == 2 else 1
        return cls(atoms, momenta, pattern, matrices, replace(attributes, origin='imported', n_spin=n_spin))

    def to_hamiltonian(self, basis: Basis | None = None) -> Hamiltonian:
        """A Hamiltonian that can be written.

        Parameters
        ----------
        basis : Basis, optional
            Orbitals of every species; shells are brought into its sequence. Without it the shells have angular momenta
            but no radial functions.

        Raises
        ------
        ValueError
            If a species has no orbitals in the basis, or other shells.
        """
        labels = species_labels(self.atoms)
        if basis is None:
            atoms, basis = self._bare_basis(labels)
            return Hamiltonian(atoms, basis, self.pattern, dict(self.matrices), attributes=self.attributes)
        basis = basis.restricted(labels)
        species = basis.for_labels(labels)
        known: dict = {}
        for label, shells, own in zip(labels, self.angular_momenta, species, strict=True):
            if (label, shells) not in known:
                try:
                    permutation = shell_permutation(shells, own.angular_momenta)
                except ValueError as error:
                    raise ValueError(
                        f'the file has {shell_letters(shells)} for {label}, the basis '
                        f'{shell_letters(own.angular_momenta)}'
                    ) from error
                known[label, shells] = np.eye(len(permutation))[permutation]
        turns = [known[key] for key in zip(labels, self.angular_momenta, strict=True)]
        matrices = {name: change_orbitals(self.pattern, values, turns) for name, values in self.matrices.items()}
        return Hamiltonian(self.atoms.copy(), basis, self.pattern, matrices, attributes=self.attributes)

    def _bare_basis(self, labels: list[str]) -> tuple[Atoms, Basis]:
        """Atoms, with new labels where a species has several sets of shells, and shells without radial functions."""
        kinds = list(dict.fromkeys(zip(labels, self.angular_momenta, strict=True)))
        of_label = {label: [kind for kind in kinds if kind[0] == label] for label in labels}
        new = {
            kind: label if len(same) == 1 else f'{label}{number}'
            for label, same in of_label.items()
            for number, kind in enumerate(same, 1)
        }
        atoms = self.atoms.copy()
        set_species_labels(atoms, [new[kind] for kind in zip(labels, self.angular_momenta, strict=True)])
        vectors = self.pattern.vectors(np.asarray(atoms.cell), atoms.positions)
        reach = float(np.linalg.norm(vectors, axis=1).max(initial=0.0)) / (2 * BOHR)
        return atoms, Basis(
            {new[label, momenta]: bare_basis(element_of_label(label), momenta, reach) for label, momenta in kinds}
        )


def bare_basis(symbol: str, momenta: Sequence[int], radius: float) -> SpeciesBasis:
    """Shells of which only the angular momenta are known; their radial tables are zero.

    Parameters
    ----------
    symbol : str
        Chemical symbol.
    momenta : sequence of int
        Of the shells.
    radius : float
        How far the orbitals reach at least, bohr.
    """
    shells = tuple(Shell(l, min(max(radius, 1.0), 59.0), np.zeros(2), LETTERS[l]) for l in momenta)
    return SpeciesBasis(symbol, 1.0, shells, {'size': shell_letters(momenta), 'radial_functions': 'unknown'})


def check_atoms(atoms: Atoms):
    """Raise ``ValueError`` unless there are atoms, of real elements, at finite places in a cell with a volume."""
    if not len(atoms) or atoms.numbers.min() < 1 or atoms.numbers.max() > LAST_ELEMENT:
        raise ValueError('no atoms, or atomic numbers that are not those of chemical elements')
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all()):
        raise ValueError('cell or positions are not finite')
    if not 1e-6 < abs(np.linalg.det(atoms.cell[:])) < inf:
        raise ValueError('the cell has no volume')


def check_shells(shells: Sequence[int], atom: int) -> tuple[int, ...]:
    """Angular momenta of an atom's shells as integers.

    Raises
    ------
    ValueError
        If there are none or too many, or one is impossible.
    """
    if not all(isinstance(l, (int, np.integer)) and not isinstance(l, bool) for l in shells):
        raise ValueError(f'atom {atom} (from 0): angular momenta of its shells are not whole numbers')
    if not 1 <= len(shells) <= MOST_SHELLS or min(shells) < 0 or max(shells) > LARGEST_ANGULAR_MOMENTUM:
        raise ValueError(
            f'atom {atom} (from 0): {len(shells)} shells with angular momenta {list(shells)[:8]}; one to {MOST_SHELLS} '
            f'shells of 0 to {LARGEST_ANGULAR_MOMENTUM} are possible'
        )
    return tuple(int(l) for l in shells)


def element_shells(symbols: Sequence[str], momenta: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Angular momenta by element, in the sequence in which the elements come.

    Raises
    ------
    ValueError
        If atoms of one element have different shells.
    """
    result: dict[str, list[int]] = {}
    for symbol, shells in zip(symbols, momenta, strict=True):
        if result.setdefault(symbol, list(shells)) != list(shells):
            raise ValueError(
                f'atoms of {symbol} have different shells, which this format cannot hold: '
                f'{shell_letters(result[symbol])} and {shell_letters(shells)}'
            )
    return result


def existing_name(folder: Path, name: str, predicted: str) -> str:
    """Name of the computed matrices in a folder, or of the predicted ones if only these exist."""
    return predicted if (folder / predicted).exists() and not (folder / name).exists() else name


def number_of(symbol) -> int:
    """Atomic number of a chemical symbol.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(symbol, str) or symbol not in chemical_symbols[1:]:
        raise ValueError(f'{str(symbol)[:20]!r} is not a chemical symbol')
    return chemical_symbols.index(symbol)


def refuse_spin(hamiltonian: Hamiltonian, what: str, *, collinear: bool = False):
    """Raise ``ValueError`` if a Hamiltonian has spins or a spin-orbit part that a format cannot hold.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        To be written.
    what : str
        Name of the format.
    collinear : bool
        Whether the format can hold spin up and spin down.
    """
    if SPIN_ORBIT in hamiltonian.matrices:
        raise ValueError(f'{what} holds no spin-orbit coupling; the formats deepx, deeph and sisl do')
    if hamiltonian.n_spin == 2 and not collinear:
        raise ValueError(f'{what} holds no spin polarisation; the formats deepx, deeph, sisl and cp2k do')
