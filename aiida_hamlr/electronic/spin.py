"""What collinear spin adds: magnetization, magnetic moments, and which bands each spin fills."""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.occupations import Filling, mulliken_populations


def magnetic_moments(hamiltonian: Hamiltonian) -> np.ndarray:
    """(N,) Mulliken moments of the atoms, ``sum_{mu in i} ((P_up - P_down) S)_mumu``, Bohr magnetons.

    Their sum is the magnetization of the cell.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With spin, the overlap and the density matrix.
    """
    up, down = hamiltonian.density_matrix
    return mulliken_populations(hamiltonian, up) - mulliken_populations(hamiltonian, down)


def spin_attributes(hamiltonian: Hamiltonian, filling: Filling) -> dict:
    """What a spin-polarised Hamiltonian records besides the rest; nothing without spin."""
    if hamiltonian.n_spin == 1:
        return {}
    moments = magnetic_moments(hamiltonian)
    attributes = {'magnetization': float(moments.sum()), 'magnetic_moments': [float(moment) for moment in moments]}
    if filling.spin_fermi_levels is not None:
        attributes['spin_fermi_levels_eV'] = list(filling.spin_fermi_levels)
    return attributes


def occupied_and_conduction(values: np.ndarray, run, n_conduction: int) -> dict[str, np.ndarray]:
    """Split what belongs to the bands of a run into that of occupied and that of the lowest empty ones.

    Parameters
    ----------
    values : (nk, nb) or (2, nk, nb) array
        A number of every band.
    run : QeRun
        Without spin the electrons say how many bands are occupied, with spin the occupations of each.
    n_conduction : int
        Empty bands, of each spin.

    Returns
    -------
    dict
        'occupied' and 'conduction': (nk, n) arrays, the bands of spin down after those of spin up.
    """
    if values.ndim == 2:
        spins, counts = values[None], [int(np.ceil(run.n_electrons / 2))]
    else:
        electrons = np.einsum('k,skn->s', run.weights, run.occupations)
        spins, counts = values, [int(np.ceil(number - 1e-6)) for number in electrons]
    pairs = list(zip(spins, counts, strict=True))
    return {
        'occupied': np.concatenate([spin[:, :n] for spin, n in pairs], axis=1),
        'conduction': np.concatenate([spin[:, n : n + n_conduction] for spin, n in pairs], axis=1),
    }
