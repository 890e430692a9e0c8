"""What the user may set of a model and of its training, with defaults; unknown or impossible values are refused."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aiida_hamlr.electronic.resources import Device

#: Variants that this version has.
VARIANTS = ('sr', 'ea', 'lr', 'lr+ea')


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', frozen=True)


class ModelConfig(_Strict):
    """The network: section ``model`` of train.yaml.

    Lengths in Å. The defaults were measured on AlAs with a double-zeta polarised basis.
    """

    #: sr: short range only; ea: with attention in reciprocal space; lr: with learned charges; lr+ea: with both.
    variant: str = 'lr'
    #: Charges polarise the atoms, self-consistently; needs data that tell polarisabilities from charges.
    response: bool = False
    #: Atoms have dipoles of their own beside the charges, from the directions of their neighbours.
    permanent_dipoles: bool = False
    #: 0: potentials of the charges; 1: their fields as well.
    multipole_order: Literal[0, 1] = 1
    #: Charges, field factors and polarisabilities depend on the surroundings of an atom; false: on its element alone.
    environment_charges: bool = True
    #: bonds: charges pass from atom to atom along bonds, so that every layer is neutral; cell: what the charges of all
    #: atoms add up to is taken from each alike, as in models of earlier versions.
    neutrality: Literal['bonds', 'cell'] = 'bonds'
    #: The short-range network sees the field at every atom: that of the charges that its element would have alone.
    field_features: bool = False
    #: Width s of the charges' kernel.
    kernel_width: float = Field(1.5, gt=0.1, le=10.0)
    #: With response: width of the kernel of the potentials that act on the orbitals, at least kernel_width.
    output_width: float = Field(2.0, gt=0.1, le=10.0)
    #: Error of the potentials of charges of 1 e (V) that a particle mesh may make in large cells; null: direct sums for
    #: all cells.
    long_range_accuracy: float | None = Field(1e-5, gt=0.0)
    #: Reach of one message.
    message_cutoff: float = Field(5.0, gt=0.0)
    #: Distance beyond which H = H0 (+ long range); null: from the data.
    pair_cutoff: float | None = Field(None, gt=0.0)
    layers: int = Field(2, ge=1)
    scalar_channels: int = Field(32, ge=1)
    natural_channels: int = Field(24, ge=1)
    unnatural_channels: int = Field(8, ge=1)
    #: Hidden m = 0 channels of the messages and of the pair head; higher |m| have fewer.
    hidden_channels: int = Field(128, ge=8)
    pair_channels: int = Field(160, ge=8)
    radial_basis: int = Field(8, ge=2)
    radial_hidden: int = Field(64, ge=4)
    #: Attention is between plane waves below this wave number, 1/Å.
    attention_cutoff: float = Field(2.0, gt=0.0, le=10.0)
    attention_heads: int = Field(4, ge=1)
    #: Channels of the queries, keys and values of one head.
    attention_channels: int = Field(8, ge=1)
    #: Gaussians of the wave number in the filters.
    attention_basis: int = Field(8, ge=2)

    @field_validator('variant')
    @classmethod
    def _known_variant(cls, value):
        if value not in VARIANTS:
            raise ValueError(f'variant {value!r} is not available; choose one of {", ".join(VARIANTS)}')
        return value

    @model_validator(mode='after')
    def _possible_response(self):
        for name in ('response', 'permanent_dipoles', 'field_features'):
            if getattr(self, name) and not self.has_long_range:
                raise ValueError(f'{name}: true needs a variant with long range, not {self.variant}; set variant: lr')
        if self.response and self.output_width < self.kernel_width:
            raise ValueError(
                f'output_width {self.output_width} is below kernel_width {self.kernel_width}; raise it to at least that'
            )
        return self

    @property
    def has_long_range(self) -> bool:
        """Whether the long-range channel is on."""
        return 'lr' in self.variant.split('+')

    @property
    def has_attention(self) -> bool:
        """Whether atoms attend to each other in reciprocal space."""
        return 'ea' in self.variant.split('+')


class TrainingConfig(_Strict):
    """The training: section ``training`` of train.yaml."""

    max_epochs: int = Field(500, ge=1)
    #: Train for this number of optimiser steps; max_epochs has no effect then. The learning rate follows the steps, so
    #: the result depends on data, settings and seed, and not on the load of the machine.
    max_steps: int | None = Field(None, ge=1)
    #: Train for this long instead; the learning rate then falls with the time, and max_epochs is only a bound.
    max_time_s: float | None = Field(None, gt=0.0)
    seed: int = Field(0, ge=0)
    #: auto, cpu or gpu.
    device: Device = 'auto'
    #: Stop, with a checkpoint to go on from, before this many seconds have passed.
    walltime: float | None = Field(None, gt=0.0)
    #: Structures in a batch; with several processes, in that of each.
    batch_size: int = Field(1, ge=1)
    #: Fill batches up to so many edges and pairs instead; a larger structure is a batch of its own.
    max_edges_per_batch: int | None = Field(None, ge=1)
    #: Batches whose gradients are averaged for one step.
    accumulate: int = Field(1, ge=1)
    learning_rate: float = Field(4e-3, gt=0.0)
    #: cosine: the learning rate falls over the whole training; plateau: it falls by plateau_factor whenever
    #: plateau_patience validations in a row were no better than the best.
    schedule: Literal['cosine', 'plateau'] = 'cosine'
    plateau_patience: int = Field(5, ge=1)
    plateau_factor: float = Field(0.5, gt=0.0, lt=1.0)
    #: The learning rate falls to this fraction of its start.
    final_learning_rate: float = Field(0.01, gt=0.0, le=1.0)
    warmup_steps: int = Field(50, ge=0)
    #: Stop after so many validations in a row that were no better than the best; null: never.
    early_stopping_patience: int | None = Field(None, ge=1)
    weight_decay: float = Field(0.0, ge=0.0)
    clip: float = Field(5.0, gt=0.0)
    ema_decay: float = Field(0.99, ge=0.0, lt=1.0)
    #: Penalty of the error of an element, meV, after the one constant per structure: mae, mse or huber.
    loss: Literal['mae', 'mse', 'huber'] = 'mae'
    #: Error at which huber goes over from the square to the absolute value, meV.
    huber_delta: float = Field(1.0, gt=0.0)
    #: Weight of the elements of on-site blocks in the loss.
    onsite_weight: float = Field(3.0, gt=0.0)
    #: Weights of the irreducible components of angular momentum 0, 1, ... of the blocks; 1 for those not given.
    irrep_weights: tuple[Annotated[float, Field(ge=0.0)], ...] = ()
    #: Weight of the mean absolute error of the bands near the gap, meV, at random k points; each costs two
    #: diagonalisations of a structure's matrix in every step.
    band_weight: float = Field(0.0, ge=0.0)
    #: Weight of the root mean square error of H(k) in an orthonormal basis, meV, at the same k points.
    overlap_weight: float = Field(0.0, ge=0.0)
    #: Weight of the mean absolute deviation of the long-range charges from the Hirshfeld charges in the files, me.
    charge_weight: float = Field(0.0, ge=0.0)
    #: With response, the same of the dipoles, induced and permanent, from the Hirshfeld dipoles, me Å.
    dipole_weight: float = Field(0.0, ge=0.0)
    #: With response, the weight of the mean absolute deviation of the elements of the dielectric tensor from that of
    #: ph.x, in the files that have one; it tells polarisabilities from charges.
    dielectric_weight: float = Field(0.0, ge=0.0)
    #: The same of the Born charges from those of ph.x, e; charges without response are compared with Z*/eps.
    born_weight: float = Field(0.0, ge=0.0)
    #: k points of a structure in a step.
    band_kpoints: int = Field(1, ge=1)
    #: How many of the highest occupied and of the lowest empty bands count.
    bands_below: int = Field(4, ge=0)
    bands_above: int = Field(4, ge=0)
    #: Structures with more orbitals have no part in these two terms.
    band_max_orbitals: int = Field(500, ge=1)
    #: Divide every epoch into so many parts, each ending with a chance of a checkpoint: for epochs longer than a job.
    checkpoints_per_epoch: int = Field(1, ge=1)
    #: Epochs between validations; null: about twenty in the whole training.
    validate_every: int | None = Field(None, ge=1)
    #: CPU threads; null: as the environment says.
    threads: int | None = Field(None, ge=1)
    precision: Literal['float32', 'float64'] = 'float32'
    #: Folder in which graphs are kept, to be made once and loaded batch by batch, so that data may be larger than the
    #: memory; null: they are made at every start and stay in memory.
    cache: str | None = None
    #: Checkpoint to go on from; by default checkpoints/last.ckpt of the output folder, where there is one.
    resume: str | None = None

    @property
    def max_parts(self) -> float:
        """Parts of epochs in the whole training, which Lightning takes for epochs; infinite if steps are counted."""
        return math.inf if self.max_steps is not None else self.max_epochs * self.checkpoints_per_epoch

    @property
    def needs_bands(self) -> bool:
        """Whether the loss has a part at k points."""
        return self.band_weight > 0.0 or self.overlap_weight > 0.0

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the loss needs of all files."""
        weights = {'hirshfeld_charges': self.charge_weight, 'hirshfeld_dipoles': self.dipole_weight}
        return tuple(name for name, weight in weights.items() if weight > 0.0)

    @property
    def response_labels(self) -> tuple[str, ...]:
        """Labels that the loss needs of some file, and takes where they are."""
        weights = {'dielectric_tensor': self.dielectric_weight, 'born_charges': self.born_weight}
        return tuple(name for name, weight in weights.items() if weight > 0.0)

    @model_validator(mode='after')
    def _one_budget(self):
        if self.max_steps is not None and self.max_time_s is not None:
            raise ValueError('max_steps and max_time_s: the learning rate can follow only one of them; leave one out')
        return self

    @model_validator(mode='after')
    def _no_bands_from_cache(self):
        if self.cache is not None and self.needs_bands:
            raise ValueError('cache: the graphs there have no bands; leave it out, or band_weight and overlap_weight')
        return self

    @model_validator(mode='before')
    @classmethod
    def _integer_epochs(cls, values):
        if isinstance(values, dict) and values.get('max_epochs') is None:
            values = {key: value for key, value in values.items() if key != 'max_epochs'}
        return values
