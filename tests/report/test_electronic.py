"""Sections about one Hamiltonian."""

import numpy as np

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.report import electronic


def test_moments_of_the_atoms(aiida_profile, make_hamiltonian, zincblende, monkeypatch):
    """They are listed with their unit, unless there are too many."""
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian] * 2)
    hamiltonian.attributes.n_spin, hamiltonian.attributes.magnetization = 2, 3.0
    hamiltonian.attributes.magnetic_moments = [3.25, -0.25]
    node = HamiltonianData.from_hamiltonian(hamiltonian)

    def rows():
        *_, found = electronic.hamiltonian_section(node).blocks
        return {name: value for name, value, _ in found.rows}

    assert rows()['Magnetization'] == '3 µB' and rows()['Magnetic moments'] == '3.25, -0.25 µB'
    monkeypatch.setattr(electronic, 'MOST_MOMENTS', 1)
    assert 'Magnetic moments' not in rows() and node.base.attributes.get('magnetic_moments') == [3.25, -0.25]
