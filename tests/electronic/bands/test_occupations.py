"""Fermi level, density matrix, charges, gap and density of states against exact results."""

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands.kpoints import monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.occupations import (
    band_gap,
    density_of_states,
    fermi_level,
    fill_bands,
    mulliken_populations,
    solve_mesh,
)
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis


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


def test_full_polarisation_leaves_a_spin_empty():
    bands = np.array([[[-2.0, 3.0]], [[1.0, 4.0]]])
    filling = fill_bands(bands, uniform(1), 1, magnetization=1.0)
    assert filling.n_occupied == (1, 0)
    gap = band_gap(bands, 1, filling.n_occupied)
    assert (gap.vbm, gap.cbm) == (-2.0, 1.0)
    assert filling.fermi_level == pytest.approx(-0.5)
    assert band_gap(bands, 1, magnetization=1.0) == gap
    with pytest.raises(ValueError, match='-1 electrons do not fit'):
        fill_bands(bands, uniform(1), 1, magnetization=3.0)


def test_too_many_electrons_are_refused():
    with pytest.raises(ValueError, match='5 electrons do not fit into bands that hold 4'):
        fill_bands(np.zeros((1, 2)), uniform(1), 5)


@pytest.mark.parametrize('n_electrons', [8, 7], ids=['insulator', 'metal'])
@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 3, 2)])
def test_trace_of_density_matrix_and_overlap_is_the_number_of_electrons(
    make_hamiltonian, zincblende, n_electrons, mesh
):
    hamiltonian = make_hamiltonian(zincblende(), n_electrons)
    solution = solve_mesh(hamiltonian, mesh)
    density = solution.density_matrix
    assert np.sum(density * hamiltonian.overlap) == pytest.approx(n_electrons, abs=1e-10)
    assert hamiltonian.pattern.asymmetry(density) == 0.0
    populations = mulliken_populations(hamiltonian, density)
    assert populations.sum() == pytest.approx(n_electrons, abs=1e-10)
    # Tr(PH) over the pattern is the band energy.
    band_energy = np.sum(solution.weights[:, None] * solution.filling.occupations * solution.eigenvalues)
    assert np.sum(density * hamiltonian.hamiltonian) == pytest.approx(band_energy, abs=1e-9)


def test_density_matrix_of_the_supercell_is_that_of_the_folded_mesh(make_hamiltonian, zincblende):
    atoms = zincblende()
    folded = solve_mesh(make_hamiltonian(atoms.repeat((2, 1, 1))), (1, 2, 2))
    primitive = solve_mesh(make_hamiltonian(atoms), (2, 2, 2))
    charges = mulliken_populations(make_hamiltonian(atoms), primitive.density_matrix)
    both = mulliken_populations(make_hamiltonian(atoms.repeat((2, 1, 1))), folded.density_matrix)
    assert np.allclose(both, np.tile(charges, 2), atol=1e-9)
    assert folded.filling.fermi_level == pytest.approx(primitive.filling.fermi_level, abs=1e-9)


def test_density_matrix_projects_on_the_occupied_states(make_hamiltonian):
    # A molecule in a large cell has no images: P S P = 2 P for doubly occupied states.
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [0, 0, 2.4]], cell=[15, 15, 15], pbc=True)
    hamiltonian = make_hamiltonian(atoms, 8)
    solution = solve_mesh(hamiltonian, (1, 1, 1))
    rows, columns = hamiltonian.pattern.orbital_indices
    P, S = np.zeros((8, 8)), np.zeros((8, 8))
    P[rows, columns] = solution.density_matrix
    S[rows, columns] = hamiltonian.overlap
    assert np.allclose(P @ S @ P, 2 * P, atol=1e-10)


def test_ghosts_are_counted_and_go_with_a_threshold():
    """Two nearly equal orbitals at -5 eV and an error of -0.03 eV along their difference: a level at -35 eV."""
    basis = Basis({'H': SpeciesBasis('H', 0.1, (Shell(0, 4.0, np.ones(41)), Shell(0, 4.0, np.ones(41), '2s')))})
    pattern = BlockPattern(np.array([[0, 0, 0, 0, 0]]), np.array([2]))
    overlap = np.array([1.0, 0.999, 0.999, 1.0])
    matrices = {'overlap': overlap, 'hamiltonian': -5.0 * overlap - 0.015 * np.array([1.0, -1.0, -1.0, 1.0])}
    atoms = Atoms('H', cell=[9.0, 9.0, 9.0], pbc=True)
    hamiltonian = Hamiltonian(atoms, basis, pattern, matrices, attributes=HamiltonianAttributes(n_electrons=2))
    solution = solve_mesh(hamiltonian, (1, 1, 1))
    assert solution.eigenvalues[0] == pytest.approx([-35.0, -5.0]) and solution.n_ghosts == 1
    solution = solve_mesh(hamiltonian, (1, 1, 1), overlap_threshold=0.002)
    assert solution.eigenvalues[0] == pytest.approx([-5.0]) and solution.n_ghosts == 0
    assert np.sum(solution.density_matrix * overlap) == pytest.approx(2.0)


def test_band_gap_direct_and_indirect():
    bands = np.array([[-1.0, 2.0], [-0.2, 1.5], [-0.5, 1.0]])
    gap = band_gap(bands, 2)
    assert (gap.vbm, gap.cbm, gap.gap) == (-0.2, 1.0, pytest.approx(1.2))
    assert gap.direct_gap == pytest.approx(1.5)
    assert (gap.vbm_index, gap.cbm_index, gap.direct_index) == (1, 2, 2)
    assert not gap.is_direct
    assert band_gap(bands[:, ::-1] * 0 + [[-1, 0]], 3) is None
    assert band_gap(np.array([[0.0, 1.0], [2.0, 3.0]]), 2).gap == 0.0


def test_density_of_states_integrates_to_the_states(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    kpoints, weights = monkhorst_pack((3, 3, 3))
    bands = eigenvalues(hamiltonian, kpoints)
    energies = np.linspace(bands.min() - 2, bands.max() + 2, 4000)
    dos = density_of_states(bands, weights, energies, broadening=0.1)
    assert np.trapezoid(dos, energies) == pytest.approx(2 * bands.shape[1], rel=1e-6)
    middle = solve_mesh(hamiltonian, (3, 3, 3)).filling.fermi_level
    assert np.trapezoid(np.where(energies <= middle, dos, 0), energies) == pytest.approx(8, abs=1e-2)
