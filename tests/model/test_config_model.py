"""Settings of models and trainings."""

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


def test_response_is_refused_in_words():
    with pytest.raises(ValidationError, match='response: true is not available'):
        ModelConfig(response=True)


@pytest.mark.parametrize(
    ('variant', 'charges', 'attention'),
    [('sr', False, False), ('ea', False, True), ('lr', True, False), ('lr+ea', True, True)],
)
def test_variants_have_charges_and_attention(variant, charges, attention):
    config = ModelConfig(variant=variant)
    assert (config.has_long_range, config.has_attention) == (charges, attention)
