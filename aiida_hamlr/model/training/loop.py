"""What happens between the steps of a training: validation, metrics.csv, progress, checkpoints, walltime.

Lightning's callbacks are not used for the files: its ``CSVLogger`` deletes the metrics of earlier runs in a folder and
appends to a file that monitors read meanwhile; its ``ModelCheckpoint`` cannot combine epochs with a least interval, and
saves inside epochs, from where a training does not resume exactly.
"""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import lightning

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.errors import WalltimeReached
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.training.checkpoints import BEST, LAST
from aiida_hamlr.model.training.examples import Example
from aiida_hamlr.model.training.model_writer import ModelWriter
from aiida_hamlr.model.training.processes import Processes, largest, summed
from aiida_hamlr.model.training.progress import Progress

#: Checkpoints and metrics are written at most this often, s.
INTERVAL = 15.0

#: Part of the walltime that is reserved for writing at the end, s.
WALLTIME_MARGIN = 10.0

#: A new epoch begins only if this many of the longest so far would fit.
EPOCHS_TO_FIT = 1.5

#: Validations in the whole training, unless the user says how often.
N_VALIDATIONS = 20

COLUMNS = (
    'epoch',
    'step',
    'learning_rate',
    'train_mae_meV',
    'train_band_mae_meV',
    'validation_mae_meV',
    'validation_mae_predicted_meV',
    'validation_mae_onsite_meV',
    'wall_s',
)


