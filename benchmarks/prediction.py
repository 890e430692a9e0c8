"""Time and memory of predictions, and of the states around the gap, for crystals of AlAs of growing size.

    OMP_NUM_THREADS=1 python benchmarks/prediction.py predict 64 512 1728 > predict.json
    OMP_NUM_THREADS=1 python benchmarks/prediction.py job 13824 > job.json
    OMP_NUM_THREADS=1 python benchmarks/prediction.py states 3x3x3 4x4x4 2x2x32 > states.json

Rattled AlAs (0.05 Å), GTH pseudopotentials, plain DZP orbitals of 8 bohr, 80 Ry for the density. ``predict``: cubes
with these numbers of atoms and an untrained network of the default size with long range, which takes as long as a
trained one. H, S and H0 are made, not written. ``job``: the same by a whole `hamlr predict`, which writes them.
``states``: 32 states around the gap of H0 at Gamma; the numbers are
cells of eight atoms along the axes. Every size runs in a process of its own, one thread; times are CPU seconds, memory
is the largest resident one of the process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential

ECUTRHO, N_STATES = 80.0, 32

#: Largest exponents of CPU time and memory, and CPU seconds per atom.
LARGEST_EXPONENT, LARGEST_TIME = 1.05, 0.03

#: Orbitals up to which all levels are computed too, up to which SciPy factorises by itself, and up to which ARPACK,
#: which solves for one vector at a time, has the factors of the first solver.
LARGEST_DENSE, LARGEST_SCIPY, LARGEST_SINGLE = 3000, 3000, 25_000

#: Forecast of a factorisation, s, up to which a solver is measured. If all take longer, only the chosen one is, once,
#: from an energy in the gap of a small crystal.
LONG = 30.0


def crystal(repeat: tuple[int, int, int]) -> Atoms:
    """Rattled AlAs of cubic cells."""
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True) * repeat
    atoms.rattle(0.05, seed=1)
    return atoms


def ingredients() -> tuple[dict, Basis]:
    """Pseudopotentials and orbitals."""
    pseudos = {element: make_pseudopotential(element) for element in ('Al', 'As')}
    return pseudos, Basis({element: generate_basis(pseudo, 'dzp', 8.0) for element, pseudo in pseudos.items()})


def peak_memory() -> float:
    """GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def cube(n_atoms: int) -> Atoms:
    """Cube with this number of atoms."""
    edge = round((n_atoms / 8) ** (1 / 3))
    if 8 * edge**3 != n_atoms:
        raise SystemExit(f'{n_atoms} atoms are not eight times a cube')
    return crystal((edge,) * 3)


def untrained() -> tuple:
    """Network, orbitals, and texts of the pseudopotentials."""
    import torch

    from aiida_hamlr.model.config import ModelConfig
    from aiida_hamlr.model.graph_builder import message_edges
    from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

    pseudos, basis = ingredients()
    config = ModelConfig(variant='lr')
    small = crystal((1, 1, 1))
    torch.manual_seed(0)
    cutoff = 2 * 8.0 * 0.529177
    n_neighbours = len(message_edges(small, config.short_range.message_cutoff or 5.0)[1]) / len(small)
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    model = HamiltonianModel(shells, config, cutoff, n_neighbours)
    return model, basis, {element: pseudo.text for element, pseudo in pseudos.items()}


def predict_one(n_atoms: int) -> dict:
    """One prediction of a cube."""
    from aiida_hamlr.model.inference import Predictor

    model, basis, texts = untrained()
    predictor = Predictor(model, {'ecutrho_Ry': ECUTRHO}, basis, texts)
    predictor.predict(crystal((1, 1, 1)))
    atoms = cube(n_atoms)
    before, base = time.process_time(), peak_memory()
    h0 = compute_h0(atoms, basis, predictor.pseudos, ECUTRHO, tables=predictor._tables)
    h0_s = time.process_time() - before
    predictor.predict_from(h0)
    seconds = time.process_time() - before
    return {
        'n_atoms': len(atoms),
        'cpu_s': seconds,
        'h0_s': h0_s,
        'cpu_s_per_atom': seconds / len(atoms),
        'start_GB': base,
        'peak_memory_GB': peak_memory(),
    }


