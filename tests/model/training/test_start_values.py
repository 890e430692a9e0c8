"""Values that a training starts with, from labels."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.model.training.start_values import charges_of_labels, polarisability_of_labels


def test_polarisability_of_a_dielectric_constant():
    """The pair 13.1 Å^3 and 7.56 was computed independently."""
    atoms = bulk('AlAs', 'zincblende', a=5.6)
    found = polarisability_of_labels([(atoms, 7.56 * np.eye(3))], 1.5)
    assert found == pytest.approx(13.1, abs=0.02)
    # Beyond what the width allows, 53.
    assert polarisability_of_labels([(atoms, 60.0 * np.eye(3))], 1.5) == 1000.0


def test_charges_of_born_charges():
    """The charge 1.787 with 13.01 Å^3 and the Born charge 1.8672 in its limit of long transverse waves."""
    atoms = bulk('AlAs', 'zincblende', a=5.6)
    for polarisability, born in ((13.01, 1.867185), (0.0, 1.787)):
        found = charges_of_labels([atoms], [np.array([born, -born])], polarisability, 1.5)
        assert found == pytest.approx({'Al': 1.787, 'As': -1.787}, abs=1e-4)
