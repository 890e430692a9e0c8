"""The electrostatic vacuum level of slabs, from the density of the run.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC, Electrostatics
from aiida_hamlr.electronic.reference.planar_potential import PlaneWavesAlong, planar_components
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: A plane whose mean density of neutral atoms is below it belongs to the vacuum, bohr^-3.
DENSITY_THRESHOLD = 1e-5

#: A vacuum is thicker than this, Å.
SMALLEST_THICKNESS = 4.0

#: Part of the cell that must be vacuum for the potential on the sides of a slab if the interaction is cut off.
SMALLEST_SHARE = 0.4

#: Distance of the planes on which the density is computed, bohr.
PLANE_SPACING = 0.1

#: Cutoff of the plane-averaged densities in the search for a vacuum, Ry.
SEARCH_CUTOFF = 100.0

#: Width of the Gaussians that smooth these densities, bohr: what lies beyond the cutoff would ring in the vacuum.
SEARCH_WIDTH = 0.4


def find_vacuum(atoms: Atoms, pseudos: Mapping[str, Pseudopotential]) -> tuple[int, float, float] | None:
    """The thickest vacuum of a structure.

    Parameters
    ----------
    atoms : ase.Atoms
        Slab, layer or crystal.
    pseudos : mapping of str to Pseudopotential
        One of every element, for the densities of the free atoms.

    Returns
    -------
    axis, middle, thickness : int, float, float, or None
        Along which lattice vector, the fractional height of the middle plane (0 to 1), and how far the planes, parallel
        to the other two vectors, whose mean density of neutral atoms is below 1e-5 bohr^-3 are apart, Å. None if that
        is 4 Å or less.
    """
    found = None
    for axis in range(3):
        waves = PlaneWavesAlong(atoms, axis, SEARCH_CUTOFF)
        electrons = sum(pseudos[label].z_valence for label in waves.labels)
        density = waves.superpose(lambda element, q: pseudos[element].density_form_factor(q))
        density *= np.exp(-0.5 * (SEARCH_WIDTH * waves.lengths) ** 2)
        n = int(np.ceil(waves.thickness / PLANE_SPACING))
        empty = waves.values(electrons / waves.volume, density, np.arange(n) / n) < DENSITY_THRESHOLD
        start, length = _longest_run(empty)
        thickness = length / n * waves.thickness * BOHR
        if thickness > SMALLEST_THICKNESS and (found is None or thickness > found[2]):
            found = axis, ((start + 0.5 * (length - 1)) / n) % 1.0, thickness
    return found


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """First index and length of the longest run of true values on a ring; nothing if all are true or none is."""
    if flags.all() or not flags.any():
        return 0, 0
    first = int(np.argmin(flags))
    edges = np.flatnonzero(np.diff(np.concatenate([np.roll(flags, -first), [False]]).astype(int)))
    starts, ends = edges[::2] + 1, edges[1::2] + 1
    longest = int(np.argmax(ends - starts))
    return (int(starts[longest]) + first) % len(flags), int(ends[longest] - starts[longest])


def vacuum_levels(
    atoms: Atoms,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    electrostatics: Electrostatics = PERIODIC,
) -> tuple[float, float | None, float | None] | None:
    """Electrostatic potential ``V_ion + V_H`` in the vacuum of a slab, averaged over the plane.

    Exchange and correlation, which decay slowly, are not in it: levels measured from it do not depend on the thickness
    of the vacuum. With periodic electrostatics the images of a polar slab bend the potential, and only its value in the
    middle of the vacuum, the mean of both sides, has a meaning.

    Parameters
    ----------
    atoms : ase.Atoms
        Slab, layer or crystal.
    density : (n1, n2, n3) array
        Valence electrons of the run on the FFT grid, bohr^-3.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the run's density, Ry.
    electrostatics : Electrostatics
        Of the run.

    Returns
    -------
    middle, below, above : float, or None
        eV, in the neutral-atom gauge: the mean level, and those on the side of the slab to which the lattice vector
        points (above) and on the other side (below), which a run with dipole correction or slab cutoff has; None where
        it has not. None instead of all three if there is no vacuum, see `find_vacuum`.
    """
    vacuum = find_vacuum(atoms, pseudos)
    if vacuum is None:
        return None
    waves = PlaneWavesAlong(atoms, vacuum[0], ecutrho)
    average, potential = planar_components(atoms, density, pseudos, waves, electrostatics)
    heights = np.array([vacuum[1], *vacuum_sides(atoms, vacuum, electrostatics)])
    levels = RYDBERG * waves.values(average, potential, heights)
    correction = electrostatics.dipole_correction
    if len(levels) == 1:
        return float(levels[0]), None, None
    if correction is not None:
        heights = np.array([correction.start + correction.width, correction.start])
        levels[1:] += correction.field(atoms, density, pseudos) * correction.saw_tooth(heights)
    return float(levels[1:].mean()), float(levels[1]), float(levels[2])


def vacuum_sides(atoms: Atoms, vacuum: tuple[int, float, float], electrostatics: Electrostatics) -> tuple[float, ...]:
    """Fractional heights below and above the slab where the potential is that of its side; empty without such."""
    axis, middle, thickness = vacuum
    correction = electrostatics.dipole_correction
    if correction is not None and correction.axis == axis:
        return correction.start + correction.width, correction.start
    vacuum_share = thickness / PlaneWavesAlong(atoms, axis, SEARCH_CUTOFF).thickness / BOHR
    if not electrostatics.slab_cutoff or axis != 2 or vacuum_share < SMALLEST_SHARE:
        return ()
    # Charges further than half the cell away are cut off: right up to there from the far side of the slab, whose thin
    # tails do not matter.
    reach = max(vacuum_share - 0.5, 0.02)
    return middle + 0.5 * vacuum_share - reach, middle - 0.5 * vacuum_share + reach


def check_falling_part(
    atoms: Atoms, pseudos: Mapping[str, Pseudopotential], electrostatics: Electrostatics, source: str = ''
):
    """Raise ``ValueError`` unless the saw-tooth of a dipole correction falls in the vacuum."""
    correction = electrostatics.dipole_correction
    if correction is None:
        return
    vacuum = find_vacuum(atoms, pseudos)
    where = f'{source}: ' if source else ''
    if vacuum is None or vacuum[0] != correction.axis:
        raise ValueError(
            f'{where}the dipole correction is along lattice vector {correction.axis + 1} (edir), where no vacuum is'
        )
    axis, middle, thickness = vacuum
    share = thickness / BOHR / PlaneWavesAlong(atoms, axis, SEARCH_CUTOFF).thickness
    offset = (correction.start + correction.width / 2 - middle + 0.5) % 1.0 - 0.5
    if abs(offset) + correction.width / 2 > share / 2:
        raise ValueError(
            f'{where}the saw-tooth of the dipole correction falls between {correction.start:g} and '
            f'{(correction.start + correction.width) % 1.0:g} (emaxpos, eopreg), where atoms are; the vacuum is '
            f'between {(middle - share / 2) % 1.0:.3f} and {(middle + share / 2) % 1.0:.3f}: run pw.x again with '
            f'emaxpos {(middle - correction.width / 2) % 1.0:.3f}'
        )
