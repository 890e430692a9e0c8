"""Shares of orbitals in states, and the densities of states made of them, against sisl on the same matrices."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.density_of_states import density_of_states
from aiida_hamlr.electronic.bands.derivatives import HBAR, band_velocities
from aiida_hamlr.electronic.bands.kspace import eigenvectors
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.projections import orbital_groups, project_states, sum_groups, to_polar_z

KPOINTS = np.array([[0.0, 0.0, 0.0], [0.13, -0.21, 0.34]])


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende):
    atoms = zincblende()
    atoms.rattle(0.08, seed=2)
    return make_hamiltonian(atoms)


def to_sisl(hamiltonian):
    """The matrices as sisl holds them, orbital by orbital, without a format in between."""
    sisl = pytest.importorskip('sisl')
    geometry = sisl.Geometry(
        hamiltonian.atoms.positions,
        [sisl.Atom(symbol, [-1.0] * 4) for symbol in hamiltonian.symbols],
        lattice=sisl.Lattice(hamiltonian.atoms.cell[:], nsc=[11, 11, 11]),
    )
    result = sisl.Hamiltonian(geometry, orthogonal=False)
    pattern = hamiltonian.pattern
    offsets = pattern.orbital_offsets
    for pair, (*image, i, j) in enumerate(pattern.atom_pairs.tolist()):
        H, S = (pattern.block(each, pair) for each in (hamiltonian.hamiltonian, hamiltonian.overlap))
        shift = geometry.sc_index(image) * geometry.no
        for a in range(H.shape[0]):
            for b in range(H.shape[1]):
                result[offsets[i] + a, offsets[j] + b + shift] = H[a, b], S[a, b]
    return result


def test_harmonics_get_z_as_their_polar_axis():
    from aiida_hamlr.electronic.integrals.harmonics import real_harmonics

    points = np.random.default_rng(0).normal(size=(7, 3))
    x, y, z = (points / np.linalg.norm(points, axis=1, keepdims=True)).T
    p, d = (real_harmonics(l, points) @ to_polar_z(l).T for l in (1, 2))
    for found, expected in zip(p.T, (z, x, y), strict=True):
        assert found / found[0] == pytest.approx(expected / expected[0])
    expected = (3 * z**2 - 1, x * z, y * z, x**2 - y**2, x * y)
    for found, wanted in zip(d.T, expected, strict=True):
        assert found / found[0] == pytest.approx(wanted / wanted[0])
    assert to_polar_z(3) @ to_polar_z(3).T == pytest.approx(np.eye(7))


@pytest.mark.parametrize('kind', ['species', 'shell', 'm', 'atom', 'orbital'])
def test_shares_of_a_state_sum_to_one(hamiltonian, kind):
    _, states = eigenvectors(hamiltonian, KPOINTS)
    groups, shares = project_states(hamiltonian, KPOINTS, states, kind)
    assert shares.shape == (2, 8, {'species': 2, 'shell': 4, 'm': 8, 'atom': 2, 'orbital': 8}[kind])
    assert shares.sum(axis=-1) == pytest.approx(np.ones((2, 8)))
    assert len(set(group.label for group in groups)) == len(groups)
    if kind in ('species', 'shell'):
        fine, parts = project_states(hamiltonian, KPOINTS, states, 'orbital')
        coarse, summed = sum_groups(fine, parts, kind)
        assert coarse == groups and summed == pytest.approx(shares)


def test_unknown_projection_is_refused(hamiltonian):
    with pytest.raises(ValueError, match="projection 'element': choose species"):
        orbital_groups(hamiltonian, 'element')


def test_density_of_states_and_velocities_are_those_of_sisl(hamiltonian):
    reference = to_sisl(hamiltonian)
    sigma, mesh = 0.1, (2, 2, 2)
    found = density_of_states(hamiltonian, mesh, sigma, projection='orbital')
    solution = solve_mesh(hamiltonian, mesh)
    total, projected = np.zeros(len(found.energies)), np.zeros((8, len(found.energies)))
    # sisl takes 1 / sqrt(pi) s exp(-(x / s)^2)
    from sisl.physics import get_distribution

    gaussian = get_distribution('gaussian', smearing=sigma)
    for kpoint, weight in zip(solution.kpoints, solution.weights, strict=True):
        state = reference.eigenstate(kpoint, gauge='lattice')
        total += 2 * weight * state.DOS(found.energies, gaussian)
        projected += 2 * weight * state.PDOS(found.energies, gaussian)[0]
    assert found.values == pytest.approx(total, abs=1e-6)
    # per atom: s, pz, px, py against s, px, py, pz
    order = [0, 3, 1, 2, 4, 7, 5, 6]
    assert found.projected[0] == pytest.approx(projected[order], abs=1e-6)
    assert found.projected.sum(axis=(0, 1)) == pytest.approx(found.values)
    slopes = band_velocities(hamiltonian, KPOINTS[1:])[0]
    velocities = reference.eigenstate(KPOINTS[1], gauge='lattice').velocity()
    assert slopes / HBAR * 1e-12 == pytest.approx(np.asarray(velocities).real.T, rel=1e-6, abs=1e-3)


def test_tetrahedra_and_narrow_gaussians_count_the_same_states(hamiltonian):
    kwargs = {'mesh': (4, 4, 4), 'projection': 'species'}
    tetrahedra = density_of_states(hamiltonian, method='tetrahedra', broadening=0.05, **kwargs)
    gaussian = density_of_states(hamiltonian, broadening=0.05, **kwargs)
    assert tetrahedra.integrated[-1] == pytest.approx(16, rel=2e-3)
    assert tetrahedra.projected[0].sum(axis=1) == pytest.approx(gaussian.projected[0].sum(axis=1), rel=5e-3)
    with pytest.raises(ValueError, match='choose gaussian or tetrahedra'):
        density_of_states(hamiltonian, (2, 2, 2), method='tetra')
