"""The plane-wave Hamiltonian of spinors, with the spin-orbit part of fully relativistic pseudopotentials.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from scipy.linalg import block_diag
from scipy.sparse.linalg import LinearOperator

from aiida_hamlr.electronic.bands.spinors import spinor_matrices
from aiida_hamlr.electronic.integrals.harmonics import rotation_generators
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian


class SpinorPlaneWaves(PlaneWaveHamiltonian):
    """`PlaneWaveHamiltonian` of spinors; spin is the slow index."""

    n_components = 2

    def _dense(self, indices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        scalar = super()._dense(indices, vectors)
        result = np.kron(np.eye(2), scalar)
        for projectors, coupling in self._spin_orbit_projectors(vectors):
            both = np.kron(np.eye(2), projectors)
            result += (both @ coupling) @ both.conj().T
        return result

    def operator(self, kpoint: np.ndarray) -> LinearOperator:
        """The Hamiltonian as an operator on spinors (2n,), Ry."""
        scalar = super().operator(kpoint)
        _, vectors = self.plane_waves(kpoint)
        groups = list(self._spin_orbit_projectors(vectors))
        n = len(vectors)

        def apply(columns: np.ndarray) -> np.ndarray:
            components = columns.reshape(2, n, -1)
            result = np.stack([scalar @ component for component in components])
            for projectors, coupling in groups:
                projected = projectors.conj().T @ components
                coupled = coupling @ projected.reshape(len(coupling), -1)
                result += projectors @ coupled.reshape(projected.shape)
            return result.reshape(columns.shape)

        return LinearOperator((2 * n,) * 2, matvec=apply, matmat=apply, dtype=complex)

    def _spin_orbit_projectors(self, vectors: np.ndarray):
        """Projectors (n, p) of atoms with a spin-orbit part, and their (2p, 2p) coupling, Ry."""
        for element in self._projector_tables:
            if self.pseudos[element].has_spin_orbit:
                for projectors, n_atoms in self._projectors_of(element, vectors):
                    yield projectors, _coupling_of_spinors(self.pseudos[element], n_atoms)

    def orbitals(self, basis: Basis, kpoint: np.ndarray) -> np.ndarray:
        """(2n, 2 n_orbitals) Bloch sums of the orbitals with spin up and with spin down."""
        return np.kron(np.eye(2), super().orbitals(basis, kpoint))


def plane_wave_hamiltonian(
    atoms: Atoms,
    potential: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutwfc: float,
    spin_orbit: bool = False,
) -> PlaneWaveHamiltonian:
    """The plane-wave Hamiltonian, of spinors if the spin-orbit part of the pseudopotentials counts."""
    kind = SpinorPlaneWaves if spin_orbit else PlaneWaveHamiltonian
    return kind(atoms, potential, pseudos, ecutwfc)


def _coupling_of_spinors(pseudo: Pseudopotential, n_atoms: int) -> np.ndarray:
    momenta = [projector.angular_momentum for projector in pseudo.projectors]
    parts = []
    for axis in range(3):
        rows = [
            [
                pseudo.spin_orbit_dij[p, q] * rotation_generators(a)[axis]
                if a == b
                else np.zeros((2 * a + 1, 2 * b + 1))
                for q, b in enumerate(momenta)
            ]
            for p, a in enumerate(momenta)
        ]
        parts.append(block_diag(*[np.block(rows)] * n_atoms)[None])
    return spinor_matrices([np.zeros_like(parts[0])], parts)[0]
