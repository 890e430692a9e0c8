"""`hamlr.training`: stops a training that diverges or no longer improves."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
from aiida import orm
from aiida.transports import Transport

from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.parsers.raw import parse_metrics

__all__ = ('DIVERGED', 'FLAT', 'METRICS', 'find_end', 'monitor_training', 'read_running_metrics')

#: First words of the messages, by which the work chain distinguishes them.
DIVERGED, FLAT = 'diverged', 'flat'

#: The learning curve in the job's folder.
METRICS = f'{TrainCalculation._OUTPUT_SUBFOLDER}/metrics.csv'


def monitor_training(
    node: orm.CalcJobNode,
    transport: Transport,
    diverged_factor: float = 10.0,
    diverged_validations: int = 3,
    flat_epochs: int | None = None,
    flat_tolerance: float = 0.01,
) -> str | None:
    """Return why a running training should be stopped, or nothing.

    A loss that is not a number ends the training without this monitor.

    :param diverged_factor: stop if the validation error exceeds the best one by this factor
    :param diverged_validations: in this number of consecutive validations.
    :param flat_epochs: stop if no validation error improved on the best one during this number of epochs; by default a
        training is not stopped for this reason.
    :param flat_tolerance: smallest relative decrease of the validation error that counts as an improvement.
    """
    metrics = read_running_metrics(node, transport)
    if metrics is None:
        return None
    return find_end(metrics, diverged_factor, diverged_validations, flat_epochs, flat_tolerance)


def read_running_metrics(node: orm.CalcJobNode, transport: Transport) -> dict[str, np.ndarray] | None:
    """Return the columns of the learning curve that a job has written so far, or nothing."""
    workdir = node.get_remote_workdir()
    if workdir is None:
        return None
    path = PurePosixPath(workdir) / METRICS
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            transport.getfile(str(path), str(copy))
            return parse_metrics(copy.read_text())
        except (OSError, ValueError):
            # Not written yet, or just being written.
            return None


def find_end(
    metrics: dict[str, np.ndarray],
    diverged_factor: float,
    diverged_validations: int,
    flat_epochs: int | None,
    flat_tolerance: float,
) -> str | None:
    """Return why a training with this learning curve should be stopped, or nothing; see :func:`monitor_training`."""
    validated = 'validation_mae_meV'
    # An empty entry is an epoch without validation.
    known = np.isfinite(metrics.get(validated, np.array([])))
    errors, epochs = metrics.get(validated, np.array([]))[known], metrics['epoch'][known]
    if not len(errors):
        return None
    best = float(errors.min())
    recent = errors[-diverged_validations:]
    if len(errors) > diverged_validations and (recent > diverged_factor * best).all():
        return (
            f'{DIVERGED}: the last {len(recent)} validation errors are more than {diverged_factor:g} times the best, '
            f'{best:.3g} meV'
        )
    if flat_epochs is None:
        return None
    reached, since = math.inf, epochs[0]
    for error, epoch in zip(errors, epochs, strict=True):
        if error < (1 - flat_tolerance) * reached:
            reached, since = error, epoch
    if metrics['epoch'][-1] - since < flat_epochs:
        return None
    return (
        f'{FLAT}: since epoch {since:g} no validation error was more than {100 * flat_tolerance:g} % below '
        f'{reached:.3g} meV'
    )
