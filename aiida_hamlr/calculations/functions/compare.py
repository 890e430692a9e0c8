"""Compare a predicted Hamiltonian with its reference."""

from __future__ import annotations

import numpy as np
from aiida.engine import ExitCode, calcfunction
from aiida.orm import Dict

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES, SPIN_ORBIT

__all__ = ('compare_hamiltonians', 'find_errors')


@calcfunction
def compare_hamiltonians(predicted: HamiltonianData, reference: HamiltonianData) -> Dict:
    """Return the errors of a prediction in meV, of moments in Bohr magnetons, with the keys of `hamlr evaluate`."""
    try:
        return Dict(find_errors(predicted, reference))
    except _DifferentBases as error:
        return ExitCode(400, str(error))
    except _DifferentPairs as error:
        return ExitCode(401, str(error))
    except ValueError as error:
        return ExitCode(402, f'A Hamiltonian cannot be read: {error}')


class _DifferentBases(ValueError):
    """Matrices in different orbitals cannot be subtracted."""


class _DifferentPairs(ValueError):
    """Matrices of different structures cannot be subtracted."""


def find_errors(predicted: HamiltonianData, reference: HamiltonianData) -> dict:
    """Return the errors of a prediction in meV, of moments in Bohr magnetons, with the keys of `hamlr evaluate`.

    Nothing is stored.

    :raises ValueError: if a file cannot be read, or bases or structures differ.
    """
    # Imported here because it loads torch, which most daemon workers do not need.
    from aiida_hamlr.model.evaluation import band_errors, element_errors, moment_errors

    first, second = (node.open(OF_STATES) for node in (predicted, reference))
    if first.has_spin_orbit != second.has_spin_orbit:
        # Bands of spinors and of scalars have no errors; H of both is the scalar part.
        for each in (first, second):
            each.matrices.pop(SPIN_ORBIT, None)
    if first.basis.content_hash != second.basis.content_hash:
        raise _DifferentBases(
            'The Hamiltonians are in different bases: compare Hamiltonians that were computed with the same basis node.'
        )
    if not np.array_equal(first.pattern.atom_pairs, second.pattern.atom_pairs):
        raise _DifferentPairs(
            'The Hamiltonians have different atom pairs: check that both belong to the same structure.'
        )
    if first.n_spin != second.n_spin:
        # Without magnetization both spins have the same H.
        for each in (first, second):
            each.matrices['hamiltonian'] = np.broadcast_to(each.hamiltonian, (2, each.hamiltonian.shape[-1]))
            each.attributes.n_spin = 2
    errors = element_errors(first.hamiltonian - second.hamiltonian, second) | band_errors(first, second)
    return errors | (moment_errors(first, second) if second.n_spin == 2 else {})
