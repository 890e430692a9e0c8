"""Settings of a model and of its training, with defaults; unknown or impossible values are refused."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from aiida_hamlr.electronic.resources import Device
from aiida_hamlr.model.sections import Section, Sectioned

#: Variants that this version has.
VARIANTS = ('sr', 'ea', 'lr', 'lr+ea')

#: Bounds far above what is useful, so that a mistyped or damaged number is refused before it takes the memory.
#: Cutoffs in Å.
LONGEST_CUTOFF, MOST_LAYERS, MOST_CHANNELS = 30.0, 32, 4096

Weight = Annotated[float, Field(ge=0.0)]

#: Parts of the network that a training may leave as they are in its parent.
Part = Literal['embeddings', 'messages', 'attention', 'onsite', 'pairs', 'long_range']


class ShortRangeConfig(Section):
    """The short-range network."""

    #: Longest distance of atoms that exchange messages, Å.
    message_cutoff: float = Field(5.0, gt=0.0, le=LONGEST_CUTOFF)
    #: Distance of two atoms, Å, beyond which H = H0 (+ long range); null: from the data.
    pair_cutoff: float | None = Field(None, gt=0.0, le=LONGEST_CUTOFF)
    #: Number of message-passing layers.
    layers: int = Field(2, ge=1, le=MOST_LAYERS)
    #: Invariant features of an atom.
    scalar_channels: int = Field(32, ge=1, le=MOST_CHANNELS)
    #: Features of an atom for each angular momentum l >= 1 whose parity is that of spherical harmonics, (-1)^l.
    natural_channels: int = Field(24, ge=1, le=MOST_CHANNELS)
    #: Features of an atom for each angular momentum l >= 1 with the opposite parity.
    unnatural_channels: int = Field(8, ge=1, le=MOST_CHANNELS)
    #: Hidden m = 0 channels of the messages; higher |m| have fewer.
    hidden_channels: int = Field(128, ge=8, le=MOST_CHANNELS)
    #: Hidden m = 0 channels of the output for pairs; higher |m| have fewer.
    pair_channels: int = Field(160, ge=8, le=MOST_CHANNELS)
    #: The network sees H0 at atoms and pairs, less the mean level of every atom.
    h0_features: bool = True
    #: Number of radial functions of a distance.
    radial_basis: int = Field(8, ge=2, le=MOST_CHANNELS)
    #: Hidden width of the network that turns radial functions into weights.
    radial_hidden: int = Field(64, ge=4, le=MOST_CHANNELS)


class LongRangeConfig(Section):
    """Learned charges and their potentials, for the variants ``lr`` and ``lr+ea``."""

    #: Charges polarise the atoms, self-consistently; needs data that tell polarisabilities from charges.
    response: bool = False
    #: Atoms have permanent dipoles in addition to the charges, from the directions of their neighbours.
    permanent_dipoles: bool = False
    #: 0: potentials of the charges act on the orbitals; 1: their fields as well.
    multipole_order: Literal[0, 1] = 1
    #: Charges, field factors and polarisabilities depend on the surroundings of an atom; false: on its element alone.
    environment_charges: bool = True
    #: Number of message layers from which charges, field factors, polarisabilities and permanent dipoles are made: they
    #: then depend on no atom beyond as many times message_cutoff; null: all layers.
    source_layers: int | None = Field(None, ge=1, le=MOST_LAYERS)
    #: bonds: charges pass from atom to atom along bonds, so that every layer is neutral; cell: the net charge is
    #: subtracted equally from all atoms, as in models of earlier versions.
    neutrality: Literal['bonds', 'cell'] = 'bonds'
    #: The short-range network sees the field at every atom, computed with the charges that the elements have without
    #: their surroundings.
    field_features: bool = False
    #: Width s of the charges' kernel, Å.
    kernel_width: float = Field(1.5, gt=0.1, le=10.0)
    #: With response: width of the kernel of the potentials that act on the orbitals, Å; at least kernel_width.
    output_width: float = Field(2.0, gt=0.1, le=10.0)
    #: Largest error of a particle mesh in large cells, V for charges of 1 e; null: direct sums for all cells.
    accuracy: float | None = Field(1e-5, ge=1e-12, le=1.0)


class AttentionConfig(Section):
    """Attention between all atoms in reciprocal space, for the variants ``ea`` and ``lr+ea``."""

    #: Largest wave number of the plane waves, 1/Å.
    cutoff: float = Field(2.0, gt=0.0, le=10.0)
    #: Number of heads.
    heads: int = Field(4, ge=1, le=MOST_CHANNELS)
    #: Channels of the queries, keys and values of one head.
    channels: int = Field(8, ge=1, le=MOST_CHANNELS)
    #: Gaussians of the wave number in the filters.
    basis: int = Field(8, ge=2, le=MOST_CHANNELS)


class ModelConfig(Sectioned):
    """The network: section ``model`` of train.yaml.

    The defaults were measured on AlAs with a double-zeta polarised basis. The keys of the sections are also read
    without the name of the section, as in earlier versions; those of ``attention`` then begin with ``attention_``, and
    ``accuracy`` is ``long_range_accuracy``.
    """

    NAME = 'model'
    RENAMED = {
        ('long_range', 'accuracy'): 'long_range_accuracy',
        **{('attention', name): f'attention_{name}' for name in ('cutoff', 'heads', 'channels', 'basis')},
    }

    #: sr: short range only; ea: with attention in reciprocal space; lr: with learned charges; lr+ea: with both.
    variant: str = 'lr'
    #: The network sees the starting moments of the atoms and gives H of both spins; null: if a training file has two.
    magnetic: bool | None = None
    short_range: ShortRangeConfig = ShortRangeConfig()
    long_range: LongRangeConfig = LongRangeConfig()
    attention: AttentionConfig = AttentionConfig()

    @field_validator('variant')
    @classmethod
    def _known_variant(cls, value):
        if value not in VARIANTS:
            raise ValueError(f'variant {value!r} is not available; choose one of {", ".join(VARIANTS)}')
        return value

    @model_validator(mode='after')
    def _possible_response(self):
        chosen = self.long_range
        for name in ('response', 'permanent_dipoles', 'field_features'):
            if getattr(chosen, name) and not self.has_long_range:
                raise ValueError(f'{name}: true needs a variant with long range, not {self.variant}; set variant: lr')
        if chosen.source_layers is not None and not self.has_long_range:
            raise ValueError(f'source_layers needs a variant with long range, not {self.variant}; set variant: lr')
        if chosen.source_layers is not None and chosen.source_layers > self.short_range.layers:
            raise ValueError(
                f'source_layers {chosen.source_layers}: the network has {self.short_range.layers} layers; take as many '
                'at most, or leave it out'
            )
        if chosen.response and chosen.output_width < chosen.kernel_width:
            raise ValueError(
                f'output_width {chosen.output_width} is below kernel_width {chosen.kernel_width}; raise it to at least '
                'that'
            )
        return self

    def flat(self) -> dict[str, Any]:
        """Return all settings by their flat names; ``magnetic`` and ``source_layers`` only where they are on.

        Files without them are those of earlier versions.
        """
        settings = super().flat()
        return {name: value for name, value in settings.items() if value or name not in ('magnetic', 'source_layers')}

    @property
    def has_long_range(self) -> bool:
        """Whether the long-range channel is on."""
        return 'lr' in self.variant.split('+')

    @property
    def has_attention(self) -> bool:
        """Whether atoms attend to each other in reciprocal space."""
        return 'ea' in self.variant.split('+')

    @property
    def has_response(self) -> bool:
        """Whether the charges polarise the atoms."""
        return self.long_range.response


class ScheduleConfig(Section):
    """The learning rate during the training, and its early end."""

    #: cosine: the learning rate falls over the whole training; plateau: it falls by plateau_factor whenever
    #: plateau_patience validations in a row were no better than the best.
    kind: Literal['cosine', 'plateau'] = 'cosine'
    #: Learning rate after the warm-up.
    learning_rate: float = Field(4e-3, gt=0.0)
    #: Steps in which the learning rate rises linearly from zero.
    warmup_steps: int = Field(50, ge=0)
    #: The learning rate falls to this fraction of its start.
    final_learning_rate: float = Field(0.01, gt=0.0, le=1.0)
    #: Number of validations after which a plateau lowers the learning rate.
    plateau_patience: int = Field(5, ge=1)
    #: Factor by which a plateau lowers the learning rate.
    plateau_factor: float = Field(0.5, gt=0.0, lt=1.0)
    #: Stop after this number of validations in a row that were no better than the best; null: never.
    early_stopping_patience: int | None = Field(None, ge=1)


class OptimizerConfig(Section):
    """AdamW, and the running average of the weights that is validated and stored."""

    #: Decoupled weight decay, per step in units of the learning rate.
    weight_decay: float = Field(0.0, ge=0.0)
    #: Largest norm of a gradient; longer ones are scaled down.
    clip: float = Field(5.0, gt=0.0)
    #: Decay of the exponential average of the weights in a step.
    ema_decay: float = Field(0.99, ge=0.0, lt=1.0)


class LossConfig(Section):
    """The loss on the Hamiltonian: its elements, and optional terms at random k points."""

    #: Penalty of the error of an element, meV, after the one constant per structure: mae, mse or huber.
    penalty: Literal['mae', 'mse', 'huber'] = 'mae'
    #: Error at which huber changes from the square to the absolute value, meV.
    huber_delta: float = Field(1.0, gt=0.0)
    #: Weight of the elements of on-site blocks.
    onsite_weight: float = Field(3.0, gt=0.0)
    #: Weights of the irreducible components of angular momentum 0, 1, ... of the blocks; 1 for those not given.
    irrep_weights: tuple[Weight, ...] = ()
    #: Weight of the mean absolute error of the bands near the gap, meV; each k point costs two diagonalisations of a
    #: structure's matrix in every step.
    band_weight: Weight = 0.0
    #: Weight of the root mean square error of H(k) in an orthonormal basis, meV, at the same k points.
    orthonormal_weight: Weight = 0.0
    #: k points of a structure in a step.
    band_kpoints: int = Field(1, ge=1)
    #: Number of the highest occupied bands that count.
    bands_below: int = Field(4, ge=0)
    #: Number of the lowest empty bands that count.
    bands_above: int = Field(4, ge=0)
    #: Structures with more orbitals are left out of the terms at k points.
    band_max_orbitals: int = Field(500, ge=1)

    @property
    def needs_bands(self) -> bool:
        """Whether there is a term at k points."""
        return self.band_weight > 0.0 or self.orthonormal_weight > 0.0


class LabelsConfig(Section):
    """Additional training targets of the long-range channel, from labels in the files."""

    #: Weight of the mean absolute deviation of the long-range charges from the Hirshfeld charges in the files, me.
    charge_weight: Weight = 0.0
    #: With response: weight of the mean absolute deviation of the dipoles, induced and permanent, from the Hirshfeld
    #: dipoles, me Å.
    dipole_weight: Weight = 0.0
    #: With response: weight of the mean absolute deviation of the elements of the dielectric tensor from the tensor of
    #: ph.x, in the files that have one; it tells polarisabilities from charges.
    dielectric_weight: Weight = 0.0
    #: Weight of the mean absolute deviation of the Born charges from those of ph.x, e; charges without response are
    #: compared with Z*/eps.
    born_weight: Weight = 0.0


class TrainingConfig(Sectioned):
    """The training: section ``training`` of train.yaml.

    The keys of the sections are also read without the name of the section, as in earlier versions; ``schedule.kind``
    and ``loss.penalty`` were ``schedule`` and ``loss`` then, and ``loss.orthonormal_weight`` was ``overlap_weight``.
    """

    NAME = 'training'
    RENAMED = {
        ('schedule', 'kind'): 'schedule',
        ('loss', 'penalty'): 'loss',
        ('loss', 'orthonormal_weight'): 'overlap_weight',
    }

    #: Number of passes through the training files.
    max_epochs: int = Field(500, ge=1)
    #: Train for this number of optimiser steps; max_epochs has no effect then. The learning rate follows the steps, so
    #: the result depends on data, settings and seed, and not on the load of the machine.
    max_steps: int | None = Field(None, ge=1)
    #: Train for this long, s; the learning rate then falls with the time, and max_epochs is only a bound.
    max_time_s: float | None = Field(None, gt=0.0)
    #: Seed of all random numbers.
    seed: int = Field(0, ge=0)
    #: auto, cpu or gpu.
    device: Device = 'auto'
    #: Stop with a checkpoint before this time has passed, s; running the same training again resumes from it.
    walltime: float | None = Field(None, gt=0.0)
    #: Structures in a batch; with several processes, in a batch of each.
    batch_size: int = Field(1, ge=1)
    #: Fill batches up to this number of edges and pairs instead; a larger structure is a batch by itself.
    max_edges_per_batch: int | None = Field(None, ge=1)
    #: Batches whose gradients are averaged for one step.
    accumulate: int = Field(1, ge=1)
    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    labels: LabelsConfig = LabelsConfig()
    #: Divide every epoch into this number of parts, and allow a checkpoint after each: for epochs longer than a job.
    checkpoints_per_epoch: int = Field(1, ge=1)
    #: Epochs between validations; null: about twenty in the whole training.
    validate_every: int | None = Field(None, ge=1)
    #: CPU threads; null: as the environment says.
    threads: int | None = Field(None, ge=1)
    #: Precision of the network's weights and features; the physics is in float64.
    precision: Literal['float32', 'float64'] = 'float32'
    #: Folder in which graphs are kept: they are made once and loaded batch by batch, so that data may be larger than
    #: the memory; null: graphs are made at every start and stay in memory.
    cache: str | None = None
    #: Fine-tuning: parts of the network that keep the weights of the parent model. embeddings: what tells elements
    #: apart; messages: the layers between atoms; attention; onsite and pairs: the outputs; long_range: charges.
    freeze: tuple[Part, ...] = ()
    #: Checkpoint from which training resumes; by default checkpoints/last.ckpt of the output folder if it exists.
    resume: str | None = None

    @property
    def max_parts(self) -> float:
        """Parts of epochs in the whole training, which Lightning takes for epochs; infinite if steps are counted."""
        return math.inf if self.max_steps is not None else self.max_epochs * self.checkpoints_per_epoch

    @model_validator(mode='after')
    def _one_budget(self):
        if self.max_steps is not None and self.max_time_s is not None:
            raise ValueError('max_steps and max_time_s: the learning rate can follow only one of them; leave one out')
        return self

    @model_validator(mode='after')
    def _no_bands_from_cache(self):
        if self.cache is not None and self.loss.needs_bands:
            raise ValueError(
                'cache: the graphs there have no bands; leave it out, or loss.band_weight and loss.orthonormal_weight'
            )
        return self

    @model_validator(mode='before')
    @classmethod
    def _integer_epochs(cls, values):
        if isinstance(values, dict) and values.get('max_epochs') is None:
            values = {key: value for key, value in values.items() if key != 'max_epochs'}
        return values
