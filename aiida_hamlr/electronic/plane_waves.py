"""The Hamiltonian in plane waves, and orbitals expanded in them: the independent check of the real-space route.

``<G| H(k) |G'> = |k + G|^2 + V(G - G') + sum_a sum_pq <k+G|beta_p^a> D_pq <beta_q^a|k+G'>`` with V the discrete Fourier
transform of the potential on the FFT grid, as the plane-wave code itself applies it. Dense matrices: meant for
small cells. Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from scipy.linalg import eigvalsh
from scipy.special import spherical_jn

from aiida_hamlr.electronic.basis import Basis
from aiida_hamlr.electronic.harmonics import real_harmonics
from aiida_hamlr.electronic.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.radial_integrals import simpson_weights
from aiida_hamlr.electronic.units import BOHR, RYDBERG


class PlaneWaveHamiltonian:
    """Plane-wave Hamiltonian of a structure in a given local potential.

    Parameters
    ----------
    atoms : ase.Atoms
    potential : (n1, n2, n3) array
        Total local potential on the FFT grid, eV.
    pseudos : mapping of str to Pseudopotential
    ecutwfc : float
        Plane waves with ``|k + G|^2`` up to it, Ry.
    """

    def __init__(self, atoms: Atoms, potential: np.ndarray, pseudos: Mapping[str, Pseudopotential], ecutwfc: float):
        self.symbols = atoms.get_chemical_symbols()
        self.positions = atoms.positions / BOHR
        self.cell = atoms.cell[:] / BOHR
        self.volume = abs(np.linalg.det(self.cell))
        self.reciprocal = 2 * np.pi * np.linalg.inv(self.cell).T
        self.pseudos = pseudos
        self.ecutwfc = ecutwfc
        self._coefficients = np.fft.fftn(potential) / (np.size(potential) * RYDBERG)

    def plane_waves(self, kpoint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices (n, 3) of the reciprocal vectors and ``k + G`` (n, 3), bohr^-1, of a fractional k-point."""
        limit = np.sqrt(self.ecutwfc) * np.linalg.norm(self.cell, axis=1) / (2 * np.pi)
        axes = [np.arange(-int(n) - 2, int(n) + 3) for n in limit + np.abs(kpoint)]
        indices = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
        vectors = (indices + np.asarray(kpoint)) @ self.reciprocal
        inside = (vectors**2).sum(axis=1) <= self.ecutwfc
        return indices[inside], vectors[inside]

    def _expand(self, vectors, atom: int, angular_momentum: int, transform: np.ndarray) -> np.ndarray:
        """(n, 2l + 1) plane-wave coefficients of ``R(r) Y_lm`` at an atom, from the Bessel transform of R."""
        phase = np.exp(-1j * (vectors @ self.positions[atom]))
        prefactor = 4 * np.pi / np.sqrt(self.volume) * (-1j) ** angular_momentum
        return prefactor * (phase * transform)[:, None] * real_harmonics(angular_momentum, vectors)

    def matrix(self, kpoint: np.ndarray) -> np.ndarray:
        """(n, n) Hamiltonian in plane waves at a fractional k-point, Ry."""
        indices, vectors = self.plane_waves(kpoint)
        difference = indices[:, None, :] - indices[None, :, :]
        shape = self._coefficients.shape
        result = self._coefficients[tuple(difference[..., axis] % shape[axis] for axis in range(3))]
        lengths = np.linalg.norm(vectors, axis=1)
        result[np.diag_indices(len(lengths))] += lengths**2
        for element in sorted(set(self.symbols)):
            pseudo = self.pseudos[element]
            transforms = [pseudo.projector_form_factor(index, lengths) for index in range(len(pseudo.projectors))]
            for atom in (i for i, symbol in enumerate(self.symbols) if symbol == element):
                expanded = [
                    self._expand(vectors, atom, projector.angular_momentum, transform)
                    for projector, transform in zip(pseudo.projectors, transforms, strict=True)
                ]
                for p, left in enumerate(expanded):
                    for q, right in enumerate(expanded):
                        if pseudo.dij[p, q] and left.shape == right.shape:
                            result += pseudo.dij[p, q] * (left @ right.conj().T)
        return result

    def eigenvalues(self, kpoint: np.ndarray, n_bands: int) -> np.ndarray:
        """(n_bands,) lowest plane-wave eigenvalues at a fractional k-point, eV."""
        return eigvalsh(self.matrix(kpoint), subset_by_index=[0, n_bands - 1]) * RYDBERG

    def orbitals(self, basis: Basis, kpoint: np.ndarray) -> np.ndarray:
        """(n, n_orbitals) Bloch sums of the orbitals at a fractional k-point, truncated at the cutoff."""
        _, vectors = self.plane_waves(kpoint)
        lengths = np.linalg.norm(vectors, axis=1)
        columns = []
        transforms = {}
        for element in sorted(set(self.symbols)):
            species = basis[element]
            r = species.step * np.arange(len(species.shells[0].radial))
            weights = simpson_weights(len(r), species.step) * r**2
            transforms[element] = [
                spherical_jn(shell.angular_momentum, lengths[:, None] * r) @ (weights * shell.radial)
                for shell in species.shells
            ]
        for atom, element in enumerate(self.symbols):
            for shell, transform in zip(basis[element].shells, transforms[element], strict=True):
                columns.append(self._expand(vectors, atom, shell.angular_momentum, transform))
        return np.concatenate(columns, axis=1)

    def project(self, basis: Basis, kpoint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hamiltonian (eV) and overlap between the Bloch sums of the orbitals, truncated at the cutoff.

        Comparable with ``sum_R exp(2 pi i k.R) M(R)`` of the blocks.
        """
        orbitals = self.orbitals(basis, kpoint)
        hamiltonian = orbitals.conj().T @ self.matrix(kpoint) @ orbitals
        overlap = orbitals.conj().T @ orbitals
        return (hamiltonian + hamiltonian.conj().T) * (0.5 * RYDBERG), (overlap + overlap.conj().T) * 0.5
