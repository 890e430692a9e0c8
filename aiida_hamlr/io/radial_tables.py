"""Radial functions that other codes tabulate, brought onto the uniform mesh of a `SpeciesBasis`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from scipy.interpolate import CubicSpline

from aiida_hamlr import __version__
from aiida_hamlr.electronic.orbitals.basis import Shell, SpeciesBasis

#: Step of the uniform mesh, bohr.
STEP = 0.01

#: Largest deviation of a tabulated function's norm from one; a larger one is a sign of damage or another format.
NORM_TOLERANCE = 0.02

#: Cutoff radii and angular momenta that a file may have.
LARGEST_RADIUS, LARGEST_MOMENTUM = 30.0, 6

#: A function's largest value, bohr^-3/2; the most compact orbitals stay below 100.
LARGEST_VALUE = 1e4


@dataclass(frozen=True)
class RadialTable:
    """A radial function as a file gives it.

    Parameters
    ----------
    angular_momentum : int
    r : (n,) array
        Increasing radii, bohr; need not begin at the origin.
    values : (n,) array
        ``R(r)``, bohr^-3/2.
    cutoff_radius : float
        Radius beyond which the function is zero, bohr.
    label : str
    occupation : float
    """

    angular_momentum: int
    r: np.ndarray
    values: np.ndarray
    cutoff_radius: float
    label: str
    occupation: float = 0.0


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises
    ------
    ValueError
        If it cannot be read or is not text.
    """
    try:
        return Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror})') from error
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: is not a text file') from error


def tabulated_basis(
    element: str, tables: Sequence[RadialTable], path: str | Path, file_format: str, **metadata
) -> SpeciesBasis:
    """Make a basis of tabulated functions: resampled with cubic splines and normalised.

    Parameters
    ----------
    element : str
        Chemical symbol.
    tables : sequence of RadialTable
        In the order in which the shells shall stand.
    path : path
        The file, for errors and metadata.
    file_format : str
        Its format, for the metadata.
    **metadata
        Further plain values for the metadata.

    Raises
    ------
    ValueError
        If the element is none, there are no tables, or one is not finite, not normalised, or ends before its cutoff
        radius.
    """
    if atomic_numbers.get(element, 0) < 1:
        raise ValueError(f'{path}: {element!r} is not a chemical element')
    if not tables:
        raise ValueError(f'{path}: holds no orbitals')
    for table in tables:
        _check(table, path)
    points = int(np.ceil(max(table.cutoff_radius for table in tables) / STEP - 1e-6)) + 1
    mesh = STEP * np.arange(points)
    shells = []
    for table in tables:
        radial = _resample(table, mesh)
        norm = np.sqrt(CubicSpline(mesh, (mesh * radial) ** 2).integrate(0.0, mesh[-1]))
        if not abs(norm - 1.0) <= NORM_TOLERANCE:
            raise ValueError(f'{path}: orbital {table.label} has the norm {norm:.4g} instead of 1; the file is damaged')
        shells.append(
            Shell(table.angular_momentum, float(table.cutoff_radius), radial / norm, table.label, table.occupation)
        )
    origin = {'recipe': 'imported', 'format': file_format, 'file': Path(path).name, **metadata}
    return SpeciesBasis(element, STEP, tuple(shells), origin | {'code': f'aiida-hamlr {__version__}'})


def _check(table: RadialTable, path):
    where = f'{path}: orbital {table.label}'
    if not 0 <= table.angular_momentum <= LARGEST_MOMENTUM:
        raise ValueError(f'{where} has the angular momentum {table.angular_momentum}')
    if not 0.5 <= table.cutoff_radius <= LARGEST_RADIUS:
        raise ValueError(f'{where} has the cutoff radius {table.cutoff_radius} bohr')
    if len(table.r) != len(table.values) or len(table.r) < 10:
        raise ValueError(f'{where} has {len(table.r)} radii and {len(table.values)} values')
    if not (np.isfinite(table.r).all() and np.isfinite(table.values).all() and np.isfinite(table.occupation)):
        raise ValueError(f'{where} holds numbers that are not finite')
    if table.r[0] < 0 or np.any(np.diff(table.r) <= 0) or np.diff(table.r).min() < 1e-8:
        raise ValueError(f'{where}: the radii do not increase')
    if table.r[-1] < table.cutoff_radius - 1e-4:
        raise ValueError(f'{where} ends at {table.r[-1]:g} bohr, before its cutoff radius {table.cutoff_radius:g}')
    if np.abs(table.values).max() > LARGEST_VALUE:
        raise ValueError(f'{where} reaches {np.abs(table.values).max():.3g} bohr^-3/2; the file is damaged')


def _resample(table: RadialTable, mesh: np.ndarray) -> np.ndarray:
    r, values = table.r, table.values
    if r[0] > 0:
        r = np.concatenate([[0.0], r])
        values = np.concatenate([[values[0] if table.angular_momentum == 0 else 0.0], values])
    # R behaves as r^l at the origin: level for every l but 1.
    start = 'not-a-knot' if table.angular_momentum == 1 else (1, 0.0)
    spline = CubicSpline(r, values, bc_type=(start, 'not-a-knot'))
    return np.where(mesh < table.cutoff_radius, spline(np.minimum(mesh, r[-1])), 0.0)
