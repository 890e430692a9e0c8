"""Structures of the examples: zincblende AlAs with random displacements or with a polarisation wave."""

import numpy as np
from ase import Atoms

LATTICE_CONSTANT = 5.66  # Å


def layers(n_cells: int) -> Atoms:
    """Return zincblende AlAs as a column of four-atom cells along z."""
    side = LATTICE_CONSTANT / np.sqrt(2)
    positions = [(0, 0, 0), (0, 0.5, 0.25), (0.5, 0.5, 0.5), (0.5, 0, 0.75)]
    cell = Atoms('AlAsAlAs', scaled_positions=positions, cell=(side, side, LATTICE_CONSTANT), pbc=True)
    return cell.repeat((1, 1, n_cells))


def rattled(seed: int) -> Atoms:
    """Return a cell of eight atoms with random displacements."""
    atoms = layers(2)
    atoms.rattle(0.05, seed=seed)
    return atoms


def wave(n_cells: int, amplitude: float) -> Atoms:
    """Return a frozen longitudinal wave, Al against As: it polarises the crystal over its whole length.

    Its potential grows with amplitude (Å) times length; from crest to trough it must stay below the band gap, or charge
    flows and the scf does not converge.
    """
    atoms = layers(n_cells)
    aluminium = atoms.symbols == 'Al'
    z = atoms.positions[:, 2]
    atoms.positions[aluminium, 2] += amplitude * np.sin(2 * np.pi * z[aluminium] / atoms.cell[2, 2])
    return atoms
