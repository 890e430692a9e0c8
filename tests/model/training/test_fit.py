"""Training: it learns, resumes exactly, and stops in order."""

import csv
import json

import numpy as np
import pytest
import torch
from ase import Atoms

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import NumericalError, WalltimeReached
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.training.batches import BatchSampler
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.module import TrainingModule

MODEL = {
    'variant': 'sr',
    'scalar_channels': 8,
    'natural_channels': 6,
    'unnatural_channels': 4,
    'hidden_channels': 24,
    'pair_channels': 24,
    'radial_hidden': 16,
    'radial_basis': 8,
    'message_cutoff': 4.5,
}


def config(files, model=None, **training):
    settings = {'max_epochs': 4, 'seed': 1, 'device': 'cpu', 'warmup_steps': 5, **training}
    return {
        'data': {'train': files[:4], 'validation': files[4:5], 'test': files[5:]},
        'model': {**MODEL, **(model or {})},
        'training': settings,
    }


def rows(folder):
    with (folder / 'metrics.csv').open(newline='') as handle:
        return list(csv.DictReader(handle))


def test_learns_and_leaves_a_model_that_predicts(training_files, tmp_path, capsys):
    summary = train(config(training_files, max_epochs=20), tmp_path / 'run')
    assert json.loads((tmp_path / 'run' / 'summary.json').read_text()) == summary
    history = rows(tmp_path / 'run')
    assert len(history) == 20
    assert float(history[-1]['train_mae_meV']) < 0.9 * float(history[0]['train_mae_meV'])
    assert 'epoch 20' in capsys.readouterr().out
    predictor = load_model(tmp_path / 'run')
    found = evaluate(predictor, training_files[5:])
    reference = Hamiltonian.read(training_files[5])
    untrained = 1e3 * np.abs(reference.hamiltonian - reference.h0).mean()
    assert found['mae_meV'] < 0.1 * untrained
    assert found['n_structures'] == 1


@pytest.mark.parametrize(('variant', 'fields'), [('ea', False), ('lr+ea', False), ('lr+ea', True)])
def test_attention_learns_in_batches_and_is_stored(training_files, tmp_path, variant, fields):
    model = {'variant': variant, 'attention_heads': 2, 'field_features': fields}
    settings = config(training_files, model, max_epochs=12, batch_size=2)
    train(settings, tmp_path / 'run')
    history = rows(tmp_path / 'run')
    assert float(history[-1]['train_mae_meV']) < 0.9 * float(history[0]['train_mae_meV'])
    predictor = load_model(tmp_path / 'run')
    assert predictor.model.config.variant == variant
    assert all(float(layer.strength.detach().abs().max()) > 1e-3 for layer in predictor.model.network.attention)
    reference = Hamiltonian.read(training_files[5])
    untrained = 1e3 * np.abs(reference.hamiltonian - reference.h0).mean()
    assert evaluate(predictor, training_files[5:], bands=False)['mae_meV'] < 0.5 * untrained


def test_learns_the_charge_from_potentials_alone(tmp_path, make_reference, rattled, make_model):
    """H - H0 of known charges: order 0 finds them again."""
    files = []
    for seed in range(4):
        atoms = rattled(seed, 0.0).repeat((2, 1, 1))
        atoms.rattle(0.25, seed=seed)
        hamiltonian = make_reference(atoms, strength=0.0)
        teacher = make_model({'Al': [0, 1], 'As': [0, 1, 1]}, variant='lr', multipole_order=0)
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter.zero_()
            teacher.long_range.species_charge += torch.tensor([0.3, -0.3])
        teacher.normalisation.onsite_scale.zero_()
        teacher.normalisation.pair_scale.zero_()
        teacher.normalisation.two_body.zero_()
        predictor = Predictor(teacher, {}, hamiltonian.basis, {})
        delta, sources = predictor.correction(hamiltonian)
        assert np.allclose(sources.charge, [0.3, -0.3, 0.3, -0.3], atol=0.05)
        hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 + delta
        path = tmp_path / f'{seed}.h5'
        hamiltonian.write(path)
        files.append(path)
    settings = config(files, {'variant': 'lr', 'multipole_order': 0}, max_epochs=8)
    settings['data'] = {'train': files}
    charges = train(settings, tmp_path / 'run')['species_charges']
    assert charges['Al'] == pytest.approx(0.3, abs=0.03) and charges['As'] == pytest.approx(-charges['Al'])


