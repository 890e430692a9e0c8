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


def test_response_is_refused_in_words():
    with pytest.raises(ValidationError, match='response: true is not available'):
        ModelConfig(response=True)


def test_only_the_long_range_variants_have_charges():
    assert ModelConfig(variant='lr').has_long_range and not ModelConfig(variant='sr').has_long_range
