"""Compare a predicted Hamiltonian with its reference."""

from __future__ import annotations

import numpy as np
from aiida.engine import ExitCode, calcfunction
from aiida.orm import Dict

from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('compare_hamiltonians',)


@calcfunction
def compare_hamiltonians(predicted: HamiltonianData, reference: HamiltonianData) -> Dict:
    """Return the errors of a prediction in meV, with the keys of `hamlr evaluate`."""
    # Imported here because it loads torch, which most daemon workers do not need.
    from aiida_hamlr.model.evaluation import band_errors, element_errors

    try:
        first, second = predicted.open(('hamiltonian', 'overlap')), reference.open(('hamiltonian', 'overlap'))
    except ValueError as error:
        return ExitCode(402, f'A Hamiltonian cannot be read: {error}')
    if first.basis.content_hash != second.basis.content_hash:
        return ExitCode(
            400,
            'The Hamiltonians are in different bases: compare Hamiltonians that were computed with the same basis '
            'node.',
        )
    if not np.array_equal(first.pattern.atom_pairs, second.pattern.atom_pairs):
        return ExitCode(
            401, 'The Hamiltonians have different atom pairs: check that both belong to the same structure.'
        )
    return Dict(
        {**element_errors(first.hamiltonian - second.hamiltonian, second), **band_errors(first, second)},
    )