def slab(vacuum, seed):
    """Four layers of AlAs with (110) surfaces, rattled."""
    distance = 5.6 / 8**0.5
    atoms = Atoms(cell=[5.6, 2 * distance, 3 * distance + vacuum], pbc=True)
    for n in range(4):
        shift = np.array([2.8, distance, 0]) * (n % 2) + [0, 0, n * distance]
        atoms += Atoms('AlAs', positions=np.array([[0, 0, 0], [1.4, distance, 0]]) + shift)
    atoms.rattle(0.1, seed=seed)
    return atoms


def write_files(folder, structures, make_reference, teacher):
    """Hamiltonian files whose H - H0 is the teacher's."""
    files = []
    for n, atoms in enumerate(structures):
        hamiltonian = make_reference(atoms, strength=0.0)
        predictor = Predictor(teacher, {}, hamiltonian.basis, {})
        delta, _ = predictor.correction(hamiltonian)
        hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 + delta
        files.append(folder / f'{n}.h5')
        hamiltonian.write(files[-1])
    return files


@pytest.fixture
def responding_teacher(make_model):
    """Charges of 1.8 e on atoms with 10.5 Å^3 and nothing of short range."""
    teacher = make_model({'Al': [0, 1], 'As': [0, 1, 1]}, variant='lr', response=True, multipole_order=0)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
        teacher.long_range.species_charge += torch.tensor([1.8, -1.8])
        teacher.long_range.start_from(10.5)
    tables = teacher.normalisation
    for table in (tables.onsite_scale, tables.pair_scale, tables.two_body, teacher.h0_normalisation.onsite_linear):
        table.zero_()
    return teacher


def test_slabs_in_two_vacua_teach_the_polarisability(tmp_path, make_reference, responding_teacher):
    structures = [slab(vacuum, seed) for seed in range(2) for vacuum in (8.0, 16.0)]
    files = write_files(tmp_path, structures, make_reference, responding_teacher)
    settings = config(files, {'variant': 'lr', 'response': True, 'multipole_order': 0}, max_epochs=2, batch_size=2)
    settings['data'] = {'train': files}
    summary = train(settings, tmp_path / 'run')
    assert summary['response'] == 'identified' and summary['response_elements'] == ['Al', 'As']
    assert summary['species_charges']['Al'] == pytest.approx(1.8, rel=0.05)
    for polarisability in summary['species_polarisabilities'].values():
        assert polarisability == pytest.approx(10.5, rel=0.05)
    described = json.loads((tmp_path / 'run' / 'model' / 'model.json').read_text())
    assert described['response'] == 'identified' and '8.0 and 16.0 Å of vacuum' in described['response_reason']
    again = load_model(tmp_path / 'run').model.long_range
    assert again.identified.tolist() == [1.0, 1.0]
    assert again.species_polarisability.tolist() == pytest.approx(list(summary['species_polarisabilities'].values()))


def test_labels_draw_charges_and_dipoles(tmp_path, make_reference, rattled):
    """Bulk crystals tell nothing of the charges; the labels of the files do."""
    files = [tmp_path / f'{seed}.h5' for seed in range(4)]
    for seed, path in enumerate(files):
        hamiltonian = make_reference(rattled(seed))
        charges = np.where(hamiltonian.atoms.symbols == 'Al', 0.06, -0.06)
        hamiltonian.labels = {'hirshfeld_charges': charges, 'hirshfeld_dipoles': np.zeros((2, 3))}
        hamiltonian.write(path)
    settings = config(files, {'variant': 'lr', 'response': True}, max_epochs=10, learning_rate=0.05)
    settings['data'] = {'train': files}
    settings['training'] |= {'charge_weight': 1e3, 'dipole_weight': 1e3}
    with pytest.warns(UserWarning, match='unidentified'):
        train(settings, tmp_path / 'run')
    predictor = load_model(tmp_path / 'run')
    found = [predictor.predict_from(Hamiltonian.read(path)).attributes.long_range_charges for path in files]
    # They start at 1.4 e, to which the fit of the levels is led by what is short-ranged here.
    assert np.allclose(found, np.outer(np.ones(4), [0.06, -0.06]), atol=0.1)


