"""Options that several commands of `hamlr` have."""

from __future__ import annotations

import math
from pathlib import Path

import click


class _Finite:
    """Refuses NaN and infinity, which click takes for numbers, and within any range."""

    def convert(self, value, param, ctx):
        """The number; a usage error that names the option unless it is finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f'{value} is not a finite number.', param, ctx)
        return number


class FiniteFloat(_Finite, click.types.FloatParamType):
    """Type of options that are any finite number."""


class FiniteRange(_Finite, click.FloatRange):
    """Type of options that are a finite number within bounds."""


#: Any finite number, and one above zero.
NUMBER, POSITIVE = FiniteFloat(), FiniteRange(0, min_open=True)

#: Type of arguments that are paths.
FILE = click.Path(path_type=Path)

OVERLAP_THRESHOLD = click.option(
    '--overlap-threshold',
    type=FiniteRange(0, 0.1, max_open=True),
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
    type=NUMBER,
    metavar='X Y Z',
    help='With spin-orbit coupling of a magnetic structure: where spin up points, Cartesian (SAXIS of VASP).  '
    '[default: as the file, or 0 0 1]',
)
