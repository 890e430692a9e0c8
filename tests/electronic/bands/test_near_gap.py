"""States around the gap: the dense ones, none missed, at every k and with every solver, with and without spin."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.factorisation import available_solvers
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues, eigenvectors
from aiida_hamlr.electronic.bands.near_gap import states_around
from aiida_hamlr.electronic.bands.spinors import spin_expectation

GENERAL = (0.13, 0.21, 0.31)
SOLVERS = available_solvers()


def dense(hamiltonian, kpoint):
    return eigenvalues(hamiltonian, np.array([kpoint]))[..., 0, :]


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
    assert attributes.gap == (0.0 if n_electrons % 2 else pytest.approx(edges[1] - edges[0], abs=1e-9))


def test_what_does_not_fit_is_refused_with_numbers(rod):
    with pytest.raises(ValueError, match=r'memory_limit leaves nothing for .* \(lapack: .* GB, .* TFLOP'):
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


def antisymmetric(hamiltonian, scale):
    """An arbitrary spin-orbit part, eV."""
    coupling = np.random.default_rng(3).normal(scale=scale, size=(3, hamiltonian.pattern.n_entries))
    coupling[:, np.abs(hamiltonian.overlap) < 1e-3] = 0.0
    return 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])


def spinful(hamiltonian, exchange=None, coupling=None):
    """The Hamiltonian with an exchange field (eV) of alternating sign from atom to atom, or with a spin-orbit part."""
    result = copy(hamiltonian)
    result.matrices = dict(hamiltonian.matrices)
    if exchange is not None:
        signs = (-1.0) ** np.arange(len(hamiltonian.atoms))
        first, second = hamiltonian.pattern.first, hamiltonian.pattern.second
        field = np.repeat(
            0.5 * exchange * (signs[first] + signs[second]), np.diff(hamiltonian.pattern.chunk_boundaries)
        )
        field = field * hamiltonian.overlap
        result.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian - field, hamiltonian.hamiltonian + field])
    if coupling is not None:
        result.matrices['spin_orbit'] = coupling
    return result


@pytest.fixture(scope='module', params=[(0, 0, 0), GENERAL])
def spinors(rod, request):
    """k-point, a Hamiltonian with a spin-orbit part, its levels there and their spins."""
    both = spinful(rod, coupling=antisymmetric(rod, 0.02))
    energies, states = eigenvectors(both, np.array([request.param]))
    overlap = bloch_matrices(rod.pattern, rod.overlap, np.array([request.param]))
    return request.param, both, energies[0], spin_expectation(states, overlap)[0]


@pytest.mark.parametrize('solver', SOLVERS)
def test_spinors(spinors, solver):
    """Kramers pairs at Gamma, single levels with the spins of the dense states at a general k without inversion."""
    kpoint, both, expected, spins = spinors
    n_occupied = round(both.n_electrons)
    found = states_around(both, 16, kpoint=kpoint, solver=solver)
    here = slice(found.first, found.first + 16)
    assert found.first < n_occupied < found.first + 16
    assert np.abs(found.energies - expected[here]).max() < 1e-9
    assert np.allclose(found.edges, expected[n_occupied - 1 : n_occupied + 1], atol=1e-9)
    if kpoint == GENERAL:
        np.testing.assert_allclose(found.spins, spins[:, here], atol=1e-5)
    else:
        assert np.abs(np.diff(expected.reshape(-1, 2), axis=1)).max() < 1e-9
    bands = found.bands(both)
    assert bands.electrons_per_band == 1 and bands.spins.shape == (1, 3, 16)


def test_kramers_pairs_of_a_perfect_crystal(make_hamiltonian, zincblende):
    """Without coupling every level is twice as degenerate as without spin; larger blocks find all partners."""
    perfect = make_hamiltonian(zincblende(cubic=True) * (2, 2, 1))
    twice = spinful(perfect, coupling=np.zeros((3, perfect.pattern.n_entries)))
    expected = np.repeat(dense(perfect, (0, 0, 0)), 2)
    found = states_around(twice, 24)
    assert np.abs(found.energies - expected[found.first : found.first + 24]).max() < 1e-9


@pytest.mark.parametrize('kpoint', [(0, 0, 0), GENERAL])
def test_collinear_spins_come_together(rod, kpoint):
    """Levels of both spins in order, one electron each, their spins along z."""
    magnet = spinful(rod, exchange=0.7)
    up, down = dense(magnet, kpoint)
    together = np.concatenate([up, down])
    order = np.argsort(together)
    found = states_around(magnet, 15, kpoint=kpoint)
    here = order[found.first : found.first + 15]
    assert np.abs(found.energies - together[here]).max() < 1e-9
    np.testing.assert_allclose(found.spins[2], np.where(here < len(up), 1, -1), atol=1e-9)
    lowest = found.energies[0] - 1e-7
    assert found.below == ((up < lowest).sum(), (down < lowest).sum())
    n_electrons = round(rod.n_electrons)
    occupied = order[:n_electrons] < len(up)
    assert found.magnetization == occupied.sum() - (~occupied).sum()
    assert np.allclose(found.edges, together[order[n_electrons - 1 : n_electrons + 1]], atol=1e-9)


@pytest.mark.parametrize('axis', [None, [0.36, 0.48, -0.8]])
def test_exchange_and_spin_orbit_coupling_together(rod, axis):
    both = spinful(rod, exchange=0.7, coupling=antisymmetric(rod, 0.02))
    both.attributes = replace(rod.attributes, magnetization_axis=axis)
    found = states_around(both, 12, kpoint=GENERAL)
    expected = dense(both, GENERAL)
    assert np.abs(found.energies - expected[found.first : found.first + 12]).max() < 1e-9


@pytest.mark.parametrize('kind', ['collinear', 'spinors'])
def test_gap_of_a_large_structure_with_spin(rod, monkeypatch, kind):
    """The levels beside the gap are those of both spins together, or of spinors, at Gamma."""
    coupling = antisymmetric(rod, 0.02) if kind == 'spinors' else None
    one = spinful(rod, 0.7 if kind == 'collinear' else None, coupling)
    n_electrons = round(rod.n_electrons)
    expected = np.sort(dense(one, (0, 0, 0)), axis=None)[n_electrons - 1 : n_electrons + 1]
    monkeypatch.setattr('aiida_hamlr.electronic.bands.calculation.LARGEST_DENSE', 10)
    monkeypatch.setattr('aiida_hamlr.electronic.bands.calculation.solve_mesh', None)
    found = compute_properties(one, ['gap'], PropertyOptions(kpoints=(1, 1, 1))).scalars
    np.testing.assert_allclose([found['vbm_eV'], found['cbm_eV']], expected, atol=1e-9)
    assert found.get('magnetization_muB') == (0.0 if kind == 'collinear' else None)
