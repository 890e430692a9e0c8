"""What the long range is drawn to besides the Hamiltonian: labels of the training files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from scipy.optimize import brentq

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.long_range.channel import LongRangeChannel, Sources
from aiida_hamlr.model.long_range.field_response import field_response, screened_charges
from aiida_hamlr.model.training.identifiability import HYDROGEN

if TYPE_CHECKING:
    from aiida_hamlr.model.training.data import Survey

#: Largest polarisability that training starts with, Å^3, where even it does not give the dielectric constant.
LARGEST_POLARISABILITY = 1000.0


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


def with_dielectric_tensor(settings: TrainingConfig, surveys: Sequence[Survey]) -> list[Survey]:
    """Files whose dielectric tensor has a part in the loss."""
    return [one for one in surveys if settings.dielectric_weight and 'dielectric_tensor' in one.labels]


@dataclass(frozen=True)
class FirstSources:
    """What a training starts with, of what is known from labels.

    ``polarisability`` of all elements but hydrogen, Å^3, or None; ``charges`` of some elements, e.
    """

    polarisability: float | None
    charges: dict[str, float]

    @classmethod
    def of(cls, model, settings: TrainingConfig, surveys: Sequence[Survey]) -> FirstSources:
        """That of the training files."""
        width, polarisability = model.config.kernel_width, None
        labelled = [(one.atoms, one.labels['dielectric_tensor']) for one in with_dielectric_tensor(settings, surveys)]
        if labelled:
            polarisability = polarisability_of_labels(labelled, width)
        if not settings.born_weight or (model.config.response and polarisability is None):
            return cls(polarisability, {})
        known = [one for one in surveys if 'born_charges' in one.labels]
        if model.config.response:
            expected = [np.trace(one.labels['born_charges'], axis1=1, axis2=2) / 3 for one in known]
        else:
            expected = [screened_charges(*_tensors(one.labels)).numpy() for one in known]
        charges = charges_of_labels([one.atoms for one in known], expected, polarisability or 0.0, width)
        return cls(polarisability, charges)


def _tensors(labels: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(labels['dielectric_tensor']), torch.as_tensor(labels['born_charges'])


def _mean_response(atoms: Atoms, charges, polarisability: float, width: float) -> tuple[float, np.ndarray]:
    """Dielectric constant and Born charges (N,), means of the directions, if all elements but hydrogen are alike."""
    polarisabilities = polarisability * torch.as_tensor(~(atoms.symbols == HYDROGEN)).double()
    geometry = torch.as_tensor(np.asarray(atoms.cell)), torch.as_tensor(atoms.positions)
    tensor, born = field_response(*geometry, width, torch.as_tensor(charges).double(), polarisabilities)
    return float(tensor.trace()) / 3, born.diagonal(dim1=1, dim2=2).sum(1).numpy() / 3


def polarisability_of_labels(labelled: Sequence[tuple[Atoms, np.ndarray]], width: float) -> float:
    """The one polarisability, Å^3, with which the mean dielectric constant of some structures is that of their labels.

    Parameters
    ----------
    labelled : sequence of (Atoms, (3, 3) array)
        Structures and their dielectric tensors. Hydrogen has no polarisability.
    width : float
        Width s of the kernel, Å.
    """
    expected = np.mean([np.trace(tensor) / 3 for _, tensor in labelled])

    def excess(polarisability: float) -> float:
        found = [_mean_response(atoms, np.zeros(len(atoms)), polarisability, width)[0] for atoms, _ in labelled]
        return float(np.mean(found) - expected)

    if excess(LARGEST_POLARISABILITY) < 0.0:
        return LARGEST_POLARISABILITY
    return brentq(excess, 0.0, LARGEST_POLARISABILITY, xtol=1e-3)


def charges_of_labels(
    structures: Sequence[Atoms], expected: Sequence[np.ndarray], polarisability: float, width: float
) -> dict[str, float]:
    """Charges of the elements, e, with which the Born charges are nearest to those expected.

    Parameters
    ----------
    structures : sequence of Atoms
    expected : sequence of (N,) arrays
        Means over the directions, e.
    polarisability : float
        Of all elements but hydrogen, Å^3.
    width : float
        Width s of the kernel, Å.
    """
    elements = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    columns = []
    for element in elements:
        units = [np.asarray(atoms.symbols == element, dtype=float) for atoms in structures]
        found = [
            _mean_response(atoms, unit - unit.mean(), polarisability, width)[1]
            for atoms, unit in zip(structures, units, strict=True)
        ]
        columns.append(np.concatenate(found))
    charges = np.linalg.lstsq(np.stack(columns, axis=1), np.concatenate(expected), rcond=None)[0]
    return dict(zip(elements, (charges - charges.mean()).tolist(), strict=True))
