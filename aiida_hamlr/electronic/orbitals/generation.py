"""Numerical atomic orbitals from a pseudopotential alone: the lowest solutions of the softly confined pseudo-atom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict

from aiida_hamlr import __version__
from aiida_hamlr.electronic.orbitals.basis import Shell, SpeciesBasis
from aiida_hamlr.electronic.orbitals.total_momenta import difference_of_j, orthonormalised
from aiida_hamlr.electronic.pseudo.atom import FREE_RADIUS, KINETIC_CUTOFF, STEP, PseudoAtom, SoftConfinement
from aiida_hamlr.electronic.pseudo.configuration import LETTERS, OccupiedShell, occupied_shells
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

#: Functions per valence shell and polarisation functions of every size.
SIZES = {'sz': (1, 0), 'szp': (1, 1), 'dzp': (2, 1), 'dzdp': (2, 2), 'tzp': (3, 1), 'tzdp': (3, 2)}

#: Cutoff radius unless another is asked for, bohr.
CUTOFF_RADIUS = 8.0

#: The same for elements whose valence shell is compact.
COMPACT_CUTOFF_RADIUS = 7.0
COMPACT_ELEMENTS = frozenset({'C', 'N', 'O', 'F'})

#: A shell of the free atom below this level is semicore and gets one function, eV.
SEMICORE_LEVEL = -30.0

#: A level of the free atom that lies further from the one that the file gives belongs to a ghost state, eV.
LEVEL_TOLERANCE = 1.0

#: Highest angular momentum of a polarisation shell.
LARGEST_POLARISATION = 2

ZETA_NAMES = ('', ' second zeta', ' third zeta')

#: Of the function by which the two j of a shell differ.
BOTH_J = ' difference of j'


def default_cutoff_radius(element: str) -> float:
    """Cutoff radius of an element's orbitals unless another is asked for, bohr."""
    return COMPACT_CUTOFF_RADIUS if element in COMPACT_ELEMENTS else CUTOFF_RADIUS


def generate_basis(
    pseudo: Pseudopotential,
    size: str = 'dzp',
    cutoff_radius: float | None = None,
    confinement: SoftConfinement | None = None,
    spin_orbit: bool = False,
) -> SpeciesBasis:
    """Generate the orbitals of an element.

    Every angular momentum gets the lowest solutions in the screened potential of the free pseudo-atom and a soft
    confinement: as many as its shells ask for. A valence shell asks for one, two or three functions (sz, dz, tz), a
    semicore shell (level of the free atom below -30 eV) for one, and the first angular momentum up to d that has no
    valence shell for the polarisation functions (Zn with 3p in the semicore: p); an atom with s, p and d valence
    shells gets none.

    Parameters
    ----------
    pseudo : Pseudopotential
        Of the element.
    size : str
        One of ``SIZES``: 'sz', 'szp', 'dzp', 'dzdp', 'tzp' or 'tzdp'.
    cutoff_radius : float, optional
        Radius beyond which the orbitals are zero, bohr, a multiple of 0.01; by default 8, and 7 for C, N, O and F.
    confinement : SoftConfinement, optional
        By default 40 Ry bohr from 0.6 of the radius on.
    spin_orbit : bool
        Whether the lowest shell of every occupied angular momentum gets one more function if the two j differ, see
        `difference_of_j`; nothing for scalar-relativistic pseudopotentials.

    Returns
    -------
    SpeciesBasis
        Shells by angular momentum, the lowest solution first. Its metadata hold the size, the confinement, the
        functional, the hash of the pseudopotential and the levels of the free atom (eV).

    Raises
    ------
    ValueError
        If the size is not known, the radius is not possible, the occupied shells cannot be told, or the levels are not
        those that the pseudopotential's file gives.
    """
    if size not in SIZES:
        raise ValueError(f'basis size {size!r} is not known; known are {", ".join(SIZES)}')
    radius = default_cutoff_radius(pseudo.element) if cutoff_radius is None else float(cutoff_radius)
    confinement = confinement or SoftConfinement()
    atom = PseudoAtom(pseudo)
    levels = free_levels(atom, occupied_shells(pseudo))
    _check_levels(pseudo, levels)
    n_zeta, n_polarisation = SIZES[size]
    plan = defaultdict(list)
    valence = {shell.angular_momentum for shell, level in levels.items() if level >= SEMICORE_LEVEL}
    for shell, level in levels.items():
        for zeta in range(1 if level < SEMICORE_LEVEL else n_zeta):
            plan[shell.angular_momentum].append((shell.label + ZETA_NAMES[zeta], 0.0 if zeta else shell.occupation))
    polarised = next((l for l in range(LARGEST_POLARISATION + 1) if l not in valence), None)
    if polarised is not None and n_polarisation:
        for zeta in range(n_polarisation):
            plan[polarised].append((f'{LETTERS[polarised]} polarisation{ZETA_NAMES[zeta]}', 0.0))
    shells = []
    for l in sorted(plan):
        _, radial = atom.solve(l, radius, len(plan[l]), confinement)
        shells += [Shell(l, radius, row, *entry) for row, entry in zip(radial, plan[l], strict=True)]
        occupied = any(shell.angular_momentum == l for shell in levels)
        difference = difference_of_j(pseudo, l, radius, confinement) if spin_orbit and occupied else None
        if difference is not None:
            shells.append(Shell(l, radius, orthonormalised(difference, radial), f'{plan[l][0][0]}{BOTH_J}'))
    metadata = {
        'recipe': 'plain',
        'size': size,
        'cutoff_radius_bohr': radius,
        'confinement': {'kind': 'soft', **asdict(confinement)},
        'kinetic_cutoff_Ry': KINETIC_CUTOFF,
        'functional': pseudo.functional,
        'z_valence': pseudo.z_valence,
        **({'spin_orbit': True} if spin_orbit else {}),
        'pseudopotential_sha256': pseudo.content_hash,
        'atomic_levels_eV': {shell.label: round(level, 4) for shell, level in levels.items()},
        'code': f'aiida-hamlr {__version__}',
    }
    return SpeciesBasis(pseudo.element, STEP, tuple(shells), metadata)


def _check_levels(pseudo: Pseudopotential, levels: dict[OccupiedShell, float]):
    given = {orbital.label.lower(): orbital.energy for orbital in pseudo.wavefunctions}
    for shell, level in levels.items():
        expected = given.get(shell.label)
        if expected is not None and abs(level - expected) > LEVEL_TOLERANCE:
            raise ValueError(
                f'pseudopotential of {pseudo.element} ({pseudo.functional}, z = {pseudo.z_valence:g}): its free atom '
                f'has {shell.label} at {level:.2f} eV, its file says {expected:.2f} eV; it has a ghost state or is '
                'damaged, use another one'
            )


def free_levels(atom: PseudoAtom, shells: list[OccupiedShell]) -> dict[OccupiedShell, float]:
    """Levels of the free pseudo-atom's shells, eV.

    The shells of one angular momentum, in the order of their principal quantum numbers, are its lowest solutions.
    """
    levels = {}
    for l in sorted({shell.angular_momentum for shell in shells}):
        same = sorted((shell for shell in shells if shell.angular_momentum == l), key=lambda shell: shell.n)
        energies, _ = atom.solve(l, FREE_RADIUS, len(same))
        levels.update(zip(same, map(float, energies), strict=True))
    return levels
