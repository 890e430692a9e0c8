"""Many structures in one prediction: batches, interruptions, results of other inputs."""

import json
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
from aiida_hamlr.jobs import predict
from aiida_hamlr.jobs.committee import Committee
from aiida_hamlr.jobs.inputs import read_basis_folder, read_pseudo_folder
from aiida_hamlr.jobs.results import read_results
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.inference import Predictor, load_model


@pytest.fixture(scope='module')
def model(study, tmp_path_factory):
    """A model with random weights and the long-range channel."""
    basis = read_basis_folder(study / 'basis', ('Al', 'As'))
    pseudos = read_pseudo_folder(study / 'pseudos', ('Al', 'As'))
    return write_random_model(tmp_path_factory.mktemp('model') / 'model', basis, pseudos)


READERS = ((read_basis_folder, 'basis'), (read_pseudo_folder, 'pseudos'))


def write_random_model(folder, basis, pseudos, scale=0.0, magnetic=None, **metadata):
    channels = ('scalar_channels', 'natural_channels', 'unnatural_channels', 'radial_basis', 'radial_hidden')
    config = ModelConfig(
        variant='lr', layers=1, hidden_channels=8, pair_channels=8, magnetic=magnetic, **dict.fromkeys(channels, 4)
    )
    network = HamiltonianModel({e: list(s.angular_momenta) for e, s in basis.items()}, config, 4.0, 10.0)
    network.normalisation.onsite_scale.fill_(scale)
    texts = {element: pseudo.text for element, pseudo in pseudos.items()}
    metadata = {'ecutrho_Ry': 40.0, 'functional': 'lda', **metadata}
    write_model(folder, network, network.state_dict(), basis, texts, metadata)
    return folder


