"""CPU time and memory of the integrals of one reference, for cells of AlAs of growing size.

What `reconstruct` does up to H, S and H0: pairs of atoms, tables of the two-centre integrals, S and T, V_nl, the
neutral-atom potential, and the grid integrals of two potentials. Plain DZP orbitals of 8 bohr on the grid of 30 Ry
(120 Ry for the density), GTH pseudopotentials, atoms displaced by 0.05 Å. The potential is that of the neutral atoms
and a smooth wave, so that no DFT run is needed: the integrals take as long for any other.

Every size runs in a process of its own, so that the largest memory is its own, on one thread unless
``OMP_NUM_THREADS`` says otherwise.

    python benchmarks/_scaling.py [8 64 216]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.build import bulk

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential

#: Lattice constant, Å, and cutoff of the density, Ry.
LATTICE_CONSTANT, ECUTRHO = 5.66, 120.0

#: CPU seconds per atom, slowest by fastest size, and MB that are allowed.
LARGEST_TIME, LARGEST_RATIO, LARGEST_MEMORY = 0.05, 1.3, 4000.0


def measure(sizes: Sequence[int] = (8, 64, 216), memory_limit: float | None = None) -> dict:
    """Time and memory of every size.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of atoms, eight times a cube.
    memory_limit : float, optional
        GB.

    Returns
    -------
    dict
        For every size, as text: the grid; CPU seconds per atom of each part (``parts_s``), of all (``cpu_s_per_atom``)
        and of S and H alone, with one potential (``cpu_s_per_atom_without_h0``); the sum of all by grid points, since
        FFT dimensions come in steps (``cpu_s_per_1000_points``); CPU seconds of tables that are made once per basis and
        set of pseudopotentials (``tables_s``, not in the sums); the largest resident memory and the size of one matrix,
        MB. ``passed``: whether no size takes more than 0.05 s per atom, the slowest at most 30 % more than the fastest,
        and none more than 4 GB of memory.
    """
    environment = {'OMP_NUM_THREADS': '1'} | os.environ
    result = {}
    for size in sizes:
        command = [sys.executable, Path(__file__).resolve(), '--one', str(size), json.dumps(memory_limit)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f'{size} atoms: {done.stderr[-2000:]}')
        result[str(size)] = json.loads(done.stdout)
    times = [each['cpu_s_per_atom'] for each in result.values()]
    memory = max(each['peak_memory_MB'] for each in result.values())
    passed = max(times) <= LARGEST_TIME and max(times) <= LARGEST_RATIO * min(times) and memory <= LARGEST_MEMORY
    return result | {'passed': passed}


def measure_one(n_atoms: int, memory_limit: float | None = None) -> dict:
    """Time and memory of one size, in this process."""
    edge = round((n_atoms / 8) ** (1 / 3))
    if 8 * edge**3 != n_atoms:
        raise ValueError(f'{n_atoms} atoms are not eight times a cube')
    atoms = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANT, cubic=True) * edge
    atoms.rattle(0.05, seed=1)
    pseudos = {element: make_pseudopotential(element) for element in ('Al', 'As')}
    basis = Basis({element: generate_basis(pseudo, 'dzp', 8.0) for element, pseudo in pseudos.items()})
    grid = fft_grid(atoms.cell[:], ECUTRHO)
    # tables and libraries are made ready at their first use, which is not part of the integrals
    small = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANT)
    start = time.process_time()
    neutral_atom_potential(small, pseudos, fft_grid(small.cell[:], ECUTRHO), ECUTRHO)
    tables = TwoCentreTables(basis, pseudos, memory_limit)
    pattern = overlap_pattern(small, basis)
    tables.overlap_and_kinetic(small, pattern)
    tables.nonlocal_part(small, pattern)
    local_matrix(small, basis, pattern, np.zeros((4, 4, 4)))
    tables_s = time.process_time() - start
    parts = {}

    def timed(name, function, *arguments):
        before = time.process_time()
        value = function(*arguments)
        parts[name] = time.process_time() - before
        return value

    pattern = timed('pairs', overlap_pattern, atoms, basis)
    timed('overlap_kinetic', tables.overlap_and_kinetic, atoms, pattern)
    timed('nonlocal', tables.nonlocal_part, atoms, pattern)
    neutral = timed('neutral_atom_potential', neutral_atom_potential, atoms, pseudos, grid, ECUTRHO)
    x, y, z = np.ix_(*(np.arange(n) / n for n in grid))
    wave = np.cos(2 * np.pi * x) + np.sin(2 * np.pi * (y - z))
    potentials = np.stack([neutral + 0.3 * wave, neutral])
    timed('grid', local_matrix, atoms, basis, pattern, potentials, 'cpu', memory_limit)
    total = sum(parts.values())
    timed('grid_one_potential', local_matrix, atoms, basis, pattern, potentials[0], 'cpu', memory_limit)
    without_h0 = sum(parts[name] for name in ('pairs', 'overlap_kinetic', 'nonlocal', 'grid_one_potential'))
    n_points = int(np.prod(grid))
    return {
        'grid': list(grid),
        'blocks': len(pattern),
        'parts_s': {name: seconds / n_atoms for name, seconds in parts.items()},
        'cpu_s_per_atom': total / n_atoms,
        'cpu_s_per_atom_without_h0': without_h0 / n_atoms,
        'cpu_s_per_1000_points': 1000 * total / n_points,
        'tables_s': tables_s,
        'peak_memory_MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        'matrix_MB': 8e-6 * pattern.n_entries,
    }


if __name__ == '__main__':
    if sys.argv[1:2] == ['--one']:
        print(json.dumps(measure_one(int(sys.argv[2]), json.loads(sys.argv[3]))))
    else:
        print(json.dumps(measure([int(size) for size in sys.argv[1:]] or (8, 64, 216)), indent=2))
