"""Spinors: Bloch matrices with spin-orbit coupling, and the spin of their states.

``H(k) = H(k) (x) 1 + sum_a sigma_a (x) (-i K_a(k))`` with the three real antisymmetric matrices K_a of
`TwoCentreTables.spin_orbit_part`. The spin is the slow index: first the orbitals with spin up along z, then those with
spin down.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse


def spinor_matrices(channels: Sequence[np.ndarray], coupling: Sequence[np.ndarray]) -> np.ndarray:
    """Hamiltonians of spinors.

    Parameters
    ----------
    channels : one or two (nk, n, n) arrays
        H(k) without spin, or of spin up and of spin down (along z), eV.
    coupling : three (nk, n, n) arrays
        K_x(k), K_y(k) and K_z(k), antihermitian, eV.

    Returns
    -------
    (nk, 2n, 2n) complex array
        Hermitian, eV.
    """
    up, down = channels[0], channels[-1]
    kx, ky, kz = coupling
    n = up.shape[-1]
    result = np.empty((len(up), 2 * n, 2 * n), dtype=complex)
    result[:, :n, :n] = up - 1j * kz
    result[:, n:, n:] = down + 1j * kz
    result[:, :n, n:] = -1j * kx - ky
    result[:, n:, :n] = -1j * kx + ky
    return result


def sparse_spinor_matrix(channels: Sequence[sparse.csr_array], coupling: Sequence[sparse.csr_array]):
    """The Hamiltonian of `spinor_matrices` at one k as a sparse (2n, 2n) array, from sparse (n, n) matrices."""
    up, down = channels[0], channels[-1]
    kx, ky, kz = coupling
    matrix = sparse.block_array([[up - 1j * kz, -1j * kx - ky], [-1j * kx + ky, down + 1j * kz]], format='csr')
    matrix.sort_indices()
    return matrix


def spinor_overlaps(overlap: np.ndarray) -> np.ndarray:
    """(nk, 2n, 2n) overlap of spinors from that of the orbitals (nk, n, n)."""
    n = overlap.shape[-1]
    result = np.zeros((len(overlap), 2 * n, 2 * n), dtype=overlap.dtype)
    result[:, :n, :n] = result[:, n:, n:] = overlap
    return result


def spin_expectation(states: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """``<sigma_a> = c^+ (sigma_a (x) S) c`` of spinor states.

    States of equal energy mix at will, and their spins with them: of a Kramers pair only the sum, zero, has a meaning.

    Parameters
    ----------
    states : (nk, 2n, nb) or (2n, nb) array
        As `eigenvectors` returns them, normalised.
    overlap : (nk, n, n) or (n, n) array
        Overlap of the orbitals at the same k; that of one k-point may be sparse.

    Returns
    -------
    (nk, 3, nb) or (3, nb) array
        Between -1 and 1; components x, y, z.
    """
    n = overlap.shape[-1]
    up, down = states[..., :n, :], states[..., n:, :]
    s_up, s_down = overlap @ up, overlap @ down
    mixed = (up.conj() * s_down).sum(axis=-2)
    polarised = ((up.conj() * s_up).sum(axis=-2) - (down.conj() * s_down).sum(axis=-2)).real
    return np.stack([2 * mixed.real, 2 * mixed.imag, polarised], axis=-2)
