"""Errors of H0's grid integrals, over the whole grid and over half of it, against a grid of eight times as many points.

    OMP_NUM_THREADS=1 python benchmarks/half_grid.py > half_grid.json

Cells of eight atoms displaced by 0.05 Å, GTH pseudopotentials, one potential on the finest and on the other grids.
Errors of matrix elements and of the bands of H0, occupied and the four lowest others, at Gamma and a general k-point.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from ase.build import bulk
from scipy import fft

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential

#: Elements, lattice constant (Å), size and radius (bohr) of the orbitals, density cutoff (Ry).
CASES = (
    (('Al', 'As'), 5.66, 'sz', 6.0, 80.0),
    (('Al', 'As'), 5.66, 'dzp', 8.0, 80.0),
    (('Al', 'As'), 5.66, 'dzp', 8.0, 120.0),
)

KPOINTS = np.array([[0.0, 0.0, 0.0], [0.13, 0.21, 0.31]])


def measure(elements, lattice_constant: float, size: str, radius: float, ecutrho: float) -> dict:
    """Errors of one case, meV."""
    pseudos = {element: make_pseudopotential(element) for element in elements}
    basis = Basis({element: generate_basis(pseudo, size, radius) for element, pseudo in pseudos.items()})
    atoms = bulk(''.join(elements), 'zincblende', a=lattice_constant, cubic=True)
    atoms.rattle(0.05, seed=1)
    h0 = compute_h0(atoms, basis, pseudos, ecutrho)
    shape, pattern = h0.attributes.grid, h0.pattern
    fine = potential = neutral_atom_potential(atoms, pseudos, shape, ecutrho)
    for axis, n in enumerate(shape):
        fine = 2 * fft.irfft(fft.rfft(fine, axis=axis), 2 * n, axis=axis)
    halved = local_matrix(atoms, basis, pattern, potential, ecutrho=ecutrho)
    whole, exact = (local_matrix(atoms, basis, pattern, each) for each in (potential, fine))
    remainder = h0.h0 - halved
    n_bands = int(h0.n_electrons / 2) + 4

    def levels(local):
        h0.matrices['h0'] = remainder + local
        return eigenvalues(h0, KPOINTS, matrix='h0')[:, :n_bands]

    result = {'case': [*elements, size, ecutrho], 'grid': list(shape)}
    for name, local in (('whole', whole), ('half', halved)):
        errors, bands = np.abs(local - exact) * 1e3, np.abs(levels(local) - levels(exact)) * 1e3
        result[name] = {
            'largest_meV': errors.max(),
            'mean_meV': errors.mean(),
            'bands_largest_meV': bands.max(),
            'bands_mean_meV': bands.mean(),
        }
    print(result, file=sys.stderr, flush=True)
    return result


if __name__ == '__main__':
    print(json.dumps([measure(*case) for case in CASES], indent=1))
