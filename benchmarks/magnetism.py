"""Collinear magnetism: one network for hydrogen lattices in several magnetic orders, against pw.x, errors as JSON.

    OMP_NUM_THREADS=1 python benchmarks/magnetism.py --workdir .benchmarks/magnetism > magnetism.json

A simple cubic lattice of hydrogen, wide enough to be magnetic, stands for a magnetic insulator: one orbital and one
electron per atom make its references cheap, and its pseudopotential comes with Quantum ESPRESSO. Rattled and strained
cells of two atoms are trained on as ferromagnets, as antiferromagnets with planes along [111] (G) and [001] (A), and
without moments. The test has new cells of these, and the antiferromagnet with chains along [001] (C), an order that the
network never saw. Files that are there are used again. Exit status 1: a moment of an order that was trained on is off
by more than 0.02 Bohr magnetons, or reversed moments do not exchange the spins.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr import Hamiltonian, evaluate, load_model
from aiida_hamlr.electronic.magnetism import set_starting_moments, starting_moments
from aiida_hamlr.jobs.reconstruct import reconstruct
from aiida_hamlr.model.training.fit import train

PSEUDO = Path('/usr/share/espresso/pseudo/H.pz-vbc.UPF')
CONSTANT, ECUTWFC, TOLERANCE = 3.1, 25.0, 0.02

INPUT = """&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='..' /
&system ibrav=0 nat=2 ntyp=2 ecutwfc={ecutwfc} nbnd=6 occupations='smearing' degauss=0.002 {spin} /
&electrons conv_thr=1e-9 mixing_beta=0.5 /
ATOMIC_SPECIES
H1 1.0 H.upf
H2 1.0 H.upf
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS automatic
{mesh} 0 0 0
"""

#: Of every order: lattice vectors in lattice constants, the place of the second atom, its sign, and the mesh.
ORDERS = {
    'F': ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [0.5, 0.5, 0.5], 1, '3 3 3'),
    'G': ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [0.5, 0.5, 0.5], -1, '3 3 3'),
    'A': ([[1, 0, 0], [0, 1, 0], [0, 0, 2]], [0.0, 0.0, 0.5], -1, '4 4 2'),
    'C': ([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], [0.5, 0.5, 0.0], -1, '3 3 4'),
    'none': ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [0.5, 0.5, 0.5], 0, '3 3 3'),
}


@dataclass(frozen=True)
class Case:
    """A rattled, strained cell with a magnetic order."""

    order: str
    part: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and file."""
        return f'{self.order}_{self.part}_{self.seed}'

    @property
    def atoms(self) -> Atoms:
        """The structure with its starting moments, Bohr magnetons."""
        vectors, place, sign, _ = ORDERS[self.order]
        random = np.random.default_rng([self.seed, *map(ord, self.name)])
        strain = random.uniform(-0.01, 0.01, (3, 3))
        cell = CONSTANT * np.array(vectors) @ (np.eye(3) + (strain + strain.T) / 2)
        atoms = Atoms('H2', scaled_positions=[[0, 0, 0], place], cell=cell, pbc=True)
        atoms.positions += random.normal(scale=0.05, size=(2, 3))
        set_starting_moments(atoms, np.array([1.0, sign]) * abs(sign))
        return atoms


def cases() -> list[Case]:
    """All cells: those to train and validate on, those to test, and one of the order that is not trained on."""
    result = [Case(order, 'train', n) for order in ('F', 'G', 'A') for n in range(2)] + [Case('none', 'train', 0)]
    result += [Case(order, 'test', 0) for order in ('F', 'G', 'A')]
    return [*result, Case('F', 'validation', 0), Case('C', 'unseen', 0)]


def make_reference(case: Case, workdir: Path) -> Path:
    """Run pw.x and reconstruct the Hamiltonian, unless the file is there."""
    file, folder, atoms = workdir / f'{case.name}.h5', workdir / case.name, case.atoms
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    *_, sign, mesh = ORDERS[case.order]
    spin = f'nspin=2 starting_magnetization(1)=1 starting_magnetization(2)={sign}' if sign else ''
    text = INPUT.format(
        ecutwfc=ECUTWFC,
        spin=spin,
        cell='\n'.join(' '.join(f'{x:.10f}' for x in row) for row in atoms.cell[:]),
        positions='\n'.join(f'H{n + 1} ' + ' '.join(f'{x:.10f}' for x in p) for n, p in enumerate(atoms.positions)),
        mesh=mesh,
    )
    (folder / 'pw.in').write_text(text)
    with (folder / 'pw.out').open('w') as output:
        subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, stdout=output, check=True)
    hamiltonian = reconstruct(
        structure=folder / 'out/aiida.save/data-file-schema.xml',
        density=folder / 'out/aiida.save/charge-density.dat',
        pseudos={'H': workdir / 'H.upf'},
        basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': 6.0},
        quality_assurance=False,
    )
    hamiltonian.write(file)
    return file


def summarise(files: list[Path], folder: Path) -> dict:
    """Errors of some structures, and what they are errors of."""
    found = evaluate(folder, files)
    references = [Hamiltonian.read(file) for file in files]
    keys = [
        key for key in found if key.startswith(('mae_', 'band_', 'gap_', 'moment_')) and isinstance(found[key], float)
    ]
    return {
        'gap_eV': [one.attributes.gap for one in references],
        'magnetic_moments_muB': [one.attributes.magnetic_moments for one in references],
        **{key: found[key] for key in keys},
    }


def flips(file: Path, folder: Path) -> float:
    """Largest difference, eV, of H and H with reversed moments and exchanged spins."""
    predictor, h0 = load_model(folder), Hamiltonian.read(file)
    one = predictor.predict_from(h0).hamiltonian
    set_starting_moments(h0.atoms, -starting_moments(h0.atoms))
    return float(np.abs(one - predictor.predict_from(h0).hamiltonian[::-1]).max())


def measure(workdir: Path, steps: int) -> dict:
    """Make the references, train, and compare by order."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / 'H.upf').write_bytes(PSEUDO.read_bytes())
    files: dict[str, dict[str, list[Path]]] = {}
    for case in cases():
        files.setdefault(case.part, {}).setdefault(case.order, []).append(make_reference(case, workdir))
    parts = {part: sum(files[part].values(), []) for part in ('train', 'validation')}
    run, start = workdir / 'run', time.process_time()
    if not (run / 'summary.json').exists():
        settings = {'max_steps': steps, 'device': 'cpu', 'seed': 0}
        train({'data': parts, 'model': {'variant': 'sr', 'message_cutoff': 7.0}, 'training': settings}, run)
    results = {'steps': steps, 'training_cpu_s': time.process_time() - start}
    for part in ('test', 'unseen'):
        results |= {f'{order}_{part}': summarise(paths, run) for order, paths in files[part].items()}
    results['flip_eV'] = max(flips(files['test'][order][0], run) for order in ('F', 'G', 'A'))
    return results


def main():
    """Measure, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workdir', type=Path, default=Path('.benchmarks/magnetism'))
    parser.add_argument('--steps', type=int, default=500)
    options = parser.parse_args()
    with redirect_stdout(sys.stderr):
        results = measure(options.workdir, options.steps)
    json.dump(results, sys.stdout, indent=2)
    largest = max(results[f'{order}_test']['moment_largest_error_muB'] for order in ('F', 'G', 'A'))
    sys.exit(largest > TOLERANCE or results['flip_eV'] > 1e-12)


if __name__ == '__main__':
    main()
