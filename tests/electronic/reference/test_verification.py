"""What is said of the quality of reconstructed Hamiltonians: on real runs, and on spectra made by hand."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import run_pw

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.electronic.reference.verification import check_plausible, verify
from aiida_hamlr.io.qe import read_potential

pytestmark = pytest.mark.qe


def reconstruct_run(finished, upf_pseudos, plain_basis, size='dzp', mesh=(2, 2, 2)):
    run = finished.read()
    basis = plain_basis(sorted(set(run.atoms.get_chemical_symbols())), size)
    return reconstruct(run.atoms, read_potential(finished.potential), basis, upf_pseudos, run.ecutrho, mesh, run=run)


@pytest.fixture(scope='module')
def rattled(rattled_alas_run, upf_pseudos, plain_basis):
    """A Hamiltonian at a low cutoff, 20 Ry, in a basis that is better than it."""
    return reconstruct_run(rattled_alas_run, upf_pseudos, plain_basis, 'tzdp')


@pytest.fixture(scope='module')
def aluminium_run(upf_pseudos, tmp_path_factory):
    """A metal; pw.x misses one of three degenerate empty states at Gamma."""
    system = "occupations='smearing' smearing='mv' degauss=0.02"
    return run_pw(tmp_path_factory.mktemp('al'), bulk('Al', 'fcc', a=4.0), upf_pseudos, 20, (4, 4, 4), 6, system)


def test_low_cutoff_is_told_from_a_bad_potential(rattled):
    """Untruncated orbitals fall below the plane waves of 20 Ry, truncated ones do not."""
    checks = rattled.attributes.verification
    assert checks['variational_violation_meV'] > 1
    assert checks['n_variational_violations'] > 0
    assert checks['variational_violation_truncated_meV'] < 0.01
    assert checks['cutoff_error_meV'] > 5


def test_cutoff_error_falls_with_the_cutoff(rattled_alas_run, rattled, upf_pseudos):
    run, potential = rattled_alas_run.read(), read_potential(rattled_alas_run.potential)
    errors = [rattled.attributes.verification['cutoff_error_meV']]
    for ecutwfc in (30.0, 80.0):
        finer = dataclasses.replace(run, ecutwfc=ecutwfc)
        errors.append(verify(rattled, finer, potential=potential, pseudos=upf_pseudos)['cutoff_error_meV'])
    assert errors[0] > errors[1] > 10 * errors[2]


def test_truncation_is_left_out_where_it_is_not_wanted_or_expensive(rattled_alas_run, rattled, upf_pseudos):
    run, potential = rattled_alas_run.read(), read_potential(rattled_alas_run.potential)
    checks = verify(rattled, run, potential=potential, pseudos=upf_pseudos, truncate=False)
    assert checks['truncated_check_skipped'] == 'not asked for'
    assert 'cutoff_error_meV' not in checks
    large = dataclasses.replace(run, ecutwfc=120.0)
    skipped = verify(rattled, large, potential=potential, pseudos=upf_pseudos)['truncated_check_skipped']
    assert 'quality_assurance: true' in skipped
    assert verify(rattled, large, potential=potential, pseudos=upf_pseudos, truncate=True)['n_kpoints_truncated'] == 1
    small = dataclasses.replace(run, ecutwfc=1.0)
    checks = verify(rattled, small, potential=potential, pseudos=upf_pseudos)
    assert 'plane waves cannot hold' in checks['truncated_check_skipped']


def spectrum_like(run, hamiltonian, errors):
    """The run, as if its eigenvalues lay by ``errors`` (nk, nb), meV, below those of the basis."""
    found = eigenvalues(hamiltonian, run.kpoints, n_bands=run.eigenvalues.shape[1])
    energies = found - hamiltonian.attributes.gauge_shift - np.asarray(errors) / 1000
    return dataclasses.replace(run, eigenvalues=energies)


def test_errors_are_those_put_in(rattled_alas_run, rattled):
    """Four occupied bands, and four empty ones of which each has its own error."""
    run = rattled_alas_run.read()
    errors = np.tile([10.0, 10.0, 10.0, 14.0, 21.0, 31.0, 41.0, 51.0], (len(run.kpoints), 1))
    errors[0, 3] = -2.0
    altered = spectrum_like(run, rattled, errors)
    weight = run.weights[0]
    mean = 11.0 - 4.0 * weight
    window = altered.eigenvalues[:, 4:] <= altered.eigenvalues[:, 4].min() + 2.0
    weights = run.weights[:, None] * window
    checks = verify(rattled, altered)
    assert checks['band_shift_meV'] == checks['band_error_occupied_meV'] == pytest.approx(mean)
    assert checks['band_error_conduction_meV'] == pytest.approx(36.0)
    assert checks['band_max_error_meV'] == pytest.approx(51.0 - mean)
    assert checks['band_max_error_occupied_meV'] == pytest.approx(mean + 2.0)
    assert checks['n_states_window'] == window.sum() < window.size
    expected = (weights * (errors[:, 4:] - mean)).sum() / weights.sum()
    assert checks['band_mae_window_meV'] == pytest.approx(expected)
    assert checks['band_max_error_window_meV'] == pytest.approx((errors[:, 4:] - mean)[window].max())
    assert (checks['variational_violation_meV'], checks['n_variational_violations']) == (pytest.approx(2.0), 1)


def test_a_metal_is_compared_by_its_own_occupations(aluminium_run, upf_pseudos, plain_basis):
    hamiltonian = reconstruct_run(aluminium_run, upf_pseudos, plain_basis, mesh=(4, 4, 4))
    run = aluminium_run.read()
    filled = run.occupations > 0.5
    assert set(filled.sum(axis=1)) == {1, 2}
    found = eigenvalues(hamiltonian, run.kpoints, n_bands=6) - hamiltonian.attributes.gauge_shift
    weights = run.weights[:, None] * filled
    mean = 1000 * (weights * (found - run.eigenvalues)).sum() / weights.sum()
    checks = hamiltonian.attributes.verification
    assert checks['band_error_occupied_meV'] == pytest.approx(mean)
    assert 0 < checks['band_mae_occupied_meV'] < 60
    assert checks['variational_violation_truncated_meV'] < 0.01
    assert checks['variational_violation_meV'] < 5


def test_bands_of_another_potential_are_refused(alas_run, upf_pseudos, plain_basis):
    """Whether its levels are too low or too high."""
    run, potential = alas_run.read(), read_potential(alas_run.potential)
    basis = plain_basis(('Al', 'As'))
    bump = np.zeros_like(potential)
    bump[:9, :9, :9] = 1.0
    for change, message in (
        (-0.2, r'-200 meV on average.*likely causes, in this order: another zero of energy'),
        (-0.1 * bump, 'lowest levels of the run are missed.*: pseudopotentials other than those'),
        (0.1 * bump, 'lowest levels of the run are missed'),
        (2.5, 'another zero of energy'),
    ):
        options = ReconstructionOptions(source='v.filplot')
        with pytest.raises(ValueError, match=message) as caught:
            reconstruct(
                run.atoms, potential + change, basis, upf_pseudos, run.ecutrho, (1, 1, 1), run=run, options=options
            )
        assert str(caught.value).startswith('v.filplot: ')
    check_plausible({'band_shift_meV': 500.0, 'band_mae_occupied_meV': 200.0})
    with pytest.raises(ValueError, match='below that of the run'):
        check_plausible({'variational_violation_truncated_meV': 11.0}, 'v.filplot')
    with pytest.raises(ValueError, match='away from those of the run'):
        check_plausible({'band_shift_meV': 2500.0, 'band_mae_occupied_meV': 200.0})


def test_too_low_a_cutoff_is_not_called_damage():
    """Where the plane-wave levels have proven the potential, other causes remain."""
    proven = {'plane_wave_error_meV': 0.1, 'band_shift_meV': -2500.0, 'band_mae_occupied_meV': 200.0}
    with pytest.raises(ValueError, match='ecutwfc is too low for these .* by 1900 meV; use 80 Ry or more') as caught:
        check_plausible({**proven, 'cutoff_error_meV': 1900.0}, 'v.filplot', 80.0)
    assert 'damaged' not in str(caught.value)
    with pytest.raises(ValueError, match='the potential is right, so that the basis is far too small'):
        check_plausible({**proven, 'band_shift_meV': 2500.0})
    with pytest.raises(ValueError, match='levels are right, so that the scf cycle is not converged'):
        check_plausible({**proven, 'variational_violation_truncated_meV': 11.0})
