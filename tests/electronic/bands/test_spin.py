"""Collinear spin: potentials and Hamiltonians of real runs against those of Quantum ESPRESSO."""

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import FinishedRun, debian_pseudo, run_executable, run_pw
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.edges import find_edges
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.reference.reconstruction import reconstruct
from aiida_hamlr.electronic.species import element_of_label, species_labels
from aiida_hamlr.io.qe import check_supported, read_charge_density, read_potential

pytestmark = pytest.mark.qe

RUNS = ['antiferromagnet_run', 'ferromagnet_run', 'open_shell_run']


def pseudos_of(finished: FinishedRun) -> dict[str, Pseudopotential]:
    labels = set(species_labels(finished.read().atoms))
    return {label: Pseudopotential.read(finished.folder / f'{element_of_label(label)}.upf') for label in labels}


def potential_of(finished: FinishedRun) -> np.ndarray:
    run = finished.read()
    check_supported(run)
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    return potential_from_density(run.atoms, density, pseudos_of(finished), run.ecutrho)


def potential_of_pp(finished: FinishedRun, component: int) -> np.ndarray:
    name = f'potential{component}.filplot'
    text = f"&inputpp prefix='aiida' outdir='./out' filplot='{name}' plot_num=1 spin_component={component} /\n"
    assert 'JOB DONE' in run_executable('pp.x', text, finished.folder)
    return read_potential(finished.folder / name)


def basis_of(pseudos, cutoff_radius: float = 7.0) -> Basis:
    return Basis({element: generate_basis(pseudo, 'dzp', cutoff_radius) for element, pseudo in pseudos.items()})


def reconstruct_run(finished: FinishedRun, mesh) -> Hamiltonian:
    run, pseudos = finished.read(), pseudos_of(finished)
    return reconstruct(run.atoms, potential_of(finished), basis_of(pseudos), pseudos, run.ecutrho, mesh, run=run)


@pytest.fixture(scope='module')
def antiferromagnet(antiferromagnet_run):
    return reconstruct_run(antiferromagnet_run, (2, 1, 1))


@pytest.fixture(scope='module')
def ferromagnet(ferromagnet_run):
    return reconstruct_run(ferromagnet_run, (4, 1, 1))


@pytest.fixture(scope='module')
def open_shell(open_shell_run):
    return reconstruct_run(open_shell_run, (1, 1, 1))


@pytest.mark.parametrize(('name', 'tolerance'), list(zip(RUNS, (1e-7, 3e-5, 3e-5), strict=True)))
def test_potentials_are_those_of_pp(request, name, tolerance):
    """Those of spin up and spin down are its spin components 1 and 2; without one it writes their mean."""
    finished = request.getfixturevalue(name)
    up, down = potential_of(finished)
    assert np.abs(up - potential_of_pp(finished, 1)).max() < tolerance
    assert np.abs(down - potential_of_pp(finished, 2)).max() < tolerance
    assert np.abs(0.5 * (up + down) - read_potential(finished.potential)).max() < tolerance
    assert np.abs(up - down).max() > 0.5


@pytest.mark.parametrize('functional', ['SLA PW PSX PSC', 'SLA PW NOGX NOGC'])
def test_other_functionals_with_core_correction(tmp_path, functional):
    """Magnesium, magnetised by force, as if its pseudopotential were made for the functional."""
    pseudos = {'Mg': debian_pseudo('Mg.pz-n-vbc.UPF', 'SLA  PZ   NOGX NOGC', functional)}
    system = "occupations='smearing' degauss=0.02 nspin=2 tot_magnetization=0.6"
    finished = run_pw(tmp_path, bulk('Mg', 'fcc', a=4.5), pseudos, 15, (2, 2, 2), 6, system)
    run = finished.read()
    assert run.functional == pseudos['Mg'].functional
    assert run.fixed_magnetization == 0.6
    for component, found in enumerate(potential_of(finished), 1):
        assert np.abs(found - potential_of_pp(finished, component)).max() < 1e-5


