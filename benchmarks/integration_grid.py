"""Errors of H0 by the density of the grid on which it is integrated.

    OMP_NUM_THREADS=1 python benchmarks/integration_grid.py > integration_grid.json

The potential is always that of the cutoff of the density. Its Fourier series is evaluated on grids with a fraction of
the points of the usual one, or more, and integrated; the reference has eight times as many points. Errors are those of
the elements of H0 and of the levels at Gamma, which come from the grid alone: GTH pseudopotentials, plain DZP orbitals
of 8 bohr, cells of eight atoms displaced by 0.05 Å.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from ase import Atoms
from ase.build import bulk
from scipy import linalg
from scipy.fft import next_fast_len

from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential

#: Crystal, lattice constant (Å) and cutoff of the density (Ry).
CRYSTALS = {'AlAs': ('zincblende', 5.66, 80.0), 'NaCl': ('rocksalt', 5.64, 100.0), 'BN': ('zincblende', 3.615, 240.0)}

#: Points of the grids along an axis, of those of the usual grid.
FRACTIONS = (0.7, 0.8, 0.9, 1.0, 1.25)

N_CONDUCTION = 4


def resampled(potential: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The Fourier series of a potential on a grid of another shape."""
    series = np.fft.fftshift(np.fft.fftn(potential)) / potential.size
    for axis, (old, new) in enumerate(zip(potential.shape, shape, strict=True)):
        # Both have their zero at n // 2. Coefficients beyond the new grid go, as do those of an even grid's edge.
        kept = (min(old, new) - 1) // 2
        middle = series.take(range(old // 2 - kept, old // 2 + kept + 1), axis)
        padding = [(0, 0)] * 3
        padding[axis] = (new // 2 - kept, new - new // 2 - kept - 1)
        series = np.pad(middle, padding)
    return np.fft.ifftn(np.fft.ifftshift(series)).real * np.prod(shape)


def levels(hamiltonian: Hamiltonian, h0: np.ndarray) -> np.ndarray:
    """Occupied and the lowest conduction levels of another H0 at Gamma, eV."""
    hamiltonian.matrices['h0'] = h0
    (sector,) = ShiftedMatrices(hamiltonian, matrix='h0').sectors
    found = linalg.eigvalsh(sector.hamiltonian.toarray(), sector.overlap.toarray())
    return found[: hamiltonian.n_occupied + N_CONDUCTION]


def measure(name: str) -> dict:
    """Errors for one crystal."""
    structure, constant, ecutrho = CRYSTALS[name]
    atoms: Atoms = bulk(name, structure, a=constant, cubic=True)
    atoms.rattle(0.05, seed=1)
    pseudos = {element: make_pseudopotential(element) for element in dict.fromkeys(atoms.symbols)}
    basis = Basis({element: generate_basis(pseudo, 'dzp', 8.0) for element, pseudo in pseudos.items()})
    hamiltonian = compute_h0(atoms, basis, pseudos, ecutrho)
    usual = tuple(hamiltonian.attributes.grid)
    potential = neutral_atom_potential(atoms, pseudos, usual, ecutrho)
    pattern = hamiltonian.pattern

    def integrated(shape: tuple[int, int, int]) -> tuple[np.ndarray, float]:
        before = time.process_time()
        matrix = local_matrix(atoms, basis, pattern, resampled(potential, shape))
        return matrix, time.process_time() - before

    reference, _ = integrated(tuple(2 * n for n in usual))
    rest = hamiltonian.matrices['h0'] - integrated(usual)[0]
    expected = levels(hamiltonian, rest + reference)
    rows = []
    for fraction in FRACTIONS:
        shape = tuple(next_fast_len(round(fraction * n)) for n in usual)
        matrix, seconds = integrated(shape)
        errors = np.abs(matrix - reference) * 1000
        rows.append(
            {
                'grid': shape,
                'points': float(np.prod(shape) / np.prod(usual)),
                'cpu_s': seconds,
                'mean_error_meV': float(errors.mean()),
                'largest_error_meV': float(errors.max()),
                'largest_level_error_meV': float(np.abs(levels(hamiltonian, rest + matrix) - expected).max() * 1000),
            }
        )
        print(name, rows[-1], file=sys.stderr, flush=True)
    return {'ecutrho_Ry': ecutrho, 'grid': usual, 'grids': rows}


if __name__ == '__main__':
    print(json.dumps({name: measure(name) for name in CRYSTALS}, indent=1))