@pytest.mark.parametrize(
    ('model', 'key', 'words'),
    [
        ({'variant': 'sr'}, 'charge_weight', 'variant sr has no charges'),
        ({'variant': 'lr'}, 'dipole_weight', r'needs model\.long_range\.response: true'),
        ({'variant': 'lr'}, 'charge_weight', r'0\.h5: has no hirshfeld_charges'),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(training_files, tmp_path, model, key, words):
    with pytest.raises(ValueError, match=words):
        train(config(training_files, model, **{key: 1.0}), tmp_path / 'run')


def test_bulk_crystals_alone_leave_the_response_unidentified(tmp_path, training_files):
    settings = config(training_files, {'variant': 'lr', 'response': True, 'kernel_width': 1.0}, max_epochs=1)
    with (
        pytest.warns(UserWarning, match='response: unidentified: no slab in two vacua'),
        pytest.warns(UserWarning, match='kernel_width 1 Å is small for nearest neighbours at 1.98 Å'),
    ):
        summary = train(settings, tmp_path / 'run')
    assert summary['response'] == 'unidentified'
    assert summary['species_polarisabilities'] == {'Al': 0.0, 'As': 0.0}
    predicted = load_model(tmp_path / 'run').predict_from(Hamiltonian.read(training_files[5]))
    assert predicted.attributes.long_range_polarisabilities == [0.0, 0.0]


class InterruptedTrainingError(Exception):
    pass


@pytest.mark.parametrize(
    ('variant', 'more'),
    [
        ('sr', {}),
        ('lr+ea', {}),
        ('sr', {'batch_size': 2, 'loss': 'huber', 'band_weight': 0.1, 'overlap_weight': 0.1}),
        ('sr', {'max_steps': 18}),
        ('sr', {'checkpoints_per_epoch': 2, 'max_epochs': 2, 'early_stopping_patience': 5}),
        ('sr', {'max_edges_per_batch': 220, 'accumulate': 2, 'schedule': 'plateau', 'plateau_patience': 1}),
    ],
)
def test_resumed_training_is_the_uninterrupted_one(training_files, tmp_path, monkeypatch, variant, more):
    more = {'max_epochs': 5, 'precision': 'float64', 'validate_every': 1, **more}
    settings = config(training_files, {'variant': variant}, **more)
    train(settings, tmp_path / 'whole')
    monkeypatch.setattr('aiida_hamlr.model.training.loop.INTERVAL', 0.0)
    step = TrainingModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 2 and batch_idx == 1:
            raise InterruptedTrainingError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, 'training_step', interrupted)
        with pytest.raises(InterruptedTrainingError):
            train(settings, tmp_path / 'parts')
    train(settings, tmp_path / 'parts')
    whole, parts = rows(tmp_path / 'whole'), rows(tmp_path / 'parts')
    assert len(whole) == len(parts) == more['max_epochs'] * more.get('checkpoints_per_epoch', 1)
    for one, other in zip(whole, parts, strict=True):
        for key in ('epoch', 'step', 'learning_rate', 'train_mae_meV', 'validation_mae_meV'):
            expected = float(other[key] or 'nan')
            assert float(one[key] or 'nan') == pytest.approx(expected, rel=1e-10, nan_ok=True), (one['epoch'], key)
    weights = [load_model(tmp_path / name).model.state_dict() for name in ('whole', 'parts')]
    assert all(torch.allclose(weights[0][key], weights[1][key], rtol=1e-10, atol=1e-13) for key in weights[0])


def test_checkpoints_of_earlier_versions_are_resumed(training_files, tmp_path):
    """Their identity lacks settings that were added later, here those of attention."""
    settings = config(training_files, max_epochs=2)
    train(settings, tmp_path / 'run')
    path = tmp_path / 'run' / 'checkpoints' / 'last.ckpt'
    checkpoint = torch.load(path, weights_only=True)
    identity = checkpoint['hamlr']['identity']
    description = json.loads(identity['model'])
    description['config'] = {k: v for k, v in description['config'].items() if not k.startswith('attention_')}
    identity['model'] = json.dumps(description, sort_keys=True)
    torch.save(checkpoint, path)
    settings['training']['max_epochs'] = 3
    assert train(settings, tmp_path / 'run')['epochs'] == 3
    # A setting with another value still makes another training.
    checkpoint['hamlr']['identity']['model'] = identity['model'].replace('"layers": 2', '"layers": 3')
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='another training: its model differs'):
        train(settings, tmp_path / 'run')


