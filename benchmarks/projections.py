"""Electrons by element and angular momentum: our projections beside projwfc.x, for one run of pw.x.

    OMP_NUM_THREADS=1 python benchmarks/projections.py > projections.json

AlAs, GTH pseudopotentials, 20 Ry, 3 x 3 x 3 k-points; the Hamiltonian is reconstructed in plain double-zeta polarised
orbitals of 8 bohr. Ours are Mulliken shares; projwfc.x projects on orthogonalised atomic orbitals (Löwdin).
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

from qe_fixtures import FinishedRun, pw_input, run_executable

from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.projections import project_states, sum_groups
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.io.qe import read_charge_density

CUTOFF, MESH, N_BANDS = 20, (3, 3, 3), 8

LETTERS = 'spdf'


def run_programs(folder: Path, atoms, pseudos) -> dict[str, float]:
    """Run pw.x and projwfc.x; return the electrons of projwfc.x, 'Al s' and so on."""
    for element, pseudo in pseudos.items():
        (folder / f'{element}.upf').write_text(pseudo.text)
    projwfc = "&projwfc prefix='aiida' outdir='./out' lsym=.false. filpdos='pdos' /\n"
    inputs = {'pw.x': pw_input(atoms, CUTOFF, MESH, N_BANDS, system='nosym=.true.'), 'projwfc.x': projwfc}
    for program, text in inputs.items():
        printed = run_executable(program, text, folder)
        if 'JOB DONE' not in printed:
            raise RuntimeError(f'{program} failed: {printed[-800:]}')
    found = re.findall(r'Atom #\s*(\d+): total charge =\s*\S+, ([spdf]) =\s*([0-9.]+)', printed)
    return {f'{atoms.symbols[int(atom) - 1]} {letter}': float(value) for atom, letter, value in found}


def project(folder: Path, pseudos) -> dict[str, float]:
    """Return the electrons of our projections."""
    finished = FinishedRun(folder)
    run = finished.read()
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    potential = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
    basis = Basis({element: generate_basis(pseudo, 'dzp', 8.0) for element, pseudo in pseudos.items()})
    options = ReconstructionOptions(density=density, truncate=False)
    hamiltonian = reconstruct(run.atoms, potential, basis, pseudos, run.ecutrho, MESH, options=options)
    mesh = solve_mesh(hamiltonian, MESH)
    groups, shares = sum_groups(*project_states(hamiltonian, mesh.kpoints, mesh.states, 'orbital'), 'shell')
    occupations = mesh.filling.occupations.reshape(mesh.eigenvalues.shape)
    electrons = np.einsum('k,kn,kng->g', mesh.weights, occupations, shares)
    return {f'{group.species} {LETTERS[group.l]}': float(n) for group, n in zip(groups, electrons, strict=True)}


def main():
    """Measure; prints JSON."""
    pseudos = {element: make_pseudopotential(element) for element in ('Al', 'As')}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of_projwfc = run_programs(folder, bulk('AlAs', 'zincblende', a=5.66), pseudos)
        print(json.dumps({'projwfc.x': of_projwfc, 'projections': project(folder, pseudos)}, indent=1))


if __name__ == '__main__':
    main()
