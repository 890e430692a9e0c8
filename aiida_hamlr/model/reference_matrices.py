"""Reference Hamiltonians for training and evaluation: which matrices they need, and the constant between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.magnetism import starting_moments
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian

#: Matrices that every reference needs.
NEEDED = ('hamiltonian', 'h0', 'overlap')


def read_reference(path: str | Path, remedy: str, *, spin_orbit: bool = False) -> Hamiltonian:
    """Read H, H0 (eV) and the overlap of a file; with collinear spin H is (2, M).

    Parameters
    ----------
    path : path
        A hamiltonian.h5.
    remedy : str
        End of the message about missing matrices.
    spin_orbit : bool
        Whether to read the spin-orbit part too, if the file has one.

    Raises
    ------
    ValueError
        If a matrix is missing, or a file with collinear spin has no starting moments.
    """
    hamiltonian = Hamiltonian.read(path, (*NEEDED, SPIN_ORBIT) if spin_orbit else NEEDED)
    missing = [name for name in NEEDED if name not in hamiltonian.matrices]
    if missing:
        raise ValueError(f'{path}: holds no {" and no ".join(missing)}; {remedy}')
    if hamiltonian.n_spin == 2 and starting_moments(hamiltonian.atoms) is None:
        raise ValueError(
            f'{path}: has collinear spin (n_spin = 2), but no starting moments of the atoms, which say which magnetic '
            'order it is: files of earlier versions, and runs without starting_magnetization, have none; '
            'run `hamlr reconstruct` again, with the XML file of the run'
        )
    return hamiltonian


def fitted_shift(error: np.ndarray, overlap: np.ndarray) -> float:
    """Return the c (eV) for which ``error + c S`` has the smallest sum of squares.

    Parameters
    ----------
    error : (M,) or (2, M) array
        Difference of two Hamiltonians, eV; both spins have the same constant.
    overlap : (M,) array
        S in the same storage.
    """
    error = error.reshape(-1, len(overlap)).mean(axis=0)
    return -float(overlap @ error) / float(overlap @ overlap)
