"""Polar superlattices with periods longer than those that the network was trained on, with and without long range.

    OMP_NUM_THREADS=1 python benchmarks/superlattices.py .benchmarks/superlattices --json superlattices.json

Wurtzite (GaN)n/(AlN)m along [0001], slightly rattled: the polarisations differ, so that every layer has a field of its
own. Cells of 12 and 16 atoms are learned, 24 and 32 atoms predicted, by the same network with short range only (sr),
attention in reciprocal space (ea), learned charges (lr) and both, all else by default, and for comparison with charges
that polarise the atoms, that are neutral in the cell and not along bonds, or that come with dipoles of their own. pw.x
makes the references; what is in the folder, networks too, is used again. The nitrogen is that of PseudoDojo; the
cations are those of GTH without d electrons: their GaN is not the real one. The exit status is 1 if the gate is failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _bands import CASES, pseudopotentials
from _report import report
from _training import train_for
from ase import Atoms
from ase.build import bulk
from data.references import References

from aiida_hamlr.electronic.bands.levels import potential_profile
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.structures import make_structures
from aiida_hamlr.model.evaluation import band_errors, evaluate

#: Lattice constants of the crystals, Å, and the internal parameter.
CRYSTALS = {'GaN': {'a': 3.16, 'c': 5.14, 'u': 0.377}, 'AlN': {'a': 3.09, 'c': 4.95, 'u': 0.382}}

#: Electrons of the cations.
CATIONS = {'Ga': 3, 'Al': 3}

#: Plane-wave cutoff, Ry; radius of the orbitals, bohr; largest distance of k-points, 1/Å: 3 x 3 x 1 in all cells.
CUTOFF, RADIUS, KPOINTS_DISTANCE = 60.0, 7.0, 0.78

#: Standard deviation of the components of the displacements, Å.
RATTLE = 0.02

#: Cells of GaN and AlN (four atoms each) and number of references.
TRAINING = {(2, 1): 2, (1, 2): 2, (2, 2): 2, (3, 1): 1, (1, 3): 1}
TEST = {(3, 3): 1, (4, 4): 1}

#: Settings of the networks.
NETWORKS = {
    'sr': {'variant': 'sr'},
    'ea': {'variant': 'ea'},
    'lr': {'variant': 'lr'},
    'lr+ea': {'variant': 'lr+ea'},
    'lr-response': {'variant': 'lr', 'long_range': {'response': True}},
    'lr+ea-response': {'variant': 'lr+ea', 'long_range': {'response': True}},
    'lr-cell': {'variant': 'lr', 'long_range': {'neutrality': 'cell'}},
    'lr-dipoles': {'variant': 'lr', 'long_range': {'permanent_dipoles': True}},
}

#: For the bands of the predictions: the orbitals are nearly dependent.
OVERLAP_THRESHOLD = 0.003

#: What is taken from the summaries of the trainings.
SUMMARY = ('steps', 'n_parameters', 'species_charges', 'species_polarisabilities')

#: Least ratio of the errors of sr and lr+ea.
LEAST_RATIO = 3.0


def superlattice(n_gallium: int, n_aluminium: int, seed: int) -> Atoms:
    """Superlattice whose atoms are displaced at random."""
    crystals = [bulk(name, 'wurtzite', **constants) for name, constants in CRYSTALS.items()]
    [ideal] = make_structures(crystals, {'kind': 'superlattice', 'periods': [(n_gallium, n_aluminium)]})
    return make_structures([ideal], {'kind': 'rattle', 'standard_deviation': RATTLE}, seed)[0]


def structures(numbers: dict) -> dict[str, Atoms]:
    """Structures by name, l<cells of GaN><cells of AlN>_r<seed>."""
    return {f'l{n}{m}_r{seed}': superlattice(n, m, seed) for (n, m), count in numbers.items() for seed in range(count)}


def make_all(folder: Path) -> dict[str, Path]:
    """Files of all references by name.

    Raises
    ------
    ValueError
        If a reference cannot be made.
    """
    texts = {element: make_pseudopotential(element, charge).text for element, charge in CATIONS.items()}
    texts['N'] = pseudopotentials(CASES['GaN-AlN'], ('N',), folder.parent)['N'].text
    given = folder / 'given'
    given.mkdir(parents=True, exist_ok=True)
    for element, text in texts.items():
        (given / f'{element}.upf').write_text(text)
    references = References(
        folder,
        tuple(sorted(texts)),
        CUTOFF,
        KPOINTS_DISTANCE,
        basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': RADIUS},
        pseudos={element: given / f'{element}.upf' for element in texts},
    )
    wanted = structures(TRAINING | TEST)
    files = references.make(wanted)
    missing = sorted(set(wanted) - set(files))
    if missing:
        raise ValueError(f'{", ".join(missing)}: no reference, see {folder}/failures.json')
    return files


def describe(path: Path) -> dict:
    """What stands in a reference, eV, and by how much the threshold moves its bands, meV.

    ``levels_eV``: by how much the levels of one element's atoms differ along the period.
    """
    hamiltonian = Hamiltonian.read(path)
    profile = potential_profile(hamiltonian)
    nitrogen = hamiltonian.atoms.symbols == 'N'
    found = {'gap_eV': hamiltonian.attributes.gap, 'levels_eV': float(np.ptp(profile[nitrogen]))}
    return found | {'moved': band_errors(hamiltonian, hamiltonian, overlap_threshold=OVERLAP_THRESHOLD)}


def learn(folder: Path, name: str, learned: list[Path], seconds: float) -> tuple[dict, Path]:
    """Summary and folder of the training of one network, which is kept in the folder."""
    output = folder / 'networks' / name
    return train_for(seconds, {'train': learned}, NETWORKS[name], output), output


def measure(folder: Path, seconds: float, names) -> dict:
    """Train every network for some seconds and compare with the references."""
    files = make_all(folder)
    learned, unseen = ([files[name] for name in structures(numbers)] for numbers in (TRAINING, TEST))
    result: dict = {'references': {path.stem: describe(path) for path in unseen}, 'networks': {}}
    for name in names:
        summary, output = learn(folder, name, learned, seconds)
        found = {key: summary[key] for key in SUMMARY if key in summary}
        found['learned'] = _errors(evaluate(output, learned, bands=False))
        tested = evaluate(output, unseen, overlap_threshold=OVERLAP_THRESHOLD)
        found['test'] = _errors(tested)
        found['test_without_threshold'] = _errors(evaluate(output, unseen))
        found['structures'] = {Path(one['path']).stem: _errors(one) for one in tested['structures']}
        result['networks'][name] = found
    return result


def _errors(found: dict) -> dict:
    return {key: value for key, value in found.items() if key.endswith('_meV')}


def judge(networks: dict) -> dict:
    """Error of sr over that of lr+ea."""
    if not {'sr', 'lr+ea'} <= set(networks):
        return {'passed': True}
    ratio = networks['sr']['test']['mae_meV'] / networks['lr+ea']['test']['mae_meV']
    return {'sr_over_lr_ea': {'value': ratio, 'least': LEAST_RATIO}, 'passed': ratio >= LEAST_RATIO}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    parser.add_argument('--seconds', type=float, default=110.0, help='training time of each network')
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, default=NETWORKS)
    arguments = parser.parse_args()
    try:
        result = measure(arguments.folder, arguments.seconds, arguments.networks)
    except ValueError as error:
        parser.exit(2, f'{error}\n')
    result |= judge(result['networks'])
    report(result, arguments.json)


if __name__ == '__main__':
    main()
