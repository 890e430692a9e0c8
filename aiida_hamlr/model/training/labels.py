"""Labels of the training files: additional training targets of the long-range channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.training.references import Survey


def add_labels(graph, labels: Mapping[str, np.ndarray]):
    """Store the labels of a file in the graph of its structure; zeros for those that it lacks."""
    n_atoms = len(graph[keys.SPECIES])
    for key, name, shape in (
        (keys.LABEL_CHARGE, 'hirshfeld_charges', (n_atoms,)),
        (keys.LABEL_DIPOLE, 'hirshfeld_dipoles', (n_atoms, 3)),
        (keys.LABEL_BORN, 'born_charges', (n_atoms, 3, 3)),
        (keys.LABEL_DIELECTRIC, 'dielectric_tensor', (1, 3, 3)),
    ):
        graph[key] = torch.as_tensor(labels.get(name, np.zeros(shape)), dtype=torch.float64).reshape(shape)
    graph[keys.LABELLED] = torch.tensor([['dielectric_tensor' in labels, 'born_charges' in labels]])


def with_dielectric_tensor(settings: TrainingConfig, surveys: Sequence[Survey]) -> list[Survey]:
    """Return the files whose dielectric tensor has a part in the loss."""
    return [one for one in surveys if settings.labels.dielectric_weight and 'dielectric_tensor' in one.labels]
