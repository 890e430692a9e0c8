"""Reconstructed Hamiltonians of real runs: bands, gauge, H0, equivariance, and what is refused."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reference.reconstruction import reconstruct
from aiida_hamlr.io.qe import read_potential

pytestmark = pytest.mark.qe


def reconstruct_run(finished, upf_pseudos, plain_basis, size='dzp', mesh=(2, 2, 2)) -> Hamiltonian:
    run = finished.read()
    basis = plain_basis(sorted(set(run.atoms.get_chemical_symbols())), size)
    potential = read_potential(finished.potential, run.atoms)
    return reconstruct(run.atoms, potential, basis, upf_pseudos, run.ecutrho, mesh, run=run)


@pytest.fixture(scope='module')
def alas(alas_run, upf_pseudos, plain_basis):
    return reconstruct_run(alas_run, upf_pseudos, plain_basis)


@pytest.mark.parametrize('name', ['alas_run', 'si_run', 'gan_run'])
@pytest.mark.parametrize(('size', 'limit'), [('dzp', 70.0), ('tzdp', 30.0)])
def test_bands_agree_with_the_run(request, upf_pseudos, plain_basis, name, size, limit):
    hamiltonian = reconstruct_run(request.getfixturevalue(name), upf_pseudos, plain_basis, size)
    checks = hamiltonian.attributes.verification
    assert checks['band_mae_occupied_meV'] < limit
    assert 0 <= checks['band_shift_meV'] < limit
    assert checks['hermiticity_eV'] < 1e-9
    assert checks['delta_ratio'] < 0.05
    assert checks['electrons_from_density_matrix'] == pytest.approx(hamiltonian.attributes.n_electrons, abs=1e-8)
    assert 1 < checks['overlap_condition_number'] < 1e6
    assert checks['variational_violation_truncated_meV'] < 0.01
    assert checks['cutoff_error_meV'] >= checks['variational_violation_meV']
    assert checks['band_max_error_window_meV'] >= checks['band_mae_window_meV'] > 0
    assert checks['band_max_error_meV'] >= checks['band_max_error_occupied_meV'] >= checks['band_mae_occupied_meV']


def test_the_file_holds_everything(alas, upf_pseudos, tmp_path):
    alas.write(tmp_path / 'hamiltonian.h5')
    again = Hamiltonian.read(tmp_path / 'hamiltonian.h5')
    assert set(again.matrices) == {'hamiltonian', 'overlap', 'h0', 'density_matrix'}
    assert again.pseudopotentials == {element: upf_pseudos[element].text for element in ('Al', 'As')}
    attributes = again.attributes
    assert (attributes.origin, attributes.gauge, attributes.functional) == (
        'reference',
        'neutral_atom',
        'lda_pz',
    )
    assert attributes.grid == [27, 27, 27]
    assert attributes.ecutrho == pytest.approx(120)
    assert 0.5 < attributes.gap < 3.0


def test_h0_without_a_run_is_that_of_the_reconstruction(alas, upf_pseudos):
    alone = compute_h0(alas.atoms, alas.basis, upf_pseudos, 120.0)
    assert np.array_equal(alone.pattern.atom_pairs, alas.pattern.atom_pairs)
    assert np.abs(alone.h0 - alas.h0).max() < 1e-12
    assert np.abs(alone.overlap - alas.overlap).max() < 1e-14
    assert alone.attributes.n_electrons == 8


def test_h0_needs_no_run_for_any_structure(upf_pseudos, plain_basis):
    """A slab: bands of H0 come out, one lone atom as well."""
    slab = bulk('Si', 'diamond', a=5.43, cubic=True)
    slab.center(vacuum=4.0, axis=2)
    h0 = compute_h0(slab, plain_basis(['Si']), upf_pseudos, 60.0)
    energies = eigenvalues(h0, np.zeros((1, 3)), matrix='h0')[0]
    assert np.isfinite(energies).all()
    assert energies[15] < 0.0


def test_turned_crystal_has_the_turned_hamiltonian(rattled_alas_run, upf_pseudos, plain_basis, turn):
    """The potential turns with the crystal: the same numbers on the turned grid."""
    run = rattled_alas_run.read()
    basis = plain_basis(('Al', 'As'))
    potential = read_potential(rattled_alas_run.potential)
    original = reconstruct(run.atoms, potential, basis, upf_pseudos, run.ecutrho, (1, 1, 1))
    turned = reconstruct(turn.structure(run.atoms), potential, basis, upf_pseudos, run.ecutrho, (1, 1, 1))
    assert np.array_equal(original.pattern.atom_pairs, turned.pattern.atom_pairs)
    for name in ('hamiltonian', 'h0', 'overlap'):
        expected = turn.entries(original.pattern, original.matrices[name], basis, run.atoms.get_chemical_symbols())
        assert np.abs(turned.matrices[name] - expected).max() < 1e-7


def test_shift_against_the_grid_changes_h0_by_the_grid_error_only(alas, upf_pseudos):
    shifted = alas.atoms.copy()
    shifted.positions += np.array([0.031, -0.017, 0.023])
    moved = compute_h0(shifted, alas.basis, upf_pseudos, 120.0)
    assert np.array_equal(moved.pattern.atom_pairs, alas.pattern.atom_pairs)
    assert np.abs(moved.h0 - alas.h0).max() < 2e-3
    assert np.abs(moved.h0 - alas.h0).mean() < 1e-5


def test_input_of_another_run_is_refused(alas_run, upf_pseudos, plain_basis):
    run = alas_run.read()
    basis = plain_basis(('Al', 'As'))
    potential = read_potential(alas_run.potential)
    cases = [
        ('grid points', {'potential': potential[:-1]}),
        ('8 electrons, the run has 10', {'run': dataclasses.replace(run, n_electrons=10.0)}),
        ('made for lda_pz, the run used pbe', {'run': dataclasses.replace(run, functional='pbe')}),
        ('no pseudopotential for As', {'pseudos': {'Al': upf_pseudos['Al']}}),
        ('no basis for As', {'basis': plain_basis(['Al'])}),
    ]
    for message, changes in cases:
        arguments = {'potential': potential, 'basis': basis, 'pseudos': upf_pseudos, 'run': run} | changes
        with pytest.raises(ValueError, match=message):
            reconstruct(run.atoms, ecutrho=run.ecutrho, kpoints=(1, 1, 1), **arguments)
