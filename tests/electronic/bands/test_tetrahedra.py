"""The tetrahedron method against free electrons, where the density of states is known, and ASE."""

import numpy as np
import pytest
from ase.dft.dos import linear_tetrahedron_integration

from aiida_hamlr.electronic.bands.tetrahedra import mesh_tetrahedra, tetrahedron_weights
from aiida_hamlr.electronic.lattice import reciprocal

CELL = np.array([[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.0]])


def cosine_bands(mesh):
    k = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing='ij'), -1).reshape(-1, 3)
    first = -np.cos(2 * np.pi * k).sum(axis=1)
    return np.stack([first, 4 + 0.3 * first - 0.4 * np.cos(2 * np.pi * (k[:, 0] - k[:, 1]))], axis=1)


def test_tetrahedra_fill_the_mesh_evenly():
    tetrahedra = mesh_tetrahedra((3, 4, 2), np.diag([1.0, 1.2, 3.0]))
    assert tetrahedra.shape == (6 * 24, 4)
    assert np.array_equal(np.bincount(tetrahedra.ravel()), np.full(24, 24))


def test_number_of_states_is_kept():
    mesh, energies = (6, 5, 4), np.arange(-4.0, 7.0, 0.01)
    levels = np.concatenate([cosine_bands(mesh), np.full((120, 1), 1.234)], axis=1)
    weights = tetrahedron_weights(levels, mesh_tetrahedra(mesh, reciprocal(CELL)), energies)
    assert weights.sum() * 0.01 == pytest.approx(3.0, abs=2e-3)
    # A flat band is a peak of one state.
    flat = np.asarray(weights.sum(axis=0)).reshape(-1, 3)[:, 2]
    assert flat.sum() * 0.01 == pytest.approx(1.0, abs=1e-9)


def test_weights_agree_with_ase():
    mesh, energies = (4, 4, 4), np.linspace(-2.9, 5.5, 60)
    levels = cosine_bands(mesh)
    rng = np.random.default_rng(0)
    values = rng.random((64, 2))
    weights = tetrahedron_weights(levels, mesh_tetrahedra(mesh, reciprocal(CELL)), energies)
    found = weights @ values.ravel()
    expected = linear_tetrahedron_integration(
        CELL, levels.reshape(*mesh, 2), energies, weights=values.reshape(*mesh, 2)
    )
    # ASE cuts about another diagonal: the two agree as far as both converge.
    assert (
        np.abs(weights.sum(axis=1) - linear_tetrahedron_integration(CELL, levels.reshape(*mesh, 2), energies)).max()
        < 0.1
    )
    assert np.trapezoid(found, energies) == pytest.approx(np.trapezoid(expected, energies), rel=0.01)


def test_free_electrons():
    """Density of states of a parabola: ``sqrt(e) / (4 pi^2 a^(3/2))`` per volume for e = a k^2."""
    mesh, cell, a = (24, 24, 24), np.eye(3), 1.0
    k = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing='ij'), -1).reshape(-1, 3)
    k = (k - np.round(k)) @ reciprocal(cell)
    energies = np.linspace(0.0, 6.0, 61)
    weights = tetrahedron_weights((k**2).sum(axis=1)[:, None] * a, mesh_tetrahedra(mesh, reciprocal(cell)), energies)
    expected = np.sqrt(energies) / (4 * np.pi**2 * a**1.5)
    assert np.asarray(weights.sum(axis=1))[10:] == pytest.approx(expected[10:], rel=0.03)