@pytest.mark.parametrize('name', RUNS)
def test_plane_wave_eigenvalues_are_those_of_pw_x(request, name):
    """Of both spins, to 0.005 meV."""
    finished = request.getfixturevalue(name)
    run, pseudos = finished.read(), pseudos_of(finished)
    for potential, energies in zip(potential_of(finished), run.eigenvalues, strict=True):
        plane_waves = PlaneWaveHamiltonian(run.atoms, potential, pseudos, run.ecutwfc)
        for kpoint, expected in list(zip(run.kpoints, energies, strict=True))[:2]:
            assert np.abs(plane_waves.eigenvalues(kpoint, 4) - expected[:4]).max() < 5e-6


@pytest.mark.parametrize('name', RUNS)
def test_no_eigenvalue_of_the_truncated_basis_is_below_that_of_pw_x(request, name):
    finished = request.getfixturevalue(name)
    run, pseudos = finished.read(), pseudos_of(finished)
    for potential, energies in zip(potential_of(finished), run.eigenvalues, strict=True):
        plane_waves = PlaneWaveHamiltonian(run.atoms, potential, pseudos, run.ecutwfc)
        found = eigh(*plane_waves.project(basis_of(pseudos), run.kpoints[0]), eigvals_only=True)[:6]
        assert (found - energies[0, : len(found)]).min() > -1e-5


@pytest.mark.parametrize(('name', 'electrons'), [('antiferromagnet', 2), ('ferromagnet', 4), ('open_shell', 4)])
def test_spin_axis_and_traces(request, name, electrons, tmp_path):
    hamiltonian = request.getfixturevalue(name)
    n = hamiltonian.pattern.n_entries
    assert hamiltonian.n_spin == hamiltonian.attributes.n_spin == 2
    assert {key: entries.shape for key, entries in hamiltonian.matrices.items()} == {
        'hamiltonian': (2, n),
        'density_matrix': (2, n),
        'overlap': (n,),
        'h0': (n,),
    }
    up, down = (hamiltonian.density_matrix * hamiltonian.overlap).sum(axis=1)
    assert up + down == pytest.approx(electrons, abs=1e-8)
    assert up - down == pytest.approx(hamiltonian.attributes.magnetization, abs=1e-10)
    assert sum(hamiltonian.attributes.magnetic_moments) == pytest.approx(up - down, abs=1e-10)
    assert hamiltonian.attributes.verification['electrons_from_density_matrix'] == pytest.approx(electrons, abs=1e-8)
    assert hamiltonian.attributes.verification['hermiticity_eV'] < 1e-9
    hamiltonian.write(tmp_path / 'hamiltonian.h5')
    again = Hamiltonian.read(tmp_path / 'hamiltonian.h5')
    assert np.array_equal(again.hamiltonian, hamiltonian.hamiltonian)
    found = find_edges(again, solve_mesh(again, hamiltonian.attributes.kpoints))
    assert found.fermi_level == pytest.approx(hamiltonian.attributes.fermi_level, abs=1e-9)


def test_bands_of_both_spins_agree_with_the_run(ferromagnet, ferromagnet_run):
    """Both spins and their distance, and the magnetization that follows from it."""
    run = ferromagnet_run.read()
    found = eigenvalues(ferromagnet, run.kpoints, n_bands=4)
    found -= ferromagnet.attributes.gauge_shift
    assert np.abs(found[:, :, 0] - run.eigenvalues[:, :, 0]).max() < 0.3
    splitting = (run.eigenvalues[1] - run.eigenvalues[0])[:, :3]
    assert np.abs((found[1] - found[0])[:, :3] - splitting).max() < 0.05 * splitting.max()
    assert ferromagnet.attributes.verification['run_magnetization'] == run.magnetization
    assert ferromagnet.attributes.magnetization == pytest.approx(run.magnetization, abs=0.1)
    assert ferromagnet.attributes.verification['band_mae_occupied_meV'] < 150
    assert ferromagnet.attributes.spin_fermi_levels is None


