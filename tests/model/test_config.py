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


def test_response_needs_charges_and_a_width_not_below_theirs():
    assert ModelConfig(response=True).response and not ModelConfig().response
    with pytest.raises(ValidationError, match='needs a variant with long range, not sr'):
        ModelConfig(response=True, variant='sr')
    with pytest.raises(ValidationError, match='permanent_dipoles: true needs a variant with long range, not ea'):
        ModelConfig(permanent_dipoles=True, variant='ea')
    with pytest.raises(ValidationError, match='output_width 1.0 is below kernel_width 1.5'):
        ModelConfig(response=True, output_width=1.0)


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
