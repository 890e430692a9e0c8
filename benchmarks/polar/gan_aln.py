"""Wurtzite GaN/AlN superlattices along [0001] with longer periods than the networks were trained on.

    OMP_NUM_THREADS=1 python benchmarks/polar/gan_aln.py .benchmarks/gan_aln --scale small

The polarisations of the crystals differ, so that every layer has a field. Without d electrons of Ga (`small` and
`full`) GaN is not the real one; the nitrogen is that of PseudoDojo at every scale, because that of the GTH table needs
120 Ry. `paper` takes PseudoDojo for all elements and is meant for a cluster:

    python benchmarks/polar/gan_aln.py FOLDER --scale paper --pw pw@cluster --hamlr hamlr@cluster --gpus 1

What is in the profile is used again: references and orbitals by their inputs, trainings and predictions by the cache.
"""

from __future__ import annotations

from _references import LARGER, TEST, TRAIN, VALIDATION, Settings
from _structures import displaced, make_parts, superlattice
from _study import System, run_study
from ase import Atoms

from aiida_hamlr.electronic.crystals import oriented_crystal

#: Lattice constants, Å, internal parameter, and 2 C13 / C33.
CRYSTALS = {('Ga', 'N'): (3.16, 5.14, 0.377), ('Al', 'N'): (3.09, 4.95, 0.382)}
STRAIN_RATIOS = (0.51, 0.58)

#: Standard deviations of the displacements, Å, in turn, and largest strain, by scale.
DISPLACEMENTS = dict.fromkeys(('trial', 'small'), ((0.03,), 0.0)) | dict.fromkeys(
    ('full', 'paper'), ((0.03, 0.05, 0.08), 0.02)
)

#: Seeds by part and numbers of cells of GaN and AlN.
SEEDS = {
    'trial': {
        TRAIN: {(1, 1): range(4), (1, 0): range(2), (0, 1): range(3)},
        VALIDATION: {(1, 1): [4]},
        TEST: {(1, 1): [5]},
        LARGER: {(2, 2): [None], (3, 3): [None]},
    },
    'small': {
        TRAIN: {(1, 1): range(8), (1, 0): range(3), (0, 1): range(3), (2, 2): range(3), (1, 3): [0], (3, 1): [0]},
        VALIDATION: {(1, 1): [8], (2, 2): [3]},
        TEST: {(1, 1): [9], (2, 2): [4]},
        LARGER: {(3, 3): [None]},
    },
    'full': {
        TRAIN: {
            (1, 1): range(180), (2, 2): range(40), (1, 3): range(7), (3, 1): range(7),
            (1, 0): range(70), (0, 1): range(70),
        },
        VALIDATION: {(1, 1): range(180, 190), (2, 2): range(40, 43), (1, 0): range(70, 75), (0, 1): range(70, 75)},
        TEST: {(1, 1): range(190, 200), (2, 2): range(43, 46)},
        LARGER: {(3, 3): [None, *range(7)], (4, 4): [None, *range(7)]},
    },
}  # fmt: skip
SEEDS['paper'] = SEEDS['full']

NO_D = {'Ga': 3, 'Al': 3, 'N': 'dojo'}
SETTINGS = {
    # 3 x 3 x 1 k-points in cells of two crystals; 5 x 5 x 1 and more in the others.
    'small': Settings(ecutwfc=60.0, kpoints_distance=0.78, pseudos=NO_D),
    'full': Settings(ecutwfc=60.0, kpoints_distance=0.48, pseudos=NO_D),
    'paper': Settings(ecutwfc=90.0, kpoints_distance=0.3, pseudos=dict.fromkeys(NO_D, 'dojo')),
}

SETTINGS['trial'] = SETTINGS['small']


def structures(scale: str) -> dict[str, dict[str, Atoms]]:
    """Structures of a scale by part and label."""
    crystals = [oriented_crystal(*species, 'wurtzite (0001)', *shape) for species, shape in CRYSTALS.items()]
    return make_parts(
        SEEDS[scale],
        lambda numbers, seed: displaced(superlattice(crystals, STRAIN_RATIOS, numbers), seed, *DISPLACEMENTS[scale]),
    )


SYSTEM = System(
    name='GaN/AlN (0001)',
    size='Cells in a period',
    settings=SETTINGS,
    structures=structures,
    # Nitrogen belongs to both: the cations mark the layers.
    materials=(('Ga',), ('Al',)),
    margin=0.5,
    drawn={'trial': 'n33_ideal', 'small': 'n33_ideal', 'full': 'n44_ideal', 'paper': 'n44_ideal'},
    steps={'trial': 800, 'small': 1500, 'full': 60000, 'paper': 300000},
)

if __name__ == '__main__':
    run_study(SYSTEM, __doc__)
