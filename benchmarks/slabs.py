"""Polar slabs with thicknesses and vacua that the network never saw, with charges that respond, fixed ones, and none.

    OMP_NUM_THREADS=1 python benchmarks/slabs.py .benchmarks/slabs --json slabs.json --plot levels.png

AlAs (110) slabs, passivated by hydrogen, whose cations are displaced along the normal. Slabs of five layers with 10 and
18 Å between the last layer and the next first are learned, and rattled bulk cells, since no atom of so thin a slab has
the surroundings of the inner ones of a thicker one; eight layers and a vacuum of 30 Å are predicted. With response the
dielectric constant of ph.x for the bulk is learned, too; "response without label" does without. pw.x and ph.x make the
references; what is in the folder, networks too, is used again. The exit status is 1 if a gate is failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from _report import report
from _training import train_for
from ase import Atoms
from ase.build import bulk
from data.phonon import labelled_hamiltonian
from data.references import References

from aiida_hamlr.electronic.bands.levels import potential_profile
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.model.long_range.polarisation import solve_dipoles
from aiida_hamlr.model.reference_matrices import fitted_shift
from aiida_hamlr.plotting.levels import plot_levels

#: Å
LATTICE_CONSTANT = 5.66

#: Plane-wave cutoff, Ry; largest distance of k-points, 1/Å: 3 x 4 in the plane of every slab.
CUTOFF, KPOINTS_DISTANCE = 20.0, 0.4

#: Layers, vacuum (Å; none in bulk), displacement of the cations (Å), and seed of random displacements of all atoms, if
#: any, by name. The reverse displacement makes the mirror image, which an equivariant network knows.
TRAINING = {
    's5_10_0': (5, 10.0, 0.0, None),
    's5_10_4': (5, 10.0, 0.04, None),
    's5_18_4': (5, 18.0, 0.04, None),
    's5_10_8': (5, 10.0, 0.08, None),
    's5_18_8': (5, 18.0, 0.08, None),
    's5_10_6_r1': (5, 10.0, 0.06, 1),
    's5_18_6_r1': (5, 18.0, 0.06, 1),
    's5_10_2_r2': (5, 10.0, 0.02, 2),
    's5_18_2_r2': (5, 18.0, 0.02, 2),
    's5_10_4_r3': (5, 10.0, 0.04, 3),
    's5_18_4_r3': (5, 18.0, 0.04, 3),
    's5_10_0_r4': (5, 10.0, 0.0, 4),
    's5_18_0_r4': (5, 18.0, 0.0, 4),
    'b4_0_r11': (4, None, 0.0, 11),
    'b4_4_r12': (4, None, 0.04, 12),
    'b4_8_r13': (4, None, 0.08, 13),
    'b4_6_r14': (4, None, 0.06, 14),
    'b4_2_r15': (4, None, 0.02, 15),
    'b4_7_r16': (4, None, 0.07, 16),
}

#: Learned too with --second-thickness: the second layer of these is farther from the other surface than in five layers.
SECOND_THICKNESS = {
    's7_10_4': (7, 10.0, 0.04, None),
    's7_18_8': (7, 18.0, 0.08, None),
    's7_10_6_r5': (7, 10.0, 0.06, 5),
    's7_18_2_r6': (7, 18.0, 0.02, 6),
}
TEST = {
    's5_30_8': (5, 30.0, 0.08, None),
    's8_10_6': (8, 10.0, 0.06, None),
    's8_18_6': (8, 18.0, 0.06, None),
    's8_30_6': (8, 30.0, 0.06, None),
}

#: One slab in several vacua, by what its dipoles are called.
VACUA = {'five_layers': ('s5_10_8', 's5_18_8', 's5_30_8'), 'eight_layers': ('s8_10_6', 's8_18_6', 's8_30_6')}

#: What is drawn, of which networks.
DRAWN, DRAWN_NETWORKS = 's8_30_6', ('response', 'fixed charges', 'short range only')

#: Standard deviation of the components of random displacements, Å.
RATTLE = 0.03

#: Model and further settings of the training. Charges and polarisabilities are constants of the elements: as functions
#: of the surroundings they fit five layers better and eight layers worse. The width of fixed charges is that of the
#: potentials that act on the orbitals with response.
RESPONSE = {'variant': 'lr', 'long_range': {'response': True, 'environment_charges': False}}
VARIANTS = {
    'response': (RESPONSE, {'dielectric_weight': 1.0}),
    'response without label': (RESPONSE, {}),
    'fixed charges': ({'variant': 'lr', 'long_range': {'kernel_width': 2.0, 'environment_charges': False}}, {}),
    'short range only': ({'variant': 'sr'}, {}),
}

#: Mesh of k-points of ph.x and its shift in half steps, for two atoms of the bulk.
PHONON_MESH = '6 6 6 1 1 1'

#: How far the Born charge of the slabs may differ from that of ph.x for the bulk.
BORN_CHARGE_ERROR = 0.10

#: Largest error of the interior levels, meV, and of a ratio of dipoles, with response.
LARGEST_LEVEL_ERROR, LARGEST_RATIO_ERROR = 10.0, 0.05


def slab(layers: int, vacuum: float | None, displacement: float, seed: int | None = None) -> Atoms:
    """(110) slab with its normal along z, hydrogen along the cut bonds; the same layers as bulk without a vacuum."""
    step, half = LATTICE_CONSTANT / 8**0.5, LATTICE_CONSTANT / 2
    height = layers * step if vacuum is None else (layers - 1) * step + vacuum
    atoms = Atoms(cell=[LATTICE_CONSTANT, 2 * step, height], pbc=True)
    for n in range(layers):
        shift = np.array([half, step, 0]) * (n % 2) + [0, 0, n * step]
        atoms += Atoms('AlAs', positions=np.array([[0, 0, 0], [half / 2, step, 0]]) + shift)
    if vacuum is not None:
        bond = np.array([-0.25, 0, 8**-0.5]) / np.linalg.norm([0.25, 8**-0.5])
        (low_al, low_as), (top_al, top_as) = atoms.positions[:2], atoms.positions[-2:]
        hydrogen = [
            top_al + 1.6 * bond,
            top_as + 1.52 * bond * [-1, 1, 1],
            low_al + 1.6 * bond * [1, 1, -1],
            low_as + 1.52 * bond * [-1, 1, -1],
        ]
        atoms += Atoms('H4', positions=hydrogen)
        # The hydrogen on a cation goes with it.
        atoms.positions[[-4, -2], 2] += displacement
        atoms.positions[:, 2] += vacuum / 2
    atoms.positions[atoms.symbols == 'Al', 2] += displacement
    if seed is not None:
        generator = np.random.default_rng([2026, seed])
        atoms.positions += generator.normal(scale=RATTLE, size=atoms.positions.shape)
    return atoms


def make_all(folder: Path, shapes: dict) -> tuple[dict[str, Path], Path]:
    """Files of all slabs by name, and that of the crystal with the labels of ph.x.

    Raises
    ------
    ValueError
        If a reference cannot be made.
    """
    references = References(
        folder, ('Al', 'As', 'H'), CUTOFF, KPOINTS_DISTANCE, electrons={'mixing_beta': 0.3}, conduction_bands=6
    )
    structures = {name: slab(*shape) for name, shape in shapes.items()}
    files = references.make(structures)
    missing = sorted(set(structures) - set(files))
    if missing:
        raise ValueError(f'{", ".join(missing)}: no reference, see {folder}/failures.json')
    basis = Hamiltonian.read(next(iter(files.values())), ()).basis
    crystal = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANT)
    return files, labelled_hamiltonian(folder / 'crystal', crystal, CUTOFF, PHONON_MESH, basis)


def inner_atoms(atoms: Atoms, element: str) -> np.ndarray:
    """Atoms of an element from bottom to top, without those of the outermost layers."""
    chosen = np.flatnonzero(atoms.symbols == element)
    return chosen[np.argsort(atoms.positions[chosen, 2])][1:-1]


def dft_dipole(hamiltonian: Hamiltonian) -> float:
    """Dipole along the normal, e Å; the shares of the atoms add up to that of the density."""
    labels = hamiltonian.labels
    charges = labels['hirshfeld_charges'] - labels['hirshfeld_charges'].mean()
    return float(charges @ hamiltonian.atoms.positions[:, 2] + labels['hirshfeld_dipoles'][:, 2].sum())


def model_dipole(predictor: Predictor, hamiltonian: Hamiltonian) -> float:
    """The same of the model's charges and the dipoles that they induce."""
    atoms, channel = hamiltonian.atoms, predictor.model.long_range
    sources = predictor.correction(hamiltonian)[1]
    dipole = float(sources.charge @ atoms.positions[:, 2])
    if sources.polarisability is None:
        return dipole
    operator = DirectSum(torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions), channel.width)
    charges, polarisabilities = torch.as_tensor(sources.charge), torch.as_tensor(sources.polarisability)
    return dipole + float(solve_dipoles(operator, charges, polarisabilities)[0][:, 2].sum())


