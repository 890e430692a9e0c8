"""Reference Hamiltonians for training and evaluation: which matrices they need, and the constant between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian

#: Matrices that every reference needs.
NEEDED = ('hamiltonian', 'h0', 'overlap')


def read_reference(path: str | Path, remedy: str, *, spin_orbit: bool = False) -> Hamiltonian:
    """Read H, H0 (eV) and the overlap of a file without spin polarisation.

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
        If a matrix is missing or the file is spin-polarised.
    """
    hamiltonian = Hamiltonian.read(path, (*NEEDED, SPIN_ORBIT) if spin_orbit else NEEDED)
    missing = [name for name in NEEDED if name not in hamiltonian.matrices]
    if missing:
        raise ValueError(f'{path}: holds no {" and no ".join(missing)}; {remedy}')
    if hamiltonian.n_spin != 1:
        raise ValueError(f'{path}: spin-polarised (n_spin = 2), which the network does not learn; leave the file out')
    return hamiltonian


def fitted_shift(error: np.ndarray, overlap: np.ndarray) -> float:
    """Return the c (eV) for which ``error + c S`` has the smallest sum of squares.

    Parameters
    ----------
    error : (M,) array
        Difference of two Hamiltonians, eV.
    overlap : (M,) array
        S in the same storage.
    """
    return -float(overlap @ error) / float(overlap @ overlap)
