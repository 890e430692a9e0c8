"""The learning curve of a finished or running training."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_hamlr.monitors.training import read_running_metrics

__all__ = ('read_learning_curve',)


def read_learning_curve(process: orm.ProcessNode) -> dict[str, np.ndarray]:
    """Return the columns of the learning curve of a training, from its last job that has one.

    :param process: the job, or a work chain that called it.
    :raises ValueError: if the process is not a training, or has not written an epoch yet.
    """
    descendants = process.called_descendants if isinstance(process, orm.WorkChainNode) else [process]
    jobs = [node for node in descendants if node.process_type == 'aiida.calculations:hamlr.train']
    if not jobs:
        raise ValueError(
            f'{process.process_label}<{process.pk}> is not a training and has not started one; give a training job '
            'or a '
            'work chain that trains'
        )
    for job in sorted(jobs, key=lambda node: node.pk, reverse=True):
        if 'learning_curve' in job.outputs:
            curve = job.outputs.learning_curve
            return {name: curve.get_array(name) for name in curve.get_arraynames()}
        if not job.is_terminated:
            with job.get_transport() as transport:
                metrics = read_running_metrics(job, transport)
            if metrics is not None:
                return metrics
    raise ValueError(
        f'no epoch of {process.process_label}<{process.pk}> is written yet; the first are written after fifteen '
        'seconds '
        'of training'
    )