def errors(predictor: Predictor, hamiltonian: Hamiltonian) -> dict:
    """Errors of one structure after the fitted shift: of all elements, and of the mean levels of inner atoms."""
    pattern = hamiltonian.pattern
    delta = predictor.correction(hamiltonian)[0]
    error = delta - (hamiltonian.hamiltonian - hamiltonian.h0)
    error = 1e3 * (error + fitted_shift(error, hamiltonian.overlap) * hamiltonian.overlap)
    inner = np.concatenate([inner_atoms(hamiltonian.atoms, element) for element in ('Al', 'As')])
    onsite = dict(zip(pattern.first[pattern.onsite], pattern.onsite, strict=True))
    levels = np.array([np.diag(pattern.block(error, onsite[atom])).mean() for atom in inner])
    return {
        'mae_meV': float(np.abs(error).mean()),
        'level_mae_meV': float(np.abs(levels).mean()),
        'level_rms_meV': float(np.sqrt(np.square(levels).mean())),
        'level_largest_meV': float(np.abs(levels).max()),
    }


def dipole_ratios(dipoles: dict[str, float]) -> dict[str, list[float]]:
    """Dipoles relative to that in the first vacuum, by slab."""
    return {slab: [dipoles[name] / dipoles[names[0]] for name in names] for slab, names in VACUA.items()}


