"""Norm-conserving pseudopotentials from published Goedecker-Teter-Hutter parameters, as UPF files.

The local potential is ``-z erf(x / sqrt 2) / r + exp(-x^2 / 2) (C1 + C2 x^2 + C3 x^4 + C4 x^6)`` with
``x = r / r_loc``, the projectors are Gaussians times powers of r (Goedecker, Teter, Hutter, Phys. Rev. B 54, 1703;
Hartwigsen, Goedecker, Hutter, Phys. Rev. B 58, 3641). The parameters are for the local density approximation in the
form of Pade; the files name Slater exchange with Perdew-Wang correlation, which it interpolates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml
from scipy.special import erf, gamma

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.pseudo.atom import radial_mesh, solve_self_consistently
from aiida_hamlr.electronic.pseudo.configuration import LETTERS
from aiida_hamlr.electronic.pseudo.pseudopotential import Projector, Pseudopotential, PseudoWavefunction
from aiida_hamlr.electronic.pseudo.upf_content import UpfContent
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf

#: What the files that are made here say of themselves.
GENERATED = 'GTH pseudopotential of'

TABLE = Path(__file__).with_name('gth_parameters.yaml')

#: End of the radial mesh of the files, bohr. The mesh is uniform and begins at the origin: all integrands are even
#: functions of r there, for which Simpson's rule is as accurate as the twelve digits of the file.
RADIUS = 16.0

#: A projector ends where it stays below this fraction of its maximum.
NEGLIGIBLE = 1e-11

SOURCE = """GTH pseudopotential of {element} with {z:g} valence electrons, LDA (Pade), from published parameters.
S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54, 1703 (1996)
C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58, 3641 (1998)
M. Krack, Theor. Chem. Acc. 114, 145 (2005)
Density and orbitals: the spherical pseudo-atom, solved self-consistently."""


@dataclass(frozen=True)
class GthParameters:
    """One entry of the table; atomic units (Hartree, bohr).

    Parameters
    ----------
    element : str
    charge : float
        Valence electrons.
    shells : dict of str to float
        Occupied shells, as in ``{'3s': 2, '3p': 1}``.
    ecutwfc : float
        Recommended plane-wave cutoff, Ry.
    local_radius : float
    coefficients : tuple of float
        ``C1, C2, ...`` of the local potential.
    channels : tuple of (int, float, array)
        Angular momentum, radius and symmetric matrix ``h`` of the projectors.
    caveat : str
        What to keep in mind when numbers from this entry are shown; empty if nothing.
    """

    element: str
    charge: float
    shells: dict
    ecutwfc: float
    local_radius: float
    coefficients: tuple
    channels: tuple
    caveat: str = ''


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[GthParameters, ...]]:
    entries = yaml.safe_load(TABLE.read_text())
    return {element: tuple(_entry(element, entry) for entry in listed) for element, listed in entries.items()}


def _entry(element: str, entry: dict) -> GthParameters:
    channels = []
    for channel in entry['projectors']:
        rows, n = channel['h'], len(channel['h'])
        upper = np.zeros((n, n))
        for i, row in enumerate(rows):
            upper[i, i:] = row
        channels.append((channel['l'], channel['radius'], upper + np.triu(upper, 1).T))
    return GthParameters(
        element=element,
        charge=float(entry['charge']),
        shells=entry['shells'],
        ecutwfc=float(entry['ecutwfc_Ry']),
        local_radius=entry['local']['radius'],
        coefficients=tuple(entry['local']['coefficients']),
        channels=tuple(channels),
        caveat=entry.get('caveat', ''),
    )


def available_elements() -> tuple[str, ...]:
    """Elements that the table holds."""
    return tuple(_table())


def charges_of(element: str) -> list[float]:
    """Numbers of valence electrons for which the table has parameters of an element."""
    return [entry.charge for entry in _table()[element]]


def gth_parameters(element: str, charge: float | None = None) -> GthParameters:
    """The parameters of an element.

    Parameters
    ----------
    element : str
        Chemical symbol.
    charge : float, optional
        Number of valence electrons where there is a choice (Zn 12 or 2, Ga 13 or 3, Cd 12 or 2, In 13 or 3); the
        default is the one with d electrons. For hydrogen any positive charge up to 2: potential and electrons are
        scaled, which makes the atoms that saturate dangling bonds of compound semiconductors.

    Raises
    ------
    ValueError
        If the table has no such element or charge.
    """
    if element not in _table():
        raise ValueError(
            f'no GTH parameters of {element!r}; there are some of {", ".join(_table())}; for others take UPF files, '
            'as those of PseudoDojo'
        )
    entries = _table()[element]
    if charge is None:
        return entries[0]
    if element == 'H':
        if not 0 < charge <= 2:
            raise ValueError(f'charge {charge:g} of hydrogen is out of the range from 0 to 2')
        return _scaled_hydrogen(entries[0], float(charge))
    for entry in entries:
        if entry.charge == charge:
            return entry
    charges = ' and '.join(f'{known:g}' for known in charges_of(element))
    raise ValueError(f'no GTH parameters of {element} with charge {charge:g}; there are some with {charges}')


def _scaled_hydrogen(entry: GthParameters, charge: float) -> GthParameters:
    values = {f.name: getattr(entry, f.name) for f in fields(entry)}
    values.update(
        charge=charge,
        shells={'1s': charge},
        coefficients=tuple(charge * c for c in entry.coefficients),
    )
    return GthParameters(**values)


def make_pseudopotential(element: str, charge: float | None = None) -> Pseudopotential:
    """Tabulate a pseudopotential and solve its free atom.

    Parameters
    ----------
    element : str
        One of `available_elements`.
    charge : float, optional
        See `gth_parameters`.

    Returns
    -------
    Pseudopotential
        Its ``text`` is a complete UPF file, version 2.

    Raises
    ------
    ValueError
        If the table has no such element or charge.
    """
    entry = gth_parameters(element, charge)
    r = radial_mesh(RADIUS)
    projectors, dij = _projectors(entry, r)
    wavefunctions = tuple(
        PseudoWavefunction(label.upper(), LETTERS.index(label[-1]), float(occupation), np.zeros(len(r)))
        for label, occupation in entry.shells.items()
    )
    start = Pseudopotential(
        element=element,
        z_valence=entry.charge,
        functional='lda_pw',
        r=r,
        rab=np.full(len(r), r[1]),
        v_local=_local_potential(entry, r),
        rho_atom=entry.charge * 0.5 * 2.0**3 * r**2 * np.exp(-2.0 * r),
        core_density=None,
        projectors=projectors,
        dij=dij,
        wavefunctions=wavefunctions,
        text='',
    )
    solution = solve_self_consistently(start)
    content = UpfContent(**{f.name: getattr(solution, f.name) for f in fields(UpfContent)})
    info = '\n'.join(filter(None, [SOURCE.format(element=element, z=entry.charge), entry.caveat]))
    return Pseudopotential.from_text(format_upf(content, info, f'aiida-hamlr {__version__}'), f'{element} (GTH)')


def write_upf(path: str | Path, element: str, charge: float | None = None) -> Pseudopotential:
    """Write the UPF file of an element, under a temporary name first, and return the pseudopotential.

    Raises
    ------
    ValueError
        If the table has no such element or charge.
    """
    pseudo = make_pseudopotential(element, charge)
    with atomic_path(path) as temporary:
        temporary.write_text(pseudo.text)
    return pseudo


def _local_potential(entry: GthParameters, r: np.ndarray) -> np.ndarray:
    """(n,) local potential, Ry."""
    x = r / entry.local_radius
    at_origin = np.sqrt(2.0 / np.pi) / entry.local_radius
    coulomb = np.divide(erf(x / np.sqrt(2.0)), r, out=np.full(len(r), at_origin), where=r > 0)
    polynomial = sum((c * x ** (2 * k) for k, c in enumerate(entry.coefficients)), np.zeros(len(r)))
    return 2.0 * (-entry.charge * coulomb + np.exp(-0.5 * x**2) * polynomial)


def _projectors(entry: GthParameters, r: np.ndarray) -> tuple[tuple[Projector, ...], np.ndarray]:
    """Projectors as ``r p_i(r)`` and their coefficients, Ry."""
    projectors, blocks = [], []
    for l, radius, h in entry.channels:
        for i in range(1, len(h) + 1):
            power = l + 0.5 * (4 * i - 1)
            shape = np.sqrt(2.0) * r ** (l + 2 * i - 2) * np.exp(-0.5 * (r / radius) ** 2)
            values = r * shape / (radius**power * np.sqrt(gamma(power)))
            end = int(np.flatnonzero(np.abs(values) > NEGLIGIBLE * np.abs(values).max())[-1]) + 1
            # An odd number of points, as Simpson's rule wants it.
            projectors.append(Projector(l, values, end + 1 - end % 2))
        blocks.append(2.0 * h)
    dij = np.zeros((len(projectors), len(projectors)))
    offset = 0
    for block in blocks:
        where = slice(offset, offset + len(block))
        dij[where, where] = block
        offset += len(block)
    return tuple(projectors), dij
