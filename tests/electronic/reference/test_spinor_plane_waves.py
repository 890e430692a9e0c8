"""References from runs of pw.x with spin-orbit coupling."""

from dataclasses import replace

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import reconstruct
from aiida_hamlr.electronic.reference.spinor_plane_waves import SpinorPlaneWaves
from aiida_hamlr.io.qe import check_supported, read_charge_density

pytestmark = pytest.mark.qe


@pytest.fixture(scope='module')
def potential(spin_orbit_run, spin_orbit_pseudos):
    run = spin_orbit_run.read()
    density = read_charge_density(spin_orbit_run.charge_density, run.fft_grid, run.atoms)
    return potential_from_density(run.atoms, density, spin_orbit_pseudos, run.ecutrho)


@pytest.fixture(scope='module')
def hamiltonian(spin_orbit_run, spin_orbit_pseudos, spin_orbit_basis, potential):
    run = spin_orbit_run.read()
    return reconstruct(run.atoms, potential, spin_orbit_basis, spin_orbit_pseudos, run.ecutrho, (2, 2, 2), run=run)


def test_plane_waves(spin_orbit_run, spin_orbit_pseudos, potential):
    """The levels of spinors are those of pw.x; with the other sign, or without the coupling, they are not."""
    run = spin_orbit_run.read()
    check_supported(run)
    operator = SpinorPlaneWaves(run.atoms, potential, spin_orbit_pseudos, run.ecutwfc)
    found = operator.eigenvalues(run.kpoints[1], 8, residual=1e-4)
    np.testing.assert_allclose(found, run.eigenvalues[1][:8], atol=1e-5)
    for factor in (-1.0, 0.0):
        arsenic = spin_orbit_pseudos['As']
        other = spin_orbit_pseudos | {'As': replace(arsenic, spin_orbit_dij=factor * arsenic.spin_orbit_dij)}
        wrong = SpinorPlaneWaves(run.atoms, potential, other, run.ecutwfc)
        found = wrong.eigenvalues(run.kpoints[1], 8, residual=1e-3)
        assert np.abs(found - run.eigenvalues[1][:8]).max() > 0.02


def test_reconstruction(hamiltonian, spin_orbit_run):
    """Spinor levels lie above those of the run and belong to its potential; the scalar part is what is learned."""
    verification, run = hamiltonian.attributes.verification, spin_orbit_run.read()
    assert hamiltonian.electrons_per_band == 1
    assert verification['plane_wave_error_meV'] < 0.01
    assert verification['electrons_from_density_matrix'] == pytest.approx(8.0, abs=1e-9)
    assert verification['variational_violation_truncated_meV'] < 0.1
    assert hamiltonian.attributes.gap > 0
    gamma = eigenvalues(hamiltonian, np.zeros((1, 3)), n_bands=8)[0]
    np.testing.assert_allclose(gamma[::2], gamma[1::2], atol=1e-9)
    split_off = gamma[7] - gamma[3]
    hamiltonian.matrices['spin_orbit'] = -hamiltonian.spin_orbit
    other = eigenvalues(hamiltonian, np.zeros((1, 3)), n_bands=8)[0]
    hamiltonian.matrices['spin_orbit'] = -hamiltonian.spin_orbit
    # One third of the states moves down, two thirds up; with a wrong sign the other way round.
    expected = run.eigenvalues[0][7] - run.eigenvalues[0][3]
    assert 0.5 * expected < split_off < 1.2 * expected
    assert gamma[4] - gamma[3] > 0.1 and gamma[6] - gamma[5] < 1e-9
    assert other[6] - other[5] > 0.1 and other[4] - other[3] < 1e-9


def test_fully_relativistic_files_need_spin_orbit_coupling(
    rattled_alas_run, spin_orbit_pseudos, spin_orbit_basis, potential
):
    """pw.x averages them otherwise, which is another Hamiltonian."""
    run = rattled_alas_run.read()
    with pytest.raises(ValueError, match='As is fully relativistic, and the run has no spin-orbit coupling'):
        reconstruct(run.atoms, np.zeros(run.fft_grid), spin_orbit_basis, spin_orbit_pseudos, run.ecutrho, run=run)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'noncollinear_magnetization': True}, 'with a magnetization are not supported'),
        ({'spin_orbit': False}, 'without spin-orbit coupling .* are not supported'),
    ],
)
def test_what_remains_refused(spin_orbit_run, changes, message):
    with pytest.raises(ValueError, match=message):
        check_supported(replace(spin_orbit_run.read(), **changes))
