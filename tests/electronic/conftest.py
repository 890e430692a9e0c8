"""Rotations of structures and of their matrices; densities of neutral atoms."""

from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.integrals.neutral_atom import ReciprocalGrid
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.units import BOHR


def wigner_matrix(l: int, rotation: np.ndarray) -> np.ndarray:
    """``D`` with ``Y(R v) = D Y(v)``, to the last digit (e3nn's goes through angles and loses half of them)."""
    directions = np.random.default_rng(l).normal(size=(50, 3))
    return np.linalg.lstsq(real_harmonics(l, directions), real_harmonics(l, directions @ rotation.T), rcond=None)[0].T


@dataclass(frozen=True)
class Turn:
    """A rotation about a general axis."""

    matrix: np.ndarray

    def structure(self, atoms: Atoms) -> Atoms:
        cell, positions = atoms.cell[:] @ self.matrix.T, atoms.positions @ self.matrix.T
        return Atoms(atoms.symbols, positions=positions, cell=cell, pbc=True)

    def entries(self, pattern: BlockPattern, entries: np.ndarray, basis, symbols) -> np.ndarray:
        """Every block as ``D_i M D_j^T``."""
        wigner = {}
        for element, species in basis.items():
            wigner[element] = np.zeros((species.n_orbitals, species.n_orbitals))
            for l, rows in zip(species.angular_momenta, species.shell_slices, strict=True):
                wigner[element][rows, rows] = wigner_matrix(l, self.matrix)
        result = np.empty_like(entries)
        for block, (i, j) in enumerate(pattern.atom_pairs[:, 3:]):
            start, stop = pattern.chunk_boundaries[block : block + 2]
            result[start:stop] = (wigner[symbols[i]] @ pattern.block(entries, block) @ wigner[symbols[j]].T).ravel()
        return result


@pytest.fixture
def turn() -> Turn:
    return Turn(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())


@pytest.fixture(scope='session')
def superposition():
    """Function: the density of neutral atoms on an FFT grid, bohr^-3."""

    def superpose(atoms, pseudos, grid, ecutrho):
        vectors = ReciprocalGrid(atoms.cell[:], grid, ecutrho)
        coefficients = sum(
            vectors.structure_factor(atoms.positions[[i]] / BOHR) * pseudos[symbol].density_form_factor(vectors.lengths)
            for i, symbol in enumerate(atoms.symbols)
        )
        return vectors.to_real(coefficients / vectors.volume)

    return superpose


@pytest.fixture(scope='session')
def rod(make_hamiltonian):
    """AlAs, 48 atoms with disorder, 192 orbitals."""
    from ase.build import bulk

    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True) * (1, 1, 6)
    atoms.rattle(0.05, seed=3)
    return make_hamiltonian(atoms)