def test_nested_settings_are_the_flat_ones(training_files, tmp_path):
    flat = config(training_files, {'variant': 'lr', 'kernel_width': 1.2}, max_epochs=1, learning_rate=1e-3)
    nested = {
        'data': flat['data'],
        'model': {
            'variant': 'lr',
            'short_range': {key: value for key, value in MODEL.items() if key != 'variant'},
            'long_range': {'kernel_width': 1.2},
        },
        'training': {
            'max_epochs': 1,
            'seed': 1,
            'device': 'cpu',
            'schedule': {'learning_rate': 1e-3, 'warmup_steps': 5},
        },
    }
    for name, settings in (('flat', flat), ('nested', nested)):
        train(settings, tmp_path / name)
    states = [load_model(tmp_path / name).model.state_dict() for name in ('flat', 'nested')]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    described = [json.loads((tmp_path / name / 'model' / 'model.json').read_text()) for name in ('flat', 'nested')]
    assert described[0]['architecture'] == described[1]['architecture']


def test_walltime_leaves_a_checkpoint_to_go_on_from(training_files, tmp_path, monkeypatch):
    monkeypatch.setattr('aiida_hamlr.model.training.loop.WALLTIME_MARGIN', 1e6)
    settings = config(training_files, walltime=10.0)
    with pytest.raises(WalltimeReached, match='inside an epoch'):
        train(settings, tmp_path / 'run')
    monkeypatch.setattr('aiida_hamlr.model.training.loop.WALLTIME_MARGIN', 0.0)
    monkeypatch.setattr('aiida_hamlr.model.training.loop.EPOCHS_TO_FIT', 1e6)
    settings['training']['walltime'] = 1000.0
    with pytest.raises(WalltimeReached, match='after epoch 1'):
        train(settings, tmp_path / 'run')
    assert (tmp_path / 'run' / 'checkpoints' / 'last.ckpt').exists()
    # What is ended from outside keeps the best model so far.
    assert load_model(tmp_path / 'run').model.config.variant == 'sr'
    del settings['training']['walltime']
    assert train(settings, tmp_path / 'run')['epochs'] == 4


def test_half_the_batch_goes_on_from_the_checkpoint_of_the_whole(training_files, tmp_path):
    """What is done when the memory is short: the steps are the same, so the checkpoint is."""
    train(config(training_files, max_epochs=2, batch_size=4), tmp_path / 'run')
    train(config(training_files, max_epochs=3, batch_size=2, accumulate=2), tmp_path / 'run')
    assert [row['step'] for row in rows(tmp_path / 'run')] == ['1', '2', '3']
    with pytest.raises(ValueError, match='another training: its batch_size differs'):
        train(config(training_files, max_epochs=3, batch_size=2), tmp_path / 'run')


def test_a_divergence_leaves_the_best_checkpoint(training_files, tmp_path, monkeypatch):
    """Going on from it drops what came after, and takes another learning rate."""
    step, settings = TrainingModule.training_step, config(training_files, max_epochs=6, validate_every=1)

    def poisoned(self, batch, batch_idx):
        if self.current_epoch >= 2:
            with torch.no_grad():
                self.model.network.embedding.weight.fill_(1e3 if self.current_epoch < 4 else float('nan'))
        return step(self, batch, batch_idx)

    monkeypatch.setattr('aiida_hamlr.model.training.loop.INTERVAL', 0.0)
    with monkeypatch.context() as patch, pytest.raises(NumericalError):
        patch.setattr(TrainingModule, 'training_step', poisoned)
        train(settings, tmp_path / 'run')
    checkpoints = tmp_path / 'run' / 'checkpoints'
    epochs = {name: torch.load(checkpoints / name, weights_only=True)['epoch'] for name in ('best.ckpt', 'last.ckpt')}
    errors = [float(row['validation_mae_meV']) for row in rows(tmp_path / 'run')]
    assert epochs == {'best.ckpt': int(np.argmin(errors)), 'last.ckpt': 3} and epochs['best.ckpt'] < 3
    settings['training'] |= {'resume': str(checkpoints / 'best.ckpt'), 'learning_rate': 1e-3}
    train(settings, tmp_path / 'run')
    history = rows(tmp_path / 'run')
    assert [row['epoch'] for row in history] == ['1', '2', '3', '4', '5', '6']
    assert float(history[-1]['learning_rate']) < 1e-3


