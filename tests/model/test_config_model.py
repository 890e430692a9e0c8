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
    with pytest.raises(ValidationError, match='choose one of sr, lr'):
        ModelConfig(variant='gnn')


def test_response_needs_charges_and_a_width_not_below_theirs():
    assert ModelConfig(response=True).response and not ModelConfig().response
    with pytest.raises(ValidationError, match='needs a variant with long range, not sr'):
        ModelConfig(response=True, variant='sr')
    with pytest.raises(ValidationError, match='output_width 1.0 is below kernel_width 1.5'):
        ModelConfig(response=True, output_width=1.0)


def test_only_the_long_range_variants_have_charges():
    assert ModelConfig(variant='lr').has_long_range and not ModelConfig(variant='sr').has_long_range
