"""Magnetic anisotropy of FePt in band energies: one scalar-relativistic run, spin-orbit coupling added afterwards.

    OMP_NUM_THREADS=1 python benchmarks/anisotropy.py .benchmarks/anisotropy --cache CACHE > anisotropy.json

L1_0 FePt (two atoms, PBE, PseudoDojo 0.4) is a ferromagnet with a large anisotropy, from the coupling of Pt. pw.x runs
once, with `nspin = 2` and scalar-relativistic pseudopotentials; the spin-orbit part comes from their fully relativistic
versions. The force theorem gives the energy of the easy axis [001] against [100], which is not self-consistent, at
several meshes. Files in the folder are used again; CACHE holds the wheel of the pseudopotentials. Exit status 1: axes
that a symmetry of the crystal exchanges differ by more than 1e-6 eV, or [001] is not the easy axis.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

from _report import report
from ase import Atoms
from pseudopotential_table import extract

from aiida_hamlr.electronic.bands.anisotropy import band_energies_by_axis
from aiida_hamlr.electronic.integrals.spin_orbit import spin_orbit_coupling
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.jobs.reconstruct import reconstruct

FAMILY = PurePosixPath('PseudoDojo/0.4/PBE')

#: The primitive tetragonal cell, Å.
ATOMS = Atoms('FePt', scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=(2.723, 2.723, 3.712), pbc=True)

#: Of the filling and of the run, eV.
SMEARING = 0.05

AXES = {'[001]': (0, 0, 1), '[100]': (1, 0, 0), '[010]': (0, 1, 0), '[110]': (1, 1, 0)}

INPUT = """&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='./SR' /
&system ibrav=0 nat=2 ntyp=2 ecutwfc=60 nbnd=26 nspin=2 starting_magnetization(1)=0.2 starting_magnetization(2)=0.05
  occupations='smearing' smearing='fd' degauss=0.00367 /
&electrons conv_thr=1e-9 mixing_beta=0.4 /
ATOMIC_SPECIES
Fe 1.0 Fe.upf
Pt 1.0 Pt.upf
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS crystal
Fe 0.0 0.0 0.0
Pt 0.5 0.5 0.5
K_POINTS automatic
6 6 4 0 0 0
"""


def run_pw(folder: Path, cache: Path):
    """Run pw.x unless its files are there."""
    extract(
        cache,
        {
            folder / kind / f'{element}.upf': FAMILY / kind / f'standard/upf/{element}.upf'
            for kind in ('SR', 'FR')
            for element in ATOMS.symbols
        },
    )
    if (folder / 'out/aiida.save/charge-density.dat').exists():
        return
    cell = '\n'.join(' '.join(f'{x:.10f}' for x in row) for row in ATOMS.cell[:])
    (folder / 'pw.in').write_text(INPUT.format(cell=cell))
    with (folder / 'pw.out').open('w') as output:
        subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, stdout=output, check=True)


def reference(folder: Path) -> Hamiltonian:
    """H of both spins in plain orbitals."""
    file = folder / 'FePt.h5'
    if not file.exists():
        hamiltonian = reconstruct(
            structure=folder / 'out/aiida.save/data-file-schema.xml',
            density=folder / 'out/aiida.save/charge-density.dat',
            pseudos={element: folder / f'SR/{element}.upf' for element in ATOMS.symbols},
            basis={'size': 'dzp', 'recipe': 'plain'},
            kpoints=(6, 6, 4),
            quality_assurance=False,
        )
        hamiltonian.write(file)
    return Hamiltonian.read(file)


def measure(folder: Path, cache: Path, divisions: list[int]) -> dict:
    """Energies of the axes less that of [001], meV, by mesh."""
    run_pw(folder, cache)
    hamiltonian = reference(folder)
    siblings = {element: Pseudopotential.read(folder / f'FR/{element}.upf') for element in ATOMS.symbols}
    coupling, attributes = spin_orbit_coupling(hamiltonian, siblings), hamiltonian.attributes
    result: dict = {
        'magnetic_moments_muB': attributes.magnetic_moments,
        'run_magnetization_muB': attributes.verification['run_magnetization'],
        'band_mae_occupied_meV': attributes.verification['band_mae_occupied_meV'],
        'meshes': {},
    }
    for n in divisions:
        mesh, start = (n, n, round(n * ATOMS.cell[0, 0] / ATOMS.cell[2, 2])), time.process_time()
        energies = 1000 * band_energies_by_axis(hamiltonian, coupling, list(AXES.values()), mesh, SMEARING)
        by_axis = dict(zip(AXES, (energies - energies[0]).tolist(), strict=True))
        result['meshes'][' x '.join(map(str, mesh))] = by_axis | {'cpu_s': time.process_time() - start}
        print(mesh, by_axis, file=sys.stderr, flush=True)
    result['passed'] = abs(by_axis['[100]'] - by_axis['[010]']) < 1e-3 and by_axis['[100]'] > 0
    return result


def main():
    """Measure, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--cache', type=Path, default=Path('.benchmarks'), help='folder of the wheel')
    parser.add_argument('--divisions', type=int, nargs='+', default=[8, 12, 16], help='of the meshes, along a')
    options = parser.parse_args()
    with redirect_stdout(sys.stderr):
        result = measure(options.folder, options.cache, options.divisions)
    report(result, None)


if __name__ == '__main__':
    main()
