"""Plane averages of the electrostatic potential of a run.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.integrals.neutral_atom import gauge_shift, neutral_atom_form_factor
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC, Electrostatics
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG


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
        self.labels = np.array(species_labels(atoms))
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
        for element in sorted(set(self.labels)):
            phases = np.exp(-2j * np.pi * self.orders[:, None] * self.fractions[self.labels == element])
            result += phases.sum(axis=1) * form_factor(element, self.lengths)
        return result / self.volume

    def values(self, average: float, coefficients: np.ndarray, fractions) -> np.ndarray:
        """Plane averages at fractional heights, from the average over the cell and the components."""
        waves = np.exp(2j * np.pi * np.multiply.outer(fractions, self.orders))
        return average + 2 * (waves @ coefficients).real


def planar_components(
    atoms: Atoms,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    waves: PlaneWavesAlong,
    electrostatics: Electrostatics = PERIODIC,
) -> tuple[float, np.ndarray]:
    """Plane averages of ``V_ion + V_H`` along one lattice vector, in Fourier space, without a dipole correction.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    density : (n1, n2, n3) array
        Valence electrons of the run on the FFT grid, bohr^-3.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    waves : PlaneWavesAlong
        Of the lattice vector.
    electrostatics : Electrostatics
        Of the run.

    Returns
    -------
    average, components : float, (n,) complex array
        For `PlaneWavesAlong.values`, Ry, in the neutral-atom gauge.
    """
    others = tuple(other for other in range(3) if other != waves.axis)
    profile = np.fft.fft(np.mean(density, axis=others)) / np.shape(density)[waves.axis]
    profile = profile[waves.orders]
    neutral = waves.superpose(lambda element, q: pseudos[element].density_form_factor(q))
    components = waves.superpose(lambda element, q: neutral_atom_form_factor(pseudos[element], q))
    components += 8 * np.pi * (profile - neutral) / waves.lengths**2
    average = sum(float(neutral_atom_form_factor(pseudos[label], np.zeros(1))[0]) for label in waves.labels)
    average /= waves.volume
    if electrostatics.slab_cutoff:
        ions = waves.superpose(lambda element, q: pseudos[element].z_valence * np.exp(-(q**2) / 4))
        along = waves.axis == 2
        in_plane, orders = (np.zeros(1), waves.orders) if along else (waves.lengths, np.zeros(1, dtype=int))
        factor = electrostatics.factor(in_plane, orders, atoms.cell[2, 2] / BOHR) - 1.0
        components += 8 * np.pi * factor * (profile - ions) / waves.lengths**2
        average += (electrostatics.average_correction(atoms, pseudos) - gauge_shift(atoms, pseudos)) / RYDBERG
    return average, components


def planar_potential(
    atoms: Atoms,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    axis: int,
    electrostatics: Electrostatics = PERIODIC,
) -> np.ndarray:
    """Potential energy ``V_ion + V_H`` of an electron, averaged over planes normal to a reciprocal vector.

    The local pseudopotentials stand for the ions; exchange and correlation are not in it.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    density : (n1, n2, n3) array
        Valence electrons of the run, both spins together, on the FFT grid, bohr^-3.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the run's density, Ry.
    axis : int
        0, 1 or 2: lattice vector across the planes.
    electrostatics : Electrostatics
        Of the run.

    Returns
    -------
    (n,) array
        eV, in the neutral-atom gauge, on the n planes of the FFT grid: at the fractional heights 0, 1/n, ...
    """
    waves = PlaneWavesAlong(atoms, axis, ecutrho)
    n = np.shape(density)[axis]
    heights = np.arange(n) / n
    average, components = planar_components(atoms, density, pseudos, waves, electrostatics)
    potential = RYDBERG * waves.values(average, components, heights)
    correction = electrostatics.dipole_correction
    if correction is not None and correction.axis == axis:
        potential += correction.field(atoms, density, pseudos) * correction.saw_tooth(heights)
    return potential
