"""Spinors: Bloch matrices with spin-orbit coupling, and the spin of their states.

``H(k) = H(k) (x) 1 + sum_a sigma_a (x) (-i K_a(k))`` with the three real antisymmetric matrices K_a of
`TwoCentreTables.spin_orbit_part`; with collinear spin and a magnetization along the axis n, the first term is ``(H_up
+ H_dn)/2 (x) 1 + n.sigma (x) (H_up - H_dn)/2``. The spin is the slow index: first the orbitals with spin up along z,
then those with spin down.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

#: The axis of a magnetization for which none is given.
Z_AXIS = (0.0, 0.0, 1.0)


def spinor_components(channels: Sequence, coupling: Sequence, axis: Sequence[float] | None = None) -> tuple:
    """Parts up-up, down-down, up-down and down-up, along z, of the Hamiltonian of spinors.

    Parameters
    ----------
    channels : one or two arrays
        H without spin, or of spin up and of spin down along ``axis``, eV; dense or sparse, matrices or their entries.
    coupling : three arrays
        K_x, K_y and K_z, eV, of the same kind.
    axis : (3,) array, optional
        Unit vector of the magnetization, Cartesian; default: z.
    """
    up, down = channels[0], channels[-1]
    kx, ky, kz = coupling
    parts = up - 1j * kz, down + 1j * kz, -1j * kx - ky, -1j * kx + ky
    if len(channels) == 1 or axis is None or tuple(axis) == Z_AXIS:
        return parts
    (x, y, z), exchange = axis, 0.5 * (up - down)
    factors = z - 1, 1 - z, x - 1j * y, x + 1j * y
    return tuple(part + factor * exchange for part, factor in zip(parts, factors, strict=True))


def spinor_matrices(
    channels: Sequence[np.ndarray], coupling: Sequence[np.ndarray], axis: Sequence[float] | None = None
) -> np.ndarray:
    """Hamiltonians of spinors.

    Parameters
    ----------
    channels : one or two (nk, n, n) arrays
        H(k) without spin, or of spin up and of spin down (along ``axis``), eV.
    coupling : three (nk, n, n) arrays
        K_x(k), K_y(k) and K_z(k), antihermitian, eV.
    axis : (3,) array, optional
        Unit vector of the magnetization, Cartesian; default: z.

    Returns
    -------
    (nk, 2n, 2n) complex array
        Hermitian, eV.
    """
    n = channels[0].shape[-1]
    result = np.empty((len(channels[0]), 2 * n, 2 * n), dtype=complex)
    up, down = slice(None, n), slice(n, None)
    places = (up, up), (down, down), (up, down), (down, up)
    for (rows, columns), part in zip(places, spinor_components(channels, coupling, axis), strict=True):
        result[:, rows, columns] = part
    return result


def sparse_spinor_matrix(
    channels: Sequence[sparse.csr_array], coupling: Sequence[sparse.csr_array], axis: Sequence[float] | None = None
):
    """The Hamiltonian of `spinor_matrices` at one k as a sparse (2n, 2n) array, from sparse (n, n) matrices."""
    uu, dd, ud, du = spinor_components(channels, coupling, axis)
    matrix = sparse.block_array([[uu, ud], [du, dd]], format='csr')
    matrix.sort_indices()
    return matrix


def spinor_overlaps(overlap: np.ndarray) -> np.ndarray:
    """(nk, 2n, 2n) overlap of spinors from that of the orbitals (nk, n, n)."""
    n = overlap.shape[-1]
    result = np.zeros((len(overlap), 2 * n, 2 * n), dtype=overlap.dtype)
    result[:, :n, :n] = result[:, n:, n:] = overlap
    return result


def spins_along(components: np.ndarray, axis: Sequence[float]) -> np.ndarray:
    """Components of spinors along and against an axis, from those up and down along z.

    Parameters
    ----------
    components : (2, ...) array
        Up and down along z.
    axis : (3,) array
        Unit vector, Cartesian.

    Returns
    -------
    (2, ...) complex array
    """
    x, y, z = axis
    # The eigenvectors of n.sigma, each with a phase of its own.
    _, spinors = np.linalg.eigh(np.array([[z, x - 1j * y], [x + 1j * y, -z]]))
    return np.tensordot(spinors[:, ::-1].conj().T, components, axes=1)


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
