"""Selection of candidates: uncertain ones first, unlike each other, each once."""

import numpy as np
import pytest

from aiida_hamlr.electronic.selection import select_uncertain


def test_equal_uncertainties_give_farthest_points():
    """On a line, the ends come before the middle, and the middle before what is near an end."""
    points = np.array([[0.0], [0.1], [5.0], [9.9], [10.0]])
    assert select_uncertain(np.ones(5), points, 3) == [0, 4, 2]


def test_equal_distances_give_the_most_uncertain():
    """Corners of a simplex are equally far from each other."""
    uncertainties = np.array([1.0, 4.0, 2.0, 3.0])
    assert select_uncertain(uncertainties, np.eye(4), 3) == [1, 3, 2]


def test_a_copy_of_a_chosen_one_is_not_chosen():
    """However uncertain: the second of two equal structures tells nothing new."""
    points = np.array([[0.0], [0.0], [1.0]])
    assert select_uncertain(np.array([9.0, 9.0, 0.1]), points, 3) == [0, 2]
    assert select_uncertain(np.array([0.0, 0.0, 0.0]), points, 2) == [0, 2]


def test_no_estimate_counts_as_most_uncertain():
    """Infinite, as of a species without data."""
    points = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert select_uncertain(np.array([1.0, np.inf, np.inf, 5.0]), points, 2) == [1, 2]


def test_refused_and_empty():
    """Uncertainties are sizes."""
    assert select_uncertain(np.array([]), np.zeros((0, 3)), 4) == []
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match='not negative'):
            select_uncertain(np.array([1.0, wrong]), np.zeros((2, 1)), 1)
