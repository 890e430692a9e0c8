"""Points of the Brillouin zone: meshes and band paths, always in fractions of the given cell's reciprocal vectors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.dft.kpoints import parse_path_string

from aiida_hamlr.electronic.geometry import periodic_directions
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.species import species_numbers

#: Distance between neighbouring points of a band path, 1/Å.
PATH_SPACING = 0.04

#: Default distance of the points of a mesh, 1/Å.
MESH_SPACING = 0.25

#: Points of a line, and of a mesh, from which on they are an oversight.
MOST_POINTS = 1_000_000

#: Length tolerance within which the symmetry of a structure is found, Å.
SYMMETRY_TOLERANCE = 1e-5


def mesh_points(mesh) -> np.ndarray:
    """(n1 n2 n3, 3) integers that number all points of a mesh along its axes, row-major, none left out by symmetry."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in mesh), indexing='ij'), axis=-1).reshape(-1, 3)


def monkhorst_pack(mesh, time_reversal: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Mesh that contains Gamma, reduced by time reversal, as ``K_POINTS automatic`` with ``0 0 0`` shifts.

    Parameters
    ----------
    mesh : three int
        Divisions along the reciprocal vectors.
    time_reversal : bool
        Whether a point stands for itself and for -k; otherwise all points are kept.

    Returns
    -------
    kpoints : (nk, 3) array
        Fractional, in (-1/2, 1/2].
    weights : (nk,) array
        Sum 1.

    Raises
    ------
    ValueError
        If a division is not a positive integer, or there are more than a million points.
    """
    divisions = np.asarray(mesh)
    if divisions.shape != (3,) or divisions.dtype.kind not in 'iu' or divisions.min() < 1:
        raise ValueError(f'k-point mesh {mesh!r}: three positive integers are needed')
    if np.prod(divisions.astype(float)) > MOST_POINTS:
        raise ValueError(f'k-point mesh {" x ".join(map(str, divisions))}: more than {MOST_POINTS:,} points')
    points = mesh_points(divisions)
    index = np.ravel_multi_index(points.T, divisions)
    inverse = np.ravel_multi_index((-points % divisions).T, divisions)
    kept = index <= inverse if time_reversal else np.full(len(index), True)
    weights = np.where((index == inverse) | (not time_reversal), 1.0, 2.0)[kept]
    fractional = points[kept] / divisions
    return np.where(fractional > 0.5, fractional - 1.0, fractional), weights / weights.sum()


def full_mesh_index(mesh, time_reversal: bool = True) -> np.ndarray:
    """(n1 n2 n3,) index into the points of `monkhorst_pack` of every point of the full mesh, row-major."""
    points = mesh_points(mesh)
    index = np.arange(len(points))
    if not time_reversal:
        return index
    first = np.minimum(index, np.ravel_multi_index((-points % mesh).T, mesh))
    return np.unique(first, return_inverse=True)[1].ravel()


def mesh_from_spacing(atoms: Atoms, spacing: float) -> tuple[int, int, int]:
    """Divisions that put mesh points at most ``spacing`` (1/Å, with the factor 2 pi) apart; 1 across a slab.

    They are even, or 1: odd meshes miss the points of the zone boundary, where band edges often are.
    """
    lengths = np.linalg.norm(reciprocal(atoms.cell[:]), axis=1) * periodic_directions(atoms)
    divisions = (max(1, int(np.ceil(length / spacing - 1e-6))) for length in lengths)
    return tuple(n if n == 1 else n + n % 2 for n in divisions)


@dataclass(frozen=True)
class BandPath:
    """Points along lines of the Brillouin zone.

    Parameters
    ----------
    kpoints : (nk, 3) array
        Fractional.
    distances : (nk,) array
        Length along the path, 1/Å; it does not grow over a jump between two lines.
    labels : tuple of nk str
        Name of the point, empty between the named ones.
    """

    kpoints: np.ndarray
    distances: np.ndarray
    labels: tuple[str, ...]

    @classmethod
    def from_lines(cls, lines, cell: np.ndarray, spacing: float = PATH_SPACING) -> BandPath:
        """Sample straight lines.

        Parameters
        ----------
        lines : list of list of (str, (3,) array)
            Each inner list is a connected line through named points (fractional).
        cell : (3, 3) array
            Å.
        spacing : float
            Largest distance of neighbouring points, 1/Å.
        """
        vectors = reciprocal(cell)
        kpoints, distances, labels = [], [], []
        reached = 0.0
        for line in lines:
            label, start = line[0]
            start = np.asarray(start, dtype=float)
            kpoints.append(start)
            distances.append(reached)
            labels.append(label)
            for label, stop in line[1:]:
                stop = np.asarray(stop, dtype=float)
                length = float(np.linalg.norm((stop - start) @ vectors))
                if not length / spacing < MOST_POINTS:
                    raise ValueError(f'spacing {spacing:g} 1/Å: too many points of a band path; take a larger one')
                steps = max(1, int(np.ceil(length / spacing - 1e-9)))
                for step in range(1, steps + 1):
                    kpoints.append(start + (stop - start) * step / steps)
                    distances.append(reached + length * step / steps)
                    labels.append(label if step == steps else '')
                reached += length
                start = stop
        return cls(np.array(kpoints), np.array(distances), tuple(labels))

    def __len__(self):
        return len(self.kpoints)


def band_path(atoms: Atoms, spacing: float = PATH_SPACING) -> BandPath:
    """Standard band path of a crystal (Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)) in its own cell.

    The path is that of the primitive standard cell, found by symmetry; its points are given in the fractional
    coordinates of ``atoms.cell``, however that is turned, and also if it is a supercell (the bands are then folded).
    A layer, slab or chain (see `periodic_directions`) has that of its own two- or one-dimensional lattice (Setyawan and
    Curtarolo, Comput. Mater. Sci. 49, 299 (2010)), without the direction across it; a molecule has both
    ends of the line from Gamma to X, between which its levels are flat.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal, in any of its cells, or what has vacuum around it.
    spacing : float
        1/Å.

    Returns
    -------
    BandPath
        Points with labels; distances in 1/Å.

    Raises
    ------
    ValueError
        If no symmetry can be found, as for atoms on top of each other.
    """
    import seekpath
    import spglib
    from seekpath.hpkot import SymmetryDetectionError

    periodic = periodic_directions(atoms)
    if not periodic.any():
        return BandPath.from_lines([[('GAMMA', np.zeros(3)), ('X', np.array([0.5, 0.0, 0.0]))]], atoms.cell, np.inf)
    if not periodic.all():
        return _path_within(atoms, periodic, spacing)
    structure = (np.array(atoms.cell), atoms.get_scaled_positions(), species_numbers(atoms))
    with warnings.catch_warnings():
        # Deprecated access in seekpath, and near-degenerate lattices, for which either choice of path is right.
        warnings.simplefilter('ignore')
        try:
            found = seekpath.get_path(structure, symprec=SYMMETRY_TOLERANCE)
            dataset = spglib.get_symmetry_dataset(structure, symprec=SYMMETRY_TOLERANCE)
        except (SymmetryDetectionError, ValueError, RuntimeError) as error:
            raise ValueError(f'no band path for {atoms.get_chemical_formula()}: {error}') from error
    if dataset is None:
        raise ValueError(f'no band path for {atoms.get_chemical_formula()}: no symmetry found, do atoms coincide?')
    # Columns: (a b c) = (a_std b_std c_std) P up to a rotation, so that k.a_i = sum_j P_ji k.a_std,j.
    to_given = dataset.std_lattice @ np.array(found['reciprocal_primitive_lattice']).T / (2 * np.pi)
    to_given = dataset.transformation_matrix.T @ to_given
    points = {label: to_given @ np.array(point) for label, point in found['point_coords'].items()}
    lines: list[list] = []
    for start, stop in found['path']:
        if not lines or lines[-1][-1][0] != start:
            lines.append([(start, points[start])])
        lines[-1].append((stop, points[stop]))
    return BandPath.from_lines(lines, atoms.cell, spacing)


def _path_within(atoms: Atoms, periodic: np.ndarray, spacing: float) -> BandPath:
    """Band path of the lattice of one or two cell vectors."""
    found = atoms.cell.bandpath(pbc=periodic, npoints=0)
    lines = [[(_label(name), found.special_points[name]) for name in line] for line in parse_path_string(found.path)]
    return BandPath.from_lines(lines, atoms.cell.uncomplete(periodic).complete()[:], spacing)


def _label(name: str) -> str:
    """Name of a special point as seekpath writes it, of that which ASE writes."""
    return 'GAMMA' if name == 'G' else f'{name[0]}_{name[1:]}' if name[1:] else name


def find_band_path(atoms: Atoms, path: str | Path = 'auto', spacing: float = PATH_SPACING) -> BandPath:
    """The standard path of a crystal for 'auto', see `band_path`, or that of a file, see `read_band_path`."""
    return band_path(atoms, spacing) if str(path) == 'auto' else read_band_path(path, atoms.cell[:], spacing)


def read_band_path(path: str | Path, cell: np.ndarray, spacing: float = PATH_SPACING) -> BandPath:
    """Read a band path from a text file.

    One point a line, ``label k1 k2 k3``, in fractions of the reciprocal vectors of the structure's own cell, as 0.25 or
    1/4; straight lines connect successive points, an empty line breaks the path, ``#`` starts a comment::

        GAMMA  0    0    0
        X      0.5  0    0.5

        L      0.5  0.5  0.5
        GAMMA  0    0    0

    Parameters
    ----------
    path : path
        Name of the text file.
    cell : (3, 3) array
        Å.
    spacing : float
        1/Å.

    Raises
    ------
    ValueError
        If the file is missing, a line cannot be read or repeats the point before; the message names file and line.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: cannot read a band path: {getattr(error, "strerror", None) or error}') from error
    lines: list[list] = [[]]
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.split('#')[0].split()
        if not words:
            if not raw.strip() and lines[-1]:
                lines.append([])
            continue
        try:
            label, *numbers = words
            point = np.array([_coordinate(x) for x in numbers])
            if len(point) != 3 or not np.isfinite(point).all():
                raise ValueError
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f'{path}, line {number}: expected "label k1 k2 k3", as in "X 0.5 0 1/2", found {raw.strip()!r}'
            ) from None
        if lines[-1] and np.allclose(point, lines[-1][-1][1], rtol=0, atol=1e-9):
            raise ValueError(
                f'{path}, line {number}: {label} is the same point as {lines[-1][-1][0]} before it; remove one'
            )
        lines[-1].append((label, point))
    lines = [line for line in lines if line]
    if not lines or any(len(line) < 2 for line in lines):
        raise ValueError(f'{path}: a line of the band path needs at least two points')
    return BandPath.from_lines(lines, cell, spacing)


def _coordinate(text: str) -> float:
    """A number such as 0.5 or 1/2; ``ValueError`` or ``ZeroDivisionError`` if it is none."""
    numerator, slash, denominator = text.partition('/')
    return float(numerator) / float(denominator) if slash else float(numerator)
