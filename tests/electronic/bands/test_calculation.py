"""All that follows from one Hamiltonian, in one call."""

import json
from dataclasses import replace

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.layers import plane_distance
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.plotting.properties import plot_planes

OPTIONS = PropertyOptions(kpoints=(3, 3, 3), spacing=0.2)


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende):
    return make_hamiltonian(zincblende())


def test_gap_alone_needs_neither_path_nor_density_matrix(hamiltonian):
    found = compute_properties(hamiltonian, ['gap'], OPTIONS)
    assert found.bands is None and found.properties is None
    assert 'density_matrix' not in vars(found.mesh)
    scalars = found.scalars
    assert json.loads(json.dumps(scalars)) == scalars
    assert scalars['gap_eV'] == pytest.approx(scalars['cbm_eV'] - scalars['vbm_eV'])
    assert (scalars['vbm_band'], scalars['cbm_band']) == (3, 4)
    for edge in ('vbm', 'cbm'):
        levels = eigenvalues(hamiltonian, np.array([scalars[f'{edge}_kpoint']]))
        assert levels[0, scalars[f'{edge}_band']] == pytest.approx(scalars[f'{edge}_eV'])
    levels = eigenvalues(hamiltonian, np.array([scalars['direct_gap_kpoint']]))[0]
    assert levels[4] - levels[3] == pytest.approx(scalars['direct_gap_eV'])


def test_one_mesh_serves_all(hamiltonian):
    found = compute_properties(hamiltonian, ['bands', 'dos', 'profile'], OPTIONS)
    alone = compute_properties(hamiltonian, ['gap'], OPTIONS).scalars
    assert found.scalars['gap_eV'] <= alone['gap_eV']
    assert found.scalars['gap_eV'] == found.bands.attributes.gap
    step = np.diff(found.properties.dos_energies)[0]
    assert found.properties.dos.sum() * step == pytest.approx(2 * found.mesh.eigenvalues.shape[1], rel=1e-4)
    assert found.properties.potential is not None and found.properties.charges is None


def test_recorded_averages_of_the_potential_are_in_the_profile(hamiltonian, tmp_path):
    """A wave of the period of the cell along one axis: its macroscopic average is a factor sin(x) / x."""
    wave = np.cos(2 * np.pi * np.arange(40) / 40)
    hamiltonian.attributes.planar_potentials = [[0.0] * 30, (2.0 + wave).tolist(), [0.0] * 24]
    length = plane_distance(hamiltonian.atoms, 1)
    options = replace(OPTIONS, axis=1, period=0.25 * length)
    properties = compute_properties(hamiltonian, ['profile'], options).properties
    properties.write(tmp_path / 'properties.h5')
    properties = Properties.read(tmp_path / 'properties.h5')
    assert properties.attributes['axis'] == 1
    assert properties.plane_heights == pytest.approx(np.arange(40) / 40 * length)
    assert properties.planar_potential == pytest.approx(2.0 + wave)
    x = 0.25 * np.pi
    assert properties.macroscopic_potential == pytest.approx(2.0 + np.sin(x) / x * wave)
    assert plot_planes(properties, tmp_path / 'potential.png').stat().st_size > 5000


def test_metal_has_all_but_band_edges_by_layer(make_hamiltonian, zincblende):
    metal = make_hamiltonian(zincblende(), n_electrons=7)
    found = compute_properties(metal, ['dos', 'layers'], OPTIONS)
    assert found.properties.dos is not None and found.properties.layer_heights is None
    assert found.warnings == ['no band edges by layer: there is no gap']
    with pytest.raises(ValueError, match='there is no gap on the mesh; leave out layers'):
        compute_properties(metal, ['layers'], OPTIONS)
