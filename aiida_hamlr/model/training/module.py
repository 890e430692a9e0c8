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
from aiida_hamlr.model.training.identity import canonical_identity
from aiida_hamlr.model.training.loss_terms import Prediction, make_terms
from aiida_hamlr.model.training.losses import ComponentErrors
from aiida_hamlr.model.training.processes import Processes, largest, summed

#: Entry of this package in a checkpoint.
CHECKPOINT_KEY = 'hamlr'

#: Attributes that are kept in the checkpoints, in addition to those of Lightning.
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
        Section ``training`` of the configuration.
    sampler : BatchSampler
        Gives the batches of every epoch.
    identity : dict
        Must be equal in a checkpoint from which the training resumes: plain JSON values.
    processes : Processes, optional
        The processes that train this model together; a single one by default.

    Notes
    -----
    Lightning's ``EMAWeightAveraging`` is not used. Its ``AveragedModel`` also copies all tables in every step, at three
    times the cost of the average, and replaces the average in its first step; older checkpoints would lose theirs. Its
    ``EarlyStopping`` replaces a new patience by the one of the checkpoint, and counts epochs without validation.
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
        self.errors = ComponentErrors.of(model.slots, config.loss).to(model.dtype)
        self.terms = make_terms(config, model.config)
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
        final = self.settings.schedule.final_learning_rate
        warm = min(1.0, (self.global_step + 1) / max(self.settings.schedule.warmup_steps, 1))
        if self.settings.schedule.kind == 'plateau':
            return warm * max(final, self.settings.schedule.plateau_factor**self.reductions)
        return warm * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * self.progress)))

    @property
    def is_finished(self) -> bool:
        """Whether the steps, the time or the patience are used up."""
        patience = self.settings.schedule.early_stopping_patience
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
        """AdamW over all parameters that are not frozen."""
        return torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=self.settings.schedule.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.settings.optimizer.weight_decay,
            fused=True,
        )

    def on_fit_start(self):
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_start(self):
        """Note the step from which averaging continues; a training that was finished stays finished."""
        self._averaged_step = self.global_step
        self._read_clock()
        # What was finished stays as it was when it is started again.
        self.trainer.should_stop = self.is_finished

    def on_train_epoch_start(self):
        """Tell Lightning the number of batches, which differs between epochs."""
        self._epoch_part = 0.0
        # Lightning asks for it once in a training.
        self._n_batches = self.trainer.fit_loop.max_batches = len(self.sampler)

    def on_train_batch_start(self, batch, batch_idx):
        """Set the learning rate of the step."""
        self._read_clock()
        factor = self.learning_rate_factor()
        for group in self.optimizers().param_groups:
            group['lr'] = self.settings.schedule.learning_rate * factor

    def training_step(self, batch: Batch, batch_idx):
        """Return the loss of a batch, a scalar; the sum of the terms with their weights."""
        components = self.model(batch.graph)
        errors = self.errors(components, batch.graph)
        prediction = Prediction(components, errors, self.model.long_range, batch)
        loss = sum(term.weight * term(prediction) for term in self.terms)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NumericalError(
                f'training diverged: the loss is {value} in epoch {self.current_epoch}; lower training.learning_rate'
            )
        total = (errors.pairs + errors.onsite + errors.neglected).detach()
        self.history += (total / errors.n_all).tolist()
        if self.settings.loss.needs_bands and prediction.band_errors:
            self.band_history.append(float(torch.stack([one.bands for one in prediction.band_errors]).detach().mean()))
        self._epoch_part = (batch_idx + 1) / self._n_batches
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        """Average the weights after a step of the optimiser, and stop at the end of the budget."""
        if self.global_step > self._averaged_step:
            self._averaged_step = self.global_step
            decay = min(self.settings.optimizer.ema_decay, (1 + self.global_step) / (10 + self.global_step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        self._read_clock()
        if self._budget_is_used:
            self.trainer.should_stop = True

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Move a batch, which is not a tensor, to the device."""
        return batch.to(device)

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint):
        """Add the identity, the time and the best model so far."""
        checkpoint[CHECKPOINT_KEY] = {
            'identity': self.identity,
            'seconds': self.seconds,
            **{name: getattr(self, name) for name in KEPT},
        }

    def on_load_checkpoint(self, checkpoint):
        """Take them back.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another training.
        """
        stored = checkpoint.get(CHECKPOINT_KEY)
        if stored is None:
            raise ValueError('the checkpoint is not one of hamlr train')
        theirs = canonical_identity(stored['identity'])
        for key in self.identity | theirs:
            if theirs.get(key) != self.identity.get(key):
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

        All processes must call it, with the same examples; each takes its share.
        """
        totals: dict[str, float] = {}
        with torch.no_grad():
            for index in range(self.processes.rank, len(examples), self.processes.size):
                example = examples[index]
                graph = example.one_way().to(self.device)
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
        if self.settings.schedule.kind == 'plateau' and self.since_reduction >= self.settings.schedule.plateau_patience:
            self.reductions += 1
            self.since_reduction = 0
