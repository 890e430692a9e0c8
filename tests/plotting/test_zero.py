"""Zeros of energy."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.kpoints import band_path
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.plotting.bands import plot_bands
from aiida_hamlr.plotting.zero import ZEROS, Levels, energy_label


def test_choices():
    """Every choice is its level; a band edge is the Fermi level where there is no gap."""
    insulator, metal = Levels(vbm=1.0, fermi=2.0, vacuum=5.0), Levels(fermi=2.0)
    assert [insulator.of(choice) for choice in ZEROS] == [1.0, 1.0, 2.0, 5.0, 0.0]
    assert metal.of('edge') == 2.0 and Levels().of('edge') == 0.0
    for choice in ('vbm', 'vacuum', 'top'):
        with pytest.raises(ValueError, match=choice):
            metal.of(choice)
    assert 'VBM' in energy_label('vbm') and energy_label('none') == 'Energy (eV)'


def test_windows_reach_above_the_conduction_band_minimum():
    semiconductor, insulator, metal = Levels(-5.0, -4.0, 1.0, -3.0), Levels(-5.0, None, 1.0, 5.0), Levels(None, 2.0)
    assert semiconductor.window('edge', 7.0) == metal.window('edge', 7.0) == (-7.0, 7.0)
    assert insulator.window('edge', 7.0) == (-7.0, 13.5)
    assert insulator.window('none', 7.0) == (-12.0, 8.5)
    assert insulator.window('vacuum', 7.0) == (-13.0, 7.5)
    assert semiconductor.window('fermi', 7.0) == (-8.0, 6.0)
    assert Levels().window('none', 8.0) == (-8.0, 8.0)


def test_files_of_each_format(make_hamiltonian, zincblende, tmp_path):
    """The suffix says what is written; twice the same is the same file, and unknown suffixes leave nothing."""
    hamiltonian = make_hamiltonian(zincblende())
    bands = Bands.on_path(hamiltonian, band_path(hamiltonian.atoms, 0.4), solve_mesh(hamiltonian, (2, 2, 2)))
    beginnings = {'png': b'\x89PNG', 'svg': b'<?xml', 'pdf': b'%PDF'}
    for suffix, beginning in beginnings.items():
        path = plot_bands([bands], tmp_path / f'bands.{suffix}', zero='vacuum', vacuum_levels=[1.0])
        content = path.read_bytes()
        assert content.startswith(beginning)
        if suffix != 'pdf':
            assert plot_bands([bands], path, zero='vacuum', vacuum_levels=[1.0]).read_bytes() == content
    with pytest.raises(ValueError, match=r'\.png, \.svg, \.pdf'):
        plot_bands([bands], tmp_path / 'bands.jpg')
    with pytest.raises(ValueError, match='vacuum level is known only'):
        plot_bands([bands], tmp_path / 'other.png', zero='vacuum')
    assert {path.name for path in tmp_path.iterdir()} == {f'bands.{suffix}' for suffix in beginnings}


def test_bands_count_from_the_zero(make_hamiltonian, zincblende):
    """The highest occupied state lies at zero by default, and where it is stored without a zero."""
    from matplotlib.figure import Figure

    from aiida_hamlr.plotting.bands import draw_bands

    hamiltonian = make_hamiltonian(zincblende())
    bands = Bands.on_path(hamiltonian, band_path(hamiltonian.atoms, 0.4), solve_mesh(hamiltonian, (2, 2, 2)))
    tops = {}
    for zero in ('edge', 'none'):
        axes = Figure().subplots()
        draw_bands(axes, [bands], (-5.0, 5.0), zero=zero)
        energies = np.concatenate([line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) > 2])
        limit = bands.attributes.fermi_level - (bands.attributes.vbm if zero == 'edge' else 0.0)
        tops[zero] = energies[energies < limit].max()
    assert tops['edge'] == pytest.approx(0.0, abs=1e-9)
    assert tops['none'] == pytest.approx(bands.attributes.vbm, abs=1e-9)


def test_properties_know_the_levels_of_their_bands(make_hamiltonian, zincblende):
    """A density of states counts from the energy of the bands beside it; that of earlier files from the Fermi level."""
    found = compute_properties(make_hamiltonian(zincblende()), ('gap', 'bands', 'dos'), PropertyOptions(spacing=0.4))
    levels = Levels.of_properties(found.properties)
    assert levels == Levels.of_bands(found.bands) and levels.resolve('edge') == 'vbm'
    del found.properties.attributes['vbm_eV'], found.properties.attributes['gap_eV']
    assert Levels.of_properties(found.properties).resolve('edge') == 'fermi'
