"""One whole `hamlr predict` job against one self-consistent run of pw.x of the same structure, start-up included.

    OMP_NUM_THREADS=1 python benchmarks/predict_and_scf.py --repeat 1 2 3 --repeat 2 2 3 > predict_and_scf.json

Both take a rattled supercell of AlAs with the same GTH pseudopotentials and the same mesh of k-points, and give the gap
on it; each is a new process on one core, and its processor time is that of the whole process. The model has orbitals of
the usual size and random weights, which cost what trained ones cost; this benchmark is about time, not about errors.
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
import click
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.bands.kpoints import mesh_from_spacing
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.jobs.pseudo import make_pseudopotentials
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

ELEMENTS = ('Al', 'As')

#: Plane-wave cutoff, Ry.
CUTOFF = 20.0


def timed(command: list, folder: Path) -> dict:
    """Run a command; return its processor and wall time, s, and the largest memory of any command so far, MB."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(f'{" ".join(map(str, command))}: {done.stderr or done.stdout[-800:]}')
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {'cpu_s': round(cpu, 2), 'wall_s': round(time.monotonic() - started, 2)}


def make_model(folder: Path, size: str, radius: float):
    """Write a model of random weights."""
    pseudos = {element: make_pseudopotential(element) for element in ELEMENTS}
    basis = Basis({element: generate_basis(pseudo, size, radius) for element, pseudo in pseudos.items()})
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    model = HamiltonianModel(shells, ModelConfig(variant='lr'), 6.5, 28.0)
    texts = {element: pseudo.text for element, pseudo in pseudos.items()}
    description = {'functional': 'lda', 'ecutrho_Ry': 4 * CUTOFF}
    write_model(folder, model, model.state_dict(), basis, texts, description)


def write_inputs(folder: Path, atoms: Atoms, mesh: tuple[int, int, int]):
    """Write the inputs of both programs."""
    make_pseudopotentials(ELEMENTS, folder / 'pseudos')
    settings = {
        'control': {'calculation': 'scf', 'pseudo_dir': 'pseudos', 'outdir': 'out', 'prefix': 'alas'},
        'system': {'ecutwfc': CUTOFF, 'nbnd': int(2.0 * len(atoms)) + 8, 'occupations': 'fixed'},
        'electrons': {'conv_thr': 1e-8},
    }
    files = {element: f'{element}.upf' for element in ELEMENTS}
    # At Gamma alone pw.x has real wave functions, which take half the time; of None, ASE makes that.
    kpoints = None if mesh == (1, 1, 1) else mesh
    ase.io.write(
        folder / 'pw.in', atoms, format='espresso-in', input_data=settings, pseudopotentials=files, kpts=kpoints
    )
    ase.io.write(folder / 'structure.extxyz', atoms)
    content = {
        'model': 'model',
        'structures': ['structure.extxyz'],
        'outputs': ['hamiltonian', 'gap'],
        'kpoints': list(mesh),
        'device': 'cpu',
    }
    (folder / 'predict.yaml').write_text(json.dumps(content))


@click.command()
@click.option('--repeat', 'repeats', type=(int, int, int), multiple=True, help='Cubic cells along each axis.')
@click.option('--spacing', default=0.5, show_default=True, help='Largest distance of k-points, 1/Å.')
@click.option('--size', default='dzp', show_default=True, help='Orbitals of the model.')
@click.option('--radius', default=8.0, show_default=True, help='Radius of the orbitals, bohr.')
def main(repeats, spacing, size, radius):
    """Measure; prints JSON."""
    rows = []
    for repeat in repeats or [(1, 2, 3)]:
        atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True).repeat(repeat)
        atoms.rattle(0.05, seed=1)
        mesh = mesh_from_spacing(atoms, spacing)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_model(folder / 'model', size, radius)
            write_inputs(folder, atoms, mesh)
            executable = Path(sys.executable).with_name('hamlr')
            predict = timed([executable, 'predict', 'predict.yaml'], folder)
            summary = json.loads((folder / 'predictions/summary.json').read_text())
            predict['peak_memory_MB'] = summary['peak_memory_MB']
            scf = timed(['pw.x', '-in', 'pw.in'], folder)
        row = {'n_atoms': len(atoms), 'kpoints': list(mesh), 'predict': predict, 'scf': scf}
        row['ratio_cpu'] = round(scf['cpu_s'] / predict['cpu_s'], 1)
        click.echo(json.dumps(row), err=True)
        rows.append(row)
    print(json.dumps({'cutoff_Ry': CUTOFF, 'size': size, 'radius_bohr': radius, 'rows': rows}, indent=1))


if __name__ == '__main__':
    main()
