"""The plane-wave cutoff that is enough for a reference."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import Dict, Float

__all__ = ('choose_cutoff',)


@calcfunction
def choose_cutoff(tolerance: Float, **results: Dict) -> Dict:
    """Return the smallest of the cutoffs that were tried whose error is within the tolerance.

    :param tolerance: largest accepted `cutoff_error_meV`.
    :param results: summaries of reconstructions of one structure at several cutoffs.
    :raises ValueError: if no cutoff is enough.
    """
    content = [node.get_dict() for node in results.values()]
    rows = sorted((each['ecutwfc_Ry'], each['ecutrho_Ry'], each['cutoff_error_meV']) for each in content)
    enough = [row for row in rows if row[2] <= tolerance.value]
    if not enough:
        raise ValueError(f'no cutoff has an error within {tolerance.value:g} meV')
    ecutwfc, ecutrho, error = enough[0]
    return Dict(
        {
            'ecutwfc_Ry': ecutwfc,
            'ecutrho_Ry': ecutrho,
            'cutoff_error_meV': error,
            'tried': [{'ecutwfc_Ry': row[0], 'cutoff_error_meV': row[2]} for row in rows],
        }
    )
