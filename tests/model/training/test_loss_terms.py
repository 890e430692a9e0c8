"""The loss is a sum of terms, each with its weight."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.training import loss_terms
from aiida_hamlr.model.training.batches import BatchSampler, ExampleDataset
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.loss_terms import TERMS, ElementsTerm, LossTerm, chosen_terms
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.start_values import prepare

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def settings_of(key, weight):
    section, name = key.split('.')
    return TrainingConfig(**{section: {name: weight}})


def test_only_the_elements_count_by_default():
    assert chosen_terms(TrainingConfig()) == [ElementsTerm]


@pytest.mark.parametrize('kind', TERMS[1:])
def test_each_weight_switches_one_term_on(kind):
    assert chosen_terms(settings_of(kind.key, 0.5)) == [ElementsTerm, kind]
    assert kind(settings_of(kind.key, 0.5), ModelConfig()).weight == 0.5


@pytest.fixture
def loss_of(reference, make_model):
    """Return a function that gives the loss of a model at a training step, with one structure of two in the bands."""
    model = make_model(SHELLS, variant='lr', pair_cutoff=4.5)
    references = [reference(seed, n_electrons=8.0) for seed in range(2)]
    tables = TwoCentreTables(references[0].basis)

    def loss(**training):
        settings = TrainingConfig(loss={'onsite_weight': 2.0, **training})
        examples = [make_example(model, one, tables, settings.loss) for one in references]
        prepare(model, examples)
        batch = ExampleDataset(examples, 0)[[(0, 0), (1, 0)]]
        module = TrainingModule(model, settings, BatchSampler([1], 0), {})
        module._n_batches = 1
        with torch.no_grad():
            return float(module.training_step(batch, 0)), module

    return loss


def test_the_loss_is_the_weighted_sum_of_the_terms(loss_of):
    elements, module = loss_of()
    assert module.band_history == []
    bands, module = loss_of(band_weight=1.0)
    orthonormal, _ = loss_of(orthonormal_weight=1.0)
    assert bands - elements == pytest.approx(np.mean(module.band_history), rel=1e-6)
    both, _ = loss_of(band_weight=0.5, orthonormal_weight=0.25)
    assert both - elements == pytest.approx(0.5 * (bands - elements) + 0.25 * (orthonormal - elements), rel=1e-6)


def test_large_structures_have_no_part_in_the_terms_at_k_points(loss_of):
    assert loss_of(band_weight=1.0, band_max_orbitals=1)[0] == loss_of()[0]


def test_a_new_term_is_one_class(loss_of, monkeypatch):
    class Shift(LossTerm):
        """Mean fitted constant, meV."""

        key = 'loss.band_weight'

        @classmethod
        def weight_in(cls, settings):
            """Always on."""
            return 2.0

        def __call__(self, prediction):
            """Mean over the structures."""
            return prediction.errors.shift.mean()

    before, _ = loss_of()
    monkeypatch.setattr(loss_terms, 'TERMS', (*TERMS, Shift))
    after, module = loss_of()
    assert [type(term).__name__ for term in module.terms] == ['ElementsTerm', 'Shift'] and after != before
