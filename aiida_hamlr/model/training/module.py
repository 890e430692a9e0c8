"""The training step, the schedule of the learning rate and the running average, for Lightning."""

from __future__ import annotations

import copy
import math
import time

import lightning
import torch

from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.training.batches import Batch, BatchSampler
from aiida_hamlr.model.training.labels import label_loss
from aiida_hamlr.model.training.losses import ComponentErrors, irrep_weights
from aiida_hamlr.model.training.processes import Processes, largest, summed

#: Entry of a checkpoint that is ours.
CHECKPOINT_KEY = 'hamlr'

#: Attributes that are kept in the checkpoints, beside what Lightning keeps.
KEPT = (
    'best_metrics',
    'best_state',
    'since_best',
    'since_reduction',
    'reductions',
    'finished_epochs',
    'finished_steps',
)


class TrainingModule(lightning.LightningModule):
    """A model in training.

    Parameters
    ----------
    model : HamiltonianModel
        With filled normalisation.
    config : TrainingConfig
    sampler : BatchSampler
        Gives the batches of every epoch.
    identity : dict
        What a checkpoint must agree with to go on from it: plain JSON values.
    processes : Processes
        Who else trains this model.
    """

    def __init__(
        self,
        model: HamiltonianModel,
        config: TrainingConfig,
        sampler: BatchSampler,
        identity: dict,
        processes: Processes | None = None,
    ):
        super().__init__()
        self.model, self.settings, self.identity = model, config, identity
        self.sampler, self.processes = sampler, processes or Processes()
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        weights = irrep_weights(model.slots, config.irrep_weights) if config.irrep_weights else ()
        multiplicity = model.slots.onsite.multiplicity
        self.errors = ComponentErrors(multiplicity, config.loss, config.huber_delta, *weights).to(model.dtype)
        self.elapsed, self._started = 0.0, None
        #: Mean absolute errors in this epoch, meV: of the elements by structure, of the bands near the gap by batch.
        self.history: list[float] = []
        self.band_history: list[float] = []
        self.finished_epochs = self.finished_steps = 0
        #: Metrics of the best validated average and its weights, and validations since then.
        self.best_metrics: dict[str, float] = {}
        self.best_state: dict[str, torch.Tensor] | None = None
        self.since_best = 0
        #: How often a plateau has lowered the learning rate, and validations on this plateau.
        self.reductions = self.since_reduction = 0
        self._epoch_part, self._clock, self._averaged_step = 0.0, 0.0, 0

    # -- schedule

    @property
    def seconds(self) -> float:
        """Training time so far, earlier runs included."""
        return self.elapsed + (0.0 if self._started is None else time.monotonic() - self._started)

    @property
    def progress(self) -> float:
        """How much of the training is done, 0 to 1; the same in all processes."""
        if self.settings.max_steps is not None:
            return min(1.0, self.global_step / self.settings.max_steps)
        if self.settings.max_time_s is not None:
            return min(1.0, self._clock / self.settings.max_time_s)
        return min(1.0, (self.current_epoch + self._epoch_part) / self.settings.max_parts)

    def learning_rate_factor(self) -> float:
        """Linear warm-up, then a cosine to the final fraction at the end of the budget, or the steps of plateaus."""
        final = self.settings.final_learning_rate
        warm = min(1.0, (self.global_step + 1) / max(self.settings.warmup_steps, 1))
        if self.settings.schedule == 'plateau':
            return warm * max(final, self.settings.plateau_factor**self.reductions)
        return warm * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * self.progress)))

    @property
    def is_finished(self) -> bool:
        """Whether the steps, the time or the patience are used up."""
        patience = self.settings.early_stopping_patience
        return (patience is not None and self.since_best >= patience) or self._budget_is_used

    @property
    def _budget_is_used(self) -> bool:
        """Whether the steps or the time are used up; epochs are counted by Lightning."""
        steps, seconds = self.settings.max_steps, self.settings.max_time_s
        return (steps is not None and self.global_step >= steps) or (seconds is not None and self._clock >= seconds)

    def _read_clock(self):
        if self.settings.max_time_s is not None:
            self._clock = largest(self.seconds, self.device)

    # -- Lightning

    def configure_optimizers(self):
        return torch.optim.AdamW(
            self.model.parameters(),
            lr=self.settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.settings.weight_decay,
            fused=True,
        )

    def on_fit_start(self):
        self._started = time.monotonic()

    def on_train_start(self):
        self._averaged_step = self.global_step
        self._read_clock()
        # What was finished stays as it was when it is started again.
        self.trainer.should_stop = self.is_finished

    def on_train_epoch_start(self):
        self._epoch_part = 0.0
        # Lightning asks for it once in a training.
        self._n_batches = self.trainer.fit_loop.max_batches = len(self.sampler)

    def on_train_batch_start(self, batch, batch_idx):
        self._read_clock()
        factor = self.learning_rate_factor()
        for group in self.optimizers().param_groups:
            group['lr'] = self.settings.learning_rate * factor

    def training_step(self, batch: Batch, batch_idx):
        components = self.model(batch.graph)
        errors = self.errors(components, batch.graph)
        loss = errors.loss(self.settings.onsite_weight)
        if self.settings.needs_bands:
            loss = loss + self._band_loss(batch, components, 1e-3 * errors.shift)
        if self.settings.labels or self.settings.response_labels:
            arguments = (components.sources, batch.graph, self.settings)
            loss = loss + label_loss(self.model.long_range, *arguments)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NumericalError(
                f'training diverged: the loss is {value} in epoch {self.current_epoch}; lower training.learning_rate'
            )
        total = (errors.pairs + errors.onsite + errors.neglected).detach()
        self.history += (total / errors.n_all).tolist()
        self._epoch_part = (batch_idx + 1) / self._n_batches
        return loss

    def _band_loss(self, batch: Batch, components, shift):
        found = batch.band_errors(components, shift)
        if not found:
            return 0.0
        bands = torch.stack([one.bands for one in found]).mean()
        orthonormal = torch.stack([one.orthonormal for one in found]).mean()
        self.band_history.append(float(bands.detach()))
        return self.settings.band_weight * bands + self.settings.overlap_weight * orthonormal

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.global_step > self._averaged_step:
            self._averaged_step = self.global_step
            decay = min(self.settings.ema_decay, (1 + self.global_step) / (10 + self.global_step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        self._read_clock()
        if self._budget_is_used:
            self.trainer.should_stop = True

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch.to(device)

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint):
        checkpoint[CHECKPOINT_KEY] = {
            'identity': self.identity,
            'seconds': self.seconds,
            **{name: getattr(self, name) for name in KEPT},
        }

    def on_load_checkpoint(self, checkpoint):
        stored = checkpoint.get(CHECKPOINT_KEY)
        if stored is None:
            raise ValueError('the checkpoint is not one of hamlr train')
        for key in self.identity | stored['identity']:
            if stored['identity'].get(key) != self.identity.get(key):
                raise ValueError(
                    f'the checkpoint belongs to another training: its {key} differs; '
                    'use another output folder, or remove checkpoints/'
                )
        self.elapsed = stored['seconds']
        self.sampler.set_epoch(checkpoint['epoch'] + 1)
        for name in KEPT:
            # Checkpoints of version 0.1.0 lack some.
            setattr(self, name, stored.get(name, getattr(self, name)))

    # -- validation, by the loop's callback

    def validate_average(self, examples) -> dict[str, float]:
        """Errors of the averaged weights over examples, both orientations of every pair counted once.

        Every process has to ask, with the same examples; each takes its share.
        """
        totals: dict[str, float] = {}
        with torch.no_grad():
            for index in range(self.processes.rank, len(examples), self.processes.size):
                example = examples[index]
                graph = example.graph.with_pairs(torch.arange(example.selection.n_half)).to(self.device)
                for key, value in self.errors(self.average(graph), graph).summary().items():
                    totals[key] = totals.get(key, 0.0) + value
        names = ('mae_meV', 'mae_predicted_meV', 'mae_onsite_meV')
        sums = summed([totals.get(name, 0.0) for name in names], self.device)
        return {name: value / len(examples) for name, value in zip(names, sums, strict=True)}

    def best_model(self) -> HamiltonianModel:
        """A model with the best validated averaged weights, or without validation with the present ones."""
        model = copy.deepcopy(self.average)
        if self.best_state is not None:
            model.load_state_dict(self.best_state)
        return model

    def record_validation(self, metrics: dict[str, float]):
        """Keep the averaged weights if they are the best so far; otherwise count towards plateau and patience."""
        if metrics['mae_meV'] < self.best_metrics.get('mae_meV', math.inf):
            self.best_metrics, self.since_best, self.since_reduction = metrics, 0, 0
            self.best_state = {name: value.detach().clone() for name, value in self.average.state_dict().items()}
            return
        self.since_best += 1
        self.since_reduction += 1
        if self.settings.schedule == 'plateau' and self.since_reduction >= self.settings.plateau_patience:
            self.reductions += 1
            self.since_reduction = 0
