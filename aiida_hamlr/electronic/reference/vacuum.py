"""The electrostatic vacuum level of slabs, from the density of the run.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_form_factor
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: A plane whose mean density of neutral atoms is below it belongs to the vacuum, bohr^-3.
DENSITY_THRESHOLD = 1e-5

#: A vacuum is thicker than this, Å.
SMALLEST_THICKNESS = 4.0

#: Distance of the planes on which the density is computed, bohr.
PLANE_SPACING = 0.1

#: Cutoff of the plane-averaged densities in the search for a vacuum, Ry.
SEARCH_CUTOFF = 100.0


class PlaneWavesAlong:
    """The reciprocal vectors ``m b`` of one lattice vector, m > 0: Fourier components of plane averages.

    Parameters
    ----------
    atoms : ase.Atoms
    axis : int
        0, 1 or 2.
    ecutrho : float
        ``|m b|^2`` goes up to it, Ry.
    """

    def __init__(self, atoms: Atoms, axis: int, ecutrho: float):
        self.axis = axis
        self.symbols = np.array(atoms.get_chemical_symbols())
        self.volume = atoms.get_volume() / BOHR**3
        step = np.linalg.norm(reciprocal(atoms.cell[:])[axis]) * BOHR
        #: Distance of the lattice planes, bohr.
        self.thickness = 2 * np.pi / step
        self.orders = np.arange(1, int(np.sqrt(ecutrho) / step) + 1)
        self.lengths = step * self.orders
        self.fractions = atoms.get_scaled_positions(wrap=False)[:, axis]

    def superpose(self, form_factor) -> np.ndarray:
        """``sum_a f_a(m b) exp(-i m b.tau_a) / Omega`` of the function that every element has."""
        result = np.zeros(len(self.orders), dtype=complex)
        for element in sorted(set(self.symbols)):
            phases = np.exp(-2j * np.pi * self.orders[:, None] * self.fractions[self.symbols == element])
            result += phases.sum(axis=1) * form_factor(element, self.lengths)
        return result / self.volume

    def values(self, average: float, coefficients: np.ndarray, fractions) -> np.ndarray:
        """Plane averages at fractional heights, from the average over the cell and the components."""
        waves = np.exp(2j * np.pi * np.multiply.outer(fractions, self.orders))
        return average + 2 * (waves @ coefficients).real


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
        electrons = sum(pseudos[symbol].z_valence for symbol in waves.symbols)
        density = waves.superpose(lambda element, q: pseudos[element].density_form_factor(q))
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


def vacuum_level(
    atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential], ecutrho: float
) -> float | None:
    """Electrostatic potential ``V_ion + V_H`` in the middle of the vacuum, averaged over the plane.

    Exchange and correlation, which decay slowly, are not in it: levels measured from it do not depend on the thickness
    of the vacuum. On the two sides of a slab with a dipole it differs, and the middle is their mean.

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

    Returns
    -------
    float or None
        eV, in the neutral-atom gauge; None if there is no vacuum, see `find_vacuum`.
    """
    vacuum = find_vacuum(atoms, pseudos)
    if vacuum is None:
        return None
    axis, middle, _ = vacuum
    waves = PlaneWavesAlong(atoms, axis, ecutrho)
    others = tuple(other for other in range(3) if other != axis)
    profile = np.fft.fft(np.mean(density, axis=others)) / np.shape(density)[axis]
    neutral = waves.superpose(lambda element, q: pseudos[element].density_form_factor(q))
    potential = waves.superpose(lambda element, q: neutral_atom_form_factor(pseudos[element], q))
    potential += 8 * np.pi * (profile[waves.orders] - neutral) / waves.lengths**2
    average = sum(float(neutral_atom_form_factor(pseudos[symbol], np.zeros(1))[0]) for symbol in waves.symbols)
    return float(waves.values(average / waves.volume, potential, middle)) * RYDBERG
