"""Models that earlier versions have stored load and predict what they did then."""

from pathlib import Path

import numpy as np
import pytest

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.folder import VERSION, read_description
from aiida_hamlr.model.inference import load_model

FOLDERS = sorted((Path(__file__).parent / 'fixtures').glob('format_*'))


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_stored_models_predict_what_they_did(folder):
    """The expectation is the prediction of the version that wrote the model: it must never change."""
    stored = Hamiltonian.read(folder / 'prediction.h5')
    predicted = load_model(folder / 'model').predict_from(stored)
    assert np.abs(stored.hamiltonian - stored.h0).max() > 0.1
    assert np.abs(predicted.hamiltonian - stored.hamiltonian).max() < 1e-6


def test_every_format_has_a_stored_model():
    assert [read_description(folder / 'model')['version'] for folder in FOLDERS] == list(range(1, VERSION + 1))
