"""Whether the numbers of a UPF file can be those of a pseudopotential.

Inside: bohr and Ry.
"""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.pseudo.upf_content import UpfContent

#: Radius at which the local potential is looked at, bohr: Quantum ESPRESSO integrates it up to here.
TAIL_RADIUS = 10.0

#: Largest ``|r V_loc + 2 Z|`` there: absolute, Ry bohr, and relative to ``2 Z``. Published files stay below 3e-4.
TAIL_TOLERANCE = 5e-3
TAIL_RELATIVE_TOLERANCE = 1e-3

#: Relative difference of the integral of PP_RHOATOM and Z beyond which a note is given; files of ionic configurations
#: have up to a third.
DENSITY_TOLERANCE = 0.01


def check_local_potential(content: UpfContent, name: str):
    """Refuse a local potential without the Coulomb tail ``-2 Z / r`` of the ion.

    Parameters
    ----------
    content : UpfContent
        Values of the file.
    name : str
        What errors call the file.

    Raises
    ------
    ValueError
        If PP_LOCAL is zero, or is not ``-2 Z / r`` at 10 bohr or, if that comes first, at the end of the mesh.
    """
    if not content.v_local.any():
        raise ValueError(
            f'{name}: PP_LOCAL is zero everywhere: the file holds no local potential; take a file of another source'
        )
    last = max(int(np.searchsorted(content.r, TAIL_RADIUS, side='right')) - 1, 1)
    tail, expected = float(content.r[last] * content.v_local[last]), -2.0 * content.z_valence
    if not abs(tail - expected) <= TAIL_TOLERANCE + TAIL_RELATIVE_TOLERANCE * abs(expected):
        raise ValueError(
            f'{name}: PP_LOCAL has no Coulomb tail: r V is {tail:.4g} Ry bohr at {content.r[last]:.1f} bohr instead of '
            f'-2 Z = {expected:g}; it is not in Ry, z_valence is wrong, or the file is damaged'
        )


def density_note(z_valence: float, integral: float, name: str) -> str | None:
    """What a user should know of the density of the free atom, or nothing.

    Parameters
    ----------
    z_valence, integral : float
        Charge of the ion and electrons that PP_RHOATOM holds.
    name : str
        Of the file or the element.
    """
    if abs(integral - z_valence) <= DENSITY_TOLERANCE * z_valence:
        return None
    return (
        f'{name}: PP_RHOATOM holds {integral:.4f} electrons, the ion has a charge of {z_valence:g}; the density is '
        'scaled to it for H0 and Hirshfeld charges'
    )
