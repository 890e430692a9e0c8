"""Radial functions for spin-orbit coupling: what the orbitals of j = l + 1/2 and j = l - 1/2 differ by.

Orbitals ``R(r) Y_lm`` serve both spins, and so both j. Near the nucleus the radial functions of the two j differ, most
in p shells of heavy elements and in semicore shells. The scalar-relativistic solution is close to their mean; one more
function, their difference, gives each j its own shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from aiida_hamlr.electronic.pseudo.atom import STEP, PseudoAtom, SoftConfinement
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

#: Shells whose normalised radial functions of both j differ by less, as a norm, get no function. The error of a level
#: grows with its square: 0.05 (4p of Cd) costs p1/2 120 meV at -59 eV, 0.005 (3d of Ga) less than 0.1 meV.
SMALLEST_DIFFERENCE = 0.01


def difference_of_j(
    pseudo: Pseudopotential, l: int, cutoff_radius: float, confinement: SoftConfinement
) -> np.ndarray | None:
    """Difference of the lowest solutions of j = l + 1/2 and j = l - 1/2 of the confined atom.

    Parameters
    ----------
    pseudo : Pseudopotential
        Scalar-relativistic ones have none.
    l : int
        Angular momentum.
    cutoff_radius : float
        bohr.
    confinement : SoftConfinement
        Potential that ends the orbitals.

    Returns
    -------
    (nr,) array or None
        On the mesh of `PseudoAtom.solve`, not normalised; None if the two do not differ (l = 0, no projectors, or less
        than ``SMALLEST_DIFFERENCE``).
    """
    if not pseudo.has_spin_orbit or l == 0:
        return None
    upper, lower = (
        PseudoAtom(_of_one_j(pseudo, l, sign)).solve(l, cutoff_radius, 1, confinement)[1][0] for sign in (1, -1)
    )
    difference = upper - lower
    return difference if _product(difference, difference) >= SMALLEST_DIFFERENCE**2 else None


def orthonormalised(radial: np.ndarray, others: Iterable[np.ndarray]) -> np.ndarray:
    """A radial function (nr,) less its components along orthonormal others (nr,), normalised."""
    for other in others:
        radial = radial - _product(other, radial) * other
    return radial / np.sqrt(_product(radial, radial))


def check_fully_relativistic(pseudos: Mapping[str, Pseudopotential]):
    """Refuse orbitals for spin-orbit coupling where no pseudopotential has any.

    Raises
    ------
    ValueError
        If all pseudopotentials, by species label, are scalar-relativistic.
    """
    if not any(pseudo.has_spin_orbit for pseudo in pseudos.values()):
        raise ValueError(
            f'no pseudopotential of {", ".join(sorted(pseudos))} is fully relativistic: take such files, or make the '
            'orbitals without spin-orbit coupling'
        )


def _of_one_j(pseudo: Pseudopotential, l: int, sign: int) -> Pseudopotential:
    """The pseudopotential that electrons of l and j = l + sign/2 see."""
    kept = np.array(
        [p.angular_momentum == l and (p.total_angular_momentum > l) == (sign > 0) for p in pseudo.projectors]
    )
    # the spin-orbit part of a j is its D times sign / (2 l + 1)
    return replace(pseudo, dij=np.where(np.outer(kept, kept), sign * (2 * l + 1) * pseudo.spin_orbit_dij, 0.0))


def _product(first: np.ndarray, second: np.ndarray) -> float:
    """``int f g r^2 dr`` of functions that vanish at the end."""
    r = STEP * np.arange(len(first))
    return float(STEP * np.sum(first * second * r**2))
