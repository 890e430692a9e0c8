"""Cost and accuracy of the long-range sums, and of atoms that polarise each other.

    OMP_NUM_THREADS=1 python benchmarks/long_range.py --json long_range.json

All times are CPU seconds of one thread, the best of a few repetitions, and stand beside the time of one fixed matrix
product in the same run: ratios compare between machines, seconds do not. Rattled AlAs; the charges of the mesh test are
random.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from aiida_hamlr import __version__
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.model.long_range.particle_mesh import ParticleMesh, coulomb_operator
from aiida_hamlr.model.long_range.polarisation import solve_dipoles

WIDTH, ACCURACY = 1.5, 1e-5

#: Charge and polarisability of zincblende with Z*/eps = 0.249 and eps = 7.5.
CHARGE, POLARISABILITY = 1.787, 13.01

#: Cells of eight atoms along each axis.
REPEATS = ((1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 3, 2), (3, 3, 3), (4, 4, 4), (6, 6, 6), (8, 8, 8))

#: Atoms up to which direct sums are timed.
LARGEST_DIRECT = 600


def seconds(function, *arguments, repetitions: int = 3) -> float:
    """Least CPU time of a call, s."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function(*arguments)
        times.append(time.process_time() - start)
    return min(times)


def matrix_product() -> float:
    """CPU time of a product of two float64 matrices of 1000 rows and columns, s."""
    matrix = torch.ones(1000, 1000, dtype=torch.float64)
    return seconds(torch.matmul, matrix, matrix, repetitions=5)


def crystal(repeat) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cell, positions, and the sign of every atom's charge."""
    atoms = bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=0)
    sign = torch.tensor(np.where(atoms.symbols == 'Al', 1.0, -1.0))
    return torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions), sign


def cost_of_sums(repeats=REPEATS) -> list[dict]:
    """Direct sums and mesh, set up and evaluated once, over the number of atoms, and how far they differ."""

    def direct(cell, positions, charges):
        return DirectSum(cell, positions, WIDTH)(charges)[0]

    def mesh(cell, positions, charges):
        return ParticleMesh(cell, positions, WIDTH, ACCURACY)(charges)[0]

    rows = []
    for repeat in repeats:
        cell, positions, _ = crystal(repeat)
        charges = torch.randn(len(positions), generator=torch.Generator().manual_seed(0)).double()
        charges -= charges.mean()
        charges /= charges.std()
        row = {
            'n_atoms': len(positions),
            'mesh_s': seconds(mesh, cell, positions, charges),
            'chosen': type(coulomb_operator(cell, positions, WIDTH, ACCURACY)).__name__,
        }
        if len(positions) <= LARGEST_DIRECT:
            difference = mesh(cell, positions, charges) - direct(cell, positions, charges)
            row['direct_s'] = seconds(direct, cell, positions, charges)
            row['direct_over_mesh'] = row['direct_s'] / row['mesh_s']
            row['rms_difference_V'] = float(difference.square().mean().sqrt())
        rows.append(row)
    return rows


def exponent(rows: list[dict], key: str, least: int = 100) -> float:
    """b of time ~ N^b among the rows of at least so many atoms."""
    points = np.log([(row['n_atoms'], row[key]) for row in rows if key in row and row['n_atoms'] >= least])
    return float(np.polyfit(points[:, 0], points[:, 1], 1)[0])


def cost_of_response(repeats=REPEATS[:-1], tolerance: float = 1e-6) -> list[dict]:
    """Products with the matrix and time until the dipoles are self-consistent; gradients cost one more solution."""

    def solve(operator, sign, alphas):
        return solve_dipoles(operator, CHARGE * sign, alphas, tolerance=tolerance)

    rows = []
    for repeat in repeats:
        cell, positions, sign = crystal(repeat)
        operator = coulomb_operator(cell, positions, WIDTH, ACCURACY)
        alphas = torch.full_like(sign, POLARISABILITY).requires_grad_()
        solution_s = seconds(solve, operator, sign, alphas, repetitions=1)
        dipoles, n_products = solve(operator, sign, alphas)
        weights = torch.randn(dipoles.shape, generator=torch.Generator().manual_seed(0)).double()
        gradient_s = seconds((weights * dipoles).sum().backward, repetitions=1)
        rows.append(
            {
                'n_atoms': len(sign),
                'n_products': n_products,
                'solution_s': solution_s,
                'gradient_over_solution': gradient_s / solution_s,
            }
        )
    return rows


def slab_dipoles(vacua=(10.0, 18.0, 30.0), layers: int = 8, step: float = 0.01) -> list[dict]:
    """Dipole of a (110) slab whose cations are displaced along the normal, relative to that in the first vacuum."""
    rows = []
    distance = 5.6 / 8**0.5
    for vacuum in vacua:
        atoms = Atoms(cell=[5.6, 2 * distance, (layers - 1) * distance + vacuum], pbc=True)
        for n in range(layers):
            shift = np.array([2.8, distance, 0]) * (n % 2) + [0, 0, n * distance]
            atoms += Atoms('AlAs', positions=np.array([[0, 0, 0], [1.4, distance, 0]]) + shift)
        sign = torch.tensor(np.where(atoms.symbols == 'Al', 1.0, -1.0))
        alphas = torch.full_like(sign, POLARISABILITY)
        moments = []
        for direction in (step, -step):
            positions = atoms.positions.copy()
            positions[atoms.symbols == 'Al', 2] += direction
            operator = DirectSum(torch.tensor(atoms.cell[:]), torch.tensor(positions), WIDTH)
            dipoles, _ = solve_dipoles(operator, CHARGE * sign, alphas)
            moments.append(float((CHARGE * sign) @ torch.tensor(positions[:, 2]) + dipoles[:, 2].sum()))
        rows.append({'vacuum_angstrom': vacuum, 'dipole_e': (moments[0] - moments[1]) / (2 * step)})
    for row in rows:
        # A charge that does not respond makes the same dipole in every vacuum.
        row['dipole_over_first'] = row['dipole_e'] / rows[0]['dipole_e']
        row['fixed_charge_over_first'] = 1.0
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    parser.add_argument('--largest', type=int, default=10**6, help='leave out cells of more atoms')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    repeats = [repeat for repeat in REPEATS if 8 * np.prod(repeat) <= arguments.largest]
    sums = cost_of_sums(repeats)
    response = cost_of_response(repeats[:-1])
    result = {
        'code': f'aiida-hamlr {__version__}',
        'matrix_product_s': matrix_product(),
        'width_angstrom': WIDTH,
        'accuracy_V': ACCURACY,
        'sums': sums,
        'exponent_direct': exponent(sums, 'direct_s'),
        'exponent_mesh': exponent(sums, 'mesh_s'),
        'response': response,
        'slab': slab_dipoles(),
    }
    text = json.dumps(result, indent=1) + '\n'
    if arguments.json is None:
        print(text, end='')
    else:
        arguments.json.write_text(text)


if __name__ == '__main__':
    main()
