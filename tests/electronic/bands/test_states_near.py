"""What consecutive levels say about the gap."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.states_near import StatesNear


def levels(n_electrons: float, below=(2,), **spin) -> StatesNear:
    """Levels 3 to 6 of a structure."""
    energies = np.array([-1.0, -0.5, 0.7, 1.5])
    return StatesNear(np.zeros(3), energies, np.eye(8)[:, :4], below, n_electrons, plan=None, **spin)


def test_edges_by_the_number_of_electrons():
    assert levels(8.0).edges == (-0.5, 0.7)
    # one electron in level 4: highest with an electron and lowest with room
    assert levels(7.0).edges == (-0.5, -0.5)


@pytest.mark.parametrize('n_electrons', [4.0, 12.0])
def test_levels_without_both_edges_have_no_gap(n_electrons):
    with pytest.raises(ValueError, match='levels 3 to 6 do not include both edges'):
        levels(n_electrons).edges  # noqa: B018


def test_levels_of_one_electron_and_their_magnetization():
    """Two of spin up and one of spin down lie below; of the four levels the first three are filled, two of them up."""
    spins = np.zeros((3, 4))
    spins[2] = [1, -1, 1, -1]
    found = levels(6.0, below=(2, 1), electrons_per_level=1, spins=spins)
    assert found.first == 3 and found.edges == (0.7, 1.5)
    assert found.magnetization == 2.0
    assert levels(8.0).magnetization == 0.0
