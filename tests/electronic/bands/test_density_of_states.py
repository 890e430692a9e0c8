"""The density of states: integrals that are known, and its energies."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.density_of_states import broaden, density_of_states
from aiida_hamlr.electronic.bands.kpoints import monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import solve_mesh


def test_density_of_states_integrates_to_the_states(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    kpoints, weights = monkhorst_pack((3, 3, 3))
    bands = eigenvalues(hamiltonian, kpoints)
    energies = np.linspace(bands.min() - 2, bands.max() + 2, 4000)
    dos = broaden(bands, weights, energies, broadening=0.1)
    assert np.trapezoid(dos, energies) == pytest.approx(2 * bands.shape[1], rel=1e-6)
    middle = solve_mesh(hamiltonian, (3, 3, 3)).filling.fermi_level
    assert np.trapezoid(np.where(energies <= middle, dos, 0), energies) == pytest.approx(8, abs=1e-2)


def test_one_call_integrates_to_the_states_and_to_the_electrons(make_hamiltonian, zincblende):
    """All eight bands are within the range; without spin each holds two electrons."""
    hamiltonian = make_hamiltonian(zincblende())
    found = density_of_states(hamiltonian, (3, 3, 3), broadening=0.05)
    assert np.trapezoid(found.values, found.energies) == pytest.approx(16, rel=1e-5)
    below = found.energies <= found.fermi_level
    assert np.trapezoid(found.values[below], found.energies[below]) == pytest.approx(8, abs=1e-3)
    levels = solve_mesh(hamiltonian, (3, 3, 3)).eigenvalues
    assert found.energies[0] == pytest.approx(levels.min() - 0.25)
    assert found.energies[-1] > levels.max() + 0.2


def test_one_call_takes_a_solution(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    solution = solve_mesh(hamiltonian, (2, 2, 2))
    found = density_of_states(hamiltonian, solution, broadening=0.2)
    assert found.fermi_level == solution.filling.fermi_level
    expected = broaden(solution.eigenvalues, solution.weights, found.energies, 0.2)
    assert np.array_equal(found.values, expected)
