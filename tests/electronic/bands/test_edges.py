"""Band edges of mesh and path together against the whole path."""

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands import edges
from aiida_hamlr.electronic.bands.band_structure import band_edges, band_structure
from aiida_hamlr.electronic.bands.edges import find_edges
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis


@pytest.mark.parametrize('repeat', [(1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize('mesh', [(1, 1, 1), (3, 3, 3), (2, 2, 2)])
def test_edges_are_those_of_the_whole_path(make_hamiltonian, zincblende, mesh, repeat):
    atoms = zincblende().repeat(repeat)
    atoms.rattle(0.15, seed=3)
    hamiltonian = make_hamiltonian(atoms)
    solution = solve_mesh(hamiltonian, mesh)
    found, whole = find_edges(hamiltonian, solution), band_structure(hamiltonian, mesh=solution).attributes
    for name in ('vbm', 'cbm', 'gap', 'direct_gap', 'fermi_level'):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), abs=1e-9), name
    # The edges are levels at the k-points that are named.
    levels = eigenvalues(hamiltonian, np.array([found.vbm_kpoint, found.cbm_kpoint]))
    assert levels[0, found.vbm_band] == pytest.approx(found.vbm, abs=1e-9)
    assert levels[1, found.cbm_band] == pytest.approx(found.cbm, abs=1e-9)


def test_points_of_the_mesh_are_not_solved_again(make_hamiltonian, zincblende, monkeypatch):
    """Levels at points of the path that the mesh has are those of the mesh, also at -k and beyond the first zone."""
    atoms = zincblende()
    atoms.rattle(0.15, seed=3)
    hamiltonian = make_hamiltonian(atoms)
    solution = solve_mesh(hamiltonian, (2, 4, 2))
    points = np.array([[0, 0.25, 0.5], [0, -0.25, -0.5], [1, 1.25, -0.5], [0.1, 0, 0], [0, 0, 0]])
    found = edges._levels_on_mesh(solution, points, 5)
    assert sorted(found) == [0, 1, 2, 4]
    for index, levels in found.items():
        np.testing.assert_allclose(levels, eigenvalues(hamiltonian, points[index, None], n_bands=5)[0], atol=1e-10)
    solved = []

    def record(hamiltonian, kpoints, *settings):
        solved.extend(kpoints)
        return eigenvalues(hamiltonian, kpoints, *settings)

    monkeypatch.setattr(edges, 'eigenvalues', record)
    find_edges(hamiltonian, solution)
    assert not edges._levels_on_mesh(solution, np.array(solved), 5)


def chain(*hoppings: tuple[float, float], n_electrons: float) -> Hamiltonian:
    """Chain with the hoppings t and s in turn, of each spin if two pairs are given.

    The bands are +-sqrt(t2 + s2 + 2 t s cos k). Their gap at the zone boundary is 2 |t - s|.
    """
    basis = Basis({'H': SpeciesBasis('H', 0.1, (Shell(0, 4.0, np.ones(41)),))})
    pairs = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [-1, 0, 0, 0, 1], [1, 0, 0, 1, 0]]
    pattern = BlockPattern(np.array(pairs), np.array([1, 1]))
    order = [pairs.index(row) for row in pattern.atom_pairs.tolist()]
    matrices = {
        'overlap': np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])[order],
        'hamiltonian': np.array([[0.0, 0.0, t, t, s, s] for t, s in hoppings])[:, order],
    }
    if len(hoppings) == 1:
        matrices['hamiltonian'] = matrices['hamiltonian'][0]
    atoms = Atoms('H2', positions=[[0, 0, 0], [1.5, 0, 0]], cell=[3.2, 8.0, 9.0], pbc=True)
    attributes = HamiltonianAttributes(n_electrons=n_electrons, n_spin=len(hoppings))
    return Hamiltonian(atoms, basis, pattern, matrices, attributes=attributes)


@pytest.mark.parametrize('mesh', [(1, 1, 1), (3, 1, 1), (4, 1, 1)])
def test_the_gap_of_a_dimerised_chain_does_not_depend_on_the_mesh(mesh):
    hamiltonian = chain((-1.0, -0.8), n_electrons=2)
    solution = solve_mesh(hamiltonian, mesh)
    found = find_edges(hamiltonian, solution)
    assert found.gap == pytest.approx(0.4, abs=1e-9)
    assert found.direct_gap == pytest.approx(0.4, abs=1e-9)
    assert abs(found.vbm_kpoint[0]) == abs(found.cbm_kpoint[0]) == pytest.approx(0.5)
    # On the mesh alone: sqrt(1.64 + 1.6 cos k) at the k of the mesh next to the boundary.
    nearest = 2 * np.pi * {1: 0, 3: 1 / 3, 4: 1 / 2}[mesh[0]]
    expected = 2 * np.sqrt(1.64 + 1.6 * np.cos(nearest))
    assert band_edges(hamiltonian, solution).gap == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('mesh', [(1, 1, 1), (3, 1, 1), (4, 1, 1)])
def test_each_spin_has_a_gap_of_its_own(mesh):
    """A spin whose bands touch the Fermi level has none, on any mesh; that of the other is that of the path."""
    half_metal = chain((-1.0, -1.0), (-1.0, -0.8), n_electrons=2.05)
    found = find_edges(half_metal, solve_mesh(half_metal, mesh))
    assert found.gap == 0.0 and found.vbm is None
    np.testing.assert_allclose(found.spin_gaps, [0.0, 0.4], atol=1e-9)
    magnet = chain((-1.0, -0.9), (-1.0, -0.8), n_electrons=2)
    found = find_edges(magnet, solve_mesh(magnet, mesh))
    np.testing.assert_allclose([found.gap, *found.spin_gaps], [0.2, 0.2, 0.4], atol=1e-9)


def test_of_large_structures_the_special_points_count(make_hamiltonian, zincblende, monkeypatch):
    hamiltonian = make_hamiltonian(zincblende())
    solution = solve_mesh(hamiltonian, (1, 1, 1))
    monkeypatch.setattr(edges, 'LARGEST_REFINED', 4)
    at_gamma, found = band_edges(hamiltonian, solution), find_edges(hamiltonian, solution)
    whole = band_structure(hamiltonian, mesh=solution).attributes
    assert whole.gap <= found.gap <= at_gamma.gap


def test_metals_and_structures_without_symmetry_have_what_the_mesh_gives(make_hamiltonian, zincblende, monkeypatch):
    metal = make_hamiltonian(zincblende(), n_electrons=7)
    assert find_edges(metal, solve_mesh(metal, (2, 2, 2))).gap == 0.0
    hamiltonian = make_hamiltonian(zincblende())
    solution = solve_mesh(hamiltonian, (3, 3, 3))

    def fail(atoms):
        raise ValueError('no symmetry found')

    monkeypatch.setattr(edges, 'band_path', fail)
    assert find_edges(hamiltonian, solution) == band_edges(hamiltonian, solution)
