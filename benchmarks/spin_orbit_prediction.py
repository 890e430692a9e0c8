"""A network trained without spin-orbit coupling predicts bands with it.

    OMP_NUM_THREADS=1 python benchmarks/spin_orbit_prediction.py .benchmarks/spin_orbit_prediction --cache CACHE

Wurtzite (AlAs)n/(AlP)m along [0001], rattled: polar, with a field in every layer. Cells of 8 and 12 atoms are learned
from scalar-relativistic runs of pw.x, and 48 atoms predicted: a longer period, twice as wide. Both the prediction and
its reference get the spin-orbit part of the fully relativistic versions of the pseudopotentials (PseudoDojo 0.4 for Al
and P, SG15 for As, whose 3d electrons belong to the core). The errors of the bands with and without it are compared;
what is in the folder, the network too, is used again. CACHE holds the wheel of the pseudopotentials, which is
downloaded if it is not there. Exit status 1: an error with spin-orbit coupling is more than a tenth larger.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

from _report import report
from ase import Atoms
from ase.build import bulk
from data.references import References
from pseudopotential_table import extract

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.structures import make_structures
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.training.fit import train

#: Lattice constants, Å, with the ideal height and internal parameter.
CRYSTALS = {'AlAs': 4.00, 'AlP': 3.86}

#: Scalar-relativistic and fully relativistic files of the wheel.
FILES = {
    'Al': ('PseudoDojo/0.4/PBE/SR/standard/upf/Al.upf', 'PseudoDojo/0.4/PBE/FR/standard/upf/Al.upf'),
    'P': ('PseudoDojo/0.4/PBE/SR/standard/upf/P.upf', 'PseudoDojo/0.4/PBE/FR/standard/upf/P.upf'),
    'As': ('SG15/1.2/PBE/SR/As_ONCV_PBE-1.2.upf', 'SG15/1.0/PBE/FR/As_ONCV_PBE_FR-1.1.upf'),
}

#: Plane-wave cutoff, Ry; radius of the orbitals, bohr; largest distance of k-points, 1/Å: 3 x 3 x 1 in the small cells.
CUTOFF, RADIUS, KPOINTS_DISTANCE = 30.0, 7.0, 0.65

#: Standard deviation of the components of the displacements, Å.
RATTLE = 0.04

#: Cells of AlAs and AlP (four atoms each) and number of references.
TRAINING = {(1, 1): 3, (2, 1): 2, (1, 2): 2}
VALIDATION = {(1, 1): 1}

#: The structure that is predicted, and how often it is repeated across the axis.
PREDICTED, WIDTH = (3, 3), 2

#: Largest ratio of an error with and without spin-orbit coupling.
TOLERANCE = 1.1


def superlattice(n_arsenide: int, n_phosphide: int, seed: int, width: int = 1) -> Atoms:
    """Superlattice whose atoms are displaced at random."""
    crystals = [bulk(name, 'wurtzite', a=a) for name, a in CRYSTALS.items()]
    [ideal] = make_structures(crystals, {'kind': 'superlattice', 'periods': [(n_arsenide, n_phosphide)]})
    rattle = {'kind': 'rattle', 'standard_deviation': RATTLE}
    return make_structures([ideal.repeat((width, 1, 1))], rattle, seed)[0]


def structures(numbers: dict, first_seed: int = 0) -> dict[str, Atoms]:
    """Structures by name, l<cells of AlAs><cells of AlP>_r<seed>."""
    return {
        f'l{n}{m}_r{seed}': superlattice(n, m, seed)
        for (n, m), count in numbers.items()
        for seed in range(first_seed, first_seed + count)
    }


def write_pseudos(folder: Path, cache: Path) -> dict[str, dict[str, Path]]:
    """Files of the elements, 'scalar' and 'full'."""
    result: dict[str, dict[str, Path]] = {'scalar': {}, 'full': {}}
    wanted = {}
    for element, names in FILES.items():
        for (kind, files), name in zip(result.items(), names, strict=True):
            files[element] = folder / kind / f'{element}.upf'
            wanted[files[element]] = PurePosixPath(name)
    extract(cache, wanted)
    return result


def make_references(folder: Path, pseudos: dict[str, Path], wanted: dict[str, Atoms]) -> list[Path]:
    """Files of the references, made unless they are there."""
    references = References(
        folder,
        tuple(sorted(pseudos)),
        CUTOFF,
        KPOINTS_DISTANCE,
        basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': RADIUS},
        pseudos=pseudos,
    )
    files = references.make(wanted)
    if missing := sorted(set(wanted) - set(files)):
        raise ValueError(f'{", ".join(missing)}: no reference, see {folder}/failures.json')
    return [files[name] for name in wanted]


def splitting(file: Path, siblings: dict[str, Pseudopotential]) -> float:
    """By how much spin-orbit coupling raises the highest valence level at Gamma, meV."""
    hamiltonian = Hamiltonian.read(file)
    filled = round(hamiltonian.n_electrons) // 2
    without = eigenvalues(hamiltonian, [[0, 0, 0]], n_bands=filled)[0, -1]
    add_spin_orbit(hamiltonian, siblings)
    return float(1000 * (eigenvalues(hamiltonian, [[0, 0, 0]], n_bands=2 * filled)[0, -1] - without))


def measure(folder: Path, cache: Path, steps: int) -> dict:
    """Train, predict, and compare with and without spin-orbit coupling."""
    pseudos = write_pseudos(folder / 'given', cache)
    siblings = {element: Pseudopotential.read(path) for element, path in pseudos['full'].items()}
    training, validation = (
        make_references(folder, pseudos['scalar'], wanted)
        for wanted in (structures(TRAINING), structures(VALIDATION, first_seed=10))
    )
    run = folder / 'run'
    if not (run / 'summary.json').exists():
        settings = {'max_steps': steps, 'device': 'cpu', 'threads': 1, 'seed': 0}
        data = {'train': training, 'validation': validation}
        train({'data': data, 'model': {'variant': 'lr'}, 'training': settings}, run)
    large = {'predicted': superlattice(*PREDICTED, seed=20, width=WIDTH)}
    [file] = make_references(folder, pseudos['scalar'], large)
    result: dict = {'n_atoms': len(large['predicted']), 'spin_orbit_shift_meV': splitting(file, siblings)}
    for name, with_it in (('without', False), ('with', True)):
        found = evaluate(run, [file], spin_orbit=with_it, siblings=siblings if with_it else None)
        result[name] = {key: found[key] for key in found if key.startswith(('band_', 'gap_', 'mae_on', 'mae_meV'))}
    keys = ('band_mae_occupied_meV', 'band_mae_conduction_meV', 'gap_error_meV')
    result['ratios'] = {key: result['with'][key] / result['without'][key] for key in keys}
    result['passed'] = max(result['ratios'].values()) <= TOLERANCE
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--cache', type=Path, default=Path('.benchmarks'), help='folder of the wheel')
    parser.add_argument('--steps', type=int, default=600, help='of the training')
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        result = measure(arguments.folder, arguments.cache, arguments.steps)
    report(result, arguments.json)


if __name__ == '__main__':
    main()
