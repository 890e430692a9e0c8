"""Distances of structures, and which are unlike those of others."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.electronic.distances import REACH, summarise_distances, unusual_distances

BOND = 5.66 * np.sqrt(3) / 4


def crystal(a=5.66):
    return bulk('AlAs', 'zincblende', a=a)


def test_distances_of_zincblende():
    found = summarise_distances([crystal(), crystal(5.8)])
    assert found['shortest'] == pytest.approx({'Al-Al': 5.66 / np.sqrt(2), 'Al-As': BOND, 'As-As': 5.66 / np.sqrt(2)})
    assert found['nearest'] == pytest.approx({'Al': BOND * 5.8 / 5.66, 'As': BOND * 5.8 / 5.66})


def test_unlike_ones_are_named():
    known = summarise_distances([crystal()])
    assert unusual_distances(crystal(5.5), known) == []
    assert unusual_distances(crystal(6.0), known) == []
    assert unusual_distances(crystal(4.5), known) == [
        'Al-Al at 3.18 Å, in the training data never below 4.00 Å',
        'Al-As at 1.95 Å, in the training data never below 2.45 Å',
        'As-As at 3.18 Å, in the training data never below 4.00 Å',
    ]
    assert unusual_distances(crystal(9.0), known) == [
        'Al with its nearest neighbour at 3.90 Å, in the training data never beyond 2.45 Å',
        'As with its nearest neighbour at 3.90 Å, in the training data never beyond 2.45 Å',
    ]


def test_pairs_that_never_met():
    known = summarise_distances([crystal()])
    antisite = crystal().repeat(2)
    antisite.numbers[0] = 33
    assert 'As-As at 2.45 Å' in unusual_distances(antisite, known)[0]
    assert summarise_distances([crystal(40.0)]) == {'shortest': {}, 'nearest': {'Al': REACH, 'As': REACH}}
