"""CdSe/ZnS superlattices along [001] with longer periods than the networks were trained on.

    OMP_NUM_THREADS=1 python benchmarks/polar/cdse_zns.py .benchmarks/cdse_zns --scale small

Zincblende cells of four atoms on the mean of both in-plane lattices, each strained elastically along the axis. The two
interfaces of a period differ (Cd-S and Zn-Se bonds), so that each layer has a field. Without d electrons (`small` and
`full`) the crystals are not the real ones; `paper` takes PseudoDojo with them and is meant for a cluster:

    python benchmarks/polar/cdse_zns.py FOLDER --scale paper --pw pw@cluster --hamlr hamlr@cluster --gpus 1

What is in the profile is used again: references and orbitals by their inputs, trainings and predictions by the cache.
"""

from __future__ import annotations

from _references import LARGER, TEST, TRAIN, VALIDATION, Settings
from _study import run_study
from _superlattices import superlattice_system

from aiida_hamlr.electronic.crystals import oriented_crystal

#: Lattice constants of zincblende, Å, and 2 C12 / C11.
CRYSTALS = {('Cd', 'Se'): 6.05, ('Zn', 'S'): 5.41}
STRAIN_RATIOS = (1.39, 1.25)

#: Seeds of `full` by part and numbers of cells of CdSe and ZnS.
FULL = {
    TRAIN: {
        (1, 1): range(230), (2, 2): range(110), (1, 3): range(27), (3, 1): range(27),
        (1, 0): range(50), (0, 1): range(50),
    },
    VALIDATION: {(1, 1): range(230, 240), (2, 2): range(110, 115), (1, 3): range(27, 29), (3, 1): range(27, 29)},
    TEST: {(1, 1): range(240, 250), (2, 2): range(115, 120), (1, 3): [29], (3, 1): [29]},
    LARGER: {(3, 3): [None, *range(9)], (4, 4): [None, *range(9)], (6, 6): [None, *range(3)]},
}  # fmt: skip

GTH = {'Cd': 2, 'Zn': 2, 'S': 6, 'Se': 6}

SYSTEM = superlattice_system(
    [oriented_crystal(*species, 'zincblende (001)', a) for species, a in CRYSTALS.items()],
    STRAIN_RATIOS,
    rattle=0.05,
    full=FULL,
    name='CdSe/ZnS (001)',
    settings={
        # 3 x 3 x 1 k-points; 4 x 4 and more, and a converged cutoff, in the others.
        'small': Settings(ecutwfc=24.0, kpoints_distance=0.6, pseudos=GTH),
        'full': Settings(ecutwfc=40.0, kpoints_distance=0.4, pseudos=GTH),
        'paper': Settings(ecutwfc=90.0, kpoints_distance=0.3, pseudos=dict.fromkeys(GTH, 'dojo')),
    },
    materials=(('Cd', 'Se'), ('Zn', 'S')),
    margin=1.0,
)

if __name__ == '__main__':
    run_study(SYSTEM, __doc__)
