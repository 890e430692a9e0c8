"""Bands of reference Hamiltonians against those of the pw.x runs that they were made from.

Every structure is computed with pw.x, its Hamiltonian is made from charge-density.dat in several bases, and the
eigenvalues in the basis are compared with those of pw.x at all k-points of the run. Most structures occur in none of
the crystals that their basis was optimised on.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from pseudopotential_table import ROOT, fetch
from scipy.linalg import eigh

from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.reference.reconstruction import reconstruct
from aiida_hamlr.electronic.reference.verification import CONDUCTION_BANDS
from aiida_hamlr.io.qe import QeRun, check_supported, read_charge_density, read_scf_xml

SIZES = ('dzp', 'tzdp')
RECIPES = ('plain', 'contracted')
PARTS = ('occupied', 'conduction')

#: Largest mean errors of the occupied and the four lowest conduction bands with contracted orbitals, meV: of the
#: crystals that the orbitals were optimised on, and of structures that they never saw.
OWN = {'dzp': (20.0, 80.0), 'tzdp': (9.0, 35.0)}
HELD_OUT = {'dzp': (25.0, 110.0), 'tzdp': (13.0, 55.0)}

#: Lattice constants of the zincblende (Si: diamond) crystals, Å.
LATTICE_CONSTANTS = {'AlAs': 5.6, 'Si': 5.43, 'GaN': 4.5, 'AlN': 4.37, 'ZnO': 4.58}

#: Bands beyond the occupied ones.
EMPTY_BANDS = 8

#: k-points with truncated orbitals in cells of more atoms than a primitive one has; see `truncated_errors`.
TRUNCATED_KPOINTS = 4
PRIMITIVE_ATOMS = 2

#: Folder of the files of PseudoDojo inside the wheel.
DOJO = ROOT / 'PseudoDojo/0.4/LDA/SR/standard/upf'


@dataclass(frozen=True)
class Case:
    """A structure, the basis it is computed in, and how good that must be.

    Parameters
    ----------
    atoms : function of nothing
        Makes the structure.
    crystals : function of nothing
        Makes the crystals that the basis is optimised on.
    cutoff_radius : dict
        Of the orbitals of every element, bohr.
    ecutwfc : float
        Plane-wave cutoff of the run and of the optimisation, Ry.
    kpoints : three int
        Mesh of the run, which contains Gamma.
    gates : dict
        Size of the basis: largest mean errors of occupied and conduction bands, meV.
    dojo : bool
        Whether the pseudopotentials are those of PseudoDojo instead of GTH's.
    """

    atoms: Callable[[], Atoms]
    crystals: Callable[[], list[Atoms]]
    cutoff_radius: dict[str, float]
    ecutwfc: float
    kpoints: tuple[int, int, int]
    gates: dict[str, tuple[float, float]]
    dojo: bool = False


def crystal(name: str) -> Atoms:
    """Primitive cell of a compound, zincblende; or of Si."""
    return bulk(name, 'diamond' if name == 'Si' else 'zincblende', a=LATTICE_CONSTANTS[name])


def rattled_alas() -> Atoms:
    """Cubic cell of AlAs with 8 atoms, all displaced by 0.1 Å (standard deviation of a component)."""
    atoms = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANTS['AlAs'], cubic=True)
    atoms.rattle(0.1, seed=0)
    return atoms


def alas_slab(layers: int = 5, vacuum: float = 10.0) -> Atoms:
    """Bare (110) layers of AlAs, which hold as many cations as anions, not relaxed."""
    a = LATTICE_CONSTANTS['AlAs']
    # one layer of the crystal, z along [110]; the next one is shifted by half a cell in both directions
    layer = np.array([[0.0, 0.0, 0.0], [0.25 * np.sqrt(2), 0.25, 0.0]])
    width, length = a / np.sqrt(2), a
    symbols, positions = [], []
    for index in range(layers):
        planar = (layer[:, :2] * [a, a] + 0.5 * (index % 2) * np.array([width, length])) % [width, length]
        positions += [[*point, index * a / np.sqrt(8)] for point in planar]
        symbols += ['Al', 'As']
    height = (layers - 1) * a / np.sqrt(8) + vacuum
    atoms = Atoms(symbols, positions, cell=[width, length, height], pbc=True)
    atoms.positions[:, 2] += 0.5 * vacuum
    return atoms


def superlattice(layers: int = 2) -> Atoms:
    """(GaN)n/(AlN)n along [001] on the mean in-plane constant; every half keeps the volume of its binary."""
    gallium, aluminium = LATTICE_CONSTANTS['GaN'], LATTICE_CONSTANTS['AlN']
    a = 0.5 * (gallium + aluminium)
    symbols, scaled, heights, z = [], [], [], 0.0
    for index in range(2 * layers):
        cation, constant = ('Ga', gallium) if index < layers else ('Al', aluminium)
        spacing = 0.5 * constant**3 / a**2
        # in the square cell of edge a / sqrt(2) a cation lies at the corner or the centre, its anion beside it
        corner = 0.5 * (index % 2)
        symbols += [cation, 'N']
        scaled += [[corner, corner], [(corner + 0.5) % 1.0, corner]]
        heights += [z, z + 0.5 * spacing]
        z += spacing
    edge = a / np.sqrt(2)
    return Atoms(symbols, np.column_stack([edge * np.array(scaled), heights]), cell=[edge, edge, z], pbc=True)


def _case_list() -> dict[str, Case]:
    arsenide = {'cutoff_radius': {'Al': 8.0, 'As': 8.0}, 'ecutwfc': 40.0}
    on_bulk = {'crystals': lambda: [crystal('AlAs')], **arsenide}
    # orbitals that decay into vacuum are found where there is some: two layers, of which all atoms lie at a surface
    on_surface = {'crystals': lambda: [crystal('AlAs'), alas_slab(2, vacuum=8.0)], **arsenide}
    # GTH's nitrogen needs 160 Ry
    nitride = {'ecutwfc': 90.0, 'dojo': True}
    binaries = [crystal('GaN'), crystal('AlN')]
    return {
        'AlAs': Case(lambda: crystal('AlAs'), kpoints=(6, 6, 6), gates=OWN, **on_bulk),
        'Si': Case(lambda: crystal('Si'), lambda: [crystal('Si')], {'Si': 8.0}, 40.0, (6, 6, 6), OWN),
        'GaN': Case(
            lambda: crystal('GaN'),
            lambda: [crystal('GaN')],
            {'Ga': 7.0, 'N': 7.0},
            kpoints=(6, 6, 6),
            gates=OWN,
            **nitride,
        ),
        'AlAs-rattled': Case(rattled_alas, kpoints=(3, 3, 3), gates=HELD_OUT, **on_bulk),
        'AlAs-slab': Case(alas_slab, kpoints=(3, 2, 1), gates=HELD_OUT, **on_surface),
        'GaN-AlN': Case(
            superlattice,
            lambda: binaries,
            {'Ga': 7.0, 'Al': 7.0, 'N': 7.0},
            kpoints=(3, 3, 1),
            gates=HELD_OUT,
            **nitride,
        ),
        'ZnO': Case(
            lambda: crystal('ZnO'),
            lambda: [crystal('ZnO')],
            {'Zn': 8.0, 'O': 7.0},
            90.0,
            (6, 6, 6),
            HELD_OUT,
            dojo=True,
        ),
    }


CASES = _case_list()


@cache
def _gth(element: str) -> Pseudopotential:
    return make_pseudopotential(element)


def pseudopotentials(case: Case, elements: Sequence[str], workdir: Path) -> dict[str, Pseudopotential]:
    """Those of the elements: made from the GTH parameters, or read from the wheel that has PseudoDojo's."""
    if not case.dojo:
        return {element: _gth(element) for element in elements}
    with zipfile.ZipFile(fetch(workdir)) as wheel:
        names = {element: str(DOJO / f'{element}.upf') for element in elements}
        return {
            element: Pseudopotential.from_text(wheel.read(name).decode(), f'PseudoDojo {element}.upf')
            for element, name in names.items()
        }


