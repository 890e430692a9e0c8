"""What settings require of each other and of the data; what does not fit is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.training.loss_terms import chosen_terms
from aiida_hamlr.model.training.references import Survey


def check_split(files: Mapping[str, Sequence[str]]):
    """Raise ``ValueError`` if there is nothing to train on, or a file is in two of the parts."""
    if not files['train']:
        raise ValueError('data.train: no files to train on')
    seen: dict[Path, str] = {}
    for name, paths in files.items():
        for path in paths:
            other = seen.setdefault(Path(path).resolve(), name)
            if other != name:
                raise ValueError(f'{path}: in data.{other} and in data.{name}; the splits must not share files')


def check_validation(settings: TrainingConfig, files: Mapping[str, Sequence[str]]):
    """Raise ``ValueError`` if settings that act on the validation error lack files to validate on."""
    needs = {
        'schedule.kind: plateau': settings.schedule.kind == 'plateau',
        'schedule.early_stopping_patience': settings.schedule.early_stopping_patience,
    }
    for what, is_set in needs.items():
        if is_set and not files['validation']:
            raise ValueError(f'training.{what} needs files in data.validation')


def check_channel(settings: TrainingConfig, config: ModelConfig):
    """Raise ``ValueError`` if a term of the loss compares something that the model does not have."""
    for term in chosen_terms(settings):
        term.check_model(config)


def check_labels(settings: TrainingConfig, config: ModelConfig, surveys: Sequence[Survey]):
    """Raise ``ValueError`` if training files lack labels that a term of the loss needs."""
    for term in chosen_terms(settings):
        term.check_files(config, surveys)
