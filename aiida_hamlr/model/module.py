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
from aiida_hamlr.model.losses import ComponentErrors

#: Entry of a checkpoint that is ours.
CHECKPOINT_KEY = 'hamlr'


class TrainingModule(lightning.LightningModule):
    """A model in training.

    Parameters
    ----------
    model : HamiltonianModel
        With filled normalisation.
    config : TrainingConfig
    total_steps : int
        Optimiser steps of the whole training; the learning rate falls over them, or over ``config.max_time_s``.
    identity : dict
        What a checkpoint must agree with to go on from it: plain JSON values.
    """

    def __init__(self, model: HamiltonianModel, config: TrainingConfig, total_steps: int, identity: dict):
        super().__init__()
        self.model, self.settings, self.total_steps, self.identity = model, config, total_steps, identity
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.errors = ComponentErrors(model.slots.onsite.multiplicity).to(model.dtype)
        self.elapsed, self._started = 0.0, None
        self.history: list[float] = []
        self.finished_epochs = self.finished_steps = 0
        #: Metrics of the best validated average and its weights, kept in the checkpoints.
        self.best_metrics: dict[str, float] = {}
        self.best_state: dict[str, torch.Tensor] | None = None

    # -- schedule

    @property
    def seconds(self) -> float:
        """Training time so far, earlier runs included."""
        return self.elapsed + (0.0 if self._started is None else time.monotonic() - self._started)

    @property
    def progress(self) -> float:
        """How much of the training is done, 0 to 1."""
        budget = self.settings.max_time_s
        return min(1.0, self.global_step / self.total_steps if budget is None else self.seconds / budget)

    def learning_rate_factor(self) -> float:
        """Linear warm-up, then a cosine to the final fraction at the end of the budget."""
        final = self.settings.final_learning_rate
        warm = min(1.0, (self.global_step + 1) / max(self.settings.warmup_steps, 1))
        return warm * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * self.progress)))

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

    def on_train_batch_start(self, batch, batch_idx):
        factor = self.learning_rate_factor()
        for group in self.optimizers().param_groups:
            group['lr'] = self.settings.learning_rate * factor

    def training_step(self, batch, batch_idx):
        graph, structure = batch
        errors = self.errors(self.model(graph, structure), graph, structure)
        loss = errors.loss(self.settings.onsite_weight)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NumericalError(
                f'training diverged: the loss is {value} in epoch {self.current_epoch}; lower training.learning_rate'
            )
        total = (errors.pairs + errors.onsite + errors.neglected).detach().sum()
        self.history.append(float(total / errors.n_all.sum()))
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        decay = min(self.settings.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        if self.settings.max_time_s is not None and self.seconds >= self.settings.max_time_s:
            self.trainer.should_stop = True

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        graph, structure = batch
        return graph.to(device), None if structure is None else structure.to(device)

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint):
        checkpoint[CHECKPOINT_KEY] = {
            'identity': self.identity,
            'seconds': self.seconds,
            'best_metrics': self.best_metrics,
            'best_state': self.best_state,
        }

    def on_load_checkpoint(self, checkpoint):
        stored = checkpoint.get(CHECKPOINT_KEY)
        if stored is None:
            raise ValueError('the checkpoint is not one of hamlr train')
        for key, value in self.identity.items():
            if stored['identity'].get(key) != value:
                raise ValueError(
                    f'the checkpoint belongs to another training: its {key} differs; '
                    'use another output folder, or remove checkpoints/'
                )
        self.elapsed = stored['seconds']
        self.best_metrics, self.best_state = stored['best_metrics'], stored['best_state']

    # -- validation, by the loop's callback

    def validate_average(self, examples) -> dict[str, float]:
        """Errors of the averaged weights over examples, both orientations of every pair counted once."""
        totals: dict[str, float] = {}
        with torch.no_grad():
            for example in examples:
                graph = example.graph.with_pairs(torch.arange(example.selection.n_half)).to(self.device)
                summary = self.errors(self.average(graph), graph, None).summary()
                for key, value in summary.items():
                    totals[key] = totals.get(key, 0.0) + value / len(examples)
        return totals
