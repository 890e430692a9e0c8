"""Prediction from a stored model: symmetries of the whole, refusals, safety of the folder."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvectors
from aiida_hamlr.electronic.bands.spinors import spin_expectation
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.files import read_model, write_model
from aiida_hamlr.model.graph_builder import join_spins
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.structure_graph import structure_graph

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture(params=['sr', 'ea', 'lr', 'lr+ea'])
def predictor(request, make_model, make_basis):
    model = make_model(SHELLS, variant=request.param, pair_cutoff=4.5)
    return Predictor(model, {}, make_basis(SHELLS), {})


@pytest.fixture
def folder(tmp_path, predictor):
    path = tmp_path / 'model'
    write_model(path, predictor.model, predictor.model.state_dict(), predictor.basis, {}, {'variant': 'test'})
    return path


def test_prediction_is_marked_symmetric_and_adds_to_h0(predictor, make_reference, rattled):
    reference = make_reference(rattled(0))
    predicted = predictor.predict_from(reference)
    assert predicted.attributes.origin == 'predicted'
    assert predicted.pattern.asymmetry(predicted.hamiltonian) < 1e-6
    delta, _ = predictor.correction(reference)
    assert predicted.pattern.asymmetry(delta) < 1e-14
    assert np.array_equal(predicted.hamiltonian, reference.h0 + delta)


def test_structures_predicted_together_are_the_same_as_alone(predictor, make_reference, rattled):
    """One pass through the network for cells of several sizes, long range included."""
    references = [make_reference(rattled(seed).repeat((1 + seed % 2, 1, 1))) for seed in range(3)]
    for reference, together in zip(references, predictor.predict_batch(references), strict=True):
        alone = predictor.predict_from(reference)
        assert np.abs(alone.hamiltonian - alone.h0).max() > 1e-3
        assert np.abs(together.hamiltonian - alone.hamiltonian).max() < 1e-10
        if predictor.model.long_range is not None:
            charges = (each.attributes.long_range_charges for each in (together, alone))
            assert next(charges) == pytest.approx(next(charges), abs=1e-12)


def test_charges_are_stored_and_neutral(predictor, make_reference, rattled):
    attributes = predictor.predict_from(make_reference(rattled(0))).attributes
    if predictor.model.long_range is None:
        assert attributes.long_range_charges is None
    else:
        assert sum(attributes.long_range_charges) == pytest.approx(0.0, abs=1e-12)


def test_supercell_translation_and_order(predictor, make_reference, rattled):
    """The spectrum of a doubled, moved and reordered crystal holds that of the crystal, long range included."""
    atoms = rattled(0)
    double = make_supercell(atoms, np.diag([2, 1, 1]))
    double.positions += [0.2, 0.5, -0.4]
    double = double[[2, 0, 3, 1]]
    levels = []
    for one in (atoms, double):
        hamiltonian = predictor.predict_from(make_reference(one))
        pattern = hamiltonian.pattern
        levels.append(
            [np.sort(np.linalg.eigvalsh(pattern.block(hamiltonian.hamiltonian, int(p)))) for p in pattern.onsite]
        )
    for found in levels[1]:
        expected = levels[0][0] if len(found) == len(levels[0][0]) else levels[0][1]
        assert np.abs(found - expected).max() < 1e-6


def test_stored_model_predicts_the_same(predictor, folder, make_reference, rattled):
    reference = make_reference(rattled(0))
    again = load_model(folder)
    assert np.array_equal(again.predict_from(reference).hamiltonian, predictor.predict_from(reference).hamiltonian)
    assert again.basis.content_hash == predictor.basis.content_hash
    described = json.loads((folder / 'model.json').read_text())
    assert described['species'] == ['Al', 'As'] and '1o' in described['architecture']['irreps']


def test_models_from_before_the_attention_load(tmp_path, make_model, make_basis, make_reference, rattled):
    predictor = Predictor(make_model(SHELLS, variant='lr', pair_cutoff=4.5), {}, make_basis(SHELLS), {})
    write_model(tmp_path, predictor.model, predictor.model.state_dict(), predictor.basis, {}, {})
    described = json.loads((tmp_path / 'model.json').read_text())
    config = described['architecture']['config']
    described['architecture']['config'] = {k: v for k, v in config.items() if not k.startswith('attention_')}
    assert len(described['architecture']['config']) < len(config)
    # They were of version 1, which had no sums.
    described = {k: v for k, v in described.items() if k not in ('files', 'sha256')} | {'version': 1}
    (tmp_path / 'model.json').write_text(json.dumps(described))
    reference = make_reference(rattled(0))
    found = load_model(tmp_path).predict_from(reference)
    assert np.array_equal(found.hamiltonian, predictor.predict_from(reference).hamiltonian)


def test_unknown_elements_are_refused(predictor, make_reference, rattled):
    atoms = rattled(0)
    atoms.symbols[1] = 'P'
    with pytest.raises(ValueError, match='never saw P; it was trained on Al, As'):
        predictor.predict(atoms)
    with pytest.raises(ValueError, match='never saw P'):
        predictor.predict_from(make_reference(atoms, {'Al': [0, 1], 'P': [0, 1]}))


def test_another_basis_is_refused_naming_both(predictor, make_reference, rattled):
    other = make_reference(rattled(0), {'Al': [0, 1, 2], 'As': [0, 1, 1]})
    with pytest.raises(ValueError, match='basis of Al') as error:
        predictor.predict_from(other)
    for basis in (predictor.basis, other.basis):
        assert basis['Al'].content_hash[:12] in str(error.value)


def test_atoms_on_each_other_are_refused(predictor, make_reference, rattled):
    reference = make_reference(rattled(0))
    reference.atoms.positions[1] = reference.atoms.positions[0] + 0.05
    with pytest.raises(ValueError, match='Å apart'):
        predictor.correction(reference)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda folder: shutil.rmtree(folder), 'no such file'),
        (lambda folder: (folder / 'model.json').write_text('{'), 'truncated'),
        (lambda folder: (folder / 'model.json').write_text('{"format": "other"}'), 'not a hamlr-model'),
        (lambda folder: (folder / 'model.safetensors').write_bytes(b'\x00' * 20), 'recorded sha256'),
        (lambda folder: (folder / 'model.safetensors').unlink(), 'no such file'),
        (lambda folder: (folder / 'basis' / 'Al.basis.h5').unlink(), 'no such file'),
        (lambda folder: shutil.copy(folder / 'basis' / 'As.basis.h5', folder / 'basis' / 'Al.basis.h5'), 'Al.basis.h5'),
    ],
)
def test_damaged_folders_are_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_newer_versions_are_refused_with_both_numbers(folder):
    described = json.loads((folder / 'model.json').read_text())
    (folder / 'model.json').write_text(json.dumps({**described, 'version': 99}))
    with pytest.raises(ValueError, match='version 99 is newer than version 2'):
        read_model(folder)


def test_weights_that_are_not_finite_are_refused(predictor, folder):
    state = predictor.model.state_dict()
    state['network.embedding.weight'] = torch.full_like(state['network.embedding.weight'], float('nan'))
    write_model(folder, predictor.model, state, predictor.basis, {}, {})
    with pytest.raises(ValueError, match='not finite'):
        load_model(folder)


def test_evaluation_of_a_perfect_model_is_zero_up_to_the_constant(tmp_path, predictor, make_reference, rattled):
    reference = make_reference(rattled(0))
    delta, _ = predictor.correction(reference)
    reference.matrices['hamiltonian'] = reference.h0 + delta + 0.3 * reference.overlap
    reference.attributes.n_electrons = 4.0
    reference.write(tmp_path / 'reference.h5')
    found = evaluate(predictor, [tmp_path / 'reference.h5'])
    for key in ('mae_meV', 'mae_onsite_meV', 'band_mae_occupied_meV', 'band_mae_conduction_meV', 'gap_error_meV'):
        assert found[key] < 1e-4
    assert sum(entry['n_elements'] for entry in found['mae_by_distance']) < reference.pattern.n_entries


def test_evaluation_measures_a_known_error(tmp_path, predictor, make_reference, rattled):
    reference = make_reference(rattled(0))
    delta, _ = predictor.correction(reference)
    error = np.zeros(reference.pattern.n_entries)
    start, stop = reference.pattern.chunk_boundaries[[reference.pattern.onsite[0], reference.pattern.onsite[0] + 1]]
    error[start + 1] = error[start + 4] = 0.01
    reference.matrices['hamiltonian'] = reference.h0 + delta - error
    reference.write(tmp_path / 'reference.h5')
    found = evaluate(predictor, [tmp_path / 'reference.h5'], bands=False)
    assert found['mae_meV'] == pytest.approx(20.0 / reference.pattern.n_entries, rel=1e-6)
    assert found['mae_onsite_meV'] == pytest.approx(20.0 / (16 + 49), rel=1e-6)
    assert 'gap_error_meV' not in found


def test_a_model_without_spin_is_not_evaluated_with_it(tmp_path, predictor, make_magnetic_reference, rattled):
    make_magnetic_reference(rattled(0), [1.0, 0.0]).write(tmp_path / 'spin.h5')
    with pytest.raises(
        ValueError, match=r'spin\.h5: has collinear spin \(n_spin = 2\), and the model was trained without'
    ):
        evaluate(predictor, [tmp_path / 'spin.h5'])


def test_without_files_there_is_nothing_to_evaluate(predictor):
    with pytest.raises(ValueError, match='no Hamiltonian files'):
        evaluate(predictor, [])


@pytest.mark.parametrize(
    'settings', [{'variant': 'sr'}, {'variant': 'lr+ea'}, {'variant': 'lr', 'field_features': True}]
)
def test_reversed_moments_exchange_the_spins(make_model, make_basis, make_reference, rattled, settings):
    """To the last bit, in single precision; without moments there is one spin, and charges do not tell them apart."""
    model = make_model(SHELLS, pair_cutoff=4.5, magnetic=True, **settings).float()
    predictor = Predictor(model, {}, make_basis(SHELLS), {})
    found = {}
    for name, moments in (('one', [5.0, -1.0]), ('reversed', [-5.0, 1.0]), ('none', [0.0, 0.0])):
        h0 = make_reference(rattled(0))
        h0.atoms.set_initial_magnetic_moments(moments)
        found[name] = predictor.predict_from(h0)
    up, down = found['one'].hamiltonian
    assert np.abs(up - down).max() > 1e-3
    assert found['one'].attributes.n_spin == 2 and found['none'].attributes.n_spin == 1
    np.testing.assert_array_equal(found['reversed'].hamiltonian, [down, up])
    assert found['none'].hamiltonian.shape == up.shape
    charges = [found[name].attributes.long_range_charges for name in ('one', 'reversed', 'none')]
    assert charges[0] == charges[1]


def test_zero_moments_give_no_difference_of_spins(make_model, make_reference, rattled):
    """Also where both spins are computed, with the long range of their mean."""
    model = make_model(SHELLS, pair_cutoff=4.5, magnetic=True, variant='lr')
    reference = make_reference(rattled(0))
    graph, _ = structure_graph(model, reference)
    model.normalise(graph)
    model.long_range.store(graph)
    with torch.no_grad():
        found, alone = (model.short_range_and_action(one) for one in (join_spins(graph, graph), graph))
    for name in ('onsite', 'pairs'):
        up, down = getattr(found, name).chunk(2)
        torch.testing.assert_close(up, down, rtol=0, atol=1e-12)
        torch.testing.assert_close(up, getattr(alone, name), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sources.charge[:2], alone.sources.charge, rtol=0, atol=1e-12)


def test_magnetic_and_other_structures_in_one_batch(make_model, make_basis, make_reference, rattled):
    model = make_model(SHELLS, pair_cutoff=4.5, magnetic=True, variant='lr')
    predictor = Predictor(model, {}, make_basis(SHELLS), {})
    h0s = [make_reference(rattled(seed).repeat((1 + seed % 2, 1, 1))) for seed in range(3)]
    h0s[1].atoms.set_initial_magnetic_moments([2.0, 0.0, -2.0, 0.0])
    for h0, together in zip(h0s, predictor.predict_batch(h0s), strict=True):
        np.testing.assert_allclose(together.hamiltonian, predictor.predict_from(h0).hamiltonian, atol=1e-10)


def test_moments_and_models_that_do_not_fit_are_told(make_model, make_basis, rattled):
    atoms, basis = rattled(0), make_basis(SHELLS)
    magnetic, other = (Predictor(make_model(SHELLS, magnetic=value), {}, basis, {}) for value in (True, None))
    assert 'no starting moments' in magnetic.describe_moments(atoms)[0]
    assert other.describe_moments(atoms) == []
    atoms.set_initial_magnetic_moments([1.0, 0.0])
    assert magnetic.describe_moments(atoms) == []
    assert 'ignored' in other.describe_moments(atoms)[0]
    assert 'magnetic' not in other.model.config.flat() and magnetic.model.config.flat()['magnetic'] is True


@pytest.fixture(scope='module')
def relativistic_pseudos():
    """Lead and arsenic, LDA, fully relativistic, from Debian's Quantum ESPRESSO."""
    arsenic = Path('/usr/share/doc/quantum-espresso/examples/atomic/pseudo-gen/reference/Asrel.RRKJ3.UPF.gz')
    if not arsenic.exists():
        pytest.skip('Debian examples of Quantum ESPRESSO are not installed')
    text = gzip.decompress(arsenic.read_bytes()).decode()
    return {'Pb': debian_pseudo('pb_s.UPF'), 'As': Pseudopotential.from_text(text, arsenic.name)}


