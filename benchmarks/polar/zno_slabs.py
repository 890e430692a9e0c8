"""Polar ZnO (0001) slabs thicker than those that the networks were trained on.

    OMP_NUM_THREADS=1 python benchmarks/polar/zno_slabs.py .benchmarks/zno_slabs --scale small

Zinc on the upper face is capped with hydrogens of 1.5 electrons (species H1), oxygen on the lower one with hydrogens of
0.5 (H2). The sublattice of zinc is shifted rigidly by up to 0.06 Å, the vacuum is 8 to 14 Å, the atoms are displaced at
random. The slabs of one thickness in three vacua, and those of other thicknesses beside them, are not displaced: they
tell how errors grow with the thickness while nothing else changes. Without d electrons (`small` and `full`) ZnO is not
the real one; the oxygen is that of PseudoDojo at every scale, because that of the GTH table needs more than 120 Ry.
`paper` takes PseudoDojo for zinc, too, and is meant for a cluster:

    python benchmarks/polar/zno_slabs.py FOLDER --scale paper --pw pw@cluster --hamlr hamlr@cluster --gpus 1

What is in the profile is used again: references and orbitals by their inputs, trainings and predictions by the cache.
"""

from __future__ import annotations

import numpy as np
from _references import LARGER, TEST, TRAIN, VALIDATION, Settings
from _structures import displaced
from _study import System, run_study
from ase import Atoms

from aiida_hamlr.electronic.crystals import Cap, capped_slab, oriented_crystal, shift_species

#: Lattice constants, Å, and internal parameter.
SHAPE = (3.25, 5.20, 0.382)

CAPS = {'Zn': Cap(species='H1', bond=1.60), 'O': Cap(species='H2', bond=0.98)}

#: Largest shift of zinc, range of vacua, standard deviation of the displacements, Å.
SHIFT, VACUA, RATTLE = 0.06, (8.0, 14.0), 0.03

#: Vacua of the slabs without displacements, Å, and their shift.
THREE_VACUA, THEIR_SHIFT = (8.0, 11.0, 14.0), 0.04

#: Number of slabs by part and layers.
NUMBERS = {
    'trial': {TRAIN: {2: 6, 3: 3}, VALIDATION: {2: 1}, TEST: {3: 1}, LARGER: {4: 1, 6: 1}},
    'small': {TRAIN: {2: 8, 3: 6, 4: 4}, VALIDATION: {2: 1, 3: 1, 4: 1}, TEST: {3: 1, 4: 1}, LARGER: {6: 1, 8: 1}},
    'medium': {
        TRAIN: {2: 16, 3: 12, 4: 8},
        VALIDATION: {2: 1, 3: 1, 4: 1},
        TEST: {3: 2, 4: 2},
        LARGER: {6: 3, 8: 2, 12: 1},
    },
    'full': {
        TRAIN: {2: 135, 3: 90, 4: 90},
        VALIDATION: {2: 5, 3: 4, 4: 4},
        TEST: {2: 10, 3: 6, 4: 6},
        LARGER: {6: 10, 8: 10, 12: 10, 28: 1},
    },
}
NUMBERS['paper'] = NUMBERS['full'] | {LARGER: NUMBERS['full'][LARGER] | {56: 1}}
#: Layers and vacua, Å, of the slabs without displacements.
IDEAL = {4: (11.0,), 6: (11.0,), 8: THREE_VACUA, 12: (11.0,)}
WITH_IDEAL = ('medium', 'full', 'paper')

NO_D = {'Zn': 2, 'O': 'dojo', 'H1': 1.5, 'H2': 0.5}
#: Gaps and narrow vacua: no charge sloshing; 12 cycles for two layers, 17 with local-TF.
SLAB_MIXING = {'mixing_mode': 'plain', 'mixing_beta': 0.7}
SETTINGS = {
    'small': Settings(ecutwfc=60.0, kpoints_distance=0.75, pseudos=NO_D, electrons=SLAB_MIXING),
    'full': Settings(ecutwfc=70.0, kpoints_distance=0.45, pseudos=NO_D, electrons=SLAB_MIXING),
    'paper': Settings(ecutwfc=90.0, kpoints_distance=0.3, pseudos=NO_D | {'Zn': 'dojo'}, electrons=SLAB_MIXING),
}


def slab(layers: int, seed: int) -> Atoms:
    """Slab with a shift and a vacuum drawn at random, displaced."""
    generator = np.random.default_rng([2026, layers, seed])
    shift, vacuum = generator.uniform(-SHIFT, SHIFT), generator.uniform(*VACUA)
    return displaced(_slab(layers, vacuum, shift), seed, (RATTLE,))


def _slab(layers: int, vacuum: float, shift: float) -> Atoms:
    ideal = capped_slab(oriented_crystal('Zn', 'O', 'wurtzite (0001)', *SHAPE), layers, vacuum, CAPS)
    return shift_species(ideal, 'Zn', shift)


def structures(scale: str) -> dict[str, dict[str, Atoms]]:
    """Structures of a scale by part and label."""
    first: dict[int, int] = {}
    parts: dict[str, dict[str, Atoms]] = {}
    for part, numbers in NUMBERS[scale].items():
        parts[part] = {}
        for layers, number in numbers.items():
            start = first.get(layers, 0)
            first[layers] = start + number
            for seed in range(start, start + number):
                parts[part][f's{layers:02d}_r{seed:03d}'] = _sized(slab(layers, seed), layers)
    for layers, vacua in IDEAL.items() if scale in WITH_IDEAL else ():
        part = TEST if layers in NUMBERS[scale][TRAIN] else LARGER
        for vacuum in vacua:
            parts[part][f's{layers:02d}_v{vacuum:.0f}'] = _sized(_slab(layers, vacuum, THEIR_SHIFT), layers)
    return parts


def _sized(atoms: Atoms, layers: int) -> Atoms:
    atoms.info['size'] = layers
    return atoms


SYSTEM = System(
    name='ZnO (0001)',
    size='Layers',
    settings=SETTINGS,
    structures=structures,
    materials=(('Zn', 'O'),),
    margin=2.0,
    drawn={'trial': 's06_r000', 'small': 's08_r000', 'medium': 's08_v11', 'full': 's28_r000', 'paper': 's56_r000'},
)

if __name__ == '__main__':
    run_study(SYSTEM, __doc__)
