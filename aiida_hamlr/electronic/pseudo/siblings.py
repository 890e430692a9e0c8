"""Whether a scalar-relativistic and a fully relativistic pseudopotential are two versions of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from aiida_hamlr.electronic.pseudo.atom import PseudoAtom
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

#: Largest difference of the screened local potentials of two versions, times the radius, Ry bohr. Versions of one set
#: (PseudoDojo 0.4 and 0.5, SG15) differ by less than 0.1, other pseudopotentials of an element by 0.23 and more.
TOLERANCE = 0.15

#: Radii at which they are compared, bohr.
RADII = np.arange(0.0, 8.0, 0.02)


def fully_relativistic(
    labels: Iterable[str], pseudos: Mapping[str, Pseudopotential], siblings: Mapping[str, Pseudopotential] | None = None
) -> dict[str, Pseudopotential]:
    """The pseudopotential of every species that the spin-orbit coupling comes from.

    Parameters
    ----------
    labels : iterable of str
        Species.
    pseudos : mapping of str to Pseudopotential
        Those of the Hamiltonian. Fully relativistic ones are taken themselves.
    siblings : mapping of str to Pseudopotential, optional
        Fully relativistic versions of the others.

    Raises
    ------
    ValueError
        If a species has none, or one that does not belong to its pseudopotential.
    """
    result = {}
    for label in sorted(set(labels)):
        if label not in pseudos:
            raise ValueError(f'no pseudopotential for {label}, so that spin-orbit coupling cannot be added')
        if pseudos[label].spin_orbit_dij is not None:
            result[label] = pseudos[label]
        elif siblings is None or label not in siblings:
            raise ValueError(
                f'the pseudopotential of {label} is scalar-relativistic and has no spin-orbit part; '
                'give the fully relativistic version of the same set'
            )
        else:
            check_sibling(pseudos[label], siblings[label], label)
            result[label] = siblings[label]
    return result


def check_sibling(scalar: Pseudopotential, full: Pseudopotential, label: str):
    """Refuse a fully relativistic pseudopotential that is not a version of a scalar-relativistic one.

    Charge, functional and the screened local potential, which does not depend on l and j, must be the same.

    Parameters
    ----------
    scalar, full : Pseudopotential
        Both of one element.
    label : str
        Species, for the message.

    Raises
    ------
    ValueError
        If it is not fully relativistic, or they differ; the message says in what.
    """
    where = f'fully relativistic pseudopotential of {label}'
    if full.spin_orbit_dij is None:
        raise ValueError(f'{where}: it is scalar-relativistic; give the fully relativistic version of the same set')
    for what, one, other in (
        ('element', scalar.element, full.element),
        ('z_valence', scalar.z_valence, full.z_valence),
        ('functional', scalar.functional, full.functional),
        ('core correction', scalar.core_density is not None, full.core_density is not None),
    ):
        if one != other:
            raise ValueError(
                f'{where}: its {what} is {other}, that of the scalar-relativistic one {one}; '
                'give two versions of the same set'
            )
    potentials = [PseudoAtom(pseudo).screened_potential(RADII) for pseudo in (scalar, full)]
    difference = float(np.abs(RADII * (potentials[0] - potentials[1])).max())
    if difference > TOLERANCE:
        raise ValueError(
            f'{where}: its screened potential differs from that of the scalar-relativistic one by {difference:.3g} Ry '
            f'bohr ({TOLERANCE} allowed); they are not two versions of the same set'
        )
