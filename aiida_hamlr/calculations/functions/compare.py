"""Compare a predicted Hamiltonian with its reference."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import Dict

from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('compare_hamiltonians',)


@calcfunction
def compare_hamiltonians(predicted: HamiltonianData, reference: HamiltonianData) -> Dict:
    """Return the errors of a prediction in meV, with the keys that `hamlr evaluate` has."""
    from aiida_hamlr.model.evaluation import compare

    return Dict(compare(predicted.open(), reference.open()))
