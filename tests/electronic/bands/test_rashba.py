"""Linear spin splittings: a model with a known one, mirror images, inversion, and plane waves of the same potential."""

import numpy as np
import pytest
from ase import Atoms
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues, eigenvectors
from aiida_hamlr.electronic.bands.rashba import rashba_parameter, spin_splitting
from aiida_hamlr.electronic.bands.spinors import spin_expectation
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.h0 import structure_matrices
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.spinor_plane_waves import SpinorPlaneWaves

#: Å, Å, Ry: lattice constant and buckling of the layer, cutoff of its density.
SIDE, BUCKLING, ECUTRHO = 4.0, 0.8, 40.0

#: The lowest conduction pair, isolated at Gamma.
BAND = 8

X, Y = (1, 0, 0), (0, 1, 0)

#: Points with k_z = 0, off the mirror planes that contain the normal; a mirror in z leaves them where they are.
KPOINTS = np.array([[0.02, 0.01, 0.0], [0.1, -0.23, 0.0], [-0.31, 0.17, 0.0]])


def layer(buckling: float) -> Atoms:
    """A square layer of AlAs with As above Al, or below if the buckling is negative."""
    positions = [[0, 0, 4 - buckling / 2], [SIDE / 2, SIDE / 2, 4 + buckling / 2]]
    return Atoms('AlAs', positions=positions, cell=[SIDE, SIDE, 8], pbc=True)


@pytest.fixture(scope='module')
def potential(spin_orbit_pseudos, superposition):
    """Function: the local potential of neutral atoms on the FFT grid, eV."""

    def make(atoms: Atoms) -> np.ndarray:
        density = superposition(atoms, spin_orbit_pseudos, fft_grid(atoms.cell[:], ECUTRHO), ECUTRHO)
        return potential_from_density(atoms, density, spin_orbit_pseudos, ECUTRHO)

    return make


@pytest.fixture(scope='module')
def hamiltonian_of(spin_orbit_basis, spin_orbit_pseudos, potential):
    """Function: H of a layer in that potential, with the spin-orbit part."""
    tables = TwoCentreTables(spin_orbit_basis, spin_orbit_pseudos)

    def make(atoms: Atoms) -> Hamiltonian:
        pattern = overlap_pattern(atoms, spin_orbit_basis)
        overlap, fixed = structure_matrices(atoms, tables, pattern)
        matrices = {
            'overlap': overlap,
            'hamiltonian': fixed + local_matrix(atoms, spin_orbit_basis, pattern, potential(atoms)),
            'spin_orbit': tables.spin_orbit_part(atoms, pattern),
        }
        attributes = HamiltonianAttributes(n_electrons=8.0)
        return Hamiltonian(atoms, spin_orbit_basis, pattern, matrices, attributes=attributes)

    return make


@pytest.fixture(scope='module')
def above(hamiltonian_of):
    return hamiltonian_of(layer(BUCKLING))


@pytest.fixture(scope='module')
def below(hamiltonian_of):
    return hamiltonian_of(layer(-BUCKLING))


def with_sign(hamiltonian: Hamiltonian, sign: float) -> Hamiltonian:
    """A copy with H_SO times a factor."""
    matrices = hamiltonian.matrices | {'spin_orbit': sign * hamiltonian.spin_orbit}
    return Hamiltonian(
        hamiltonian.atoms, hamiltonian.basis, hamiltonian.pattern, matrices, attributes=hamiltonian.attributes
    )