def test_checkpoint_holds_no_code_and_belongs_to_its_training(training_files, tmp_path):
    settings = config(training_files, max_epochs=1)
    train(settings, tmp_path / 'run')
    stored = torch.load(tmp_path / 'run' / 'checkpoints' / 'last.ckpt', weights_only=True)
    assert stored['epoch'] == 0
    settings['model'] = {**MODEL, 'natural_channels': 8}
    with pytest.raises(ValueError, match='another training: its model differs'):
        train(settings, tmp_path / 'run')


def test_divergence_is_a_numerical_failure(training_files, tmp_path, monkeypatch):
    forward = TrainingModule.training_step

    def poisoned(self, batch, batch_idx):
        with torch.no_grad():
            self.model.network.embedding.weight.fill_(float('nan'))
        return forward(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, 'training_step', poisoned)
    with pytest.raises(NumericalError, match='training diverged'):
        train(config(training_files), tmp_path / 'run')


def test_steps_end_the_training_inside_an_epoch(training_files, tmp_path):
    """The epochs have four batches; the learning rate falls to its end with the steps, and more can be added."""
    settings = config(training_files, max_epochs=1, max_steps=10)
    train(settings, tmp_path / 'run')
    history = rows(tmp_path / 'run')
    assert [row['step'] for row in history] == ['4', '8', '10']
    assert float(history[-1]['learning_rate']) < 0.05 * 4e-3 and history[-1]['validation_mae_meV']
    train(settings, tmp_path / 'run')
    assert len(rows(tmp_path / 'run')) == 3
    settings['training']['max_steps'] = 12
    train(settings, tmp_path / 'run')
    assert rows(tmp_path / 'run')[-1]['step'] == '12'


def test_steps_are_those_of_the_optimiser(training_files, tmp_path):
    train(config(training_files, max_steps=3, accumulate=2), tmp_path / 'run')
    assert [row['step'] for row in rows(tmp_path / 'run')] == ['2', '3']


def test_time_budget_ends_the_training(training_files, tmp_path):
    summary = train(config(training_files, max_epochs=100000, max_time_s=3.0), tmp_path / 'run')
    assert 2.5 < summary['training_s'] < 10.0
    last = rows(tmp_path / 'run')[-1]
    assert float(last['learning_rate']) < 0.1 * 4e-3


def test_plateaus_lower_the_learning_rate(make_model):
    settings = TrainingConfig(
        schedule='plateau', plateau_patience=2, plateau_factor=0.5, final_learning_rate=0.3, warmup_steps=0
    )
    module = TrainingModule(make_model({'Al': [0]}), settings, BatchSampler([1], 0), {})
    factors = []
    for mae in (3.0, 2.0, 2.5, 2.1, 1.9, 1.9, 2.0, 2.0, 2.0, 2.0):
        module.record_validation({'mae_meV': mae})
        factors.append(module.learning_rate_factor())
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    assert module.best_metrics == {'mae_meV': 1.9} and module.since_best == 5


def test_patience_ends_the_training_and_it_stays_ended(training_files, tmp_path):
    """A learning rate that changes nothing: only the first validation is better than all before."""
    settings = config(training_files, max_epochs=50, learning_rate=1e-30, validate_every=1, early_stopping_patience=2)
    assert train(settings, tmp_path / 'run')['epochs'] == 3
    assert train(settings, tmp_path / 'run')['epochs'] == 3
    settings['training']['early_stopping_patience'] = 3
    assert train(settings, tmp_path / 'run')['epochs'] == 4


@pytest.mark.parametrize('key', [{'schedule': 'plateau'}, {'early_stopping_patience': 3}])
def test_what_looks_at_validation_needs_some(training_files, tmp_path, key):
    settings = config(training_files, **key)
    settings['data']['validation'] = []
    with pytest.raises(ValueError, match='needs files in data.validation'):
        train(settings, tmp_path / 'run')


def test_bands_in_the_loss_are_in_the_metrics(training_files, tmp_path):
    train(config(training_files, max_epochs=10, band_weight=1.0), tmp_path / 'run')
    history = [float(row['train_band_mae_meV']) for row in rows(tmp_path / 'run')]
    assert 0 < np.mean(history[-3:]) < np.mean(history[:3])