def screening(references: dict[str, Hamiltonian]) -> dict[str, dict[str, float]]:
    """Dielectric constant and Born charge of the material in every slab, from the fields of DFT in several vacua.

    The displacement field is the same in slab and vacuum: ``E_vac = eps E_in + 4 pi e2 Z* u / Omega`` with the volume
    Omega of a formula unit. Slabs that may be learned from have the Z* of the bulk.
    """
    return {slab: _screening([references[name] for name in names], names[0]) for slab, names in VACUA.items()}


def _screening(hamiltonians: list[Hamiltonian], name: str) -> dict[str, float]:
    inside, outside = [], []
    for hamiltonian in hamiltonians:
        atoms, profile = hamiltonian.atoms, potential_profile(hamiltonian)
        # Electrons in a field along z have levels that rise with z.
        inner = [inner_atoms(atoms, element) for element in ('Al', 'As')]
        inside.append(np.mean([np.polyfit(atoms.positions[chosen, 2], profile[chosen], 1)[0] for chosen in inner]))
        outside.append(4 * np.pi * COULOMB * dft_dipole(hamiltonian) / atoms.get_volume())
    slope, intercept = np.polyfit(inside, outside, 1)
    factor = LATTICE_CONSTANT**3 / 4 / (4 * np.pi * COULOMB * (TRAINING | TEST)[name][2])
    return {'dielectric_constant': float(slope), 'born_charge': float(intercept * factor)}


def field_factors(first: Hamiltonian, second: Hamiltonian) -> dict[str, float]:
    """Factors of the field in the on-site blocks of DFT, by element, from one slab in two vacua.

    Its inner atoms have the same surroundings in both, so that their blocks differ by a level and by the field times
    the dipole matrix elements alone. The field is the slope of the levels; the factor is that of least squares.
    """
    atoms, profile = first.atoms, potential_profile(second) - potential_profile(first)
    dipole = TwoCentreTables(first.basis).dipole(atoms, first.pattern)[2]
    blocks = [
        dict(zip(one.pattern.first[one.pattern.onsite], one.pattern.onsite, strict=True)) for one in (first, second)
    ]
    deltas = [one.hamiltonian - one.h0 for one in (first, second)]
    result = {}
    for element in ('Al', 'As'):
        chosen = inner_atoms(atoms, element)
        field = np.polyfit(atoms.positions[chosen, 2], profile[chosen], 1)[0]
        factors = []
        for atom in chosen:
            before, after = (
                one.pattern.block(delta, block[atom])
                for one, delta, block in zip((first, second), deltas, blocks, strict=True)
            )
            element_of_dipole = first.pattern.block(dipole, blocks[0][atom])
            factors.append(np.vdot(element_of_dipole, after - before) / np.square(element_of_dipole).sum() / field)
        result[element] = float(np.mean(factors))
    return result


