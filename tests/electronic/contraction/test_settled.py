"""The end of the contraction."""

from types import SimpleNamespace

import numpy as np
import pytest

from aiida_hamlr.electronic.contraction.settled import SETTLED_STEPS, Settled
from aiida_hamlr.electronic.units import RYDBERG


def test_the_optimisation_ends_when_the_bands_settle():
    """Energies fall by 1 meV a step, then by 1 micro-electronvolt: 20 such steps are the end."""
    settled, steps = Settled(), 0
    losses = np.concatenate([1.0 - 1e-3 * np.arange(100), 0.9 - 1e-6 * np.arange(200)]) / RYDBERG
    with pytest.raises(StopIteration):
        for loss in losses:
            settled(SimpleNamespace(fun=loss))
            steps += 1
    assert steps == 100 + SETTLED_STEPS
