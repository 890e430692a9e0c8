"""Options that several commands of `hamlr` have."""

from __future__ import annotations

from pathlib import Path

import click

#: Type of arguments that are paths.
FILE = click.Path(path_type=Path)

OVERLAP_THRESHOLD = click.option(
    '--overlap-threshold',
    type=click.FloatRange(0, 0.1, max_open=True),
    help='Discard overlap eigenvectors with eigenvalues at or below this, for nearly dependent orbitals.',
)

SPIN_ORBIT_PSEUDOS = click.option(
    '--spin-orbit-pseudos',
    'spin_orbit_folder',
    type=FILE,
    help='Folder with fully relativistic versions (UPF) of scalar-relativistic pseudopotentials, for --spin-orbit.',
)

MAGNETIZATION_AXIS = click.option(
    '--magnetization-axis',
    nargs=3,
    type=float,
    metavar='X Y Z',
    help='With spin-orbit coupling of a magnetic structure: where spin up points, Cartesian (SAXIS of VASP).  '
    '[default: as the file, or 0 0 1]',
)