@dataclass(frozen=True)
class FinishedRun:
    """A converged pw.x run and what it took, seconds."""

    run: QeRun
    density: np.ndarray
    wall: float
    cpu: float
    reused: bool


def plane_waves(name: str, case: Case, pseudos: dict[str, Pseudopotential], workdir: Path) -> FinishedRun:
    """Run pw.x on one core, unless the same input has been run before.

    Raises
    ------
    RuntimeError
        If pw.x fails; the message names its output.
    ValueError
        If the run did not converge.
    """
    folder = workdir / name
    folder.mkdir(parents=True, exist_ok=True)
    atoms = case.atoms()
    n_electrons = sum(pseudos[symbol].z_valence for symbol in atoms.symbols)
    settings = {
        'control': {'calculation': 'scf', 'prefix': 'pw', 'outdir': './out', 'pseudo_dir': '.', 'disk_io': 'low'},
        'system': {'ecutwfc': case.ecutwfc, 'nbnd': round(n_electrons / 2) + EMPTY_BANDS, 'occupations': 'fixed'},
        # states are converged far below the millielectronvolts that are looked for, empty ones too
        'electrons': {'conv_thr': 1e-10, 'diago_full_acc': True, 'electron_maxstep': 200},
    }
    files = {element: f'{element}.upf' for element in pseudos}
    ase.io.write(
        folder / 'pw.in', atoms, format='espresso-in', input_data=settings, pseudopotentials=files, kpts=case.kpoints
    )
    for element, pseudo in pseudos.items():
        (folder / files[element]).write_text(pseudo.text)
    texts = [(folder / file).read_bytes() for file in ('pw.in', *sorted(files.values()))]
    key = hashlib.sha256(b''.join(texts)).hexdigest()
    record = folder / 'finished.json'
    known = json.loads(record.read_text()) if record.exists() else {}
    reused = known.get('input_sha256') == key
    if not reused:
        record.unlink(missing_ok=True)
        _progress(f'{name}: pw.x, {len(atoms)} atoms at {case.ecutwfc:g} Ry')
        known = {'input_sha256': key} | _run_pw(folder)
    run = read_scf_xml(folder / 'out/pw.save/data-file-schema.xml')
    check_supported(run)
    record.write_text(json.dumps(known))
    density = read_charge_density(folder / 'out/pw.save/charge-density.dat', run.fft_grid, run.atoms)
    return FinishedRun(run, density, known['wall_s'], known['cpu_s'], reused)


