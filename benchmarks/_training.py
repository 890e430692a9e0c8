"""Trainings whose wall time is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiida_hamlr.model.training.fit import train


def train_for(seconds: float, data: Mapping, model: Mapping, folder: str | Path, **settings) -> dict:
    """Train on one thread of the CPU for some seconds and return the summary.

    Parameters
    ----------
    seconds : float
        Wall time, the validations in it included.
    data, model : mapping
        Sections of the configuration.
    folder : path
        Of the training.
    settings
        Further entries of the section ``training``.
    """
    fixed = {'max_time_s': seconds, 'max_epochs': 10**6, 'device': 'cpu', 'threads': 1}
    return train({'data': data, 'model': model, 'training': fixed | settings}, folder)
