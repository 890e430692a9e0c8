"""Fine-tuning: a child starts as its parent, keeps what is frozen, and may learn new elements."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.config import Part, TrainingConfig
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.parent import PARTS, Parent

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}

#: More shells of l = 1 than the parent has, and an alphabetical place between its elements.
LARGER = {'Al': [0, 1], 'Ar': [0, 0, 1, 1, 1], 'As': [0, 1, 1], 'Ga': [0, 1]}


@pytest.fixture
def write_parent(tmp_path, make_model, make_reference, rattled):
    """Return a function that writes a model with random weights as a folder, and gives its content."""

    def make(**config):
        model = make_model(SHELLS, **{'variant': 'lr+ea', 'field_features': True, **config})
        basis = make_reference(rattled(0)).basis
        metadata = {
            'variant': model.config.variant,
            'functional': 'lda_pz',
            'gauge': 'neutral_atom',
            'ecutrho_Ry': 72.0,
            'data_hash': '0' * 64,
            'distances': {'shortest': {'Al-As': 2.2}, 'nearest': {'Al': 2.6, 'As': 2.6}},
            'metrics': {},
            'identity': '1' * 64,
        }
        write_model(tmp_path / 'parent', model, model.state_dict(), basis, {}, metadata)
        return tmp_path / 'parent'

    return make


def delta(model, reference):
    predictor = Predictor(model, {}, reference.basis, {})
    return predictor.correction(reference)[0]


def test_parts_are_those_of_the_settings():
    assert list(PARTS) == list(Part.__args__)


@pytest.mark.parametrize('response', [False, True])
def test_a_child_predicts_what_its_parent_does(write_parent, make_reference, rattled, response):
    parent = Parent.read(write_parent(response=response, permanent_dipoles=not response))
    reference = make_reference(rattled(3))
    child = parent.child(SHELLS)
    assert np.abs(delta(child, reference) - delta(parent.model, reference)).max() == 0.0
    wide = parent.child(LARGER)
    assert parent.new_elements(wide) == ['Ar', 'Ga']
    assert np.abs(delta(wide, reference) - delta(parent.model, reference)).max() < 1e-12
    # A new element starts as the one of its group: the same shells give the same blocks.
    gallium = rattled(3)
    gallium.numbers[gallium.numbers == 13] = 31
    other = make_reference(gallium, {'Ga': [0, 1], 'As': [0, 1, 1]})
    channel = wide.network
    assert torch.equal(channel.embedding.weight[3], channel.embedding.weight[0])
    assert np.isfinite(delta(wide, other)).all()


def test_frozen_parts_do_not_change(write_parent, training_files, tmp_path):
    folder = write_parent()
    settings = {'max_steps': 3, 'device': 'cpu', 'freeze': ['messages', 'embeddings', 'long_range']}
    config = {'data': {'train': training_files[:4]}, 'training': settings, 'parent': folder}
    train(config, tmp_path / 'child')
    before, after = (load_model(path).model.state_dict() for path in (folder, tmp_path / 'child'))
    frozen = tuple(prefix for part in settings['freeze'] for prefix in PARTS[part])
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any(name.startswith('network.onsite') for name in changed)
    assert any(name.startswith('network.pairs') for name in changed)
    assert not [name for name in changed if name.startswith((*frozen, 'normalisation'))]
    description = json.loads((tmp_path / 'child' / 'model' / 'model.json').read_text())
    assert description['parent']['identity'] == '1' * 64
    assert description['distances']['shortest']['Al-As'] <= 2.2
    assert description['architecture']['config']['variant'] == 'lr+ea'
    assert description['training']['precision'] == 'float64'


def test_a_new_element_is_learned_and_the_old_ones_are_kept_at_the_start(
    write_parent, make_reference, rattled, tmp_path, monkeypatch
):
    paths = []
    for seed in range(3):
        atoms = bulk('GaAs', 'zincblende', a=5.6)
        atoms.rattle(0.2, seed=seed)
        paths.append(tmp_path / f'{seed}.h5')
        make_reference(atoms, {'Ga': [0, 1], 'As': [0, 1, 1]}, strength=2.0).write(paths[-1])
    folder = write_parent()
    monkeypatch.setattr('aiida_hamlr.model.training.module.TrainingModule.learning_rate_factor', lambda self: 0.0)
    train({'data': {'train': paths}, 'training': {'max_steps': 1, 'device': 'cpu'}, 'parent': folder}, tmp_path / 'run')
    parent, child = load_model(folder), load_model(tmp_path / 'run')
    assert child.species == ('Al', 'As', 'Ga')
    assert parent.model.network.embedding.num_embeddings == 2
    reference = make_reference(rattled(5))
    assert np.abs(delta(child.model, reference) - delta(parent.model, reference)).max() < 1e-12
    # Pairs and elements that the parent never saw have tables from the new files.
    scale = child.model.normalisation.onsite_scale
    assert (scale[2] > 0).any() and torch.equal(scale[0, scale[0] > 0], scale.new_ones(int((scale[0] > 0).sum())))
    found = Hamiltonian.read(paths[0])
    untrained = np.abs(found.hamiltonian - found.h0).mean()
    assert np.abs(child.predict_from(found).hamiltonian - found.hamiltonian).mean() < 2 * untrained


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'model': {'variant': 'sr'}}, "model.variant: 'sr', but 'lr\\+ea' in the parent"),
        ({'model': {'short_range': {'layers': 3}}}, 'model.short_range.layers: 3, but 2 in the parent'),
        ({'training': {'precision': 'float32'}}, 'training.precision: float32, but float64'),
        ({'training': {'freeze': list(PARTS)}}, 'nothing to train'),
    ],
)
def test_contradictions_are_refused(write_parent, training_files, tmp_path, changed, message):
    config = {'data': {'train': training_files[:2]}, 'parent': write_parent(), **changed}
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / 'child')
    assert not (tmp_path / 'child' / 'model').exists()


def test_another_basis_and_missing_parts_are_refused(write_parent, make_reference, make_basis, rattled, tmp_path):
    path = tmp_path / 'other.h5'
    make_reference(rattled(0), {'Al': [0, 0, 1], 'As': [0, 1, 1]}, strength=2.0).write(path)
    folder = write_parent(variant='lr', field_features=False)
    with pytest.raises(ValueError, match='basis of Al: the parent'):
        train({'data': {'train': [path]}, 'parent': folder}, tmp_path / 'run')
    with pytest.raises(ValueError, match=r'freeze.*give parent'):
        train({'data': {'train': [path]}, 'training': {'freeze': ['pairs']}}, tmp_path / 'run')
    make_reference(rattled(0), strength=2.0).write(path)
    with pytest.raises(ValueError, match='attention: a model of variant lr has no such part'):
        config = {'data': {'train': [path]}, 'training': {'freeze': ['attention']}, 'parent': folder}
        train(config, tmp_path / 'run')
    with pytest.raises(ValueError, match='l = 2, the parent'):
        Parent.read(folder).child({**SHELLS, 'Ga': [0, 1, 2]})


def test_settings_without_a_parent_are_as_before():
    assert TrainingConfig().freeze == ()
