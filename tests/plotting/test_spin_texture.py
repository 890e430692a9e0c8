"""Bands coloured by their spin."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.plotting.spin_texture import mean_of_degenerate, plot_spin_texture


def rashba(alpha: float) -> Bands:
    """Two parabolas whose spins are perpendicular to k along a line through Gamma, as in a polar layer."""
    k = np.linspace(-0.3, 0.3, 41)
    energies = np.sort(np.stack([8 * k**2 + alpha * k, 8 * k**2 - alpha * k], axis=1), axis=1)
    spins = np.zeros((41, 3, 2))
    spins[:, 1] = np.sign(alpha) * np.sign(k)[:, None] * [-1, 1]
    labels = ('M', *[''] * 19, 'GAMMA', *[''] * 19, 'K')
    attributes = BandAttributes(electrons_per_band=1, fermi_level=0.0)
    kpoints = np.stack([k, 0 * k, 0 * k], axis=1)
    return Bands(kpoints, energies, labels, distances=k - k[0], spins=spins, attributes=attributes)


def test_degenerate_levels_have_the_mean_of_their_spins():
    energies = np.array([[0.0, 1e-7, 1.0], [0.0, 0.1, 0.1]])
    found = mean_of_degenerate(energies, np.array([[0.9, -0.5, 0.3], [0.4, 1.0, -1.0]]))
    np.testing.assert_allclose(found, [[0.2, 0.2, 0.3], [0.4, 0.0, 0.0]])


def test_colours_turn_with_the_sign_of_the_splitting(tmp_path):
    """Along y both branches have opposite colours; along z there are none, whatever the sign."""
    pixels = {}
    for alpha in (1.5, -1.5):
        for axis in 'yz':
            path = plot_spin_texture(rashba(alpha), tmp_path / f'{axis}.svg', axis, window=(-0.5, 1.0))
            pixels[axis, alpha] = path.read_text()
    assert pixels['y', 1.5] != pixels['y', -1.5] and pixels['z', 1.5] == pixels['z', -1.5]


def test_what_cannot_be_drawn(tmp_path):
    bands = rashba(1.0)
    bands.spins = None
    with pytest.raises(ValueError, match='have no spins'):
        plot_spin_texture(bands, tmp_path / 'a.png')
    bands = rashba(1.0)
    bands.distances = None
    with pytest.raises(ValueError, match='on a mesh'):
        plot_spin_texture(bands, tmp_path / 'a.png')
    assert not list(tmp_path.iterdir())