@pytest.fixture
def frames(tmp_path):
    """Three structures of two sizes in one file."""
    frames = [bulk('AlAs', 'zincblende', a=5.66).repeat((n, 1, 1)) for n in (2, 1, 1)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    ase.io.write(tmp_path / 'many.extxyz', frames)
    return frames


@pytest.fixture
def run(model, frames, hamlr, tmp_path):
    """Function: predict the structures; the summary."""

    def run(structures=('many.extxyz',), outputs=('gap',), exit_code=0, **settings):
        content = {'model': str(model), 'structures': list(structures), 'outputs': list(outputs), **settings}
        (tmp_path / 'predict.yaml').write_text(json.dumps({'kpoints': [2, 2, 2], 'spacing': 0.5, **content}))
        result = hamlr('predict', 'predict.yaml')
        assert result.exit_code == exit_code, result.stderr
        return json.loads((tmp_path / 'predictions/summary.json').read_text()) if exit_code == 0 else result

    return run


def test_table_has_a_row_for_each_structure(run, tmp_path):
    (tmp_path / 'bad.extxyz').write_text('3\nno structure\n')
    summary = run(('many.extxyz', 'bad.extxyz'))
    rows = read_results(tmp_path / 'predictions/results.csv')
    assert [(row['label'], row['status']) for row in rows] == [
        ('many_0', 'done'),
        ('many_1', 'done'),
        ('many_2', 'done'),
        ('bad', 'failed'),
    ]
    assert 'bad.extxyz' in rows[3]['reason']
    assert rows[0]['gap_eV'] == summary['structures']['many_0']['gap_eV']
    assert rows[0]['cbm_eV'] - rows[0]['vbm_eV'] == pytest.approx(rows[0]['gap_eV'])
    assert summary['n_failed'] == 1


def test_reason_of_every_structure_is_logged_if_all_fail(run, tmp_path):
    for name in ('bad', 'worse'):
        (tmp_path / f'{name}.extxyz').write_text('3\nno structure\n')
    result = run(('bad.extxyz', 'worse.extxyz'), exit_code=2)
    assert 'bad failed: ' in result.stdout and 'worse failed: ' in result.stdout
    assert 'none of 2 structures' in result.stderr


def test_interrupted_run_continues(run, tmp_path, monkeypatch):
    """What was done is kept and not done again; the table in between has the rows of that time."""
    solved = []
    finish = predict._finish

    def stop_after_two(job, *arguments):
        if len(solved) == 2:
            raise KeyboardInterrupt
        solved.append(job.name)
        return finish(job, *arguments)

    monkeypatch.setattr(predict, '_finish', stop_after_two)
    run(exit_code=130)
    assert [row['label'] for row in read_results(tmp_path / 'predictions/results.csv')] == solved
    assert not (tmp_path / 'predictions/summary.json').exists()
    monkeypatch.setattr(predict, '_finish', lambda job, *rest: solved.append(job.name) or finish(job, *rest))
    summary = run()
    assert sorted(solved) == ['many_0', 'many_1', 'many_2']
    assert (summary['n_done'], summary['n_earlier']) == (3, 2)
    assert [row['label'] for row in read_results(tmp_path / 'predictions/results.csv')] == sorted(solved)


def test_results_of_other_inputs_are_not_kept(run, frames, tmp_path):
    run()
    frames[1].positions[0, 0] += 1e-3
    ase.io.write(tmp_path / 'many.extxyz', frames)
    assert run()['n_earlier'] == 2
    assert run(kpoints=[1, 1, 1])['n_earlier'] == 0
    assert run(kpoints=[1, 1, 1], outputs=('bands',))['n_earlier'] == 0
    (tmp_path / 'predictions/many_1/bands.h5').unlink()
    assert run(kpoints=[1, 1, 1], outputs=('bands',))['n_earlier'] == 2
    assert (tmp_path / 'predictions/many_1/bands.h5').is_file()


def test_output_is_no_model_folder_and_no_file(run, model, tmp_path):
    before = sorted(model.rglob('*'))
    for output in (model, model / 'predictions'):
        assert f'is in the model folder {model}' in run(output=str(output), exit_code=2).stderr
    assert sorted(model.rglob('*')) == before
    (tmp_path / 'afile').touch()
    assert 'afile: is a file, and the output needs a folder' in run(output='afile', exit_code=2).stderr


def test_ghost_states_are_warned_of(run, monkeypatch, tmp_path):
    """Whoever reads the table alone learns that a gap is none."""
    solve = predict.compute_properties

    def with_ghosts(*arguments):
        found = solve(*arguments)
        found.mesh = replace(found.mesh, n_ghosts=3)
        return found

    monkeypatch.setattr(predict, 'compute_properties', with_ghosts)
    summary = run(outputs=('gap', 'hamiltonian'))
    for row in read_results(tmp_path / 'predictions/results.csv'):
        assert '3 occupied states are combinations of nearly dependent orbitals' in row['warnings']
        assert row['warnings'] in summary['structures'][row['label']]['warnings']
        stored = Hamiltonian.read(tmp_path / 'predictions' / row['label'] / 'hamiltonian.h5')
        assert stored.attributes.warnings == [row['warnings']]


def test_structure_that_fails_in_the_network_fails_alone(run, monkeypatch, tmp_path):
    """A batch with one structure that gives no finite values is taken apart."""
    from aiida_hamlr.errors import NumericalError
    from aiida_hamlr.model.inference import Predictor

    assemble = Predictor._assemble

    def refuse_four_atoms(self, h0, *arguments):
        if len(h0.atoms) == 4:
            raise NumericalError('the model predicts values that are not finite')
        return assemble(self, h0, *arguments)

    monkeypatch.setattr(Predictor, '_assemble', refuse_four_atoms)
    summary = run()
    assert [entry['name'] for entry in summary['failed']] == ['many_0']
    assert list(summary['structures']) == ['many_1', 'many_2']
    assert not (tmp_path / 'predictions/many_0').exists()


def test_property_that_fails_leaves_the_hamiltonian(run, monkeypatch, tmp_path):
    """The Hamiltonian may have been the long work; the structure counts as failed and is predicted again."""
    from aiida_hamlr.errors import NumericalError

    solve = predict.compute_properties

    def refuse_four_atoms(hamiltonian, *arguments):
        if len(hamiltonian.atoms) == 4:
            raise NumericalError('the overlap is not positive definite')
        return solve(hamiltonian, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(predict, 'compute_properties', refuse_four_atoms)
        summary = run(outputs=('gap', 'bands', 'hamiltonian'))
        assert [entry['name'] for entry in summary['failed']] == ['many_0']
        folder = tmp_path / 'predictions/many_0'
        assert sorted(path.name for path in folder.iterdir()) == ['hamiltonian.h5', 'hamiltonian.h5.json']
        assert len(Hamiltonian.read(folder / 'hamiltonian.h5').atoms) == 4
        run(outputs=('gap', 'bands'))
        assert not folder.exists()
    summary = run(outputs=('gap', 'bands', 'hamiltonian'))
    assert (summary['n_done'], summary['n_failed']) == (3, 0)


def test_spin_orbit_without_memory_fails_alone(hamlr, tmp_path, monkeypatch):
    """One structure has no room for its spin-orbit part; the other is predicted."""
    pseudo = debian_pseudo('Si_r.upf')
    folder = write_random_model(tmp_path / 'model', Basis({'Si': generate_basis(pseudo, 'sz', 6.0)}), {'Si': pseudo})
    atoms = bulk('Si', 'diamond', a=5.43)
    ase.io.write(tmp_path / 'small.extxyz', atoms)
    ase.io.write(tmp_path / 'large.extxyz', atoms * (2, 1, 1))
    add = Predictor.add_spin_orbit

    def add_to_small(self, hamiltonian, *arguments):
        return add(self, hamiltonian, *arguments) if len(hamiltonian.atoms) == 2 else np.empty(2**58)

    monkeypatch.setattr(Predictor, 'add_spin_orbit', add_to_small)
    content = {'model': str(folder), 'structures': ['large.extxyz', 'small.extxyz'], 'output': 'out'}
    (tmp_path / 'predict.yaml').write_text(json.dumps({**content, 'outputs': ['hamiltonian'], 'spin_orbit': True}))
    result = hamlr('predict', 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    assert 'large failed: out of memory' in result.stdout
    assert 'spin_orbit' in Hamiltonian.read(tmp_path / 'out/small/hamiltonian.h5').matrices
    assert not (tmp_path / 'out/large').exists()


def test_spin_orbit_is_added_to_what_the_network_predicts(hamlr, tmp_path):
    """The same H with and without; K is that of the pseudopotential; gap and bands are those of spinors."""
    pseudo = debian_pseudo('Si_r.upf')
    basis = Basis({'Si': generate_basis(pseudo, 'sz', 6.0)})
    folder = write_random_model(tmp_path / 'model', basis, {'Si': pseudo})
    ase.io.write(tmp_path / 'si.extxyz', bulk('Si', 'diamond', a=5.43))
    found = {}
    for with_it in (True, False):
        settings = {'outputs': ['hamiltonian', 'bands'], 'kpoints': [2, 2, 2], 'spacing': 0.5, 'spin_orbit': with_it}
        content = {'model': str(folder), 'structures': ['si.extxyz'], 'output': f'p{with_it}', **settings}
        (tmp_path / 'predict.yaml').write_text(json.dumps(content))
        result = hamlr('predict', 'predict.yaml')
        assert result.exit_code == 0, result.stderr
        output = tmp_path / f'p{with_it}/si'
        found[with_it] = Hamiltonian.read(output / 'hamiltonian.h5'), Bands.read(output / 'bands.h5')
    (spinors, bands), (scalar, scalar_bands) = found[True], found[False]
    np.testing.assert_allclose(spinors.hamiltonian, scalar.hamiltonian, atol=1e-12)
    assert (bands.electrons_per_band, scalar_bands.electrons_per_band) == (1, 2)
    np.testing.assert_allclose(bands.eigenvalues[..., ::2], bands.eigenvalues[..., 1::2], atol=1e-9)
    add_spin_orbit(scalar)
    np.testing.assert_allclose(spinors.matrices['spin_orbit'], scalar.matrices['spin_orbit'], atol=1e-12)
    # Taken as a reference, it has no errors.
    spinors.attributes.origin = 'reference'
    spinors.write(tmp_path / 'reference.h5')
    result = hamlr('evaluate', folder, 'reference.h5', '--spin-orbit', '--json', 'errors.json')
    assert result.exit_code == 0, result.stderr
    errors = json.loads((tmp_path / 'errors.json').read_text())
    assert errors['mae_meV'] < 1e-6 and errors['band_mae_occupied_meV'] < 1e-6


def test_magnet_with_spin_orbit_coupling(hamlr, tmp_path):
    """A prediction of two spins gets the coupling and its axis; its bands are those of spinors of the file."""
    pseudo = debian_pseudo('Si_r.upf')
    basis = Basis({'Si': generate_basis(pseudo, 'sz', 6.0)})
    folder = write_random_model(tmp_path / 'model', basis, {'Si': pseudo}, scale=0.5, magnetic=True)
    content = {
        'model': str(folder),
        'structures': ['si.extxyz'],
        'outputs': ['hamiltonian', 'bands', 'charges'],
        'kpoints': [2, 2, 2],
        'spacing': 0.5,
        'spin_orbit': True,
        'magnetization_axis': [0, 3, 4],
    }
    atoms = bulk('Si', 'diamond', a=5.43)
    atoms.set_initial_magnetic_moments([2.0, 0.0])
    ase.io.write(tmp_path / 'si.extxyz', atoms)
    (tmp_path / 'predict.yaml').write_text(json.dumps(content))
    result = hamlr('predict', 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    output = tmp_path / 'predictions/si'
    hamiltonian, bands = Hamiltonian.read(output / 'hamiltonian.h5'), Bands.read(output / 'bands.h5')
    assert np.abs(np.diff(hamiltonian.hamiltonian, axis=0)).max() > 1e-3
    np.testing.assert_allclose(hamiltonian.magnetization_axis, [0, 0.6, 0.8])
    n_bands = bands.eigenvalues.shape[2]
    expected = eigenvalues(hamiltonian, bands.kpoints, n_bands=n_bands)
    np.testing.assert_allclose(bands.eigenvalues[0], expected, atol=1e-9)
    summary = json.loads((output / 'summary.json').read_text())
    moments = Properties.read(output / 'properties.h5').magnetic_moments
    assert summary['magnetization_muB'] == pytest.approx(moments.sum()) and np.abs(moments).max() > 1e-4
    # Taken as a reference it has no errors, along its own axis or another; K is read or computed.
    hamiltonian.attributes.origin, hamiltonian.attributes.kpoints = 'reference', [2, 2, 2]
    hamiltonian.attributes.magnetic_moments = moments.tolist()
    hamiltonian.write(tmp_path / 'reference.h5')
    hamiltonian.matrices = {name: hamiltonian.matrices[name] for name in ('hamiltonian', 'h0', 'overlap')}
    hamiltonian.attributes.magnetization_axis = None
    hamiltonian.write(tmp_path / 'scalar.h5')
    for name, given in (('reference', ()), ('scalar', ('--magnetization-axis', 0, 3, 4))):
        result = hamlr('evaluate', folder, f'{name}.h5', '--spin-orbit', *given, '--json', 'errors.json')
        assert result.exit_code == 0, result.stderr
        errors = json.loads((tmp_path / 'errors.json').read_text())['structures'][0]
        assert max(errors['band_mae_occupied_meV'], errors['moment_largest_error_muB']) < 1e-6
        np.testing.assert_allclose(errors['magnetic_moments_muB'], moments, atol=1e-9)
    result = hamlr('evaluate', folder, 'reference.h5', '--magnetization-axis', 1, 0, 0)
    assert result.exit_code == 2 and 'add it, or leave the axis out' in result.stderr
    (tmp_path / 'predict.yaml').write_text(json.dumps({**content, 'spin_orbit': False}))
    result = hamlr('predict', 'predict.yaml')
    assert result.exit_code == 2 and 'set spin_orbit, or leave it out' in result.stderr


def test_errors_of_spinors_with_pseudopotentials_of_their_own(hamlr, tmp_path):
    """A model of the scalar part alone, and the file it is the part of, have the errors of the model of that file."""
    full = debian_pseudo('Si_r.upf')
    scalar = Pseudopotential.from_text(format_upf(full, 'scalar part', 'tests'))
    basis, atoms = Basis({'Si': generate_basis(full, 'sz', 6.0)}), bulk('Si', 'diamond', a=5.43)
    (tmp_path / 'FR').mkdir()
    (tmp_path / 'FR/Si.upf').write_text(full.text)
    reference = compute_h0(atoms, basis, {'Si': scalar}, 40.0)
    reference.matrices['hamiltonian'] = 1.02 * reference.h0
    reference.write(tmp_path / 'reference.h5')
    found = {}
    for name, pseudo in (('full', full), ('scalar', scalar)):
        folder = write_random_model(tmp_path / name, basis, {'Si': pseudo})
        given = ('--spin-orbit-pseudos', 'FR') if name == 'scalar' else ()
        result = hamlr('evaluate', folder, 'reference.h5', '--spin-orbit', *given, '--json', f'{name}.json')
        assert result.exit_code == 0, result.stderr
        found[name] = json.loads((tmp_path / f'{name}.json').read_text())['band_mae_occupied_meV']
    assert found['scalar'] == pytest.approx(found['full'], rel=1e-6) and found['full'] > 1
    result = hamlr('evaluate', tmp_path / 'scalar', 'reference.h5', '--spin-orbit')
    assert result.exit_code == 2 and 'the pseudopotential of Si is scalar-relativistic' in result.stderr
    result = hamlr('evaluate', tmp_path / 'scalar', 'reference.h5', '--spin-orbit-pseudos', 'FR')
    assert result.exit_code == 2 and 'without --spin-orbit' in result.stderr


def test_committee(run, model, study, tmp_path):
    """Models that are equal do not differ; one of other weights spreads H, levels and gap."""
    basis, pseudos = (read(study / name, ('Al', 'As')) for read, name in READERS)
    other = write_random_model(tmp_path / 'other', basis, pseudos, scale=0.05)
    names = ('committee_spread_meV', 'committee_spread_max_meV', 'level_spread_meV', 'gap_spread_eV')
    for result in run(committee=[str(model), str(model)])['structures'].values():
        assert [result[name] for name in names] == pytest.approx([0.0] * 4, abs=1e-8)
    spread = run(committee=[str(other)], memory_limit=2.0)
    assert spread['n_earlier'] == 0
    for row in read_results(tmp_path / 'predictions/results.csv'):
        assert all(row[name] > 0.0 for name in names)
        assert row['committee_spread_max_meV'] >= row['committee_spread_meV']
    assert 'level_spread_meV' not in run(committee=[str(other)], outputs=('hamiltonian',))['structures']['many_1']
    assert Committee([other], load_model(model), memory_limit=2.0).others[0].memory_limit == 2.0


def test_unusual_distances_are_counted(run, study, frames, tmp_path):
    """The number stands in the table, to query for; a model that does not know its distances gives none."""
    assert 'n_unusual_distances' not in run()['structures']['many_1']
    basis, pseudos = (read(study / name, ('Al', 'As')) for read, name in READERS)
    known = {'shortest': {'Al-As': 2.2, 'Al-Al': 3.5, 'As-As': 3.5}, 'nearest': {'Al': 2.7, 'As': 2.7}}
    model = write_random_model(tmp_path / 'knows', basis, pseudos, distances=known)
    frames[2].positions[1] -= 0.3 * (frames[2].positions[1] - frames[2].positions[0])
    ase.io.write(tmp_path / 'many.extxyz', frames)
    run(model=str(model))
    rows = read_results(tmp_path / 'predictions/results.csv')
    assert [row['n_unusual_distances'] for row in rows] == [0, 0, 1]
    assert 'Al-As at' in rows[2]['warnings']