class TrainingLoop(lightning.Callback):
    """Callback of the trainer.

    Parameters
    ----------
    output : Path
        Folder of metrics.csv and checkpoints/.
    settings : TrainingConfig
        Section ``training`` of the configuration.
    validation : sequence of Example
        May be empty.
    started : float
        ``time.monotonic()`` from which the walltime counts.
    keep : ModelWriter
        Writes the model folder, so that a training that is killed leaves a model.
    processes : Processes, optional
        The first of them writes the files and shows the progress.
    """

    def __init__(
        self,
        output: Path,
        settings: TrainingConfig,
        validation: Sequence[Example],
        started: float,
        keep: ModelWriter,
        processes: Processes | None = None,
    ):
        self.output, self.settings, self.validation, self.started = output, settings, validation, started
        self.keep, self.processes = keep, processes or Processes()
        self.checkpoint, self.best_checkpoint = (output / 'checkpoints' / name for name in (LAST, BEST))
        self.out_of_time = False
        self._rows: list[dict] = []
        self._longest_epoch, self._epoch_started = 0.0, 0.0
        self._written, self._validations = time.monotonic(), 0
        self._best_written = -math.inf
        self._progress: Progress | None = None

    def on_train_start(self, trainer, module):
        """Read the metrics of earlier runs, and show the progress."""
        # Lightning would ask all processes, of which some may be gone, and end with status 0 after the present batch.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._rows = _rows_until(self.output / 'metrics.csv', trainer.global_step)
        self._validations = int(module.progress * N_VALIDATIONS)
        if self.processes.is_first:
            self._progress = Progress(module.progress)

    def on_train_epoch_start(self, trainer, module):
        """Start the clock of the epoch."""
        self._epoch_started = time.monotonic()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """Move the progress bar.

        Raises
        ------
        WalltimeReached
            If no time is left; the state since the last checkpoint is lost.
        """
        if self._progress is not None:
            self._progress.advance(module.progress)
        if self._remaining(module) <= 0.0:
            saved = (
                f'run the same again to resume from {self.checkpoint}'
                if self.checkpoint.exists()
                else 'no checkpoint was written yet: allow more of them with training.checkpoints_per_epoch'
            )
            raise WalltimeReached(f'walltime of {self.settings.walltime:.0f} s reached inside an epoch; {saved}')

    def on_train_epoch_end(self, trainer, module):
        """Validate, report and write what is due; stop if the next epoch would not fit."""
        part, n_parts = trainer.current_epoch + 1, self.settings.checkpoints_per_epoch
        epoch = part // n_parts if part % n_parts == 0 else part / n_parts
        module.finished_epochs, module.finished_steps = epoch, trainer.global_step
        is_best = False
        row = {
            'epoch': epoch,
            'step': trainer.global_step,
            'learning_rate': trainer.optimizers[0].param_groups[0]['lr'],
            'train_mae_meV': _mean(module.history, module.device),
        }
        if self.settings.loss.needs_bands:
            row['train_band_mae_meV'] = _mean(module.band_history, module.device)
        is_last = part >= self.settings.max_parts or trainer.should_stop
        if self.validation and (is_last or self._validation_is_due(part, module)):
            row |= self._validate(module)
            is_best = module.since_best == 0
            is_last = is_last or module.is_finished
            trainer.should_stop = trainer.should_stop or module.is_finished
        row['wall_s'] = round(module.seconds, 3)
        self._rows.append(row)
        took = largest(time.monotonic() - self._epoch_started, module.device)
        self._longest_epoch = max(self._longest_epoch, took)
        if not is_last and self._remaining(module) < EPOCHS_TO_FIT * self._longest_epoch:
            self.out_of_time = trainer.should_stop = True
        if self._progress is not None:
            self._progress.report(row, is_last)
        if is_best and self._is_due(self._best_written, module):
            self._best_written = time.monotonic()
            self._save(trainer, self.best_checkpoint)
        if is_last or self.out_of_time or self._is_due(self._written, module):
            self._write(trainer, module)

    def close(self):
        """Remove the progress bar."""
        if self._progress is not None:
            self._progress.close()

    def _remaining(self, module) -> float:
        """Time left, s, of the process that has the least of it."""
        if self.settings.walltime is None:
            return math.inf
        return self.settings.walltime - WALLTIME_MARGIN - largest(time.monotonic() - self.started, module.device)

    def _validation_is_due(self, part: int, module) -> bool:
        if self.settings.validate_every is not None:
            return part % (self.settings.validate_every * self.settings.checkpoints_per_epoch) == 0
        due = int(module.progress * N_VALIDATIONS)
        is_due, self._validations = due > self._validations, max(due, self._validations)
        return is_due

    def _validate(self, module) -> dict[str, float]:
        metrics = module.validate_average(self.validation)
        module.record_validation(metrics)
        return {f'validation_{key}': value for key, value in metrics.items()}

    def _is_due(self, written: float, module) -> bool:
        return largest(time.monotonic() - written, module.device) > INTERVAL

    def _write(self, trainer, module):
        self._written = time.monotonic()
        if self.processes.is_first:
            # The model comes before the metrics, on which a monitor may end the job, and the metrics before the
            # checkpoint, which may be resumed.
            if module.best_metrics or not self.validation:
                self.keep.write(module)
            with atomic_path(self.output / 'metrics.csv') as temporary, temporary.open('w', newline='') as handle:
                writer = csv.DictWriter(handle, COLUMNS)
                writer.writeheader()
                writer.writerows(self._rows)
        self._save(trainer, self.checkpoint)

    def _save(self, trainer, path: Path):
        if self.processes.is_first:
            with atomic_path(path) as temporary:
                trainer.save_checkpoint(temporary)
        else:
            # Writes nothing, but all processes wait for each other in it.
            trainer.save_checkpoint(path)
        # When one process ends, torchrun ends the others: the checkpoint must have its name before.
        trainer.strategy.barrier()


def _mean(values: list[float], device) -> float:
    """Mean over the values of all processes; the list is empty then."""
    total, count = summed([sum(values), len(values)], device)
    values.clear()
    return total / count if count else math.nan


def _rows_until(path: Path, step: int) -> list[dict]:
    """Rows of an earlier run up to the step from which this one resumes."""
    if step == 0 or not path.exists():
        return []
    with path.open(newline='') as handle:
        return [row for row in csv.DictReader(handle) if int(row['step']) <= step]
