"""Compare a predicted Hamiltonian with its reference."""

from __future__ import annotations

import numpy as np
from aiida.engine import ExitCode, calcfunction
from aiida.orm import Dict

from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('compare_hamiltonians',)


@calcfunction
def compare_hamiltonians(predicted: HamiltonianData, reference: HamiltonianData) -> Dict:
    """Return the errors of a prediction in meV, with the keys that `hamlr evaluate` has."""
    # Imported here for it brings torch, which not every user of the work chains needs in memory.
    from aiida_hamlr.model.evaluation import band_errors, element_errors

    try:
        first, second = predicted.open(('hamiltonian', 'overlap')), reference.open(('hamiltonian', 'overlap'))
    except ValueError as error:
        return ExitCode(402, f'a Hamiltonian cannot be read: {error}')
    if first.basis.content_hash != second.basis.content_hash:
        return ExitCode(400, 'the Hamiltonians are in different bases')
    if not np.array_equal(first.pattern.atom_pairs, second.pattern.atom_pairs):
        return ExitCode(401, 'the Hamiltonians have different atom pairs: are they of one structure?')
    return Dict(
        {**element_errors(first.hamiltonian - second.hamiltonian, second), **band_errors(first, second)},
    )
