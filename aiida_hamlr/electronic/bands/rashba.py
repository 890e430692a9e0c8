"""Linear spin splitting of a Kramers pair, and its Rashba parameter.

Around a k-point that is its own inverse a Kramers pair splits to first order in the distance q along a direction d,
``E = E_0 +- slope q``. The slopes are the eigenvalues of ``V_d = C^+ (d.(dH/dk) - E_0 d.(dS/dk)) C`` with the states C
of the pair. The eigenvector of the larger one is the upper branch, whose spin is given. No finite step in k enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aiida_hamlr.electronic.bands.derivatives import KDerivatives, degenerate_groups
from aiida_hamlr.electronic.bands.kspace import own_inverse
from aiida_hamlr.electronic.bands.spinors import spin_expectation
from aiida_hamlr.electronic.lattice import unit_vector
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Largest cosine of two directions that are perpendicular.
_PERPENDICULAR = 1e-3


@dataclass(frozen=True)
class SpinSplitting:
    """How a Kramers pair splits along a direction.

    Parameters
    ----------
    energy : float
        Of the pair, eV.
    slope : float
        Half the distance of both branches per distance in k, eV Å, not negative.
    spin : (3,) array
        ``<sigma>`` of the upper branch; that of the lower one is the opposite. Without a splitting it has no meaning.
    """

    energy: float
    slope: float
    spin: np.ndarray


def spin_splitting(
    hamiltonian: Hamiltonian, band: int, direction: ArrayLike, kpoint: ArrayLike = (0.0, 0.0, 0.0)
) -> SpinSplitting:
    """Slope and spin of the two branches of a Kramers pair.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With a spin-orbit part and without collinear spin.
    band : int
        One of the two bands of the pair, counted from 0.
    direction : (3,) array
        Cartesian, of any length.
    kpoint : (3,) array
        Fractional; its own inverse, as the center of the zone or of its faces.

    Returns
    -------
    SpinSplitting
        Energies in eV, lengths in Å.

    Raises
    ------
    ValueError
        If the Hamiltonian has no spin-orbit part or a magnetization, the k-point is not its own inverse, the pair is
        degenerate with another one, there is no such band, or the direction is zero.
    """
    if not hamiltonian.has_spin_orbit or hamiltonian.n_spin == 2:
        raise ValueError(
            f'{hamiltonian.atoms.get_chemical_formula()}: a splitting of Kramers pairs needs spin-orbit coupling and '
            'no magnetization'
        )
    kpoint, direction = np.asarray(kpoint, dtype=float), unit_vector(direction, 'direction')
    if not own_inverse(kpoint[None])[0]:
        raise ValueError(f'k-point {kpoint.tolist()}: Kramers pairs lie where k and -k are the same point')
    energies, states, H, S = KDerivatives(hamiltonian).solve(kpoint)
    if not 0 <= band < len(energies):
        raise ValueError(f'band {band}: there are bands 0 to {len(energies) - 1}')
    group = next(each for each in degenerate_groups(energies) if each.start <= band < each.stop)
    if group.stop - group.start != 2:
        raise ValueError(f'band {band} is one of {group.stop - group.start} degenerate ones, not of a pair')
    pair, energy = states[:, group], float(energies[group].mean())
    along = np.tensordot(direction, H[1] - energy * S[1], axes=1)
    slopes, mixing = np.linalg.eigh(pair.conj().T @ along @ pair)
    n = hamiltonian.n_orbitals
    spin = spin_expectation(pair @ mixing[:, 1:], S[0][:n, :n])[:, 0]
    return SpinSplitting(energy, float(slopes[1] - slopes[0]) / 2, spin)


def rashba_parameter(
    hamiltonian: Hamiltonian,
    band: int,
    direction: ArrayLike,
    normal: ArrayLike = (0.0, 0.0, 1.0),
    kpoint: ArrayLike = (0.0, 0.0, 0.0),
) -> float:
    """``alpha`` of ``alpha sigma.(k x n)``, eV Å, with its sign: it changes when the polar axis is reversed.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With a spin-orbit part and without collinear spin.
    band : int
        One of the two bands of the pair, counted from 0.
    direction : (3,) array
        Of k, Cartesian, perpendicular to ``normal``.
    normal : (3,) array
        The polar axis n, Cartesian.
    kpoint : (3,) array
        Fractional; its own inverse.

    Raises
    ------
    ValueError
        See `spin_splitting`; or if the direction is not perpendicular to the normal.
    """
    direction, normal = unit_vector(direction, 'direction'), unit_vector(normal, 'normal')
    if abs(direction @ normal) > _PERPENDICULAR:
        raise ValueError(f'direction {direction.tolist()}: not perpendicular to the normal {normal.tolist()}')
    found = spin_splitting(hamiltonian, band, direction, kpoint)
    return found.slope * float(np.sign(found.spin @ np.cross(direction, normal)))