def job_one(n_atoms: int) -> dict:
    """One whole job of a cube; its times and memory are those of its process, start-up and writing included."""
    from aiida_hamlr.model.files import write_model

    model, basis, texts = untrained()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        description = {'functional': 'lda', 'ecutrho_Ry': ECUTRHO}
        write_model(folder / 'model', model, model.state_dict(), basis, texts, description)
        ase.io.write(folder / 'cube.extxyz', cube(n_atoms))
        content = {'model': 'model', 'structures': ['cube.extxyz'], 'outputs': ['hamiltonian'], 'device': 'cpu'}
        (folder / 'predict.yaml').write_text(json.dumps(content))
        hamlr, started = Path(sys.executable).with_name('hamlr'), time.monotonic()
        subprocess.run([hamlr, 'predict', 'predict.yaml'], cwd=folder, stdout=sys.stderr, check=True)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        (written,) = json.loads((folder / 'predictions/summary.json').read_text())['structures'].values()
    return {
        'n_atoms': n_atoms,
        'cpu_s': usage.ru_utime + usage.ru_stime,
        'cpu_s_per_atom': (usage.ru_utime + usage.ru_stime) / n_atoms,
        'wall_s': time.monotonic() - started,
        'peak_memory_GB': usage.ru_maxrss * 1024 / 1e9,
        'file_GB': written['size_bytes'] / 1e9,
    }


def middle_of_gap(pseudos: dict, basis: Basis) -> float:
    """Middle of the gap of 64 atoms, eV, from all levels: an energy in the gap of larger crystals."""
    from scipy import linalg

    from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices

    hamiltonian = compute_h0(crystal((2, 2, 2)), basis, pseudos, ECUTRHO)
    (sector,) = ShiftedMatrices(hamiltonian, matrix='h0').sectors
    levels = linalg.eigvalsh(sector.hamiltonian.toarray(), sector.overlap.toarray())
    return float(levels[hamiltonian.n_occupied - 1 : hamiltonian.n_occupied + 1].mean())