def test_fixed_magnetization_gives_two_fermi_levels(open_shell, open_shell_run):
    """Three electrons up, one down: each level between the bands of its spin, the common one in the gap of both."""
    attributes = open_shell.attributes
    assert attributes.magnetization == pytest.approx(2.0, abs=1e-9)
    assert attributes.fixed_magnetization == 2.0
    energies = eigenvalues(open_shell, np.zeros((1, 3)))[:, 0]
    up, down = attributes.spin_fermi_levels
    assert energies[0, 2] < up < energies[0, 3]
    assert energies[1, 0] < down < energies[1, 1]
    at_gamma = max(0.0, energies[:, [3, 1]].diagonal().min() - energies[0, 2])
    assert attributes.verification['gap_on_mesh_eV'] == pytest.approx(at_gamma)
    # Elsewhere the bands of atoms this close overlap.
    assert attributes.gap == 0.0 and any('misses the band edges' in text for text in attributes.warnings)
    occupations = open_shell_run.read().occupations[:, 0]
    assert np.array_equal(occupations.sum(axis=1), [3, 1])


def test_antiferromagnet_turns_into_itself_when_spins_and_atoms_are_swapped(antiferromagnet):
    """H_down of one atom is H_up of the other: half a translation along the chain."""
    pattern = antiferromagnet.pattern
    # On a grid that the translation maps onto itself.
    assert antiferromagnet.attributes.grid[0] % 2 == 0
    assert antiferromagnet.attributes.magnetization == pytest.approx(0.0, abs=1e-6)
    up, down = magnetic_moments(antiferromagnet)
    assert up == pytest.approx(-down, abs=1e-6)
    assert up > 0.5
    rows = {tuple(pair): index for index, pair in enumerate(pattern.atom_pairs)}
    for (x, y, z, i, j), index in rows.items():
        # Atom 0 moves onto atom 1, atom 1 onto atom 0 of the next cell.
        partner = rows[x + j - i, y, z, 1 - i, 1 - j]
        first = pattern.block(antiferromagnet.hamiltonian[0], index)
        second = pattern.block(antiferromagnet.hamiltonian[1], partner)
        assert np.abs(first - second).max() < 1e-4
    energies = eigenvalues(antiferromagnet, [[0, 0, 0], [0.2, 0.1, 0.3]])
    assert np.abs(energies[0] - energies[1]).max() < 1e-4
    assert antiferromagnet.attributes.gap > 0.5


def test_without_magnetization_both_spins_have_the_unpolarised_hamiltonian(
    rattled_alas_run, upf_pseudos, plain_basis, tmp_path
):
    run = rattled_alas_run.read()
    finished = run_pw(tmp_path, run.atoms, upf_pseudos, 20, (2, 2, 2), 8, 'nspin=2 tot_magnetization=0')
    basis = plain_basis(('Al', 'As'))
    pseudos = {element: upf_pseudos[element] for element in ('Al', 'As')}
    expected = reconstruct(
        run.atoms, read_potential(rattled_alas_run.potential), basis, pseudos, run.ecutrho, (1, 1, 1), run=run
    )
    spin_run = finished.read()
    found = reconstruct(spin_run.atoms, potential_of(finished), basis, pseudos, run.ecutrho, (1, 1, 1), run=spin_run)
    assert np.abs(found.hamiltonian - expected.hamiltonian).max() < 2e-5
    assert np.abs(found.density_matrix.sum(axis=0) - expected.density_matrix).max() < 1e-5
    assert found.attributes.gap == pytest.approx(expected.attributes.gap, abs=1e-4)
    assert found.attributes.fermi_level == pytest.approx(expected.attributes.fermi_level, abs=1e-4)
    for key in ('band_mae_occupied_meV', 'band_mae_conduction_meV'):
        checks, others = (h.attributes.verification for h in (found, expected))
        assert checks[key] == pytest.approx(others[key], abs=0.1)


def test_spin_of_potential_and_run_must_agree(open_shell_run):
    run, pseudos = open_shell_run.read(), pseudos_of(open_shell_run)
    with pytest.raises(ValueError, match='potential is that of 1 spin channels, the run has 2'):
        reconstruct(
            run.atoms, read_potential(open_shell_run.potential), basis_of(pseudos), pseudos, run.ecutrho, run=run
        )
