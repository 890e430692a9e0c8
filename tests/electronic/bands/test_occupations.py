"""Fermi level, occupations and band gap against exact results."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.occupations import (
    Filling,
    band_gap,
    fermi_level,
    fill_bands,
    filled_bands,
    spin_gaps,
)


def uniform(n):
    return np.full(n, 1 / n)


def test_fermi_level_of_an_insulator_is_in_mid_gap():
    bands = np.array([[-3.0, -1.0, 2.0], [-2.5, -1.5, 1.0]])
    filling = fill_bands(bands, uniform(2), 4)
    assert filling.fermi_level == pytest.approx(0.0)
    assert filling.n_occupied == (2,)
    assert np.array_equal(filling.occupations, [[2, 2, 0], [2, 2, 0]])


@pytest.mark.parametrize('n_electrons', [0.3, 1.0, 1.7])
def test_fermi_level_of_a_linear_band(n_electrons):
    # One band from 0 to 1 eV with a constant density of states of 2 per eV holds n electrons up to n / 2.
    levels = (np.arange(4000) + 0.5) / 4000
    level = fermi_level(levels[:, None], uniform(4000), n_electrons, smearing=0.005)
    assert level == pytest.approx(n_electrons / 2, abs=1e-5)


def test_metal_occupations_add_up():
    rng = np.random.default_rng(0)
    bands = np.sort(rng.normal(size=(10, 6)), axis=1)
    weights = rng.uniform(size=10)
    weights /= weights.sum()
    filling = fill_bands(bands, weights, 5.0, smearing=0.2)
    assert filling.n_occupied is None
    assert (weights[:, None] * filling.occupations).sum() == pytest.approx(5.0, abs=1e-11)


def test_level_between_two_k_points_of_a_metal_is_no_gap():
    # Two electrons in two overlapping bands: four states below the level, but three at one k and one at the other.
    bands = np.array([[0.0, 0.2, 0.3], [0.25, 0.9, 1.0]])
    assert fill_bands(bands, uniform(2), 4.0, smearing=0.01).n_occupied is None


def test_spin_channels_fill_separately():
    bands = np.array([[[-2.0, -1.0, 3.0]], [[-1.5, 1.0, 4.0]]])
    filling = fill_bands(bands, uniform(1), 3)
    assert filling.n_occupied == (2, 1)
    assert filling.occupations.sum() == 3
    assert filling.fermi_level == pytest.approx(0.0)


def test_fixed_magnetization_fills_each_spin_on_its_own():
    bands = np.array([[[-2.0, -1.0, 3.0]], [[-1.5, 1.0, 4.0]]])
    filling = fill_bands(bands, uniform(1), 3, magnetization=-1.0)
    assert filling.n_occupied == (1, 2)
    assert filling.spin_fermi_levels == (pytest.approx(-1.5), pytest.approx(2.5))
    # The highest occupied level lies above the lowest empty one: no gap, and the mean of both levels.
    assert band_gap(bands, 3, filling.n_occupied).gap == 0.0
    assert filling.fermi_level == pytest.approx(0.5)
    assert filling.occupations[:, 0].sum(axis=1) == pytest.approx([1, 2])
    free = fill_bands(bands, uniform(1), 3)
    held = fill_bands(bands, uniform(1), 3, magnetization=1.0)
    assert held.fermi_level == pytest.approx(free.fermi_level)
    assert held.n_occupied == free.n_occupied
    assert free.spin_fermi_levels is None


def test_fixed_magnetization_of_a_metal():
    rng = np.random.default_rng(1)
    bands = np.sort(rng.normal(size=(2, 12, 6)), axis=2)
    filling = fill_bands(bands, uniform(12), 5.0, smearing=0.2, magnetization=1.3)
    up, down = filling.occupations.sum(axis=2).mean(axis=1)
    assert (up + down, up - down) == (pytest.approx(5.0, abs=1e-11), pytest.approx(1.3, abs=1e-11))
    assert filling.n_occupied is None
    assert filling.fermi_level == pytest.approx(np.mean(filling.spin_fermi_levels))


def test_gap_of_each_spin():
    """A crossing band has none, and a spin without electrons none that could be known."""
    bands = np.array([[[-2.0, -1.0, 3.0], [-2.0, 1.0, 3.0]], [[-1.5, 1.0, 4.0], [-1.2, 1.3, 4.0]]])
    filling = Filling(0.0, np.zeros(()), None)
    assert filled_bands(bands, filling) == (None, 1)
    assert spin_gaps(bands, (None, 1)) == (0.0, pytest.approx(2.2))
    assert filled_bands(bands, Filling(0.0, np.zeros(()), None, (2.0, -1.3))) == (2, None)
    assert spin_gaps(bands, (2, 0)) == (pytest.approx(2.0), None)


def test_full_polarisation_leaves_a_spin_empty():
    bands = np.array([[[-2.0, 3.0]], [[1.0, 4.0]]])
    filling = fill_bands(bands, uniform(1), 1, magnetization=1.0)
    assert filling.n_occupied == (1, 0)
    gap = band_gap(bands, 1, filling.n_occupied)
    assert (gap.vbm, gap.cbm) == (-2.0, 1.0)
    assert (gap.vbm_band, gap.cbm_band, gap.vbm_spin, gap.cbm_spin) == (0, 0, 0, 1)
    assert filling.fermi_level == pytest.approx(-0.5)
    assert band_gap(bands, 1, magnetization=1.0) == gap
    with pytest.raises(ValueError, match='-1 electrons do not fit'):
        fill_bands(bands, uniform(1), 1, magnetization=3.0)


def test_too_many_electrons_are_refused():
    with pytest.raises(ValueError, match='5 electrons do not fit into bands that hold 4'):
        fill_bands(np.zeros((1, 2)), uniform(1), 5)


def test_band_gap_direct_and_indirect():
    bands = np.array([[-1.0, 2.0], [-0.2, 1.5], [-0.5, 1.0]])
    gap = band_gap(bands, 2)
    assert (gap.vbm, gap.cbm, gap.gap) == (-0.2, 1.0, pytest.approx(1.2))
    assert gap.direct_gap == pytest.approx(1.5)
    assert (gap.vbm_band, gap.cbm_band, gap.vbm_spin, gap.cbm_spin) == (0, 1, 0, 0)
    assert (gap.vbm_index, gap.cbm_index, gap.direct_index) == (1, 2, 2)
    assert not gap.is_direct
    assert band_gap(bands[:, ::-1] * 0 + [[-1, 0]], 3) is None
    assert band_gap(np.array([[0.0, 1.0], [2.0, 3.0]]), 2).gap == 0.0