def test_rashba_splitting_turns_with_the_polar_axis(relativistic_pseudos, make_model):
    """A buckled layer with its polar axis up and down: equal levels, opposite spins in the plane; flat, none there."""
    basis = Basis({element: generate_basis(pseudo, 'sz', 6.0) for element, pseudo in relativistic_pseudos.items()})
    model = make_model({e: list(species.angular_momenta) for e, species in basis.items()}, pair_cutoff=4.5)
    texts = {element: pseudo.text for element, pseudo in relativistic_pseudos.items()}
    predictor = Predictor(model, {'ecutrho_Ry': 60.0}, basis, texts)
    kpoints = np.array([[0.06, 0.02, 0.0], [-0.06, -0.02, 0.0], [0.31, 0.17, 0.0]])

    def levels_and_spins(height):
        atoms = Atoms('PbAs', positions=[(0, 0, 6), (0, 4.3 / np.sqrt(3), 6 + height)], pbc=(True, True, False))
        atoms.cell = [(4.3, 0, 0), (-2.15, 2.15 * np.sqrt(3), 0), (0, 0, 12)]
        hamiltonian = predictor.predict(atoms)
        assert np.abs(hamiltonian.hamiltonian - hamiltonian.h0).max() > 1e-3
        predictor.add_spin_orbit(hamiltonian)
        energies, states = eigenvectors(hamiltonian, kpoints)
        overlap = bloch_matrices(hamiltonian.pattern, hamiltonian.overlap, kpoints)
        return energies, spin_expectation(states, overlap)

    (up, spins_up), (down, spins_down), (_, flat) = (levels_and_spins(height) for height in (0.9, -0.9, 0.0))
    np.testing.assert_allclose(down, up, atol=1e-6)
    np.testing.assert_allclose(spins_down, spins_up * np.array([-1, -1, 1])[:, None], atol=1e-4)
    assert (up[:, 1::2] - up[:, ::2]).max() > 0.01 and np.abs(spins_up[:, :2]).max() > 0.5
    assert np.abs(flat[:, :2]).max() < 1e-5
    # Kramers partners are at k and -k.
    np.testing.assert_allclose(spins_up[1], -spins_up[0], atol=1e-4)
