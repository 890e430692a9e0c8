"""The network that a training starts with: its shells, cutoffs, and which elements respond to fields."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.graph_builder import message_edges
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.irreps.normalisation import pair_cutoff_from_data
from aiida_hamlr.model.training.data_identity import DataIdentity
from aiida_hamlr.model.training.identifiability import identify_response
from aiida_hamlr.model.training.labels import with_dielectric_tensor
from aiida_hamlr.model.training.references import Survey

#: Width of the kernel, in nearest-neighbour distances, below which the response of a crystal saturates.
LEAST_WIDTH = 0.6


def new_model(
    config: ModelConfig, settings: TrainingConfig, common: DataIdentity, surveys: Sequence[Survey]
) -> HamiltonianModel:
    """Return a network with random weights for the elements, bases and distances of the training files."""
    cutoff = config.short_range.pair_cutoff
    if cutoff is None:
        lengths, means = zip(*(survey.block_means for survey in surveys), strict=True)
        cutoff = pair_cutoff_from_data(np.concatenate(lengths), np.concatenate(means))
    config = config.model_copy(update={'magnetic': is_magnetic(config, surveys)})
    reach = config.short_range.message_cutoff
    counts = [len(message_edges(survey.atoms, reach)[1]) / len(survey.atoms) for survey in surveys]
    model = HamiltonianModel(common.shells, config, cutoff, max(1.0, float(np.mean(counts))))
    return model.double() if settings.precision == 'float64' else model


def is_magnetic(config: ModelConfig, surveys: Iterable[Survey]) -> bool:
    """Whether the network has to see moments: as the settings say, or if a file has collinear spin."""
    found = any(survey.attributes.n_spin == 2 for survey in surveys)
    return found if config.magnetic is None else config.magnetic


def check_spin(model: HamiltonianModel, surveys: Iterable[Survey]):
    """Raise ``ValueError`` if a file has collinear spin, and the network gives none."""
    for survey in surveys:
        if survey.attributes.n_spin == 2 and not model.config.magnetic:
            raise ValueError(
                f'{survey.path}: has collinear spin (n_spin = 2), and the network is one without: model.magnetic is '
                'false, its parent has none, or no file of data.train has; leave the file out, or train a new model on '
                'such files too'
            )


def check_seen(labels: Iterable[str], surveys: Sequence[Survey], known: Iterable[str] = ()):
    """Raise ``ValueError`` if a species is neither in the files to train on nor among the known ones."""
    trained = {label for survey in surveys for label in species_labels(survey.atoms)}
    unseen = sorted(set(labels) - trained - set(known))
    if unseen:
        raise ValueError(f'{", ".join(unseen)}: in data.validation or data.test, but in no file of data.train')


def enable_response(model, settings: TrainingConfig, references: Sequence[Survey]) -> dict:
    """Let the elements respond whose polarisability the data tell; return entries of the summary that say which."""
    if not model.config.has_response:
        return {}
    reach, width = model.config.short_range.message_cutoff, model.config.long_range.kernel_width
    distance = np.mean([_nearest_distance(reference.atoms, reach) for reference in references])
    if width < LEAST_WIDTH * distance:
        warnings.warn(
            f'kernel_width {width:g} Å is small for nearest neighbours at {distance:.2f} Å and '
            f'bounds the dielectric constant; take {LEAST_WIDTH * distance:.1f} Å or more',
            stacklevel=3,
        )
    every, labelled = (
        [(Path(one.path).name, one.atoms) for one in group]
        for group in (references, with_dielectric_tensor(settings, references))
    )
    found = identify_response(every, labelled)
    if settings.labels.born_weight and not found.elements:
        raise ValueError(
            'training.labels.born_weight: no training file tells polarisabilities from charges, and unscreened charges '
            'would have to be the Born charges; set dielectric_weight, too, or model.long_range.response: false'
        )
    if not found.elements:
        warnings.warn(
            f'response: unidentified: {found.reason}; polarisabilities stay 0, the charges do not respond',
            stacklevel=3,
        )
    told = torch.tensor([element in found.elements for element in model.slots.species], dtype=torch.float32)
    # A parent's elements respond already.
    model.long_range.identified.copy_(torch.maximum(told, model.long_range.identified))
    elements = [label for label, flag in zip(model.slots.species, model.long_range.identified, strict=True) if flag > 0]
    return {'response': found.verdict, 'response_elements': elements, 'response_reason': found.reason}


def _nearest_distance(atoms, cutoff: float) -> float:
    """Mean distance of an atom to its nearest neighbour, Å."""
    (receiver, _), vectors = message_edges(atoms, cutoff)
    nearest = np.full(len(atoms), cutoff)
    np.minimum.at(nearest, receiver, np.linalg.norm(vectors, axis=1))
    return float(nearest.mean())
