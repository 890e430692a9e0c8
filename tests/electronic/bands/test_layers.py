"""Layers, their band edges and offsets, on two crystals side by side that do not interact."""

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands.layers import Layers, layer_edges, macroscopic_average
from aiida_hamlr.electronic.bands.mesh import solve_mesh


def test_layers_wrap_around_the_cell():
    atoms = Atoms('Al4', positions=[[0, 0, 0.1], [1, 1, 9.9], [0, 0, 5.0], [1, 1, 5.2]], cell=[4, 4, 10], pbc=True)
    layers = Layers.of(atoms)
    assert layers.length == pytest.approx(10)
    assert layers.heights == pytest.approx([0.0, 5.1], abs=1e-6)
    assert layers.of_atom.tolist() == [0, 0, 1, 1]
    assert layers.average(np.array([1.0, 3.0, 5.0, 9.0])).tolist() == [2.0, 7.0]
    with pytest.raises(ValueError, match='axis 3'):
        Layers.of(atoms, 3)


def test_offset_is_the_shift_of_one_crystal(make_hamiltonian):
    """Two equal bilayers 8 Å apart, one raised by 0.7 eV: that is the offset of both bands."""
    positions = [[0, 0, 0], [1.4, 1.4, 1.4], [0, 0, 10], [1.4, 1.4, 11.4]]
    atoms = Atoms('AlAsAlAs', positions=positions, cell=[4, 4, 20], pbc=True)
    hamiltonian = make_hamiltonian(atoms)
    raised = np.repeat(hamiltonian.pattern.first >= 2, np.diff(hamiltonian.pattern.chunk_boundaries))
    hamiltonian.matrices['hamiltonian'] = hamiltonian.hamiltonian + 0.7 * raised * hamiltonian.overlap
    mesh = solve_mesh(hamiltonian, (3, 3, 1), n_bands=16)
    if mesh.filling.n_occupied is None:
        pytest.fail('the model has a gap')
    edges = layer_edges(hamiltonian, mesh, Layers.of(atoms))
    assert len(edges.layers.heights) == 4
    assert edges.offsets((-1, 5), (8, 15)) == pytest.approx((0.7, 0.7), abs=1e-9)
    assert (edges.conduction > edges.valence).all()
    with pytest.raises(ValueError, match='no layer between 3 and 4 Å'):
        edges.offsets((3, 4), (8, 15))


def test_macroscopic_average_removes_the_period_of_the_crystal():
    heights = np.arange(40) * 0.5
    layers = Layers(heights, np.arange(40), 20.0)
    wave = np.cos(2 * np.pi * heights / 20)
    z, average = macroscopic_average(layers, wave + 3 * np.cos(np.pi * np.arange(40)), 1.0)
    assert average == pytest.approx(np.cos(2 * np.pi * z / 20), abs=0.02)
    with pytest.raises(ValueError, match='period 30 Å'):
        macroscopic_average(layers, wave, 30)
