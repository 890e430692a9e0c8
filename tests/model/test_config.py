"""Settings of models and trainings."""

import warnings

import pytest
from pydantic import ValidationError

from aiida_hamlr.model.config import ModelConfig, TrainingConfig


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match='chanels'):
        ModelConfig(chanels=3)
    with pytest.raises(ValidationError, match='epochs'):
        TrainingConfig(epochs=3)


def test_unknown_variants_are_refused_with_those_that_exist():
    with pytest.raises(ValidationError, match=r'choose one of sr, ea, lr, lr\+ea'):
        ModelConfig(variant='gnn')


def test_response_needs_charges_and_a_width_not_below_theirs():
    assert ModelConfig(long_range={'response': True}).has_response and not ModelConfig().has_response
    with pytest.raises(ValidationError, match='needs a variant with long range, not sr'):
        ModelConfig(long_range={'response': True}, variant='sr')
    with pytest.raises(ValidationError, match='permanent_dipoles: true needs a variant with long range, not ea'):
        ModelConfig(long_range={'permanent_dipoles': True}, variant='ea')
    with pytest.raises(ValidationError, match='output_width 1.0 is below kernel_width 1.5'):
        ModelConfig(long_range={'response': True, 'output_width': 1.0})


def test_sources_need_charges_and_layers_that_exist():
    with pytest.raises(ValidationError, match='source_layers needs a variant with long range, not sr'):
        ModelConfig(variant='sr', long_range={'source_layers': 1})
    with pytest.raises(ValidationError, match='source_layers 3: the network has 2 layers'):
        ModelConfig(long_range={'source_layers': 3})
    # Files without the key are those of earlier versions.
    assert 'source_layers' not in ModelConfig().flat()
    assert ModelConfig(long_range={'source_layers': 1}).flat()['source_layers'] == 1


@pytest.mark.parametrize(
    ('variant', 'charges', 'attention'),
    [('sr', False, False), ('ea', False, True), ('lr', True, False), ('lr+ea', True, True)],
)
def test_variants_have_charges_and_attention(variant, charges, attention):
    config = ModelConfig(variant=variant)
    assert (config.has_long_range, config.has_attention) == (charges, attention)


def test_only_one_budget_is_taken():
    with pytest.raises(ValueError, match='max_steps and max_time_s'):
        TrainingConfig(max_steps=10, max_time_s=5.0)


#: Every flat key of earlier versions whose name or place is another one now.
FLAT_MODEL = {'variant': 'lr+ea', 'layers': 1, 'response': True, 'long_range_accuracy': None, 'attention_heads': 2}
NESTED_MODEL = {
    'variant': 'lr+ea',
    'short_range': {'layers': 1},
    'long_range': {'response': True, 'accuracy': None},
    'attention': {'heads': 2},
}
FLAT_TRAINING = {'schedule': 'plateau', 'loss': 'huber', 'overlap_weight': 0.5, 'clip': 2.0, 'born_weight': 1.0}
NESTED_TRAINING = {
    'schedule': {'kind': 'plateau'},
    'loss': {'penalty': 'huber', 'orthonormal_weight': 0.5},
    'optimizer': {'clip': 2.0},
    'labels': {'born_weight': 1.0},
}
CASES = [(ModelConfig, FLAT_MODEL, NESTED_MODEL), (TrainingConfig, FLAT_TRAINING, NESTED_TRAINING)]


@pytest.mark.parametrize(('kind', 'flat', 'nested'), CASES)
def test_flat_keys_are_read_with_one_warning_that_names_their_places(kind, flat, nested):
    with pytest.warns(UserWarning) as record:
        found = kind(**flat)
    assert len(record) == 1
    assert all(
        f'{section}.{key}' in str(record[0].message)
        for section in nested
        if section != 'variant'
        for key in nested[section]
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert found == kind(**nested)
        # The form of stored files: complete, flat, and read without a warning.
        assert kind.from_flat(found.flat()) == found
        assert found.flat().items() >= flat.items()


@pytest.mark.parametrize(
    ('kind', 'values', 'words'),
    [
        (
            ModelConfig,
            {'response': False, 'long_range': {'response': False}},
            'response is also given as long_range.response',
        ),
        (TrainingConfig, {'clip': 1.0, 'optimizer': {'clip': 1.0}}, 'clip is also given as optimizer.clip'),
        (
            TrainingConfig,
            {'overlap_weight': 1.0, 'loss': {'orthonormal_weight': 1.0}},
            'also given as loss.orthonormal_weight',
        ),
    ],
)
def test_a_key_in_both_places_is_refused(kind, values, words):
    with pytest.raises(ValidationError, match=words):
        kind(**values)


def test_flat_and_nested_keys_of_one_section_can_be_mixed():
    with pytest.warns(UserWarning, match='huber_delta is now loss.huber_delta'):
        found = TrainingConfig(loss={'penalty': 'huber'}, huber_delta=2.0).loss
    assert (found.penalty, found.huber_delta) == ('huber', 2.0)


def test_empty_sections_have_their_defaults():
    assert TrainingConfig(loss=None, schedule=None) == TrainingConfig()
    with pytest.raises(ValidationError, match='attention'):
        ModelConfig(attention=3)
