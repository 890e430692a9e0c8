"""Reference Hamiltonians of rattled Al(x)Ga(1-x)As cells, and of kinds of AlAs that a model of the bulk never saw.

    OMP_NUM_THREADS=1 python benchmarks/data/alloys.py .benchmarks/alloys

The alloys are of kinds: a composition and a range of amplitudes. The pool, from which structures to learn from are
chosen, has much of what is ordinary and little of what is not; the test cells are of all kinds alike.

Needs pw.x; each structure takes two to ten CPU seconds. Structures that are finished are used again, so that an
interrupted call can be repeated. Basis and pseudopotentials are those of `alas.py`. Progress goes to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from ase import Atoms
from ase.build import bulk, surface

if __package__ is None and __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.alas import KPOINTS, LATTICE_CONSTANT, SHIFT, References

#: Alloy cells: candidates of the active learning, cells to validate on, and to test on.
ALLOYS = {'pool': 64, 'validation': 4, 'test': 24}

#: Plane-wave cutoff, Ry, and radius of the orbitals, bohr, of the alloy cells: lower than those of the other kinds, so
#: that many trainings are affordable.
ALLOY_CUTOFF, ALLOY_RADIUS = 16.0, 6.0

#: Share of Ga among the cations of the pool and of the cells to validate on.
GALLIUM = 0.25

#: Cations of the alloy cells by composition.
COMPOSITIONS = {'AlAs': ('Al', 'Al'), 'AlGaAs': ('Al', 'Ga'), 'GaAs': ('Ga', 'Ga')}

#: Smallest and largest standard deviation of the displacements' components, Å: many cells are quiet, a few are hot.
QUIET, HOT = 0.02, 0.25

#: Ranges of this standard deviation, Å.
AMPLITUDES = {'quiet': (QUIET, 0.05), 'warm': (0.05, 0.1), 'hot': (0.1, 0.165), 'very hot': (0.165, HOT)}

#: Largest component of the strain of the alloy cells.
STRAIN = 0.04

#: Number of structures of every kind that the cells of `alas.py` do not have.
KINDS = {'wurtzite': 8, 'strained': 8, 'hot': 8, 'antisite': 6, 'slab': 6, 'planar': 6}


def draw_alloy(split: str, index: int) -> tuple[tuple[str, str], float, np.random.Generator]:
    """Cations, standard deviation of the displacements (Å), and the generator of the rest, of a cell of a number."""
    generator = np.random.default_rng([2027, list(ALLOYS).index(split), index])
    if split == 'test':
        cations = list(COMPOSITIONS.values())[index % len(COMPOSITIONS)]
        smallest, largest = list(AMPLITUDES.values())[index // len(COMPOSITIONS) % len(AMPLITUDES)]
        return cations, generator.uniform(smallest, largest), generator
    cations = tuple(sorted(generator.choice(['Al', 'Ga'], size=2, p=[1 - GALLIUM, GALLIUM]).tolist()))
    # The distribution of the amplitude falls towards the hot end.
    return cations, QUIET + (HOT - QUIET) * generator.beta(1.0, 3.0), generator


def parse_name(name: str) -> tuple[str, int]:
    """Split and number of an alloy cell by the name of its file, without suffix."""
    split, number = name.split('_')
    return split, int(number)


def alloy_kind(split: str, index: int) -> tuple[str, str]:
    """Composition and range of the amplitude of the alloy cell of a number."""
    cations, amplitude, _ = draw_alloy(split, index)
    (composition,) = (name for name, pair in COMPOSITIONS.items() if pair == cations)
    return composition, next(name for name, (_, largest) in AMPLITUDES.items() if amplitude <= largest)


def alloy(split: str, index: int) -> Atoms:
    """Alloy cell of a number from 0; the same for ever."""
    cations, amplitude, generator = draw_alloy(split, index)
    side = LATTICE_CONSTANT / np.sqrt(2)
    # Two cations and two anions.
    atoms = Atoms(
        [*cations, 'As', 'As'],
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.25], [0, 0.5, 0.75]],
        cell=[side, side, LATTICE_CONSTANT],
        pbc=True,
    )
    random = generator.uniform(-STRAIN, STRAIN, (3, 3))
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + (random + random.T) / 2), scale_atoms=True)
    atoms.positions += generator.normal(scale=amplitude, size=atoms.positions.shape)
    return atoms


def unseen(kind: str, index: int) -> tuple[Atoms, tuple[int, int, int]]:
    """AlAs of a kind that is not in `alas.py`, and its mesh of k-points."""
    generator = np.random.default_rng([2028, list(KINDS).index(kind), index])
    a, kpoints, amplitude = LATTICE_CONSTANT, KPOINTS, 0.05
    if kind == 'wurtzite':
        atoms, kpoints = bulk('AlAs', 'wurtzite', a=a / np.sqrt(2), c=a / np.sqrt(2) * np.sqrt(8 / 3)), (3, 3, 2)
    elif kind == 'slab':
        atoms = surface(bulk('AlAs', 'zincblende', a=a, cubic=True), (1, 1, 0), 3, vacuum=5.0, periodic=True)
        kpoints = (2, 3, 1)
    elif kind == 'planar':
        # Sheets as of boron nitride, alternating along c, with a spacing between those of layers and of bonds.
        side = generator.uniform(4.0, 4.5)
        atoms = Atoms(
            ['Al', 'As', 'As', 'Al'],
            scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.5]],
            cell=[[side, 0, 0], [-side / 2, side * np.sqrt(3) / 2, 0], [0, 0, generator.uniform(5.5, 7.0)]],
            pbc=True,
        )
        kpoints = (3, 3, 2)
    else:
        atoms = bulk('AlAs', 'zincblende', a=a, cubic=True)
    if kind == 'strained':
        atoms.set_cell(atoms.cell[:] * (1 + 0.07 * generator.uniform(-1, 1, 3))[:, None], scale_atoms=True)
    if kind == 'antisite':
        numbers = atoms.numbers.copy()
        first, second = generator.choice(np.flatnonzero(numbers == 13)), generator.choice(np.flatnonzero(numbers == 33))
        atoms.numbers[[first, second]] = numbers[[second, first]]
    if kind == 'hot':
        amplitude = generator.uniform(0.15, 0.3)
    atoms.positions += generator.normal(scale=amplitude, size=atoms.positions.shape)
    return atoms, kpoints


def structures() -> dict[str, tuple[Atoms, tuple[int, int, int], tuple[int, int, int]]]:
    """All structures by name, with mesh and shift."""
    result = {}
    for split, count in ALLOYS.items():
        result |= {f'{split}_{n:03d}': (alloy(split, n), KPOINTS, SHIFT) for n in range(count)}
    for kind, count in KINDS.items():
        for n in range(count):
            atoms, kpoints = unseen(kind, n)
            result[f'{kind}_{n}'] = (atoms, kpoints, (1, 1, 1) if kpoints[2] > 1 else (1, 1, 0))
    return result


def make_all(folder: Path, counts: Mapping[str, int] = {**ALLOYS, **KINDS}) -> dict[str, list[Path]]:
    """Make structures; files by kind, those that pw.x does not converge left out.

    Parameters
    ----------
    folder : path
    counts : mapping of str to int
        How many of each kind; default: all.
    """
    alloys = References(folder, ('Al', 'Ga', 'As'), ALLOY_CUTOFF, ALLOY_RADIUS, charges={'Ga': 3})
    others = References(folder)
    result: dict[str, list[Path]] = {}
    for name, (atoms, kpoints, shift) in structures().items():
        kind, number = name.rsplit('_', 1)
        if int(number) >= counts.get(kind, 0):
            continue
        try:
            seconds = (alloys if kind in ALLOYS else others).make(name, atoms, kpoints, shift)
        except (RuntimeError, ValueError) as error:
            print(f'{name} left out: {" ".join(str(error).split())[:200]}', file=sys.stderr, flush=True)
            continue
        if seconds is not None:
            print(f'{name}: {seconds[0]:.1f} s pw.x, {seconds[1]:.1f} s Hamiltonian', file=sys.stderr, flush=True)
        result.setdefault(kind, []).append(folder / f'{name}.h5')
    return result


@click.command(context_settings={'help_option_names': ['-h', '--help']}, help=__doc__)
@click.argument('folder', type=click.Path(path_type=Path, file_okay=False))
def main(folder):
    """Command line."""
    for kind, files in make_all(folder).items():
        click.echo(f'{kind}: {len(files)}')


if __name__ == '__main__':
    main()
