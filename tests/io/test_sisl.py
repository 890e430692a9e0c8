"""sisl's own bands, DOS and velocities of what it is given are ours, and its files come back."""

import numpy as np
import pytest
from foreign_examples import assert_same, example
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.derivatives import band_velocities
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues
from aiida_hamlr.electronic.bands.spinors import spinor_matrices, spinor_overlaps
from aiida_hamlr.io.sisl import from_sisl, read_sisl, to_sisl, write_sisl

sisl = pytest.importorskip('sisl')

KPOINT = [0.11, -0.23, 0.37]


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A Hamiltonian, and what sisl reads from its file."""
    pytest.importorskip('netCDF4')
    hamiltonian, folder = example(), tmp_path_factory.mktemp('sisl')
    write_sisl(hamiltonian, folder)
    with sisl.get_sile(str(folder / 'hamiltonian.nc')) as sile:
        return hamiltonian, sile.read_hamiltonian()


def test_shells_stand_beside_the_file(tmp_path):
    pytest.importorskip('netCDF4')
    hamiltonian = example()
    write_sisl(hamiltonian, tmp_path)
    found = read_sisl(tmp_path / 'hamiltonian.nc')
    assert found.attributes.n_electrons == 11.0
    assert_same(found.to_hamiltonian(hamiltonian.basis), hamiltonian)
    (tmp_path / 'orbitals.json').unlink()
    with pytest.raises(
        ValueError, match=r'keep orbitals\.json beside hamiltonian\.nc of an export, or give --shells Al='
    ):
        read_sisl(tmp_path / 'hamiltonian.nc')


def test_bands_of_the_file(exported):
    """SIESTA's files count energies from the Fermi level."""
    hamiltonian, read = exported
    ours = eigenvalues(hamiltonian, [KPOINT])[0]
    np.testing.assert_allclose(read.eigh(KPOINT) + 1.2345, ours, rtol=0, atol=1e-6)


def test_density_of_states_of_the_file(exported):
    hamiltonian, read = exported
    energies = np.linspace(-12, 4, 50)
    state = read.eigenstate(KPOINT)
    gaussian = sisl.get_distribution('gaussian', smearing=0.2)
    theirs = sisl.physics.electron.DOS(energies - 1.2345, state.c, gaussian)
    levels = eigenvalues(hamiltonian, [KPOINT])[0]
    width = 0.2
    ours = np.exp(-(((energies[:, None] - levels) / width) ** 2) / 2).sum(axis=1) / (width * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)


def test_velocities_of_the_file(exported):
    """sisl's in Å/ps; both with the derivative of the overlap."""
    hamiltonian, read = exported
    ours = band_velocities(hamiltonian, np.array([KPOINT]))[0]
    state = read.eigenstate(KPOINT)
    hbar = 6.582119569e-4  # eV ps
    np.testing.assert_allclose(state.velocity().real.T * hbar, ours, rtol=1e-6, atol=1e-6)


def test_projections_of_the_file(exported):
    """Mulliken weights of shells, summed over m."""
    hamiltonian, read = exported
    state = read.eigenstate(KPOINT)
    theirs = state.norm2(projection='orbital').real
    pattern = hamiltonian.pattern
    H, S = (bloch_matrices(pattern, hamiltonian.matrices[name], [KPOINT])[0] for name in ('hamiltonian', 'overlap'))
    _, vectors = eigh(H, S)
    ours = (vectors.conj() * (S @ vectors)).real.T
    starts = [0, 3, 4, 9, 10, 11, 14, 21, 24, 25, 30]
    np.testing.assert_allclose(
        np.add.reduceat(theirs, starts, axis=1), np.add.reduceat(ours, starts, axis=1), rtol=0, atol=1e-8
    )


def test_axis_of_the_magnetization():
    """sisl has the levels of a magnet along any axis; what comes back is refused, as its moments are not along z."""
    hamiltonian = example(2, spin_orbit=True)
    hamiltonian.attributes.magnetization_axis = [0.36, 0.48, -0.8]
    found = to_sisl(hamiltonian)
    np.testing.assert_allclose(found.eigh(KPOINT), eigenvalues(hamiltonian, [KPOINT])[0], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match='magnetic moments that are not along z'):
        from_sisl(found)


@pytest.mark.parametrize(('n_spin', 'spin_orbit'), [(2, False), (1, True), (2, True)])
def test_spins_of_the_object(n_spin, spin_orbit):
    hamiltonian = example(n_spin, spin_orbit)
    found = to_sisl(hamiltonian)

    def bloch(entries):
        return bloch_matrices(hamiltonian.pattern, entries, [KPOINT])

    overlap, spins = bloch(hamiltonian.overlap), [bloch(each) for each in np.atleast_2d(hamiltonian.hamiltonian)]
    if spin_orbit:
        H = spinor_matrices(spins, [bloch(each) for each in hamiltonian.spin_orbit])[0]
        expected = eigh(H, spinor_overlaps(overlap)[0], eigvals_only=True)
        np.testing.assert_allclose(found.eigh(KPOINT), expected, rtol=0, atol=1e-9)
    else:
        for spin in (0, 1):
            expected = eigh(spins[spin][0], overlap[0], eigvals_only=True)
            np.testing.assert_allclose(found.eigh(KPOINT, spin=spin), expected, rtol=0, atol=1e-9)
    assert_same(from_sisl(found).to_hamiltonian(hamiltonian.basis), hamiltonian)


def test_radial_functions_go_along():
    """sisl evaluates the orbital itself; ours is in bohr."""
    from scipy.interpolate import CubicSpline

    from aiida_hamlr.electronic.units import BOHR

    hamiltonian = example()
    orbital, shell = to_sisl(hamiltonian).geometry.atoms[1].orbitals[1], hamiltonian.basis['As'].shells[1]
    r = np.linspace(0.2, 1.8, 20)
    ours = CubicSpline(0.05 * np.arange(len(shell.radial)), shell.radial)(r / BOHR) / BOHR**1.5
    np.testing.assert_allclose(orbital.orb.radial(r), ours, rtol=0, atol=1e-4)


def test_files_without_orbitals_are_refused(tmp_path):
    """TSHS has numbers of orbitals only."""
    to_sisl(example()).write(str(tmp_path / 'siesta.TSHS'))
    with pytest.raises(ValueError, match=r'siesta\.TSHS: the orbitals of \w+ have no angular momenta') as caught:
        read_sisl(tmp_path / 'siesta.TSHS')
    assert '\n' not in str(caught.value)
    (tmp_path / 'siesta.nc').write_bytes(b'no such file')
    with pytest.raises(ValueError, match='sisl cannot read a Hamiltonian from it'):
        read_sisl(tmp_path / 'siesta.nc')


def test_orthogonal_models_have_the_unit_matrix_as_overlap():
    geometry = sisl.Geometry([0, 0, 0], sisl.Atom('H', [sisl.AtomicOrbital('1s', R=1.5)]), lattice=[1.0, 9, 9])
    geometry.set_nsc([3, 1, 1])
    model = sisl.Hamiltonian(geometry)
    model.construct([(0.1, 1.1), (0.0, -1.0)])
    found = from_sisl(model)
    assert found.angular_momenta == ((0,),)
    np.testing.assert_array_equal(found.matrices['overlap'], [0, 1, 0])
    np.testing.assert_array_equal(found.matrices['hamiltonian'], [-1, 0, -1])