def judge(result: dict, born_charge: float) -> dict:
    """Gates of the data and of the network with response; whether all are kept."""
    response = result['networks']['response']
    level = max(response['errors'][name]['level_largest_meV'] for name in TEST)
    ratios = [
        abs(found / expected - 1)
        for slab, values in result['dft_dipole_ratios'].items()
        for found, expected in zip(response['dipole_ratios'][slab], values, strict=True)
    ]
    born_charges = [values['born_charge'] for values in result['screening'].values()]
    gates = {
        'born_charge_error': {
            'value': max(abs(charge / born_charge - 1) for charge in born_charges),
            'limit': BORN_CHARGE_ERROR,
        },
        'level_largest_meV': {'value': level, 'limit': LARGEST_LEVEL_ERROR},
        'dipole_ratio_error': {'value': max(ratios), 'limit': LARGEST_RATIO_ERROR},
    }
    return {'gates': gates, 'passed': all(gate['value'] <= gate['limit'] for gate in gates.values())}


def learn(folder: Path, name: str, learned: list[Path], given: argparse.Namespace) -> tuple[dict, Predictor]:
    """Summary and result of the training of one variant, which is kept in the folder."""
    model, settings = VARIANTS[name]
    output = folder / name.replace(' ', '_')
    length = {} if given.steps is None else {'max_steps': given.steps, 'max_time_s': None}
    return train_for(given.seconds, {'train': learned}, model, output, **settings, **length), load_model(output)


def measure(folder: Path, given: argparse.Namespace) -> dict:
    """Train the variants for some seconds and compare with the references."""
    training = TRAINING | (SECOND_THICKNESS if given.second_thickness else {})
    files, crystal = make_all(folder, training | TEST)
    learned = [*(files[name] for name in training), crystal]
    networks = folder / ('networks_second' if given.second_thickness else 'networks')
    labels = Hamiltonian.read(crystal, ()).labels
    bulk_values = {
        'dielectric_constant': float(np.trace(labels['dielectric_tensor']) / 3),
        'born_charge': float(np.trace(labels['born_charges'][0]) / 3),
    }
    references = {name: Hamiltonian.read(path) for name, path in files.items()}
    dipoles = {name: dft_dipole(hamiltonian) for name, hamiltonian in references.items()}
    result = {'bulk': bulk_values, 'dft_dipole_ratios': dipole_ratios(dipoles), 'screening': screening(references)}
    result['dft_field_factors'] = field_factors(references['s8_10_6'], references['s8_30_6'])
    result['networks'] = {}
    levels = {'DFT': potential_profile(references[DRAWN])}
    for name in given.networks:
        summary, predictor = learn(networks, name, learned, given)
        found = {key: value for key, value in summary.items() if key.startswith(('species', 'response', 'steps'))}
        found['errors'] = {name: errors(predictor, hamiltonian) for name, hamiltonian in references.items()}
        if predictor.model.long_range is not None:
            found['dipole_ratios'] = dipole_ratios({n: model_dipole(predictor, h) for n, h in references.items()})
        result['networks'][name] = found
        if name in DRAWN_NETWORKS:
            levels[name] = potential_profile(predictor.predict_from(references[DRAWN]))
    if given.plot is not None:
        atoms = references[DRAWN].atoms
        heavy = np.flatnonzero(atoms.numbers > 1)
        levels = {name: values[heavy] for name, values in levels.items()}
        plot_levels(atoms.positions[heavy, 2], levels, given.plot, atoms.symbols[heavy], reference='DFT')
    return result | judge(result, bulk_values['born_charge'])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    parser.add_argument('--plot', type=Path, help='draw the levels along a slab there (PNG)')
    parser.add_argument('--seconds', type=float, default=180.0, help='training time of each network')
    parser.add_argument('--steps', type=int, help='of each training, instead of the time')
    parser.add_argument('--networks', nargs='+', choices=VARIANTS, default=list(VARIANTS), help='response is judged')
    parser.add_argument('--second-thickness', action='store_true', help='learn slabs of seven layers, too')
    arguments = parser.parse_args()
    try:
        result = measure(arguments.folder, arguments)
    except (RuntimeError, ValueError) as error:
        parser.exit(2, f'{error}\n')
    report(result, arguments.json)


if __name__ == '__main__':
    main()