def test_more_parts_than_batches_are_refused(training_files, tmp_path):
    with pytest.raises(ValueError, match='5 parts of an epoch that has only 4 batches'):
        train(config(training_files, checkpoints_per_epoch=5), tmp_path / 'run')


def test_batches_learn_too(training_files, tmp_path):
    train(config(training_files, {'variant': 'lr'}, max_epochs=2, batch_size=3), tmp_path / 'run')
    assert rows(tmp_path / 'run')[-1]['step'] == '4'


def test_training_from_the_cache_is_that_from_memory(training_files, tmp_path):
    for name, more in (('memory', {}), ('disk', {'cache': str(tmp_path / 'cache')})):
        train(config(training_files, {'variant': 'lr'}, max_epochs=2, **more), tmp_path / name)
    assert len(list((tmp_path / 'cache').iterdir())) == 5
    weights = [load_model(tmp_path / name).model.state_dict() for name in ('memory', 'disk')]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_file_in_two_splits_is_refused(training_files, tmp_path):
    settings = config(training_files)
    settings['data']['test'] = training_files[:1]
    with pytest.raises(ValueError, match=r'in data\.train and in data\.test'):
        train(settings, tmp_path / 'run')


def test_warnings_about_the_data_are_kept(training_files, tmp_path, make_reference, rattled):
    make_reference(rattled(0, 0.2), strength=2.0, scf_kpoints=[1, 1, 1]).write(training_files[0])
    with pytest.warns(UserWarning, match='k spacing'):
        summary = train(config(training_files, max_epochs=1), tmp_path / 'run')
    (text,) = summary['warnings']
    assert '0.3' in text and '0.1' in text


def test_an_element_without_training_data_is_refused(training_files, tmp_path, make_reference, rattled):
    atoms = rattled(9)
    atoms.symbols[0] = 'Ga'
    path = tmp_path / 'gallium.h5'
    make_reference(atoms, {'Ga': [0, 1], 'As': [0, 1, 1]}).write(path)
    settings = config(training_files)
    settings['data']['validation'] = [path]
    with pytest.raises(ValueError, match='Ga: in data.validation or data.test, but in no file of data.train'):
        train(settings, tmp_path / 'run')


def test_magnetic_orders_and_none_in_one_training(tmp_path, make_magnetic_reference, make_reference, rattled):
    """Ferro- and antiferromagnets and structures without moments; the cache and the band loss know both spins."""
    files = []
    for seed in range(6):
        atoms = rattled(seed, 0.2).repeat((2, 1, 1))
        orders = ([2.0, 0.0, 2.0, 0.0], [2.0, 0.0, -2.0, 0.0])
        made = make_reference(atoms) if seed == 2 else make_magnetic_reference(atoms, orders[seed % 2], strength=0.5)
        made.write(tmp_path / f'{seed}.h5')
        files.append(tmp_path / f'{seed}.h5')
    settings = config(files, {'variant': 'lr'}, max_epochs=25)
    train(settings, tmp_path / 'run')
    predictor = load_model(tmp_path / 'run')
    assert predictor.model.config.magnetic is True
    found = evaluate(predictor, files[5:])
    reference = Hamiltonian.read(files[5])
    untrained = 1e3 * np.abs(reference.hamiltonian[0] - reference.hamiltonian[1]).mean()
    assert found['mae_spin_difference_meV'] < 0.3 * untrained
    assert found['mae_meV'] == pytest.approx((found['mae_spin_up_meV'] + found['mae_spin_down_meV']) / 2)
    cached = config(files, {'variant': 'lr'}, max_epochs=25, cache=str(tmp_path / 'cache'))
    train(cached, tmp_path / 'cached')
    again = evaluate(load_model(tmp_path / 'cached'), files[5:])
    assert again['mae_meV'] == pytest.approx(found['mae_meV'], rel=1e-3)
    train(config(files, {'variant': 'sr'}, max_steps=3, band_weight=1.0), tmp_path / 'bands')
    assert float(rows(tmp_path / 'bands')[-1]['train_band_mae_meV']) > 0
    with pytest.raises(ValueError, match=r'has collinear spin \(n_spin = 2\), and the network is one without'):
        train(config(files, {'magnetic': False}, max_epochs=1), tmp_path / 'other')
