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
from _study import run_study
from _superlattices import superlattice_system

from aiida_hamlr.electronic.crystals import oriented_crystal

#: Lattice constants, Å, internal parameter, and 2 C13 / C33.
CRYSTALS = {('Ga', 'N'): (3.16, 5.14, 0.377), ('Al', 'N'): (3.09, 4.95, 0.382)}
STRAIN_RATIOS = (0.51, 0.58)

#: Seeds of `full` by part and numbers of cells of GaN and AlN.
FULL = {
    TRAIN: {
        (1, 1): range(180), (2, 2): range(40), (1, 3): range(7), (3, 1): range(7),
        (1, 0): range(70), (0, 1): range(70),
    },
    VALIDATION: {(1, 1): range(180, 190), (2, 2): range(40, 43), (1, 0): range(70, 75), (0, 1): range(70, 75)},
    TEST: {(1, 1): range(190, 200), (2, 2): range(43, 46)},
    LARGER: {(3, 3): [None, *range(7)], (4, 4): [None, *range(7)]},
}  # fmt: skip

NO_D = {'Ga': 3, 'Al': 3, 'N': 'dojo'}

SYSTEM = superlattice_system(
    [oriented_crystal(*species, 'wurtzite (0001)', *shape) for species, shape in CRYSTALS.items()],
    STRAIN_RATIOS,
    rattle=0.03,
    full=FULL,
    name='GaN/AlN (0001)',
    settings={
        # 3 x 3 x 1 k-points in cells of two crystals; 5 x 5 x 1 and more in the others.
        'small': Settings(ecutwfc=60.0, kpoints_distance=0.78, pseudos=NO_D),
        'full': Settings(ecutwfc=60.0, kpoints_distance=0.48, pseudos=NO_D),
        'paper': Settings(ecutwfc=90.0, kpoints_distance=0.3, pseudos=dict.fromkeys(NO_D, 'dojo')),
    },
    # Nitrogen belongs to both: the cations mark the layers.
    materials=(('Ga',), ('Al',)),
    margin=0.5,
    # As in `superlattices.py`: errors of 1 meV make ghost states otherwise.
    overlap_threshold=0.003,
)

if __name__ == '__main__':
    run_study(SYSTEM, __doc__)
