"""A potential and pseudopotentials prove by their plane-wave levels that they are those of the run."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from qe_fixtures import SPIN_ELECTRONS, FinishedRun, debian_pseudo, pw_input, run_executable, run_pw

from aiida_hamlr.electronic.reference import levels_check, plane_waves
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.levels_check import LevelsDifferError, check_levels, compare_levels
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.reference.reconstruction import check_run
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.io.qe import check_supported, read_charge_density, read_potential

pytestmark = pytest.mark.qe


def potential_of(finished, pseudos):
    run = finished.read()
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    return run, potential_from_density(run.atoms, density, pseudos, run.ecutrho)


@pytest.fixture(scope='module')
def silicon(si_run, upf_pseudos):
    return potential_of(si_run, upf_pseudos)


def test_the_potential_of_a_run_has_its_levels(silicon, upf_pseudos):
    run, potential = silicon
    levels = check_run(run.atoms, potential, upf_pseudos, run)
    assert levels['plane_wave_error_meV'] < 0.1
    assert levels['n_plane_wave_states'] == 4


def with_weaker_projectors(pseudo):
    return dataclasses.replace(pseudo, dij=0.98 * pseudo.dij)


def test_another_pseudopotential_of_the_same_valence_is_noticed(silicon, upf_pseudos):
    """Levels that lie higher keep the variational theorem: this is what the check of a basis does not see."""
    run, _ = silicon
    other = {'Si': with_weaker_projectors(upf_pseudos['Si'])}
    with pytest.raises(LevelsDifferError, match='pseudopotentials other than those of the run') as caught:
        check_run(run.atoms, silicon[1], other, run, 'rho.dat')
    assert str(caught.value).startswith('rho.dat: ') and '\n' not in str(caught.value)


def test_another_geometry_is_noticed(silicon, upf_pseudos):
    """One atom a hundredth of an Å away from where it was, with the potential of the run."""
    run, potential = silicon
    moved = run.atoms.copy()
    moved.positions[1, 0] += 0.01
    with pytest.raises(LevelsDifferError, match='another run or geometry'):
        check_run(moved, potential, upf_pseudos, run)


def test_another_zero_of_energy_is_named_first(silicon, upf_pseudos):
    run, potential = silicon
    for shift in (0.005, -1.9):
        with pytest.raises(LevelsDifferError) as caught:
            check_run(run.atoms, potential + shift, upf_pseudos, run)
        assert caught.value.causes[0].startswith('another zero of energy')


def test_constrained_moments_are_noticed(tmp_path):
    """The penalty field is in the levels of the run, and in no file."""
    atoms = Atoms('C', positions=[[1, 1.1, 1.2]], cell=[[2.2, 0, 0], [0.2, 3.5, 0], [0, 0.1, 3.6]], pbc=True)
    pseudos = {'C': debian_pseudo('C.pbe-mt_gipaw.UPF')}
    system = (
        "nspin=2 occupations='smearing' degauss=0.02 starting_magnetization(1)=0.3 "
        "constrained_magnetization='atomic' lambda=0.3"
    )
    finished = run_pw(tmp_path, atoms, pseudos, 20, (2, 1, 1), 6, system, SPIN_ELECTRONS)
    run, potential = potential_of(finished, pseudos)
    with pytest.raises(ValueError, match='constrained_magnetization = atomic: .* penalty field'):
        check_supported(run)
    with pytest.raises(LevelsDifferError, match='a keyword of the run'):
        check_run(run.atoms, potential, pseudos, run)


@pytest.mark.parametrize('calculation', ['relax', 'vc-relax'])
def test_converged_relaxations_end_with_the_density_of_their_positions(upf_pseudos, tmp_path, calculation):
    control = f"forc_conv_thr=1e-3 etot_conv_thr=1e-3 nstep=30 calculation='{calculation}'"
    finished = _relax(tmp_path, upf_pseudos, control)
    run, potential = potential_of(finished, upf_pseudos)
    check_supported(run)
    assert run.positions_converged
    assert check_run(run.atoms, potential, upf_pseudos, run)['plane_wave_error_meV'] < 1.0


def _relax(folder, pseudos, control):
    atoms = bulk('Si', 'diamond', a=5.35)
    atoms.positions[1] += [0.05, 0.02, 0.03]
    (folder / 'Si.upf').write_text(pseudos['Si'].text)
    text = pw_input(atoms, 14, (2, 2, 2), 6).replace("calculation='scf'", control).replace('1e-13', '1e-10')
    text = text.replace('ATOMIC_SPECIES', '&ions /\n&cell press_conv_thr=20 /\nATOMIC_SPECIES')
    assert 'JOB DONE' in run_executable('pw.x', text, folder)
    return FinishedRun(folder)


def test_states_of_a_larger_cell_are_found_iteratively(rattled_alas_run, upf_pseudos, monkeypatch):
    """Dense, iterative, and with projectors that are not kept: the same levels."""
    run, potential = rattled_alas_run.read(), read_potential(rattled_alas_run.potential)
    kpoint, expected = run.kpoints[1], run.eigenvalues[1, :4]
    hamiltonian = PlaneWaveHamiltonian(run.atoms, potential, upf_pseudos, run.ecutwfc)
    assert np.abs(hamiltonian.eigenvalues(kpoint, 4) - expected).max() < 1e-4
    monkeypatch.setattr(plane_waves, 'DENSE_SIZE', 60)
    assert len(hamiltonian.plane_waves(kpoint)[0]) > 60
    for stored, group in ((10**8, 10**8), (0, 1)):
        monkeypatch.setattr(plane_waves, 'STORED_PROJECTORS', stored)
        monkeypatch.setattr(plane_waves, 'PROJECTOR_GROUP', group)
        found = hamiltonian.eigenvalues(kpoint, 4, residual=3e-4)
        assert np.abs(found - expected).max() < 1e-4


def test_states_that_are_not_found_are_asked_for_up_to_the_end_of_their_shell(silicon, upf_pseudos, monkeypatch):
    """Iterations for some of many equal levels do not end: 3d of Se in Bi2Se3."""
    levels = np.array([-9.0, -5.2, -5.1, -5.0, -1.0, -0.9])
    assert [levels_check._end_of_shell(levels, n) for n in (1, 2, 3, 4)] == [4, 4, 4, 4]
    assert levels_check._end_of_shell(levels, 6) == 6
    solve, asked = PlaneWaveHamiltonian.eigenvalues, []

    def fail_once(self, kpoint, n_bands, *arguments, **options):
        asked.append(n_bands)
        if len(asked) == 1:
            raise NumericalError('plane-wave eigenvalues did not converge')
        return solve(self, kpoint, n_bands, *arguments, **options)

    monkeypatch.setattr(PlaneWaveHamiltonian, 'eigenvalues', fail_once)
    monkeypatch.setattr(levels_check, '_affordable_states', lambda *_: 2)
    run, potential = silicon
    found = compare_levels(run.atoms, potential, upf_pseudos, run)
    assert asked[0] == 2 and asked[1] == found['n_plane_wave_states']
    assert found['plane_wave_error_meV'] < 1


def test_a_loosely_converged_cycle_widens_the_tolerance(silicon):
    run, _ = silicon
    levels = {
        'plane_wave_error_meV': 1.5,
        'plane_wave_shift_meV': 0.5,
        'plane_wave_spread_meV': 2.0,
        'n_plane_wave_states': 4,
    }
    with pytest.raises(LevelsDifferError, match='1 meV allowed'):
        check_levels(levels, dataclasses.replace(run, scf_accuracy=1e-14))
    check_levels(levels, dataclasses.replace(run, scf_accuracy=1e-8))


def test_lowest_states_of_a_run_with_spin(open_shell_run):
    pseudos = {'C': debian_pseudo('C.pbe-mt_gipaw.UPF')}
    run, potential = potential_of(open_shell_run, pseudos)
    levels = compare_levels(run.atoms, potential, pseudos, run)
    assert levels['n_plane_wave_states'] == 4
    assert levels['plane_wave_error_meV'] < 0.5
