"""Electrostatics of a plane-wave run: periodic, cut off between slabs, or with a dipole correction.

Two options of Quantum ESPRESSO for slabs change the long range of the potential:

- The cutoff of the Coulomb interaction between periodic images (``assume_isolated = '2D'``; Sohier, Calandra, Mauri,
  Phys. Rev. B 96, 075448 (2017)). With the third lattice vector, of length 2 l, along z, every ``4 pi / G^2`` is
  multiplied by ``1 - exp(-|G_xy| l) cos(G_z l)``: charges interact up to a distance l along z.
- The dipole correction (``tefield``, ``dipfield``; Bengtsson, Phys. Rev. B 59, 12301 (1999)): a saw-tooth potential
  along one reciprocal vector takes off the field that the periodic images of a dipole make.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.integrals.neutral_atom import ReciprocalGrid
from aiida_hamlr.electronic.integrals.neutral_atom import gauge_shift as periodic_gauge_shift
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: Largest cosine of angles that should be right.
RIGHT_ANGLE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class DipoleCorrection:
    """The saw-tooth of Quantum ESPRESSO's ``add_efield``.

    It rises linearly along a lattice direction and falls back within a small part of the cell, in the vacuum.

    Parameters
    ----------
    axis : int
        0, 1 or 2: the saw-tooth runs along this reciprocal lattice vector (``edir`` less one).
    start, width : float
        Where it begins to fall, and within which part of the cell (``emaxpos``, ``eopreg``), fractions.
    """

    axis: int
    start: float
    width: float

    def saw_tooth(self, fractions: np.ndarray) -> np.ndarray:
        """Values at fractional heights; the slope outside the falling part is one per cell, the average zero."""
        height = (np.asarray(fractions) - self.start) % 1.0
        falling = 0.5 - height / self.width
        rising = -0.5 + (height - self.width) / (1.0 - self.width)
        return np.where(height <= self.width, falling, rising) * (1.0 - self.width)

    def field(self, atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential]) -> float:
        """Potential energy of an electron per unit of the saw-tooth, eV: ``-4 pi e^2 p d / Omega``.

        ``p`` is the dipole of ions and electrons, in which the saw-tooth times the plane distance d stands for the
        position.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure.
        density : (n1, n2, n3) array
            Valence electrons on the FFT grid, bohr^-3.
        pseudos : mapping of str to Pseudopotential
            Pseudopotential of each element.
        """
        distance = 2 * np.pi / np.linalg.norm(reciprocal(atoms.cell[:] / BOHR)[self.axis])
        others = tuple(other for other in range(3) if other != self.axis)
        n = np.shape(density)[self.axis]
        electrons = float(np.mean(density.mean(axis=others) * self.saw_tooth(np.arange(n) / n)))
        charges = np.array([pseudos[label].z_valence for label in species_labels(atoms)])
        heights = atoms.get_scaled_positions(wrap=False)[:, self.axis]
        ions = float(charges @ self.saw_tooth(heights)) / (atoms.get_volume() / BOHR**3)
        return -2 * 4 * np.pi * (ions - electrons) * distance**2 * RYDBERG

    def potential(self, atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential]) -> np.ndarray:
        """Saw-tooth potential on the FFT grid, of a shape that broadcasts with the density, eV; see `field`."""
        n = np.shape(density)[self.axis]
        shape = [1, 1, 1]
        shape[self.axis] = n
        return self.field(atoms, density, pseudos) * self.saw_tooth(np.arange(n) / n).reshape(shape)


@dataclass(frozen=True)
class Electrostatics:
    """How a run treats the long range of the Coulomb interaction; by default periodically.

    Parameters
    ----------
    slab_cutoff : bool
        Whether the interaction is cut off between slabs (``assume_isolated = '2D'``).
    dipole_correction : DipoleCorrection, optional
    """

    slab_cutoff: bool = False
    dipole_correction: DipoleCorrection | None = None

    @property
    def name(self) -> str:
        """'periodic', '2D' or 'dipole correction', as Hamiltonian files record it."""
        if self.slab_cutoff:
            return '2D'
        return 'periodic' if self.dipole_correction is None else 'dipole correction'

    def check_cell(self, atoms: Atoms):
        """Raise ``ValueError`` unless, with the slab cutoff, the third lattice vector is along z, the others normal."""
        if not self.slab_cutoff:
            return
        directions = atoms.cell[:] / np.linalg.norm(atoms.cell[:], axis=1)[:, None]
        if np.abs(directions[:2, 2]).max() > RIGHT_ANGLE_TOLERANCE or np.abs(directions[2, :2]).max() > (
            RIGHT_ANGLE_TOLERANCE
        ):
            raise ValueError("assume_isolated = '2D' needs the third lattice vector along z, the others normal to it")

    def coulomb_factor(self, vectors: ReciprocalGrid) -> np.ndarray | float:
        """What ``4 pi / G^2`` is multiplied by at the reciprocal vectors within the cutoff."""
        if not self.slab_cutoff:
            return 1.0
        orders = np.broadcast_to(vectors.indices[2], vectors.inside.shape)[vectors.inside]
        length = vectors.cell[2, 2]
        along = 2 * np.pi * orders / length
        in_plane = np.sqrt(np.maximum(vectors.lengths**2 - along**2, 0.0))
        return self.factor(in_plane, orders, length)

    def factor(self, in_plane: np.ndarray, orders: np.ndarray, length: float) -> np.ndarray | float:
        """The same from ``|G_xy|`` (bohr^-1), ``G_z`` in units of ``2 pi / length``, and the cell's length (bohr)."""
        if not self.slab_cutoff:
            return 1.0
        return 1.0 - np.exp(-np.abs(in_plane) * length / 2) * np.where(np.asarray(orders) % 2 == 0, 1.0, -1.0)

    def average_correction(self, atoms: Atoms, pseudos: Mapping[str, Pseudopotential]) -> float:
        """Cell average of the potential less that with periodic electrostatics, eV.

        With the cutoff Quantum ESPRESSO takes the average of the local potential less ``-Z e^2 erf(r) / r`` in place of
        ``-Z e^2 / r``: ``-pi Z e^2 / Omega`` per atom.
        """
        if not self.slab_cutoff:
            return 0.0
        charge = sum(pseudos[label].z_valence for label in species_labels(atoms))
        return -2 * np.pi * charge / (atoms.get_volume() / BOHR**3) * RYDBERG

    def gauge_shift(self, atoms: Atoms, pseudos: Mapping[str, Pseudopotential]) -> float:
        """What to add, times S, to the run's H for the neutral-atom gauge, eV.

        With the cutoff the potential of neutral atoms vanishes far from them already.
        """
        return 0.0 if self.slab_cutoff else periodic_gauge_shift(atoms, pseudos)

    def correction(
        self, atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential], vectors: ReciprocalGrid
    ) -> np.ndarray | float:
        """What is added to the potential of periodic electrostatics, on the FFT grid, eV.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure.
        density : (n1, n2, n3) array
            Valence electrons of both spins together, bohr^-3.
        pseudos : mapping of str to Pseudopotential
            Pseudopotential of each element.
        vectors : ReciprocalGrid
            Of the run's cutoff.
        """
        if self.dipole_correction is not None:
            return self.dipole_correction.potential(atoms, density, pseudos)
        if not self.slab_cutoff:
            return 0.0
        charge = np.fft.rfftn(density)[vectors.inside] / np.size(density)
        labels = np.array(species_labels(atoms))
        for element in sorted(set(labels)):
            ions = vectors.structure_factor(atoms.positions[labels == element] / BOHR) / vectors.volume
            charge -= pseudos[element].z_valence * ions * np.exp(-(vectors.lengths**2) / 4)
        finite = vectors.lengths > 1e-8
        factor = 8 * np.pi * (self.coulomb_factor(vectors) - 1.0)
        result = np.zeros_like(charge)
        result[finite] = factor[finite] * charge[finite] / vectors.lengths[finite] ** 2
        return vectors.to_real(result) * RYDBERG + self.average_correction(atoms, pseudos)


#: Electrostatics of a crystal.
PERIODIC = Electrostatics()
