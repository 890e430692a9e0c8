"""Capping hydrogens of two charges: two species of one element through all commands, and against a run of pw.x."""

import json
import shutil

import ase.io
import numpy as np
import pytest
from ase import Atoms
from click.testing import CliRunner
from qe_fixtures import run_executable, scaled_hydrogen

from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.species import SPECIES_LABELS, set_species_labels
from aiida_hamlr.jobs.cli import main
from aiida_hamlr.model.inference import load_model

LABELS = ['Al', 'As', 'H1', 'H2']

TRAIN = """
data: {train: ['train/*.h5'], validation: ['valid/*.h5']}
model:
  variant: lr
  short_range: {layers: 1, scalar_channels: 4, natural_channels: 4, unnatural_channels: 2, hidden_channels: 8,
    pair_channels: 8, radial_hidden: 8}
training: {max_epochs: 2, seed: 1, device: cpu}
output: run/
"""


def layer(seed: int, labels=LABELS) -> Atoms:
    """One layer of AlAs with a hydrogen on either side."""
    atoms = Atoms(
        'AlAsHH',
        scaled_positions=[(1 / 3, 2 / 3, 0.53), (2 / 3, 1 / 3, 0.46), (1 / 3, 2 / 3, 0.667), (2 / 3, 1 / 3, 0.332)],
        cell=[(3.916, 0, 0), (-1.958, 3.3914, 0), (0, 0, 11.7477)],
        pbc=True,
    )
    atoms.rattle(0.03, seed=seed)
    set_species_labels(atoms, labels)
    return atoms


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pseudopotentials, bases, and the model of a short training on H = 1.02 H0."""
    folder = tmp_path_factory.mktemp('capping')
    pseudos, basis = folder / 'pseudos', folder / 'basis'
    assert run('pseudo', 'Al', 'As', '-o', pseudos).exit_code == 0
    for label, charge in (('H1', 1.25), ('H2', 0.75)):
        assert run('pseudo', 'H', '--charge', charge, '-o', pseudos).exit_code == 0
        (pseudos / f'H.q{charge}.upf').rename(pseudos / f'{label}.upf')
    upfs = [f'--upf={pseudos}/Al.upf', f'--upf={pseudos}/As.upf']
    upfs += [f'--upf={label}={pseudos}/{label}.upf' for label in ('H1', 'H2')]
    result = run(
        'basis', *upfs, '--recipe', 'plain', '--size', 'sz', '--size', 'H1=szp', '--cutoff-radius', 6, '-o', basis
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads((basis / 'summary.json').read_text())['n_orbitals'] == {'Al': 4, 'As': 4, 'H1': 4, 'H2': 1}
    for seed in range(3):
        ase.io.write(folder / f'{seed}.extxyz', layer(seed))
        output = folder / ('valid' if seed == 2 else 'train') / f'{seed}.h5'
        result = run(
            'h0', folder / f'{seed}.extxyz', '--basis', basis, '--pseudos', pseudos, '--ecutrho', 60, '-o', output
        )
        assert result.exit_code == 0, result.stderr
        hamiltonian = Hamiltonian.read(output)
        hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 * 1.02
        hamiltonian.attributes.origin = 'reference'
        hamiltonian.write(output)
    (folder / 'train.yaml').write_text(TRAIN)
    result = run('train', folder / 'train.yaml')
    assert result.exit_code == 0, result.stderr
    return folder


def test_h0_has_four_species(folder):
    hamiltonian = Hamiltonian.read(folder / 'train/0.h5')
    assert hamiltonian.species == LABELS
    assert hamiltonian.n_electrons == pytest.approx(10.0)
    told = run('info', folder / 'train/0.h5').stdout
    assert 'orbitals of H1' in told and 'orbitals of H2' in told
    description = json.loads((folder / 'basis/summary.json').read_text())
    assert description['sizes'] == {'Al': 'sz', 'As': 'sz', 'H1': 'szp', 'H2': 'sz'}


def test_model_knows_species_and_predicts(folder, tmp_path):
    assert 'model of Al, As, H1, H2' in run('info', folder / 'run/model').stdout
    ase.io.write(tmp_path / 'new.extxyz', layer(7))
    (tmp_path / 'predict.yaml').write_text(
        f'model: {folder}/run/model\nstructures: [new.extxyz]\nkpoints: [2, 2, 1]\nspacing: 0.5\n'
        'outputs: [hamiltonian, bands, charges]\n'
    )
    result = run('predict', tmp_path / 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    predicted = Hamiltonian.read(tmp_path / 'predictions/new/hamiltonian.h5')
    assert predicted.species == LABELS
    charges = Properties.read(tmp_path / 'predictions/new/properties.h5')
    assert charges.symbols == LABELS
    assert charges.charges.sum() == pytest.approx(0.0, abs=1e-6)
    structure = json.loads((tmp_path / 'predictions/new/hamiltonian.h5.json').read_text())['structure']
    assert structure[SPECIES_LABELS] == LABELS
    assert run('bands', tmp_path / 'predictions/new/hamiltonian.h5', '-o', tmp_path / 'b.h5').exit_code == 0


def test_prediction_does_not_depend_on_the_order(folder):
    predictor = load_model(folder / 'run/model')
    atoms, order = layer(5), np.array([2, 3, 0, 1])
    first, second = (predictor.predict(one) for one in (atoms, atoms[order]))
    numbers = {tuple(pair): number for number, pair in enumerate(first.pattern.atom_pairs)}
    for number, (*image, i, j) in enumerate(second.pattern.atom_pairs):
        expected = first.pattern.block(first.hamiltonian, numbers[(*image, order[i], order[j])])
        found = second.pattern.block(second.hamiltonian, number)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_species_that_the_model_never_saw_are_refused(folder, tmp_path):
    for labels, unknown in ((['Al', 'As', 'H', 'H2'], 'H'), (['Al', 'As', 'H1', 'H3'], 'H3')):
        ase.io.write(tmp_path / 'new.extxyz', layer(7, labels))
        (tmp_path / 'predict.yaml').write_text(f'model: {folder}/run/model\nstructures: [new.extxyz]\n')
        result = run('predict', tmp_path / 'predict.yaml')
        assert result.exit_code == 2
        assert f'the model never saw {unknown}; it was trained on Al, As, H1, H2' in result.stderr


def test_labels_equal_to_symbols_change_nothing(folder, tmp_path):
    """A column of chemical symbols gives the same file as none."""
    atoms = layer(0)[:2]
    ase.io.write(tmp_path / 'without.extxyz', atoms)
    atoms.set_array(SPECIES_LABELS, np.array(['Al', 'As']))
    ase.io.write(tmp_path / 'with.extxyz', atoms)
    assert SPECIES_LABELS in (tmp_path / 'with.extxyz').read_text()
    found = []
    for name in ('with', 'without'):
        result = run(
            'h0', tmp_path / f'{name}.extxyz', '--basis', folder / 'basis', '--pseudos', folder / 'pseudos',
            '--ecutrho', 60, '-o', tmp_path / f'{name}.h5',
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        found.append(Hamiltonian.read(tmp_path / f'{name}.h5'))
    assert np.array_equal(found[0].h0, found[1].h0) and np.array_equal(found[0].overlap, found[1].overlap)
    assert (tmp_path / 'with.h5').read_bytes() == (tmp_path / 'without.h5').read_bytes()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'H1': None}, 'no pseudopotential for H1'),
        ({'H1': 'Al.upf'}, 'pseudopotential given for H1 is one of Al'),
        ({'h1': 'H1.upf'}, "species label 'h1': write H1"),
        ({'Xx1': 'H1.upf'}, "'Xx1' does not start with a chemical symbol"),
    ],
)
def test_pseudopotentials_that_do_not_fit(folder, tmp_path, change, words):
    """One line names the species."""
    pseudos = {label: f'{folder}/pseudos/{label}.upf' for label in LABELS}
    for label, name in change.items():
        pseudos[label] = f'{folder}/pseudos/{name}'
        if name is None:
            del pseudos[label]
    shutil.copy(folder / '0.extxyz', tmp_path)
    (tmp_path / 'potential').write_text('x')
    (tmp_path / 'reconstruct.yaml').write_text(
        f'structure: 0.extxyz\npotential: potential\npseudos: {json.dumps(pseudos)}\nbasis: {{size: sz}}\n'
    )
    result = run('reconstruct', tmp_path / 'reconstruct.yaml')
    assert result.exit_code == 2
    assert words in result.stderr


SCF = """
&control prefix='aiida', outdir='out', pseudo_dir='.' /
&system ibrav=4, celldm(1)=7.4, celldm(3)=3.0, nat=4, ntyp=4, ecutwfc=20, nbnd=12 /
&electrons conv_thr=1e-11 /
ATOMIC_SPECIES
Al 26.98 Al.upf
As 74.92 As.upf
H1 1.0 H1.upf
H2 1.0 H2.upf
ATOMIC_POSITIONS crystal
Al 0.3333333333 0.6666666667 0.53
As 0.6666666667 0.3333333333 0.46
H1 0.3333333333 0.6666666667 0.667
H2 0.6666666667 0.3333333333 0.332
K_POINTS automatic
2 2 1 0 0 0
"""


@pytest.fixture(scope='module')
def capped_run(tmp_path_factory, upf_pseudos):
    """Folder of a run of pw.x with hydrogens of 1.25 and 0.75 electrons, and the configuration to rebuild it."""
    folder = tmp_path_factory.mktemp('capped_run')
    if shutil.which('pw.x') is None:
        pytest.skip('pw.x is not installed')
    for element in ('Al', 'As'):
        (folder / f'{element}.upf').write_text(upf_pseudos[element].text)
    for label, charge in (('H1', 1.25), ('H2', 0.75)):
        (folder / f'{label}.upf').write_text(scaled_hydrogen(charge))
    assert 'JOB DONE' in run_executable('pw.x', SCF, folder)
    return folder


def reconstruct(folder, pseudos, **more):
    config = {
        'structure': 'out/aiida.save/data-file-schema.xml',
        'density': 'out/aiida.save',
        'pseudos': pseudos,
        'basis': {'size': 'dzp', 'recipe': 'plain'},
        'kpoints': [2, 2, 1],
        'output': 'h.h5',
        **more,
    }
    (folder / 'reconstruct.yaml').write_text(json.dumps(config))
    return run('reconstruct', folder / 'reconstruct.yaml')


@pytest.mark.qe
def test_reconstruction_agrees_with_the_run(capped_run):
    """Bands to the error of the basis, and none below that of the run once the basis is cut at its cutoff."""
    result = reconstruct(capped_run, {label: f'{label}.upf' for label in LABELS})
    assert result.exit_code == 0, result.stderr
    summary = json.loads((capped_run / 'summary.json').read_text())
    assert summary['n_electrons'] == pytest.approx(10.0)
    assert summary['band_mae_occupied_meV'] < 100
    assert summary['variational_violation_truncated_meV'] < 1.0
    hamiltonian = Hamiltonian.read(capped_run / 'h.h5')
    assert hamiltonian.species == LABELS
    charges = dict(zip(LABELS, hamiltonian.labels['hirshfeld_charges'], strict=True))
    assert sum(charges.values()) == pytest.approx(0.0, abs=0.02)


@pytest.mark.qe
def test_species_of_the_run_need_their_pseudopotentials(capped_run):
    """One for both hydrogens is refused by name; swapped ones give other bands than the run has."""
    files = {label: f'{label}.upf' for label in LABELS}
    result = reconstruct(capped_run, {'Al': 'Al.upf', 'As': 'As.upf', 'H': 'H1.upf'})
    assert result.exit_code == 2
    assert 'species H1 and H2 had different pseudopotentials (H1.upf, H2.upf)' in result.stderr
    swapped = reconstruct(capped_run, {**files, 'H1': 'H2.upf', 'H2': 'H1.upf'})
    assert swapped.exit_code == 2