def states_one(repeat: tuple[int, int, int]) -> dict:
    """States around the gap of one crystal, with every solver that is there, and of SciPy's ARPACK."""
    from scipy import linalg
    from scipy.sparse.linalg import LinearOperator, eigsh

    from aiida_hamlr.electronic.bands.factorisation import available_solvers, factorise
    from aiida_hamlr.electronic.bands.lanczos import block_lanczos
    from aiida_hamlr.electronic.bands.near_gap import states_around
    from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices

    pseudos, basis = ingredients()
    hamiltonian: Hamiltonian = compute_h0(crystal(repeat), basis, pseudos, ECUTRHO)
    result = {'n_atoms': len(hamiltonian.atoms), 'n_orbitals': hamiltonian.n_orbitals, 'start_GB': peak_memory()}
    before = time.process_time()
    shifted = ShiftedMatrices(hamiltonian, n_states=N_STATES, matrix='h0')
    (sector,) = shifted.sectors
    result |= {'analysis_s': time.process_time() - before, 'plan': str(shifted.plan)}
    print(result, file=sys.stderr, flush=True)
    is_long = shifted.plan.seconds > LONG
    solvers = [shifted.plan.solver]
    if not is_long:
        plans = [
            ShiftedMatrices(hamiltonian, n_states=N_STATES, matrix='h0', solver=s).plan for s in available_solvers()
        ]
        solvers = [plan.solver for plan in plans if plan.seconds <= LONG]
    if is_long:
        middle = middle_of_gap(pseudos, basis)
    else:
        before = time.process_time()
        found = states_around(hamiltonian, N_STATES, matrix='h0')
        vbm, cbm = found.edges
        middle = 0.5 * (vbm + cbm)
        result |= {'all_with_search_and_proof_s': time.process_time() - before, 'gap_eV': cbm - vbm}
    n = hamiltonian.n_orbitals
    for solver in solvers:
        before = time.process_time()
        factors = factorise(sector.hamiltonian - middle * sector.overlap, solver, shifted._order)
        factor_s = time.process_time() - before
        count = factors.n_negative
        energies, _ = block_lanczos(sector.overlap, factors.solve, N_STATES, middle, float)
        result[solver] = {
            'factor_s': factor_s,
            'factor_and_states_s': time.process_time() - before,
            'inertia_is_half_the_electrons': count == hamiltonian.n_electrons / 2,
            'peak_memory_GB': peak_memory(),
        }
        print(result, file=sys.stderr, flush=True)
        if is_long:
            result['gap_eV'] = energies[energies > middle].min() - energies[energies < middle].max()
        if solver == solvers[0] and n <= LARGEST_SINGLE:
            before = time.process_time()
            inverse = LinearOperator((n, n), lambda b, f=factors: f.solve(b.reshape(-1, 1))[:, 0], dtype=float)
            levels = eigsh(
                sector.hamiltonian, N_STATES, sector.overlap, sigma=middle, OPinv=inverse, return_eigenvectors=False
            )
            result['eigsh_with_the_same_factors_s'] = factor_s + time.process_time() - before
            result['largest_difference_to_eigsh_eV'] = float(np.abs(np.sort(levels) - energies).max())
        del factors
    if n <= LARGEST_SCIPY:
        before = time.process_time()
        eigsh(sector.hamiltonian.tocsc(), N_STATES, sector.overlap.tocsc(), sigma=middle)
        result['eigsh_alone_s'] = time.process_time() - before
    if n <= LARGEST_DENSE:
        before = time.process_time()
        levels = linalg.eigvalsh(sector.hamiltonian.toarray(), sector.overlap.toarray())
        result['dense_levels_s'] = time.process_time() - before
        expected = levels[found.first : found.first + N_STATES]
        result['largest_difference_to_dense_eV'] = float(np.abs(found.energies - expected).max())
    return result


def _exponent(results: list[dict], key: str) -> float:
    sizes = [each['n_atoms'] for each in results]
    return float(np.polyfit(np.log(sizes), np.log([each[key] for each in results]), 1)[0])


def main(part: str, sizes: list[str]) -> dict:
    """Run every size in a process of its own."""
    results = []
    for size in sizes:
        command = [sys.executable, Path(__file__).resolve(), '--one', part, size]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env={'OMP_NUM_THREADS': '1'} | os.environ, check=False
        )
        if done.returncode:
            raise SystemExit(f'{size} failed')
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(f'{size}: {results[-1]}', file=sys.stderr, flush=True)
    summary = {'sizes': results}
    if part == 'predict' and len(results) > 1:
        for each in results:
            each['memory_GB'] = each['peak_memory_GB'] - each['start_GB']
        summary['exponents'] = {key: _exponent(results, key) for key in ('cpu_s', 'memory_GB')}
        summary['passed'] = (
            max(summary['exponents'].values()) <= LARGEST_EXPONENT
            and max(each['cpu_s_per_atom'] for each in results) <= LARGEST_TIME
        )
    return summary


if __name__ == '__main__':
    if sys.argv[1] == '--one':
        _, _, part, size = sys.argv
        if part == 'states':
            print(json.dumps(states_one(tuple(map(int, size.split('x'))))))
        else:
            print(json.dumps({'predict': predict_one, 'job': job_one}[part](int(size))))
    else:
        print(json.dumps(main(sys.argv[1], sys.argv[2:]), indent=1))
