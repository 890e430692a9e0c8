"""What a checkpoint and a training must agree in, so that the one can be resumed by the other."""

from __future__ import annotations

import json

from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.files import canonical_description, describe


def training_identity(model, settings: TrainingConfig, data_hash: str, batch_size: int) -> dict:
    """Return the identity of a training: plain JSON values.

    Parameters
    ----------
    model : HamiltonianModel
        The network in training.
    settings : TrainingConfig
        Only what decides on the order of the data counts; a learning rate may change.
    data_hash : str
        sha256 of the training data.
    batch_size : int
        Structures in a batch.
    """
    result = {
        'data': data_hash,
        'model': _as_text(describe(model)),
        'seed': settings.seed,
        # One batch of a step, or several of them, are the same training.
        'batch_size': batch_size * settings.accumulate,
    }
    # Only where they differ from the defaults: older checkpoints do not have them.
    if settings.max_edges_per_batch is not None:
        result['max_edges_per_batch'] = settings.max_edges_per_batch * settings.accumulate
    if settings.checkpoints_per_epoch != TrainingConfig().checkpoints_per_epoch:
        result['checkpoints_per_epoch'] = settings.checkpoints_per_epoch
    if settings.freeze:
        result['freeze'] = sorted(settings.freeze)
    return result


def canonical_identity(stored: dict) -> dict:
    """Return the identity in a checkpoint of any version as this version writes it.

    Settings of the model that the version of the checkpoint did not have get the values that they had in effect.
    """
    try:
        description = canonical_description(json.loads(stored['model']))
    except (KeyError, TypeError, ValueError):
        return stored
    return {**stored, 'model': _as_text(description)}


def _as_text(description: dict) -> str:
    return json.dumps(description, sort_keys=True)
