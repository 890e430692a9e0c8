"""Warnings of references."""

import pytest
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.reference.quality import find_warnings


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende):
    made = make_hamiltonian(zincblende())
    made.attributes.ecutwfc = 60.0
    made.attributes.scf_kpoints = [6, 6, 6]
    made.attributes.verification = {
        'band_mae_occupied_meV': 99.0,
        'cutoff_error_meV': 49.0,
        'variational_violation_meV': 19.0,
        'overlap_condition_number': 9e5,
    }
    return made


@pytest.fixture
def pseudos():
    return {'Al': debian_pseudo('Al.pz-vbc.UPF'), 'As': debian_pseudo('As.pz-bhs.UPF')}


def test_a_good_reference_has_none(hamiltonian, pseudos):
    assert find_warnings(hamiltonian, pseudos) == []


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('band_mae_occupied_meV', 101.0, 'the occupied bands are 101 meV from those of the run'),
        ('cutoff_error_meV', 51.0, 'ecutwfc is too low for these orbitals'),
        ('variational_violation_meV', 21.0, 'a level lies 21 meV below'),
        ('overlap_condition_number', 2e6, 'nearly dependent'),
    ],
)
def test_limits(hamiltonian, pseudos, key, value, words):
    hamiltonian.attributes.verification[key] = value
    warning, *more = find_warnings(hamiltonian, pseudos)
    assert more == [] if key != 'cutoff_error_meV' else 'ecutwfc is 60 Ry: ' in more[0]
    assert words in warning and '\n' not in warning


def test_kpoints_ghosts_and_runs_that_are_not_known(hamiltonian, pseudos):
    assert 'ghost states' in find_warnings(hamiltonian, pseudos, n_ghosts=2)[0]
    hamiltonian.attributes.scf_kpoints = [2, 2, 2]
    assert 'k-points of the run (2 x 2 x 2) are up to 0.96 1/Å apart' in find_warnings(hamiltonian, pseudos)[0]
    hamiltonian.attributes.scf_kpoints = None
    assert 'were listed' in find_warnings(hamiltonian, pseudos)[0]
    assert 'the run is not known' in find_warnings(hamiltonian, pseudos, from_run=False)[0]


def test_hard_orbitals_where_the_truncation_was_not_tried(hamiltonian, pseudos):
    del hamiltonian.attributes.verification['cutoff_error_meV']
    hamiltonian.attributes.ecutwfc = 3.0
    found = find_warnings(hamiltonian, pseudos)
    assert len(found) == 2
    assert all('of kinetic energy beyond the cutoff of the run (3 Ry)' in warning for warning in found)


def test_notes_of_pseudopotentials_count(hamiltonian, pseudos):
    pseudos['As'] = debian_pseudo('C.pbe-mt_gipaw.UPF')
    assert 'PP_RHOATOM' in find_warnings(hamiltonian, pseudos)[0]
