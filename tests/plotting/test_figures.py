"""Figures are written and show what they are given; their looks are judged by eye."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import band_path
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.plotting.bands import path_ticks, plot_bands, split_index
from aiida_hamlr.plotting.levels import _plot_errors, plot_levels
from aiida_hamlr.plotting.properties import plot_layers
from aiida_hamlr.plotting.screening import plot_gaps
from aiida_hamlr.plotting.training import plot_training


@pytest.fixture
def bands(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    return Bands.on_path(hamiltonian, band_path(hamiltonian.atoms, 0.2), solve_mesh(hamiltonian, (2, 2, 2)))


def colours(path):
    """Distinct colours of a figure, as 8-bit RGB."""
    image = imread(path)[..., :3]
    return {tuple(int(round(255 * c)) for c in pixel) for pixel in np.unique(image.reshape(-1, 3), axis=0)}


def test_bands_of_three_sources(bands, tmp_path):
    bands.write(tmp_path / 'bands.h5')
    sets = [bands, tmp_path / 'bands.h5', bands]
    plot_bands(sets, tmp_path / 'bands.png', names=['prediction', 'DFT in the basis', 'plane waves'])
    assert {(0xD5, 0x5E, 0x00), (0, 0, 0)} <= colours(tmp_path / 'bands.png')


def test_bands_of_two_spins_have_two_colours(bands, tmp_path):
    spins = np.concatenate([bands.eigenvalues, bands.eigenvalues + 0.3])
    polarised = Bands(bands.kpoints, spins, bands.labels, distances=bands.distances, attributes=bands.attributes)
    plot_bands([bands], tmp_path / 'plain.png')
    plot_bands([polarised], tmp_path / 'spin.png')
    up, down = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    assert up in colours(tmp_path / 'plain.png')
    assert down not in colours(tmp_path / 'plain.png')
    assert {up, down} <= colours(tmp_path / 'spin.png')
    plot_bands([polarised, bands], tmp_path / 'both.png', names=['one', 'other'])
    assert (tmp_path / 'both.png').stat().st_size > 10_000


def test_bands_on_a_mesh_have_no_path(make_hamiltonian, zincblende, tmp_path):
    hamiltonian = make_hamiltonian(zincblende())
    mesh = Bands.on_mesh(hamiltonian, solve_mesh(hamiltonian, (2, 2, 2)))
    with pytest.raises(ValueError, match='path'):
        plot_bands([mesh], tmp_path / 'bands.png')
    assert not list(tmp_path.iterdir())


def test_levels_of_three_sources(tmp_path):
    z = np.linspace(0, 30, 16)
    wave = np.sin(2 * np.pi * z / 30)
    sets = {'DFT': wave, 'short range only': 0.2 * wave, 'with long range': 0.98 * wave}
    plot_levels(z, sets, tmp_path / 'levels.png', symbols=['Al', 'As'] * 8)
    assert {(0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0, 0, 0)} <= colours(tmp_path / 'levels.png')
    plot_levels(z, sets, tmp_path / 'errors.png', symbols=['Al', 'As'] * 8, reference='DFT')
    assert len(imread(tmp_path / 'errors.png')) > 1.3 * len(imread(tmp_path / 'levels.png'))
    with pytest.raises(ValueError, match="reference 'dft': there are levels of DFT"):
        plot_levels(z, sets, tmp_path / 'errors.png', reference='dft')


def test_errors_of_levels_are_after_one_constant():
    """Two sets that differ by a constant have no error; the others differ in meV."""
    axes = Figure().subplots()
    z, levels = np.arange(4.0), np.array([0.1, 0.2, 0.1, 0.4])
    sets = {'DFT': levels, 'shifted': levels + 3.0, 'wrong': levels + [0.0, 0.002, 0.0, 0.002]}
    _plot_errors(axes, z, sets, 'DFT', dict.fromkeys(sets, {}))
    drawn = [line.get_ydata() for line in axes.get_lines()[1:]]
    assert np.allclose(drawn, [[0, 0, 0, 0], [-1, 1, -1, 1]])


def test_training_curve_from_a_csv_with_gaps(tmp_path):
    file = tmp_path / 'metrics.csv'
    file.write_text('epoch,step,train_mae_meV,validation_mae_meV\n0,10,3.0,\n0,10,,50.0\n1,20,1.0,\n1,20,,20.0\n')
    plot_training({'with long range': file, 'short range only': file}, tmp_path / 'training.png')
    assert (tmp_path / 'training.png').stat().st_size > 10_000


def test_metrics_without_numbers_are_refused(tmp_path):
    file = tmp_path / 'metrics.csv'
    file.write_text('epoch,step\n')
    with pytest.raises(ValueError, match=r'metrics\.csv'):
        plot_training({'run': file}, tmp_path / 'training.png')


def test_gaps_of_many_structures(tmp_path):
    gaps = np.linspace(1.0, 2.0, 40)
    plot_gaps(gaps, tmp_path / 'one.png', direct_gaps=[None, *gaps[1:] + 0.2])
    plot_gaps(gaps, tmp_path / 'several.png', spreads=0.1 * gaps)
    assert (0xD5, 0x5E, 0x00) in colours(tmp_path / 'one.png')
    assert imread(tmp_path / 'several.png').shape[0] > imread(tmp_path / 'one.png').shape[0]
    with pytest.raises(ValueError, match='no gap'):
        plot_gaps([], tmp_path / 'none.png')


def test_names_along_a_path_do_not_overlap(bands):
    """A cell that is long along one axis has special points close to each other, and so have the jumps of a layer."""
    n_points = len(bands.kpoints)
    middle, distances = n_points // 2, np.linspace(0, 1, n_points)
    labels = dict.fromkeys(range(n_points), '')
    labels |= {0: 'GAMMA', middle: 'X', middle + 1: 'U', middle + 2: 'K', n_points - 1: 'Z'}

    def rows():
        path = Bands(bands.kpoints, bands.eigenvalues, tuple(labels.values()), distances=distances)
        return [('|'.join(tick.names), tick.row) for tick in path_ticks(path)]

    assert rows() == [('Γ', 0), ('X', 0), ('U', 0), ('K', 0), ('Z', 0)]
    distances[middle + 1] = distances[middle] + 0.001
    assert rows() == [('Γ', 0), ('X', 0), ('U', 1), ('K', 0), ('Z', 0)]
    distances[middle + 2] = distances[middle] + 0.002
    assert rows() == [('Γ', 0), ('X', 0), ('U', 1), ('K', 2), ('Z', 0)]
    distances[middle + 3 :] = np.linspace(distances[middle] + 0.003, 1, n_points - middle - 3)
    labels[middle + 3] = 'W'
    assert rows() == [('Γ', 0), ('X', 0), ('U', 1), ('K', 2), ('', 0), ('Z', 0)]
    # two jumps: A|L and M|H
    distances = np.repeat([0.0, 0.5, 0.53, 1.0], [1, 2, 2, 1])
    path = Bands(np.zeros((6, 3)), np.zeros((1, 6, 1)), ('GAMMA', 'A', 'L', 'M', 'H', 'Z'), distances=distances)
    assert [(tick.names, tick.row) for tick in path_ticks(path)][1:3] == [(('A', 'L'), 0), (('M', 'H'), 1)]
    assert [tick.row for tick in path_ticks(path, 20.0)] == [0, 0, 0, 0]
    distances[3:5] = 0.6
    assert [tick.row for tick in path_ticks(path)] == [0, 0, 0, 0]
    assert [tick.row for tick in path_ticks(path, 2.0)] == [0, 0, 1, 0]


def test_names_of_users_are_no_markup(bands, tmp_path):
    assert [split_index(name) for name in ('X', 'SIGMA_0', 'LONG_A', 'X_', '$X_1')] == [
        ('X', ''),
        ('SIGMA', '0'),
        ('LONG_A', ''),
        ('X_', ''),
        ('$X_1', ''),
    ]
    labels = dict.fromkeys(range(len(bands.kpoints)), '') | {0: '$X_$', 5: '$', 6: r'X_1', 7: '$\\frac'}
    path = Bands(bands.kpoints, bands.eigenvalues, tuple(labels.values()), distances=bands.distances)
    plot_bands([path], tmp_path / 'bands.png')
    assert (tmp_path / 'bands.png').is_file()


def test_edges_that_agree_are_not_blown_up(tmp_path):
    properties = Properties(
        ['C'],
        np.zeros((1, 3)),
        layer_heights=np.arange(3.0),
        layer_valence_edges=-8.3260243 + 1e-8 * np.arange(3),
        layer_conduction_edges=-8.3260243 + 1e-8 * np.arange(3),
    )
    figures = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('matplotlib.figure.Figure.savefig', lambda figure, *_, **__: figures.append(figure))
        plot_layers(properties, tmp_path / 'layers.png')
    low, high = figures[0].axes[0].get_ylim()
    assert high - low == pytest.approx(0.1)