def _run_pw(folder: Path) -> dict:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with open(folder / 'pw.out', 'w') as output:
        environment = os.environ | {'OMP_NUM_THREADS': '1'}
        done = subprocess.run(
            ['pw.x', '-in', 'pw.in'],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or 'JOB DONE' not in (folder / 'pw.out').read_text():
        raise RuntimeError(f'{folder / "pw.out"}: pw.x failed')
    for file in (folder / 'out').rglob('wfc*.dat'):
        file.unlink()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {'wall_s': round(wall, 2), 'cpu_s': round(cpu, 2)}


class _Bases:
    """Bases that were made in this process, so that structures share them."""

    def __init__(self):
        self._made: dict[tuple, tuple[Basis, dict]] = {}

    def get(self, case: Case, pseudos: dict[str, Pseudopotential], size: str, recipe: str) -> tuple[Basis, dict]:
        """The basis, and what is to be told of it."""
        crystals = case.crystals()
        key = (size, recipe, case.ecutwfc, str(case.cutoff_radius), str([a.todict() for a in crystals]))
        key += tuple(pseudo.content_hash for pseudo in pseudos.values())
        if key not in self._made:
            start, cpu = time.perf_counter(), time.process_time()
            if recipe == 'plain':
                radii = case.cutoff_radius
                basis = Basis({e: generate_basis(pseudo, size, radii[e]) for e, pseudo in pseudos.items()})
                told = {}
            else:
                basis = contract_bases(pseudos, size, case.cutoff_radius, crystals, case.ecutwfc)
                told = {'crystals': [atoms.get_chemical_formula() for atoms in crystals]}
            told |= _seconds('basis', start, cpu)
            self._made[key] = basis, told
        return self._made[key]


def _seconds(name: str, start: float, cpu: float) -> dict:
    return {
        f'{name}_wall_s': round(time.perf_counter() - start, 2),
        f'{name}_cpu_s': round(time.process_time() - cpu, 2),
    }


def _progress(text: str):
    print(text, file=sys.stderr, flush=True)


def truncated_errors(
    run: QeRun, potential: np.ndarray, basis: Basis, pseudos: dict[str, Pseudopotential]
) -> tuple[float, float]:
    """Mean errors of the occupied and the four lowest conduction bands with orbitals cut off at the run's ecutwfc, meV.

    The basis is then part of that of the run, and every eigenvalue lies above the one of the run: what the basis
    misses, and nothing that the cutoff of the run misses. It takes another route than the Hamiltonian, without
    two-centre integrals and sums over the grid. Of larger cells only some k-points are looked at.
    """
    plane_waves = PlaneWaveHamiltonian(run.atoms, potential, pseudos, run.ecutwfc)
    n_occupied = round(run.n_electrons / 2)
    n_bands = n_occupied + CONDUCTION_BANDS
    nk = len(run.kpoints)
    chosen = range(0, nk, 1 if len(run.atoms) <= PRIMITIVE_ATOMS else ceil(nk / TRUNCATED_KPOINTS))
    errors = []
    for kpoint, expected in zip(run.kpoints[chosen], run.eigenvalues[chosen], strict=True):
        found = eigh(*plane_waves.project(basis, kpoint), eigvals_only=True, subset_by_index=[0, n_bands - 1])
        errors.append(1000 * (found - expected[:n_bands]))
    errors = np.average(errors, axis=0, weights=run.weights[chosen])
    return float(errors[:n_occupied].mean()), float(errors[n_occupied:].mean())


def _row(name: str, case: Case, finished: FinishedRun, bases: _Bases, pseudos, size: str, recipe: str) -> dict:
    """Errors of one structure in one basis."""
    run = finished.run
    basis, told = bases.get(case, pseudos, size, recipe)
    start, cpu = time.perf_counter(), time.process_time()
    potential = potential_from_density(run.atoms, finished.density, pseudos, run.ecutrho)
    hamiltonian = reconstruct(run.atoms, potential, basis, pseudos, run.ecutrho, case.kpoints, run=run)
    seconds = _seconds('reconstruction', start, cpu)
    verification = hamiltonian.attributes.verification
    keys = [f'band_{kind}_{part}_meV' for kind in ('error', 'mae') for part in PARTS]
    truncated = truncated_errors(run, potential, basis, pseudos)
    row = {'structure': name, 'size': size, 'recipe': recipe}
    row |= {'orbitals': hamiltonian.n_orbitals}
    row |= {f'truncated_error_{part}_meV': round(error, 2) for part, error in zip(PARTS, truncated, strict=True)}
    row |= {key: round(verification[key], 2) for key in (*keys, 'variational_violation_meV')}
    row |= {'overlap_condition_number': float(f'{verification["overlap_condition_number"]:.3g}')}
    if recipe == 'contracted':
        gates = dict(zip(PARTS, case.gates[size], strict=True))
        passed = all(
            abs(row[f'{kind}_error_{part}_meV']) <= gate
            for part, gate in gates.items()
            for kind in ('truncated', 'band')
        )
        row |= {'gate_meV': list(gates.values()), 'passed': passed}
    row |= seconds | told
    _progress(
        f'{name} {size} {recipe}: occupied {row["truncated_error_occupied_meV"]:.1f}, '
        f'conduction {row["truncated_error_conduction_meV"]:.1f} meV'
        + (' FAILED' if row.get('passed') is False else '')
    )
    return row


def measure(structures: Sequence[str], sizes: Sequence[str], workdir: Path) -> dict:
    """Compare the bands of structures with those of pw.x.

    Parameters
    ----------
    structures : list of str
        Keys of ``CASES``.
    sizes : list of str
        'dzp', 'tzdp'.
    workdir : path
        Where the runs are kept.

    Returns
    -------
    dict
        ``runs`` of pw.x by structure, ``rows`` (one for every structure, size and recipe) and whether every gate is
        ``passed``. All errors are means of ``e_basis - e_plane_waves`` over the run's k-points: ``band_error_*`` those
        of the stored Hamiltonian, ``truncated_error_*`` see `truncated_errors`, ``band_mae_*`` the mean magnitude
        after the one shift that makes the occupied mean zero. The gates are on the first two, which are not shifted.
    """
    bases = _Bases()
    runs, rows = {}, []
    for name in structures:
        case = CASES[name]
        pseudos = pseudopotentials(case, sorted(case.cutoff_radius), workdir)
        finished = plane_waves(name, case, pseudos, workdir)
        run = finished.run
        spectrum = np.sort(run.eigenvalues, axis=1)
        n_occupied = round(run.n_electrons / 2)
        gap = spectrum[:, n_occupied].min() - spectrum[:, n_occupied - 1].max()
        runs[name] = {
            'formula': run.atoms.get_chemical_formula(),
            'n_atoms': len(run.atoms),
            'n_electrons': run.n_electrons,
            'ecutwfc_Ry': run.ecutwfc,
            'kpoint_mesh': list(case.kpoints),
            'n_kpoints': len(run.kpoints),
            'gap_eV': round(float(gap), 3),
            'cutoff_radius_bohr': case.cutoff_radius,
            'pseudopotentials': 'PseudoDojo 0.4 LDA standard' if case.dojo else 'GTH LDA',
            'pw_wall_s': finished.wall,
            'pw_cpu_s': finished.cpu,
            'pw_reused': finished.reused,
        }
        rows += [_row(name, case, finished, bases, pseudos, size, recipe) for size in sizes for recipe in RECIPES]
    return {'runs': runs, 'rows': rows, 'passed': all(row.get('passed', True) for row in rows)}
