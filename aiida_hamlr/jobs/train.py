"""`hamlr train`: from Hamiltonian files to a model folder."""

from __future__ import annotations

import glob
import time
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import aiida_hamlr
from aiida_hamlr.jobs.config import expanded, load_config, validate
from aiida_hamlr.jobs.evaluate import QUOTED, describe_errors
from aiida_hamlr.jobs.outputs import check_folder, check_overwriting
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.schemas import TrainConfig
from aiida_hamlr.jobs.summary import JobSummary
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.training import fit
from aiida_hamlr.model.training.checkpoints import BEST, LAST, METRICS, SUMMARY
from aiida_hamlr.model.training.processes import Processes


def run_train(config_file: Path) -> dict:
    """Train as a configuration says, and evaluate the model on the test files if there are any.

    Parameters
    ----------
    config_file : path
        See `TrainConfig`. The output folder gets ``model/``, ``metrics.csv``, ``checkpoints/`` and ``summary.json``; if
        it has a checkpoint, training resumes from it.

    Returns
    -------
    dict
        The content of ``summary.json``.

    Raises
    ------
    ValueError
        If the configuration or the data do not fit.
    WalltimeReached
        If the time was over first; the checkpoint is written.
    NumericalError
        If the training diverged.
    """
    with _warnings_in_log():
        return _train(load_config(config_file, TrainConfig), config_file.parent, str(config_file))


def train(**settings) -> dict:
    """Train a network on Hamiltonian files.

    `aiida_hamlr.load_model` loads the result from the folder ``output``.

    Parameters
    ----------
    **settings
        The keys of ``train.yaml``, see `TrainConfig`: ``data`` is needed, ``model``, ``training`` and ``output`` have
        defaults. Paths are relative to the working directory.

    Returns
    -------
    dict
        The content of ``summary.json`` in the output folder.

    Raises
    ------
    ValueError
        If settings or data do not fit.
    WalltimeReached
        If the time was over first; the checkpoint is written.
    NumericalError
        If the training diverged.
    """
    return _train(validate(TrainConfig, settings, 'train'), Path(), 'train')


@contextmanager
def _warnings_in_log():
    """Write the warnings of this package into the log, when they come and once for all processes."""
    is_first, package = Processes.of_environment().is_first, Path(aiida_hamlr.__file__).parent
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message, category, filename, *more, **named):
            if not Path(filename).is_relative_to(package):
                show_others(message, category, filename, *more, **named)
            elif is_first:
                log(f'warning: {message}')

        warnings.showwarning = show
        warnings.filterwarnings('always', category=UserWarning, module='aiida_hamlr')
        yield


def _train(config: TrainConfig, folder: Path, source: str) -> dict:
    """Train as a configuration says, whose relative names of data are below ``folder``."""
    started = time.monotonic()
    is_first = Processes.of_environment().is_first
    summary = JobSummary('train')
    data = {
        name: find_files(getattr(config.data, name), folder, f'{source}: data.{name}')
        for name in ('train', 'validation', 'test')
    }
    check_folder(config.output)
    written = [config.output / name for name in (SUMMARY, METRICS, *(f'checkpoints/{name}' for name in (LAST, BEST)))]
    check_overwriting(written, [path for files in data.values() for path in files])
    if config.parent is not None and config.parent.resolve().is_relative_to(config.output.resolve()):
        raise ValueError(f'{source}: parent: {config.parent} is in the output folder; give another name for output')
    training = config.training
    beside = {key: str(folder / value) for key in ('resume', 'cache') if (value := getattr(training, key)) is not None}
    training = training.model_copy(update=beside)
    if is_first:
        log(', '.join(f'{len(files)} structures for {name}' for name, files in data.items() if files))
    summary |= fit.train(
        {'data': data, 'model': config.model, 'training': training, 'parent': config.parent}, config.output, started
    )
    if not is_first:
        return summary
    if data['test']:
        errors = evaluate(config.output / 'model', data['test'])
        summary |= {f'test_{key}': value for key, value in errors.items() if key.endswith(('_meV', '_by_distance'))}
        for line in describe_errors(errors):
            log(f'test: {line}')
        summary['to_quote'] = [f'test_{key}' for key in QUOTED if key in errors]
    summary.write(config.output / 'summary.json')
    log(f'model written to {config.output / "model"}')
    return summary


def find_files(patterns: Sequence[str], folder: Path, source: str) -> list[Path]:
    """Files that match any of the patterns, each once, in the order of patterns and names.

    Raises
    ------
    ValueError
        If a pattern matches nothing; ``source`` names the key.
    """
    found = {}
    for pattern in patterns:
        matches = sorted(glob.glob(str(expanded(pattern)), root_dir=folder, recursive=True))
        if not matches:
            raise ValueError(f'{source}: no file matches {pattern!r}')
        found |= {folder / match: None for match in matches}
    return list(found)
