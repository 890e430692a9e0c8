"""States around the gap: the dense ones, none missed, at every k and with every solver."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.factorisation import available_solvers
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues
from aiida_hamlr.electronic.bands.near_gap import states_around

GENERAL = (0.13, 0.21, 0.31)
SOLVERS = available_solvers()


def dense(hamiltonian, kpoint):
    return eigenvalues(hamiltonian, np.array([kpoint]))[0]


@pytest.mark.parametrize('solver', SOLVERS)
@pytest.mark.parametrize('kpoint', [(0, 0, 0), GENERAL])
def test_levels_around_the_gap_are_the_dense_ones(rod, solver, kpoint):
    expected = dense(rod, kpoint)
    n_occupied = int(rod.n_electrons / 2)
    found = states_around(rod, 16, kpoint=kpoint, solver=solver)
    assert found.first < n_occupied < found.first + 16
    assert np.abs(found.energies - expected[found.first : found.first + 16]).max() < 1e-9
    assert np.allclose(found.edges, expected[n_occupied - 1 : n_occupied + 1], atol=1e-9)
    H, S = (bloch_matrices(rod.pattern, m, np.array([kpoint]))[0] for m in (rod.hamiltonian, rod.overlap))
    assert np.abs(H @ found.states - S @ found.states * found.energies).max() < 1e-6
    assert np.abs(found.states.conj().T @ S @ found.states - np.eye(16)).max() < 1e-9


@pytest.mark.parametrize('solver', SOLVERS)
def test_shift_that_is_a_level(rod, solver):
    expected = dense(rod, (0, 0, 0))
    found = states_around(rod, 8, energy=expected[100], solver=solver)
    assert found.first <= 100 < found.first + 8
    assert np.abs(found.energies - expected[found.first : found.first + 8]).max() < 1e-9


def test_degenerate_edges(make_hamiltonian, zincblende):
    """The valence band maximum of the crystal is threefold, levels folded to Gamma are many times degenerate."""
    perfect = make_hamiltonian(zincblende(cubic=True) * (2, 2, 2))
    expected = dense(perfect, (0, 0, 0))
    n_occupied = int(perfect.n_electrons / 2)
    assert np.ptp(expected[n_occupied - 3 : n_occupied]) < 1e-9
    found = states_around(perfect, 12)
    assert np.abs(found.energies - expected[found.first : found.first + 12]).max() < 1e-9
    assert np.allclose(found.edges, expected[n_occupied - 1 : n_occupied + 1], atol=1e-9)


@pytest.mark.parametrize('n_electrons', [161, 150])
def test_metal(rod, n_electrons):
    """Levels at the Fermi level, by their numbers; one of them half filled."""
    metal = rod
    recorded = metal.attributes.n_electrons
    metal.attributes.n_electrons = float(n_electrons)
    try:
        found = states_around(metal, 12)
        attributes = found.attributes(metal)
    finally:
        metal.attributes.n_electrons = recorded
    expected = dense(rod, (0, 0, 0))
    edges = expected[(n_electrons + 1) // 2 - 1], expected[n_electrons // 2]
    assert np.allclose(found.edges, edges, atol=1e-9)
    assert attributes.fermi_level == pytest.approx(np.mean(edges), abs=1e-9)
    assert (attributes.gap is None) == (n_electrons % 2 == 1)


def test_what_does_not_fit_is_refused_with_numbers(rod):
    with pytest.raises(ValueError, match=r'0 GB that memory_limit leaves \(lapack: .* GB, .* TFLOP'):
        states_around(rod, 8, memory_limit=1e-3)


def test_window_without_the_edges_has_no_gap(rod):
    found = states_around(rod, 4, energy=float(dense(rod, (0, 0, 0))[5]))
    attributes = found.attributes(rod)
    assert attributes.gap is None and attributes.fermi_level is None
    with pytest.raises(ValueError, match='do not include both edges'):
        found.edges  # noqa: B018


def test_gap_of_a_large_structure_needs_no_other_bands(rod, monkeypatch):
    options = PropertyOptions(kpoints=(1, 1, 1))
    expected = compute_properties(rod, ['gap'], options).scalars
    monkeypatch.setattr('aiida_hamlr.electronic.bands.calculation.LARGEST_DENSE', 10)
    monkeypatch.setattr('aiida_hamlr.electronic.bands.calculation.solve_mesh', None)
    found = compute_properties(rod, ['gap'], options).scalars
    for key in ('gap_eV', 'direct_gap_eV', 'vbm_eV', 'cbm_eV', 'fermi_level_eV'):
        assert found[key] == pytest.approx(expected[key], abs=1e-9)
