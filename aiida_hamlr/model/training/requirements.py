"""What settings require of each other and of the data; what does not fit is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiida_hamlr.model.config import ModelConfig, TrainingConfig
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
        'schedule: plateau': settings.schedule == 'plateau',
        'early_stopping_patience': settings.early_stopping_patience,
    }
    for what, is_set in needs.items():
        if is_set and not files['validation']:
            raise ValueError(f'training.{what} needs files in data.validation')


def check_channel(settings: TrainingConfig, config: ModelConfig):
    """Raise ``ValueError`` if the loss has labels of sources that the model lacks."""
    if settings.charge_weight and not config.has_long_range:
        raise ValueError(f'training.charge_weight: variant {config.variant} has no charges; set model.variant: lr')
    if settings.dipole_weight and not config.response:
        raise ValueError('training.dipole_weight needs model.response: true; fixed charges have no dipoles')
    if settings.born_weight and not config.has_long_range:
        raise ValueError(f'training.born_weight: variant {config.variant} has no charges; set model.variant: lr')
    if settings.dielectric_weight and not config.response:
        raise ValueError('training.dielectric_weight needs model.response: true; fixed charges do not respond')


def check_labels(settings: TrainingConfig, config: ModelConfig, surveys: Sequence[Survey]):
    """Raise ``ValueError`` if training files lack labels that the loss needs."""
    for name in settings.labels:
        for survey in surveys:
            if name not in survey.labels:
                raise ValueError(
                    f'{survey.path}: has no {name}, which the loss needs; give the density of the run to '
                    '`hamlr reconstruct`, or set charge_weight and dipole_weight to 0'
                )
    for name in settings.response_labels:
        # Charges that do not respond are compared with screened ones.
        needed = {name} if config.response else {'born_charges', 'dielectric_tensor'}
        if not any(needed <= set(survey.labels) for survey in surveys):
            raise ValueError(
                f'data.train: no file has {" and ".join(sorted(needed))}, which the loss needs; give the output of '
                'ph.x to `hamlr reconstruct` (key phonon), or set dielectric_weight and born_weight to 0'
            )
        for survey in surveys:
            if name in survey.labels and not needed <= set(survey.labels):
                raise ValueError(
                    f'{survey.path}: has born_charges but no dielectric_tensor, and charges without response are '
                    'compared with Z*/eps; give the output of ph.x with epsil=.true., or set born_weight to 0'
                )
