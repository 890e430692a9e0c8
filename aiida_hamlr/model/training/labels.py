"""What the long range is drawn to besides the Hamiltonian: labels of the training files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.long_range.channel import LongRangeChannel, Sources
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


def label_loss(channel: LongRangeChannel, sources: Sources, graph, settings: TrainingConfig) -> torch.Tensor:
    """Weighted mean deviations from the labels: Hirshfeld's in me and me Å, dielectric tensor in 1, Born charges in e.

    For the last two, all structures count in the mean, those without such a label with zero, so that it does not matter
    how they are divided into batches.
    """
    loss = 1e3 * settings.charge_weight * (sources.charge - graph[keys.LABEL_CHARGE]).abs().mean()
    if settings.dipole_weight:
        dipoles = channel.dipoles(sources, graph)
        loss = loss + 1e3 * settings.dipole_weight * (dipoles - graph[keys.LABEL_DIPOLE]).abs().mean()
    if not settings.response_labels:
        return loss
    labelled = graph[keys.LABELLED].tolist()
    for number, (has_tensor, has_charges) in enumerate(labelled):
        weights = (settings.dielectric_weight * has_tensor, settings.born_weight * has_charges)
        if not any(weights):
            continue
        atoms = graph[keys.BATCH] == number
        errors = channel.response_errors(
            sources.of(atoms),
            graph[keys.CELL][number],
            graph[keys.POSITION][atoms],
            graph[keys.LABEL_DIELECTRIC][number],
            graph[keys.LABEL_BORN][atoms],
        )
        for weight, error in zip(weights, errors, strict=True):
            if weight:
                loss = loss + weight * error.abs().mean() / len(labelled)
    return loss


def with_dielectric_tensor(settings: TrainingConfig, surveys: Sequence[Survey]) -> list[Survey]:
    """Files whose dielectric tensor has a part in the loss."""
    return [one for one in surveys if settings.dielectric_weight and 'dielectric_tensor' in one.labels]
