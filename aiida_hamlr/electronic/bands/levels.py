"""On-site levels: the local potential as each atom's orbitals feel it."""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


def onsite_levels(hamiltonian: Hamiltonian, matrix: str = 'hamiltonian') -> np.ndarray:
    """Mean diagonal element of every atom, ``sum_{mu in i} M_mumu / n_i``.

    A potential V that varies slowly over an atom moves its level by V. Levels of unlike elements differ by their
    chemistry; the difference of ``hamiltonian`` and ``h0`` does not have that part and is one profile for all elements.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the matrix.
    matrix : str
        'hamiltonian' or 'h0'; with spin the mean of both.

    Returns
    -------
    (N,) array
        eV.
    """
    if matrix not in hamiltonian.matrices:
        raise ValueError(f'on-site levels need the matrix {matrix!r}, which this Hamiltonian does not hold')
    pattern = hamiltonian.pattern
    entries = np.atleast_2d(hamiltonian.matrices[matrix]).mean(axis=0)
    return np.array(
        [np.trace(pattern.block(entries, pair)) / n for pair, n in zip(pattern.onsite, pattern.n_orbitals, strict=True)]
    )


def potential_profile(hamiltonian: Hamiltonian) -> np.ndarray:
    """Mean of ``(H - H0)_mumu`` of every atom: how far the potential differs from the potential of neutral atoms.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H0 and the overlap.

    Returns
    -------
    (N,) array
        eV.
    """
    return onsite_levels(hamiltonian) - onsite_levels(hamiltonian, 'h0')


def check_same_orbitals(hamiltonian: Hamiltonian, other: Hamiltonian):
    """Raise ``ValueError`` unless all species of ``other`` have the same orbitals in a Hamiltonian."""
    for label, species in other.basis.items():
        if label not in hamiltonian.basis or hamiltonian.basis[label].content_hash != species.content_hash:
            formulas = [each.atoms.get_chemical_formula() for each in (hamiltonian, other)]
            raise ValueError(
                f'{label} of {formulas[1]} has other orbitals than in {formulas[0]}, or is not there; levels can be '
                'compared in one basis only'
            )
