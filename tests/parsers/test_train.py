"""Tests of the parser of trainings."""

import json

import numpy as np
from aiida.plugins import CalculationFactory

STATUS = {'hamlr.status': '0'}
CODES = CalculationFactory('hamlr.train').exit_codes


def test_train(parse, model_folder):
    """The model and the learning curve become nodes."""
    files = {**STATUS, 'summary.json': '{"mae_meV": 3.5}', 'metrics.csv': 'epoch,train_loss\n0,2.0\n1,1.0\n'}
    results, node = parse('hamlr.train', files)
    assert node.is_finished_ok, node.exit_message
    attributes = results['model'].base.attributes.all
    described = json.loads((model_folder / 'model.json').read_text())
    expected = (['Al', 'As'], 'lr', described['n_parameters'])
    assert (attributes['species'], attributes['variant'], attributes['n_parameters']) == expected
    assert attributes['metrics'] == {'mae_meV': 3.5}
    np.testing.assert_array_equal(results['learning_curve'].get_array('train_loss'), [2.0, 1.0])
    results['model'].store()
    with results['model'].as_folder() as folder:
        assert (folder / 'model.json').read_bytes() == (model_folder / 'model.json').read_bytes()


def test_basis_hash_agrees(parse, model_folder, basis_node):
    """The model records the hash that the basis node has."""
    results, _ = parse('hamlr.train', {**STATUS, 'summary.json': '{}'})
    assert results['model'].base.attributes.get('basis_hash') == basis_node.content_hash


def test_train_walltime(parse):
    """A training that stopped in order keeps its curve and asks to be resumed."""
    results, node = parse('hamlr.train', {'hamlr.status': '3', 'metrics.csv': 'epoch,train_loss\n0,2.0\n'})
    assert node.exit_status == CODES.ERROR_OUT_OF_WALLTIME.status
    assert 'learning_curve' in results


def test_train_not_a_model(parse, model_folder):
    """A folder without weights is no model."""
    (model_folder / 'model.safetensors').unlink()
    _, node = parse('hamlr.train', {**STATUS, 'summary.json': '{}'})
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
