"""Bands of a crystal in plane waves, to which those of combinations of primitive orbitals are compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from scipy.linalg import eigh

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.matrices.attributes import count_occupied
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.spinor_plane_waves import plane_wave_hamiltonian
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import RYDBERG

#: Weight of the conduction bands, and how many count.
CONDUCTION_WEIGHT = 0.5
N_CONDUCTION = 4

#: Fractional k-points at which bands are compared.
KPOINTS = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [0.5, 0.5, 0.0],
        [0.5, 0.5, 0.5],
        [0.25, 0.0, 0.0],
        [0.25, 0.25, 0.0],
        [0.25, 0.5, 0.75],
        [0.375, 0.375, 0.75],
        [0.1, 0.2, 0.35],
    ]
)

#: The same of what is not periodic along all axes; coordinates along the others do not count.
SLAB_KPOINTS = np.array([[0.25, 0.25, 0.25], [0.1, 0.4, 0.3]])

#: States beside those compared that the search for plane-wave eigenvalues follows, and its residual, Ry: the energies
#: are then exact to a few micro-electronvolts.
EXTRA_STATES = 4
RESIDUAL = 3e-5

#: Combinations of primitives whose overlap eigenvalue is below it, relative to the largest, are left out as dependent.
DEPENDENCE = 1e-8

#: How much a slab counts beside a bulk crystal: more helps surfaces a little further, at the cost of the bulk's
#: conduction bands (GaN, dzp: 47 and 62 meV with a weight of 0 and 1).
SLAB_WEIGHT = 0.3


class ReferenceBands:
    """Hamiltonian and overlap of the primitives of one crystal, and its plane-wave eigenvalues, at all k-points.

    Parameters
    ----------
    atoms : ase.Atoms
        Crystal or slab of a few atoms.
    primitives : Basis
        What is to be combined.
    pseudos : mapping of str to Pseudopotential
        By species label.
    ecutwfc : float
        Plane-wave cutoff, Ry.
    n_orbitals : int
        Of the crystal once they are combined: no more bands are compared.
    spin_orbit : bool
        Whether the bands are those of spinors, with the spin-orbit part of the pseudopotentials. The orbitals are the
        same for both spins.
    """

    def __init__(
        self,
        atoms: Atoms,
        primitives: Basis,
        pseudos: Mapping[str, Pseudopotential],
        ecutwfc: float,
        n_orbitals: int,
        spin_orbit: bool = False,
    ):
        ecutrho = 4 * ecutwfc
        potential = neutral_atom_potential(atoms, pseudos, fft_grid(atoms.cell[:], ecutrho), ecutrho)
        plane_waves = plane_wave_hamiltonian(atoms, potential, pseudos, ecutwfc, spin_orbit)
        labels = species_labels(atoms)
        n_electrons = sum(pseudos[label].z_valence for label in labels)
        #: Two of spinors.
        self.n_components = plane_waves.n_components
        #: A partly filled band counts as occupied.
        self.n_occupied = max(1, count_occupied(n_electrons, 2 // self.n_components))
        #: A small basis may have fewer functions than there are bands to compare.
        n_functions = self.n_components * n_orbitals
        self.n_conduction = max(0, min(self.n_components * N_CONDUCTION, n_functions - self.n_occupied))
        self.n_occupied = min(self.n_occupied, n_functions)
        #: (element, l, first row, number of primitives) of every atom's angular momenta
        self.layout: list[tuple[str, int, int, int]] = []
        row = 0
        for label in labels:
            momenta = primitives[label].angular_momenta
            for l in sorted(set(momenta)):
                self.layout.append((label, l, row, momenta.count(l)))
                row += momenta.count(l) * (2 * l + 1)
        self.n_primitives = row
        #: in the mean over crystals
        self.weight = 1.0 if atoms.pbc.all() else SLAB_WEIGHT
        n_bands = self.n_occupied + self.n_conduction
        self.matrices = []
        for kpoint in kpoints_of(atoms):
            orbitals = plane_waves.orbitals(primitives, kpoint)
            projected = orbitals.conj().T @ (plane_waves.operator(kpoint) @ orbitals)
            projected, overlap = 0.5 * (projected + projected.conj().T), orbitals.conj().T @ orbitals
            start = orbitals @ _lowest_states(projected, overlap, n_bands + self.n_components * EXTRA_STATES)
            exact = plane_waves.eigenvalues(kpoint, n_bands, start, RESIDUAL) / RYDBERG
            self.matrices.append((projected, overlap, exact))

    @property
    def weights(self) -> np.ndarray:
        """(n_bands,) weight of every band in the loss of one k-point."""
        return np.concatenate(
            [
                np.full(self.n_occupied, 1 / self.n_occupied),
                np.full(self.n_conduction, CONDUCTION_WEIGHT / max(1, self.n_conduction)),
            ]
        )

    def contraction(self, coefficients) -> np.ndarray:
        """(n_primitives, n_contracted) matrix of the coefficients ``{(element, l): (n, zetas)}``, of spinors twice."""
        used = [(entry, coefficients[entry[:2]]) for entry in self.layout if entry[:2] in coefficients]
        columns = sum(c.shape[1] * (2 * entry[1] + 1) for entry, c in used)
        result = np.zeros((self.n_primitives, columns))
        column = 0
        for (_, l, row, _), c in used:
            block = np.kron(c, np.eye(2 * l + 1))
            result[row : row + block.shape[0], column : column + block.shape[1]] = block
            column += block.shape[1]
        return np.kron(np.eye(self.n_components), result)

    def pull_back(self, gradient: np.ndarray, coefficients) -> dict:
        """Derivative with respect to the coefficients from that with respect to the contraction matrix."""
        result = {key: np.zeros_like(c) for key, c in coefficients.items()}
        rows, columns = (n // self.n_components for n in gradient.shape)
        # one contraction serves all components
        gradient = np.einsum('cick->ik', gradient.reshape(self.n_components, rows, self.n_components, columns))
        column = 0
        for element, l, row, n in self.layout:
            if (element, l) not in coefficients:
                continue
            zetas, m = coefficients[element, l].shape[1], 2 * l + 1
            block = gradient[row : row + n * m, column : column + zetas * m].reshape(n, m, zetas, m)
            result[element, l] += np.einsum('nmzm->nz', block)
            column += zetas * m
        return result

    def deviations(self, coefficients) -> np.ndarray:
        """(nk, n_bands) ``e_NAO - e_PW``, Ry."""
        X = self.contraction(coefficients)
        result = []
        for H, S, exact in self.matrices:
            energies = eigh(X.T @ H @ X, X.T @ S @ X, eigvals_only=True, subset_by_index=[0, len(exact) - 1])
            result.append(energies - exact)
        return np.array(result)

    def loss(self, coefficients) -> tuple[float, dict]:
        """Loss of this crystal, Ry, and its gradient."""
        X = self.contraction(coefficients)
        weights = self.weights
        total, gradient = 0.0, np.zeros_like(X)
        for H, S, exact in self.matrices:
            HX, SX = H @ X, S @ X
            energies, states = eigh(X.T @ HX, X.T @ SX, subset_by_index=[0, len(weights) - 1])
            total += weights @ (energies - exact)
            gradient += 2 * ((HX @ (states * weights) - SX @ (states * (weights * energies))) @ states.conj().T).real
        nk = len(self.matrices)
        return total / nk, self.pull_back(gradient / nk, coefficients)


def kpoints_of(atoms: Atoms) -> np.ndarray:
    """(nk, 3) fractional k-points at which the bands of a crystal, slab, chain or molecule are compared."""
    return KPOINTS if atoms.pbc.all() else np.unique(SLAB_KPOINTS * atoms.pbc, axis=0)


def _lowest_states(hamiltonian: np.ndarray, overlap: np.ndarray, n: int) -> np.ndarray:
    """(n_functions, n) orthonormal lowest states; nearly dependent functions are put together first."""
    norms, vectors = np.linalg.eigh(overlap)
    kept = norms > DEPENDENCE * norms[-1]
    vectors = vectors[:, kept] / np.sqrt(norms[kept])
    _, states = np.linalg.eigh(vectors.conj().T @ hamiltonian @ vectors)
    return vectors @ states[:, :n]
