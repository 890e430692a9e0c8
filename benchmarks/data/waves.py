"""Reference Hamiltonians of polar AlAs columns: rattled cells of eight atoms, longitudinal waves and domains.

A column has n cells of four atoms along z, in which Al is displaced against As: by a sine in a wave, by a
constant of either sign in the two halves of a domain pair. `benchmarks/waves.py` makes and uses them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from data.references import References

#: Å.
LATTICE_CONSTANT = 5.6

#: Plane-wave cutoff, Ry; largest distance of k-points, 1/Å, and the offset of their mesh: 4 x 4 shifted points across
#: the column, at which Z*/eps of ph.x is 3 % above its limit, and along it at least those of four for one cell.
CUTOFF, KPOINTS_DISTANCE, KPOINTS_OFFSET = 20.0, 0.45, (0.5, 0.5, 0.0)

#: Standard deviations (Å) of the displacements' components in the rattled cells, in turn.
AMPLITUDES = (0.03, 0.05, 0.07, 0.10)

#: Number of rattled cells by what they are for.
RATTLED = {'train': 16, 'validation': 2, 'test': 2}

#: Cells of four atoms and amplitude (Å). The difference of the potential from crest to trough, some
#: 0.3 V/Å^2 times amplitude times length, and 1.6 times as much between domains, stays below the gap.
WAVES = {
    'train': {'wave_2': (2, 0.10), 'wave_4': (4, 0.08), 'wave_8': (8, 0.05)},
    'test': {'wave_4_test': (4, 0.03), 'wave_8_test': (8, 0.03), 'wave_12': (12, 0.03)},
}
DOMAINS = {
    'train': {'domain_4': (4, 0.05), 'domain_8': (8, 0.03)},
    'test': {'domain_4_test': (4, 0.02), 'domain_8_test': (8, 0.02), 'domain_12': (12, 0.02)},
}


def column(cells: int) -> Atoms:
    """Zincblende AlAs as cells of four atoms along z."""
    side = LATTICE_CONSTANT / np.sqrt(2)
    positions = [(0, 0, 0), (0, 0.5, 0.25), (0.5, 0.5, 0.5), (0.5, 0, 0.75)]
    cell = Atoms('AlAsAlAs', scaled_positions=positions, cell=(side, side, LATTICE_CONSTANT), pbc=True)
    return cell.repeat((1, 1, cells))


def displaced(cells: int, displacement) -> Atoms:
    """Column whose Al atoms are displaced along z by a function (Å) of their height in units of the column's."""
    atoms = column(cells)
    aluminium = atoms.symbols == 'Al'
    atoms.positions[aluminium, 2] += displacement(atoms.get_scaled_positions()[aluminium, 2])
    return atoms


def wave(cells: int, amplitude: float) -> Atoms:
    """One period of a sine."""
    return displaced(cells, lambda z: amplitude * np.sin(2 * np.pi * z))


def domain(cells: int, amplitude: float) -> Atoms:
    """Two halves displaced in opposite directions."""
    return displaced(cells, lambda z: amplitude * np.where(z < 0.5, 1.0, -1.0))


def rattled(index: int) -> Atoms:
    """Cell of eight atoms with random displacements; the same for ever."""
    atoms = column(2)
    scale = AMPLITUDES[index % len(AMPLITUDES)]
    atoms.positions += np.random.default_rng([2026, 11, index]).normal(scale=scale, size=atoms.positions.shape)
    return atoms


def structures() -> tuple[dict[str, dict[str, Atoms]], dict[str, dict[str, Atoms]]]:
    """Rattled cells and columns, by what they are for and by name."""
    splits = [split for split, number in RATTLED.items() for _ in range(number)]
    cells: dict = {split: {} for split in RATTLED}
    for index, split in enumerate(splits):
        cells[split][f'rattled_{index:02d}'] = rattled(index)
    columns = {
        split: {name: wave(*shape) for name, shape in WAVES[split].items()}
        | {name: domain(*shape) for name, shape in DOMAINS[split].items()}
        for split in WAVES
    }
    return cells, columns


def make_all(folder: Path) -> dict[str, dict[str, str]]:
    """Make all references; files by split and name, without those that failed.

    Raises
    ------
    ValueError
        See `References.make`.
    """
    result: dict = {split: {} for split in RATTLED}
    for name, kind in zip(('rattled', 'columns'), structures(), strict=True):
        references = References(folder / name, ('Al', 'As'), CUTOFF, KPOINTS_DISTANCE, KPOINTS_OFFSET)
        files = references.make({name: atoms for part in kind.values() for name, atoms in part.items()})
        for split, part in kind.items():
            result[split] |= {name: str(files[name]) for name in part if name in files}
    return result
