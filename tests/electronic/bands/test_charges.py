"""Mulliken charges of the atoms."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.charges import mulliken_charges, mulliken_populations
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture(scope='module')
def texts():
    return {element: make_pseudopotential(element).text for element in ('Al', 'As')}


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende, texts):
    made = make_hamiltonian(zincblende())
    made.pseudopotentials = texts
    return made


def test_charges_are_the_ionic_charges_less_the_electrons(hamiltonian):
    solution = solve_mesh(hamiltonian, (2, 2, 2))
    charges = mulliken_charges(hamiltonian, solution)
    assert charges.sum() == pytest.approx(0.0, abs=1e-10)
    assert np.allclose(charges, [3, 5] - mulliken_populations(hamiltonian, solution.density_matrix))
    assert np.array_equal(charges, mulliken_charges(hamiltonian, (2, 2, 2)))


def test_the_stored_density_matrix_is_taken_first(hamiltonian):
    hamiltonian.matrices['density_matrix'] = 0.0 * hamiltonian.overlap
    assert mulliken_charges(hamiltonian).tolist() == [3.0, 5.0]
    assert mulliken_charges(hamiltonian, (1, 1, 1)).sum() == pytest.approx(0.0, abs=1e-10)


def test_without_pseudopotentials_charges_are_refused(hamiltonian, texts):
    hamiltonian.pseudopotentials = {'Al': texts['Al']}
    with pytest.raises(ValueError, match='charges need the pseudopotentials; the Hamiltonian holds none of As'):
        mulliken_charges(hamiltonian)
