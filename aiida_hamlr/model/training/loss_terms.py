"""Terms of the loss, one class each; a new term is a class that :data:`TERMS` names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import ClassVar

import torch

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.hamiltonian_model import Components
from aiida_hamlr.model.long_range.channel import LongRangeChannel
from aiida_hamlr.model.long_range.field_response import screened_charges
from aiida_hamlr.model.training.band_loss import BandErrors
from aiida_hamlr.model.training.batches import Batch
from aiida_hamlr.model.training.losses import Errors, weighted_mean
from aiida_hamlr.model.training.references import Survey


@dataclass
class Prediction:
    """What a model gives for a batch; what several terms need is computed once.

    Parameters
    ----------
    components : Components
        H - H0 in components, eV, and the sources of the long range.
    errors : Errors
        Of the elements, meV, with the fitted constant of every structure.
    channel : LongRangeChannel or None
        The long-range channel of the model.
    batch : Batch
        The structures with their targets.
    """

    components: Components
    errors: Errors
    channel: LongRangeChannel | None
    batch: Batch

    @cached_property
    def band_errors(self) -> list[BandErrors]:
        """Errors at k points, meV, of the structures whose bands count."""
        return self.batch.band_errors(self.components, 1e-3 * self.errors.shift)

    @cached_property
    def band_weights(self) -> torch.Tensor:
        """Weights of :attr:`band_errors` in means."""
        counted = [index for index, task in enumerate(self.batch.bands) if task is not None]
        return self.errors.weights[counted]

    def mean_over_atoms(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of values (N, ...) over all atoms, those of the two spins of a magnetic structure as one."""
        weights = self.errors.weights[self.batch.graph[keys.BATCH]]
        return weighted_mean(values.flatten(1).mean(1) if values.ndim > 1 else values, weights)

    @cached_property
    def labelled(self) -> torch.Tensor:
        """(B, 2) whether each structure has a dielectric tensor and Born charges."""
        return self.batch.graph[keys.LABELLED].cpu()

    def atoms(self, structure: int) -> torch.Tensor:
        """(N,) which atoms are those of one structure of the batch."""
        return self.batch.graph[keys.BATCH] == structure

    def field_response(self, structure: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Dielectric tensor (3, 3) and Born charges (n, 3, 3), e, of one structure; needs a channel with response."""
        if structure not in self._responses:
            graph, atoms = self.batch.graph, self.atoms(structure)
            self._responses[structure] = self.channel.field_response(
                self.components.sources.of(atoms), graph[keys.CELL][structure], graph[keys.POSITION][atoms]
            )
        return self._responses[structure]

    @cached_property
    def _responses(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        return {}


class LossTerm(ABC):
    """One term of the loss.

    A call gives the term without its weight, a scalar, for a prediction. A subclass names the setting of its weight
    (:attr:`key`), and the labels of the files that it needs.

    Parameters
    ----------
    settings : TrainingConfig
    config : ModelConfig
    """

    #: Name of the weight in section ``training``.
    key: ClassVar[str]

    #: Labels that every training file needs.
    labels: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: TrainingConfig, config: ModelConfig):
        self.weight = self.weight_in(settings)

    @classmethod
    def weight_in(cls, settings: TrainingConfig) -> float:
        """Weight of the term, the setting :attr:`key`; 0 if it is off."""
        return attrgetter(cls.key)(settings)

    @abstractmethod
    def __call__(self, prediction: Prediction) -> torch.Tensor:
        """The term for a batch, a scalar."""

    @classmethod
    def check_model(cls, config: ModelConfig):
        """Raise ``ValueError`` if a model of this kind does not have what the term compares."""
        return

    @classmethod
    def check_files(cls, config: ModelConfig, surveys: Sequence[Survey]):
        """Raise ``ValueError`` if training files lack labels that the term needs."""
        for name in cls.labels:
            for survey in surveys:
                if name not in survey.labels:
                    raise ValueError(
                        f'{survey.path}: has no {name}, which the loss needs; give the density of the run to '
                        '`hamlr reconstruct`, or set charge_weight and dipole_weight to 0'
                    )


class ElementsTerm(LossTerm):
    """Mean penalty of the predicted elements of H, meV (or meV^2 with ``mse``), on-site ones counted more often."""

    key = 'loss'

    def __init__(self, settings, config):
        super().__init__(settings, config)
        self.onsite_weight = settings.loss.onsite_weight

    @classmethod
    def weight_in(cls, settings):
        """Weight 1: the other weights are relative to it."""
        return 1.0

    def __call__(self, prediction):
        """Mean over the structures of the batch."""
        return prediction.errors.loss(self.onsite_weight)


class BandsTerm(LossTerm):
    """Mean absolute error of the bands near the gap at random k points, meV; 0 if no structure's bands count."""

    key = 'loss.band_weight'

    def __call__(self, prediction):
        """Mean over the structures whose bands count."""
        return _mean([one.bands for one in prediction.band_errors], prediction)


class OrthonormalTerm(LossTerm):
    """Root mean square error of H(k) in an orthonormal basis, meV, at the k points of :class:`BandsTerm`."""

    key = 'loss.orthonormal_weight'

    def __call__(self, prediction):
        """Mean over the structures whose bands count."""
        return _mean([one.orthonormal for one in prediction.band_errors], prediction)


def _mean(values: list[torch.Tensor], prediction: Prediction) -> torch.Tensor:
    if not values:
        return prediction.errors.shift.new_zeros(())
    return weighted_mean(torch.stack(values), prediction.band_weights)


class ChargesTerm(LossTerm):
    """Mean absolute deviation of the long-range charges from the Hirshfeld charges, me."""

    key = 'labels.charge_weight'
    labels = ('hirshfeld_charges',)

    @classmethod
    def check_model(cls, config):
        """Needs charges."""
        _check_charges(cls, config)

    def __call__(self, prediction):
        """Mean over the atoms of the batch."""
        deviation = prediction.components.sources.charge - prediction.batch.graph[keys.LABEL_CHARGE]
        return 1e3 * prediction.mean_over_atoms(deviation.abs())


class DipolesTerm(LossTerm):
    """Mean absolute deviation of the self-consistent dipoles from the Hirshfeld dipoles, me Å."""

    key = 'labels.dipole_weight'
    labels = ('hirshfeld_dipoles',)

    @classmethod
    def check_model(cls, config):
        """Needs charges that polarise the atoms."""
        _check_response(cls, config, 'fixed charges have no dipoles')

    def __call__(self, prediction):
        """Mean over the components of all atoms of the batch."""
        graph = prediction.batch.graph
        dipoles = prediction.channel.dipoles(prediction.components.sources, graph)
        return 1e3 * prediction.mean_over_atoms((dipoles - graph[keys.LABEL_DIPOLE]).abs())


class ResponseTerm(LossTerm):
    """A term from the response to a field, for the structures that have its labels.

    All structures count in the mean, those without labels with zero, so that the sum over batches does not depend on
    how the structures are divided into them.
    """

    def __call__(self, prediction):
        """Mean over the structures of the batch."""
        weights = prediction.errors.weights
        total = prediction.errors.shift.new_zeros((), dtype=torch.float64)
        for structure, (has_tensor, has_charges) in enumerate(prediction.labelled.tolist()):
            if self.is_labelled(has_tensor, has_charges):
                total = total + weights[structure] * self.deviations(prediction, structure).abs().mean()
        return total / weights.sum()

    @staticmethod
    @abstractmethod
    def is_labelled(has_tensor: bool, has_charges: bool) -> bool:
        """Whether a structure with these labels has a part in the term."""

    @abstractmethod
    def deviations(self, prediction: Prediction, structure: int) -> torch.Tensor:
        """Deviations of one structure from its labels."""

    @classmethod
    @abstractmethod
    def needed(cls, config: ModelConfig) -> set[str]:
        """Labels that at least one training file needs together."""

    @classmethod
    def check_files(cls, config, surveys):
        """Raise ``ValueError`` unless a file has the labels, or if one has the Born charges without the tensor."""
        needed = cls.needed(config)
        if not any(needed <= set(survey.labels) for survey in surveys):
            raise ValueError(
                f'data.train: no file has {" and ".join(sorted(needed))}, which the loss needs; give the output of '
                'ph.x to `hamlr reconstruct` (key phonon), or set dielectric_weight and born_weight to 0'
            )


class DielectricTerm(ResponseTerm):
    """Mean absolute deviation of the elements of the dielectric tensor."""

    key = 'labels.dielectric_weight'

    @classmethod
    def check_model(cls, config):
        """Needs charges that polarise the atoms."""
        _check_response(cls, config, 'fixed charges do not respond')

    @classmethod
    def needed(cls, config):
        """The tensor."""
        return {'dielectric_tensor'}

    @staticmethod
    def is_labelled(has_tensor, has_charges):
        """With a tensor."""
        return has_tensor

    def deviations(self, prediction, structure):
        """(3, 3)."""
        return prediction.field_response(structure)[0] - prediction.batch.graph[keys.LABEL_DIELECTRIC][structure]


class BornTerm(ResponseTerm):
    """Mean absolute deviation of the Born charges, e; of charges without response from the screened charges."""

    key = 'labels.born_weight'

    def __init__(self, settings, config):
        super().__init__(settings, config)
        self.has_response = config.has_response

    @classmethod
    def check_model(cls, config):
        """Needs charges."""
        _check_charges(cls, config)

    @classmethod
    def needed(cls, config):
        """The charges, and without response the tensor that screens them."""
        return {'born_charges'} if config.has_response else {'born_charges', 'dielectric_tensor'}

    @classmethod
    def check_files(cls, config, surveys):
        """As for all responses; besides, no file may have charges that cannot be screened."""
        super().check_files(config, surveys)
        for survey in surveys:
            if 'born_charges' in survey.labels and not cls.needed(config) <= set(survey.labels):
                raise ValueError(
                    f'{survey.path}: has born_charges but no dielectric_tensor, and charges without response are '
                    'compared with Z*/eps; give the output of ph.x with epsil=.true., or set born_weight to 0'
                )

    @staticmethod
    def is_labelled(has_tensor, has_charges):
        """With Born charges."""
        return has_charges

    def deviations(self, prediction, structure):
        """(n, 3, 3) with response, (n,) without."""
        graph, atoms = prediction.batch.graph, prediction.atoms(structure)
        labels = graph[keys.LABEL_BORN][atoms]
        if self.has_response:
            return prediction.field_response(structure)[1] - labels
        screened = screened_charges(graph[keys.LABEL_DIELECTRIC][structure], labels)
        return prediction.components.sources.charge[atoms] - screened


def _check_charges(term: type[LossTerm], config: ModelConfig):
    if not config.has_long_range:
        raise ValueError(f'training.{term.key}: variant {config.variant} has no charges; set model.variant: lr')


def _check_response(term: type[LossTerm], config: ModelConfig, reason: str):
    if not config.has_response:
        raise ValueError(f'training.{term.key} needs model.long_range.response: true; {reason}')


#: All terms; the first is always on.
TERMS: tuple[type[LossTerm], ...] = (
    ElementsTerm,
    BandsTerm,
    OrthonormalTerm,
    ChargesTerm,
    DipolesTerm,
    DielectricTerm,
    BornTerm,
)


def chosen_terms(settings: TrainingConfig) -> list[type[LossTerm]]:
    """Terms that the settings switch on."""
    return [kind for kind in TERMS if kind.weight_in(settings) > 0.0]


def make_terms(settings: TrainingConfig, config: ModelConfig) -> list[LossTerm]:
    """Terms of the loss of a model in training."""
    return [kind(settings, config) for kind in chosen_terms(settings)]