def spins_of(hamiltonian: Hamiltonian, kpoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels (nk, nb) and spins (nk, 3, nb) of the filled bands and the pair above them."""
    energies, states = eigenvectors(hamiltonian, kpoints, n_bands=BAND + 2)
    return energies, spin_expectation(states, bloch_matrices(hamiltonian.pattern, hamiltonian.overlap, kpoints))


def finite_step(hamiltonian: Hamiltonian, direction, step: float = 1e-4) -> tuple[float, np.ndarray]:
    """Half the splitting per distance, eV Å, and the spin of the upper branch, next to Gamma."""
    kpoint = step * np.array(direction) @ hamiltonian.atoms.cell[:].T / (2 * np.pi)
    energies, spins = spins_of(hamiltonian, kpoint[None])
    return float(energies[0, BAND + 1] - energies[0, BAND]) / (2 * step), spins[0, :, BAND + 1]


@pytest.mark.parametrize('alpha', [0.7, -0.4])
def test_sign_and_size_of_a_model(make_hamiltonian, alpha):
    """A chain along x with ``H = -alpha sin(k a)/a sigma_y``: alpha (sigma_x k_y - sigma_y k_x)."""
    side = 3.0
    atoms = Atoms('As', positions=[[0, 0, 0]], cell=[side, 20, 20], pbc=True)
    hamiltonian = make_hamiltonian(atoms)
    pattern = hamiltonian.pattern
    rows, columns = pattern.orbital_indices
    along = np.repeat(pattern.images[:, 0], np.diff(pattern.chunk_boundaries))
    lowest = (rows == 0) & (columns == 0)
    coupling = np.zeros((3, pattern.n_entries))
    # -i K_y(k) with K_y(+-R) = -+alpha/2a is -alpha sin(k a)/a.
    coupling[1, lowest] = np.select([along == 1, along == -1], [-0.5, 0.5])[lowest] * alpha / side
    hamiltonian.matrices = {
        'overlap': 1.0 * ((rows == columns) & (along == 0)),
        'hamiltonian': np.where((rows == columns) & (along == 0), 10.0 * rows, 0.0),
        'spin_orbit': coupling,
    }
    found = spin_splitting(hamiltonian, 0, X)
    assert found.slope == pytest.approx(abs(alpha))
    np.testing.assert_allclose(found.spin, [0, -np.sign(alpha), 0], atol=1e-12)
    assert rashba_parameter(hamiltonian, 1, X) == pytest.approx(alpha)
    assert rashba_parameter(hamiltonian, 0, X, normal=(0, 0, -1)) == pytest.approx(-alpha)
    assert rashba_parameter(hamiltonian, 0, X, kpoint=(0.5, 0, 0)) == pytest.approx(-alpha)
    assert spin_splitting(hamiltonian, 0, Y).slope == pytest.approx(0, abs=1e-12)


def test_derivative_is_the_limit_of_finite_steps(above):
    for direction in (X, Y, (0.6, 0.8, 0)):
        found, (slope, spin) = spin_splitting(above, BAND, direction), finite_step(above, direction)
        assert found.slope == pytest.approx(slope, rel=1e-5)
        np.testing.assert_allclose(found.spin, spin, atol=1e-4)


def test_spin_is_perpendicular_to_k_and_to_the_normal(above):
    """By the fourfold axis the parameter is the same along every direction."""
    for direction in (X, Y, (0.6, 0.8, 0)):
        spin = spin_splitting(above, BAND, direction).spin
        perpendicular = np.cross(direction, (0, 0, 1))
        assert abs(spin @ perpendicular) == pytest.approx(np.linalg.norm(spin)) and np.linalg.norm(spin) > 0.9
        assert rashba_parameter(above, BAND, direction) == pytest.approx(rashba_parameter(above, BAND, X), abs=1e-6)
    assert abs(rashba_parameter(above, BAND, X)) > 0.5


def test_mirror_image_reverses_the_spins_in_the_plane(above, below):
    """Spin is an axial vector: a mirror in z leaves its z component at the same k, and reverses the others."""
    energies, spins = spins_of(above, KPOINTS)
    mirrored, images = spins_of(below, KPOINTS)
    np.testing.assert_allclose(mirrored, energies, atol=1e-8)
    assert np.diff(energies, axis=1).min() > 1e-5 and np.abs(spins[:, :2]).max() > 0.5
    np.testing.assert_allclose(images, spins * np.array([-1, -1, 1])[:, None], atol=1e-6)
    assert rashba_parameter(below, BAND, X) == pytest.approx(-rashba_parameter(above, BAND, X), abs=1e-9)


def test_flat_layer_has_no_splitting(hamiltonian_of):
    """It has inversion symmetry."""
    flat = hamiltonian_of(layer(0.0))
    for band in (0, BAND):
        assert rashba_parameter(flat, band, X) == pytest.approx(0, abs=1e-9)
    energies = eigenvalues(flat, KPOINTS)
    np.testing.assert_allclose(energies[:, ::2], energies[:, 1::2], atol=1e-9)


def test_sense_is_that_of_plane_waves(above, potential, spin_orbit_basis, spin_orbit_pseudos):
    """Splitting and sense of the spin in the same orbitals and potential, but with plane waves; a wrong sign shows."""
    step = 0.02
    kpoint = np.array([step * SIDE / (2 * np.pi), 0, 0])
    plane_waves = SpinorPlaneWaves(above.atoms, potential(above.atoms), spin_orbit_pseudos, 40.0)
    matrix, metric = plane_waves.project(spin_orbit_basis, kpoint)
    energies, states = eigh(matrix, metric)
    n = above.n_orbitals
    spin = spin_expectation(states[:, BAND + 1 : BAND + 2], metric[:n, :n])[:, 0]
    slope = (energies[BAND + 1] - energies[BAND]) / (2 * step)
    found, own_spin = finite_step(above, X, step)
    assert found == pytest.approx(slope, rel=0.02)
    np.testing.assert_allclose(own_spin, spin, atol=0.01)
    assert rashba_parameter(above, BAND, X) == pytest.approx(-np.sign(spin[1]) * slope, rel=0.1)
    assert rashba_parameter(with_sign(above, -1.0), BAND, X) * spin[1] > 0


def test_what_is_refused(above, make_hamiltonian, zincblende):
    with pytest.raises(ValueError, match='needs spin-orbit coupling'):
        spin_splitting(make_hamiltonian(zincblende()), 0, X)
    with pytest.raises(ValueError, match='k and -k are the same point'):
        spin_splitting(above, BAND, X, (0.1, 0, 0))
    flat_bands = with_sign(above, 0.0)
    flat_bands.matrices['hamiltonian'] = 0 * above.hamiltonian
    with pytest.raises(ValueError, match=f'band 2 is one of {2 * above.n_orbitals} degenerate ones'):
        spin_splitting(flat_bands, 2, X)
    with pytest.raises(ValueError, match=f'band {2 * above.n_orbitals}: there are bands 0 to'):
        spin_splitting(above, 2 * above.n_orbitals, X)
    with pytest.raises(ValueError, match='direction .*three finite components'):
        spin_splitting(above, BAND, (0, 0, 0))
    with pytest.raises(ValueError, match='not perpendicular to the normal'):
        rashba_parameter(above, BAND, (1, 0, 1))
