"""Slabs with cut off interaction and with dipole correction, against pw.x, pp.x and each other."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import run_executable

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.reference.density import check_hartree_energy, check_potential, potential_from_density
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC, DipoleCorrection, Electrostatics
from aiida_hamlr.electronic.reference.levels_check import LevelsDifferError, check_levels, check_zero, compare_levels
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, check_run, reconstruct
from aiida_hamlr.electronic.reference.vacuum import check_falling_part, vacuum_levels
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.io.qe import check_supported, read_charge_density, read_filplot, read_potential

KINDS = ('2D', 'dipole correction')


def test_saw_tooth_averages_to_zero_and_rises_by_one_per_cell():
    saw = DipoleCorrection(2, 0.9, 0.1).saw_tooth
    x = np.arange(100_000) / 100_000
    assert abs(saw(x).mean()) < 1e-6
    assert (saw(0.5) - saw(0.2)) == pytest.approx(0.3)
    assert saw(0.9) == pytest.approx(0.45) and saw(0.0) == saw(1.0) == pytest.approx(-0.45)


@pytest.fixture(scope='module')
def slabs(polar_slab_runs):
    """Run, density and potential of pp.x by kind of electrostatics."""
    result = {}
    for name, finished in polar_slab_runs.items():
        run = finished.read()
        check_supported(run)
        assert run.electrostatics.name == name
        density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
        result[name] = run, density, read_potential(finished.potential, run.atoms)
    return result


@pytest.mark.qe
@pytest.mark.parametrize('kind', KINDS)
def test_potential_of_the_density_is_that_of_pp(slabs, upf_pseudos, kind):
    run, density, potential = slabs[kind]
    check_hartree_energy(run.atoms, density, run.hartree_energy, run.electrostatics)
    found = potential_from_density(run.atoms, density, upf_pseudos, run.ecutrho, run.electrostatics)
    assert np.abs(found - potential)[density > 1e-4].max() < 1e-5
    check_potential(run.atoms, potential, density, upf_pseudos, run.ecutrho, run.electrostatics)
    with pytest.raises(ValueError, match='not that of the density'):
        check_potential(run.atoms, potential, density, upf_pseudos, run.ecutrho, PERIODIC)


@pytest.mark.qe
def test_saw_tooth_is_that_of_pp(slabs, polar_slab_runs, upf_pseudos):
    run, density, _ = slabs['dipole correction']
    text = "&inputpp prefix='aiida' outdir='./out' filplot='saw.filplot' plot_num=12 /\n"
    assert 'JOB DONE' in run_executable('pp.x', text, polar_slab_runs['dipole correction'].folder)
    expected = read_filplot(polar_slab_runs['dipole correction'].folder / 'saw.filplot').values * RYDBERG
    found = run.electrostatics.dipole_correction.potential(run.atoms, density, upf_pseudos)
    assert np.ptp(expected) > 0.5
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.qe
@pytest.mark.parametrize('kind', ['periodic', *KINDS])
def test_both_routes_have_the_levels_of_the_run(slabs, upf_pseudos, kind):
    run, density, potential = slabs[kind]
    made = potential_from_density(run.atoms, density, upf_pseudos, run.ecutrho, run.electrostatics)
    for candidate in (potential, made):
        levels = check_run(run.atoms, candidate, upf_pseudos, run)
        assert levels['plane_wave_error_meV'] < 0.3
        assert levels['n_plane_wave_states'] == 4


@pytest.mark.qe
def test_electrostatics_that_are_not_noticed_shift_levels_and_vacuum(slabs, upf_pseudos):
    run, density, potential = slabs['2D']
    periodic = dataclasses.replace(run, keywords={})
    with pytest.raises(ValueError, match='electrostatics of the run are not periodic'):
        check_hartree_energy(run.atoms, density, run.hartree_energy, periodic.electrostatics)
    made = potential_from_density(run.atoms, density, upf_pseudos, run.ecutrho)
    with pytest.raises(LevelsDifferError):
        check_levels(compare_levels(run.atoms, made, upf_pseudos, run), run)
    with pytest.raises(ValueError, match=r'in the vacuum the potential is .* eV with the zero of periodic'):
        check_zero(run.atoms, potential, upf_pseudos, periodic, 'v.filplot')


@pytest.mark.qe
def test_work_functions_of_both_sides_are_those_of_the_other_method(slabs, upf_pseudos):
    """Cutoff and dipole correction are two ways to one isolated slab."""
    found = {}
    for kind, (run, density, _) in slabs.items():
        middle, below, above = vacuum_levels(run.atoms, density, upf_pseudos, run.ecutrho, run.electrostatics)
        if kind == 'periodic':
            assert below is None and above is None
            continue
        valence_band = run.eigenvalues[:, 3].max() + run.electrostatics.gauge_shift(run.atoms, upf_pseudos)
        found[kind] = np.array([below, above, middle]) - valence_band
        assert middle == pytest.approx((below + above) / 2)
    assert found['2D'] == pytest.approx(found['dipole correction'], abs=3e-3)
    below, above, _ = found['2D']
    assert above - below > 1.0


@pytest.mark.qe
def test_hamiltonians_of_both_methods_differ_by_their_zero(slabs, upf_pseudos, plain_basis):
    hamiltonians = {}
    for kind in KINDS:
        run, density, potential = slabs[kind]
        basis = plain_basis(('Al', 'As'), 'sz')
        hamiltonians[kind] = reconstruct(
            run.atoms,
            potential,
            basis,
            upf_pseudos,
            run.ecutrho,
            (1, 1, 1),
            run=run,
            options=ReconstructionOptions(density=density),
        )
        assert hamiltonians[kind].attributes.electrostatics == kind
        assert len(hamiltonians[kind].attributes.vacuum_levels) == 2
    kpoints = np.array([[0.0, 0.0, 0.0], [0.3, 0.1, 0.0]])
    first, second = (eigenvalues(hamiltonians[kind], kpoints) for kind in KINDS)
    levels = [np.mean(hamiltonians[kind].attributes.vacuum_levels) for kind in KINDS]
    assert np.abs((first - levels[0]) - (second - levels[1])).max() < 3e-3


def test_cutoff_needs_an_upright_cell():
    with pytest.raises(ValueError, match='third lattice vector along z'):
        Electrostatics(slab_cutoff=True).check_cell(bulk('Si', 'diamond', a=5.43))
    Electrostatics(slab_cutoff=True).check_cell(bulk('Si', 'diamond', a=5.43, cubic=True))
    PERIODIC.check_cell(bulk('Si', 'diamond', a=5.43))


@pytest.mark.qe
def test_saw_tooth_must_fall_in_the_vacuum(slabs, upf_pseudos):
    atoms = slabs['dipole correction'][0].atoms
    check_falling_part(atoms, upf_pseudos, Electrostatics(dipole_correction=DipoleCorrection(2, 0.93, 0.06)))
    for start in (0.3, 0.47, 0.55):
        correction = Electrostatics(dipole_correction=DipoleCorrection(2, start, 0.1))
        with pytest.raises(ValueError, match=r'falls between .* where atoms are.*run pw\.x again with emaxpos 0\.9'):
            check_falling_part(atoms, upf_pseudos, correction, 'scf.xml')
    with pytest.raises(ValueError, match='along lattice vector 1'):
        check_falling_part(atoms, upf_pseudos, Electrostatics(dipole_correction=DipoleCorrection(0, 0.9, 0.1)))
