"""Reference Hamiltonians of rattled and strained AlAs cells of eight atoms: 64 to train on, 8 to validate, 8 to test.

    OMP_NUM_THREADS=1 python benchmarks/data/alas.py .benchmarks/alas

With `--train 250` there are more to train on; the first 64 are the same. Needs pw.x; each takes about five CPU seconds.
Cells that are finished are used again, so that an interrupted call can be repeated. Prints one JSON object on standard
output, progress on standard error.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import ase.io
import click
import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.io.qe import check_same_structure, check_supported, read_charge_density, read_scf_xml

#: Number of cells by what they are for.
SPLITS = {'train': 64, 'validation': 8, 'test': 8}

#: Å.
LATTICE_CONSTANT = 5.6

#: Standard deviations (Å) of the displacements' components, in turn, so that every split has all of them.
AMPLITUDES = np.linspace(0.03, 0.10, 8)

#: Largest component of the strain.
STRAIN = 0.02

#: Plane-wave cutoff, Ry; radius of the orbitals, bohr.
CUTOFF, RADIUS = 20.0, 8.0

#: Mesh of k-points and its shift in half steps: four points, the same in all cells.
KPOINTS, SHIFT = (2, 2, 2), (1, 1, 1)

#: Bands beyond the occupied ones.
EMPTY_BANDS = 4

#: Length of the end of pw.x's output that an error shows.
TAIL = 800


def cell(index: int) -> Atoms:
    """Cell of a number from 0; the same for ever."""
    generator = np.random.default_rng([2026, index])
    atoms = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANT, cubic=True)
    random = generator.uniform(-STRAIN, STRAIN, (3, 3))
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + (random + random.T) / 2), scale_atoms=True)
    atoms.positions += generator.normal(scale=AMPLITUDES[index % len(AMPLITUDES)], size=atoms.positions.shape)
    return atoms


@dataclass(frozen=True)
class References:
    """Makes reference Hamiltonians in one folder, with one set of pseudopotentials and one basis.

    Parameters
    ----------
    folder : path
    elements : tuple of str
    ecutwfc : float
        Ry.
    radius : float
        Of the orbitals, bohr.
    charges : mapping of str to float
        Valence electrons of the elements that have several pseudopotentials.
    """

    folder: Path
    elements: tuple[str, ...] = ('Al', 'As')
    ecutwfc: float = CUTOFF
    radius: float = RADIUS
    charges: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def pseudos(self) -> dict[str, Pseudopotential]:
        """From the published GTH parameters (LDA)."""
        return {element: make_pseudopotential(element, self.charges.get(element)) for element in self.elements}

    @cached_property
    def basis(self) -> Basis:
        """Plain double-zeta polarised orbitals."""
        return Basis({e: generate_basis(pseudo, 'dzp', self.radius) for e, pseudo in self.pseudos.items()})

    @cached_property
    def tables(self) -> TwoCentreTables:
        """Of the basis."""
        return TwoCentreTables(self.basis, self.pseudos)

    def make(self, name: str, atoms: Atoms, kpoints=KPOINTS, shift=SHIFT) -> tuple[float, float] | None:
        """Write ``<name>.h5``, unless it is there.

        Returns
        -------
        (float, float) or None
            CPU seconds of pw.x and of the rest; None if the file was there.

        Raises
        ------
        RuntimeError
            If pw.x fails.
        ValueError
            If its run did not converge, or if a file of that name belongs to another structure or calculation.
        """
        path = self.folder / f'{name}.h5'
        if path.exists():
            self._check(path, atoms, kpoints)
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            run_folder = Path(temporary)
            pw_seconds = self._run_pw(run_folder, atoms, kpoints, shift)
            start = time.process_time()
            save = run_folder / 'out/pw.save'
            run = read_scf_xml(save / 'data-file-schema.xml')
            check_supported(run)
            density = read_charge_density(save / 'charge-density.dat', run.fft_grid, run.atoms)
        potential = potential_from_density(run.atoms, density, self.pseudos, run.ecutrho)
        options = ReconstructionOptions(tables=self.tables)
        reconstruct(
            run.atoms, potential, self.basis, self.pseudos, run.ecutrho, kpoints, run=run, options=options
        ).write(path)
        return pw_seconds, time.process_time() - start

    def _check(self, path: Path, atoms: Atoms, kpoints):
        found = Hamiltonian.read(path, ())
        try:
            check_same_structure(atoms, found.atoms)
        except ValueError as error:
            raise ValueError(f'{path}: of another structure ({error}); remove it or take another folder') from error
        same = (
            found.attributes.ecutwfc == self.ecutwfc
            and found.attributes.scf_kpoints == list(kpoints)
            and all(found.basis[e].content_hash == self.basis[e].content_hash for e in found.basis)
        )
        if not same:
            raise ValueError(f'{path}: of another cutoff, mesh or basis; remove it or take another folder')

    def _run_pw(self, folder: Path, atoms: Atoms, kpoints, shift) -> float:
        """Run pw.x on one core; CPU seconds."""
        n_electrons = sum(self.pseudos[symbol].z_valence for symbol in atoms.symbols)
        settings = {
            'control': {'calculation': 'scf', 'prefix': 'pw', 'outdir': './out', 'pseudo_dir': '.', 'disk_io': 'low'},
            'system': {'ecutwfc': self.ecutwfc, 'nbnd': round(n_electrons / 2) + EMPTY_BANDS, 'occupations': 'fixed'},
            'electrons': {'conv_thr': 1e-10},
        }
        files = {element: f'{element}.upf' for element in sorted(set(atoms.get_chemical_symbols()))}
        for element, file in files.items():
            (folder / file).write_text(self.pseudos[element].text)
        ase.io.write(
            folder / 'pw.in',
            atoms,
            format='espresso-in',
            input_data=settings,
            pseudopotentials=files,
            kpts=kpoints,
            koffset=shift,
        )
        before = _children_seconds()
        done = subprocess.run(
            ['pw.x', '-in', 'pw.in'],
            cwd=folder,
            env=os.environ | {'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or 'JOB DONE' not in done.stdout:
            raise RuntimeError(f'pw.x failed with exit status {done.returncode}: {(done.stdout + done.stderr)[-TAIL:]}')
        return _children_seconds() - before


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _numbers(n_train: int) -> list[tuple[str, int, int]]:
    """Split, number in it, and number for `cell` of all cells; the 81st and later ones are further training cells."""
    splits = [(split, n) for split, count in SPLITS.items() for n in range(count)]
    numbered = [(split, n, index) for index, (split, n) in enumerate(splits)]
    kept = [each for each in numbered if each[0] != 'train' or each[1] < n_train]
    return kept + [('train', n, len(splits) + n - SPLITS['train']) for n in range(SPLITS['train'], n_train)]


def make_all(folder: Path, n_train: int = SPLITS['train']) -> dict:
    """All cells; files by split, and mean CPU seconds of those that were not there.

    Parameters
    ----------
    folder : path
        Of the files.
    n_train : int
        Number of training cells.

    Raises
    ------
    RuntimeError, ValueError
        See `References.make`.
    """
    references = References(folder)
    result: dict = {split: [] for split in SPLITS}
    seconds = []
    names = _numbers(n_train)
    for split, n, index in names:
        name = f'{split}_{n:02d}'
        made = references.make(name, cell(index))
        if made is not None:
            seconds.append(made)
            print(f'{name}: {made[0]:.1f} s pw.x, {made[1]:.1f} s the Hamiltonian', file=sys.stderr, flush=True)
        result[split].append(str(folder / f'{name}.h5'))
    result |= {'made': len(seconds), 'reused': len(names) - len(seconds)}
    if seconds:
        result |= dict(zip(('pw_cpu_s', 'hamiltonian_cpu_s'), np.mean(seconds, axis=0).round(2).tolist(), strict=True))
    return result


@click.command(context_settings={'help_option_names': ['-h', '--help']}, help=__doc__)
@click.argument('folder', type=click.Path(path_type=Path, file_okay=False))
@click.option('--train', 'n_train', type=click.IntRange(1), default=SPLITS['train'], help='Number of training cells.')
def main(folder, n_train):
    """Command line."""
    try:
        click.echo(json.dumps(make_all(folder, n_train), indent=1))
    except (RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == '__main__':
    main()
