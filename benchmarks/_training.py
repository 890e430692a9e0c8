"""Trainings of fixed length: in wall time, or in steps, whose results are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.model.training.fit import train

#: The small network of the protocol `fast`.
SMALL_NETWORK = {
    'short_range': {
        'layers': 1,
        'scalar_channels': 16,
        'natural_channels': 12,
        'unnatural_channels': 4,
        'hidden_channels': 64,
        'pair_channels': 80,
    }
}


def train_for(seconds: float | None, data: Mapping, model: Mapping, folder: str | Path, **settings) -> dict:
    """Train on one thread of the CPU for some seconds and return the summary.

    Parameters
    ----------
    seconds : float or None
        Wall time, the validations in it included; None: as long as the entry ``max_steps`` says.
    data, model : mapping
        Sections of the configuration.
    folder : path
        Of the training.
    settings
        Further entries of the section ``training``.
    """
    fixed = {'max_time_s': seconds, 'max_epochs': 10**6, 'device': 'cpu', 'threads': 1}
    return train({'data': data, 'model': model, 'training': fixed | settings}, folder)


def kept(folder: Path, inputs, compute: Callable[[], dict]) -> dict:
    """Return what an earlier call computed from the same inputs, or compute it.

    Parameters
    ----------
    folder : path
        Of the results of earlier calls; made if need be.
    inputs
        All that the result depends on, as JSON takes it.
    compute : function
        Returns the result, as JSON takes it.
    """
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    path = folder / f'{key}.json'
    if not path.exists():
        result = compute()
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(result))
    return json.loads(path.read_text())
