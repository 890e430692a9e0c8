"""What Quantum ESPRESSO writes on its FFT grid: pp.x's filplot and charge-density.dat or .hdf5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.io import FortranFile

from aiida_hamlr.electronic.files import damage_as_value_error, open_hdf5, read_array
from aiida_hamlr.electronic.species import element_of_label
from aiida_hamlr.electronic.units import BOHR, RYDBERG
from aiida_hamlr.io.qe.structure import check_same_structure

#: What pp.x's plot_num means, for those that are read here.
PLOTS = {0: 'the charge density', 1: 'the total potential'}

#: Points by which FFT libraries pad an axis at most.
LARGEST_PADDING = 2

#: Largest imaginary part of a density in real space, in terms of its maximum.
IMAGINARY_TOLERANCE = 1e-10


@dataclass(frozen=True)
class GridFile:
    """What pp.x wrote on the FFT grid.

    Parameters
    ----------
    source : str
        Name of the file.
    values : (n1, n2, n3) array
        As in the file: Ry for a potential, bohr^-3 for a density.
    plot_num : int
        pp.x's: 0 charge density, 1 total potential.
    atoms : ase.Atoms
    valences : dict
        Electrons that the pseudopotential of every element leaves.
    ecutwfc, ecutrho : float
        Ry.
    """

    source: str
    values: np.ndarray
    plot_num: int
    atoms: Atoms
    valences: dict[str, float]
    ecutwfc: float
    ecutrho: float


def read_filplot(path: str | Path) -> GridFile:
    """Read the file that pp.x writes as ``filplot``.

    Raises
    ------
    ValueError
        If the file cannot be read, its header is not that of a filplot, or it does not hold exactly as many finite
        numbers as the header says.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        header, body = _split_filplot(data)
        parsed = _parse_filplot_header(header)
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f'{path}: not a pp.x filplot, or truncated ({error})') from error
    padded, shape, atoms, valences, ecutwfc, ecutrho, plot_num = parsed
    words = body.split()
    expected = padded[0] * padded[1] * padded[2]
    if len(words) != expected:
        raise ValueError(f'{path}: truncated or damaged pp.x filplot: {len(words)} of {expected} grid values')
    try:
        values = np.array(words, dtype=float)
    except ValueError as error:
        raise ValueError(f'{path}: damaged pp.x filplot ({error})') from error
    if not np.isfinite(values).all():
        raise ValueError(f'{path}: damaged pp.x filplot: grid values are not finite')
    if len({len(word) - word.startswith(b'-') for word in words}) > 1:
        raise ValueError(f'{path}: damaged pp.x filplot: its numbers do not all have the same number of digits')
    values = values.reshape(padded[::-1]).transpose(2, 1, 0)[: shape[0], : shape[1], : shape[2]]
    return GridFile(str(path), np.ascontiguousarray(values), plot_num, atoms, valences, ecutwfc, ecutrho)


def _split_filplot(data: bytes) -> tuple[list[str], bytes]:
    """Header lines, the title left out, and the rest."""
    start = data[:1000].split(b'\n')
    if len(start) < 3:
        raise ValueError('the header ends early')
    sizes = [int(word) for word in start[1].split()]
    if len(sizes) != 8 or min(sizes) < 1 or max(sizes) > 100_000:
        raise ValueError('its second line does not hold eight sizes')
    n_lines = 3 + (3 if int(start[2].split()[0]) == 0 else 0) + 1 + sizes[7] + sizes[6]
    lines = data.split(b'\n', n_lines)
    if len(lines) <= n_lines:
        raise ValueError('the header ends early')
    return [line.decode('ascii') for line in lines[1:n_lines]], lines[n_lines]


def _parse_filplot_header(lines: list[str]):
    sizes = [int(word) for word in lines[0].split()]
    n_atoms, n_types = sizes[6:]
    ibrav, alat = int(lines[1].split()[0]), float(lines[1].split()[1])
    if not (np.isfinite(alat) and alat > 0):
        raise ValueError(f'the lattice parameter is {alat}')
    cursor = 2
    if ibrav:
        cell = _bravais_cell(ibrav, *(float(word) for word in lines[1].split()[2:4]))
    else:
        cell = np.array([[float(word) for word in line.split()] for line in lines[2:5]])
        cursor += 3
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise ValueError('the lattice vectors are not a cell')
    gcutm, dual, ecutwfc, plot_num = lines[cursor].split()
    cursor += 1
    labels, valences = [], {}
    for line in lines[cursor : cursor + n_types]:
        _, label, valence = line.split()
        labels.append(element_of_label(label))
        valences[labels[-1]] = float(valence)
    cursor += n_types
    sites = [line.split() for line in lines[cursor : cursor + n_atoms]]
    kinds = [int(site[4]) for site in sites]
    if len(sites) != n_atoms or min(kinds) < 1 or max(kinds) > n_types:
        raise ValueError('the list of atoms is damaged')
    positions = np.array([[float(word) for word in site[1:4]] for site in sites])
    atoms = Atoms([labels[kind - 1] for kind in kinds], positions=positions * alat * BOHR, pbc=True)
    atoms.set_cell(cell * alat * BOHR)
    if any(not 0 <= padded - n <= LARGEST_PADDING for n, padded in zip(sizes[3:6], sizes[:3], strict=True)):
        raise ValueError('the grid dimensions are damaged')
    ecutrho = float(gcutm) * (2 * np.pi / alat) ** 2
    if not (np.isclose(ecutrho, float(dual) * float(ecutwfc), rtol=1e-4)):
        raise ValueError('the cutoffs in the header contradict each other')
    return tuple(sizes[:3]), sizes[3:6], atoms, valences, float(ecutwfc), ecutrho, int(plot_num)


def _bravais_cell(ibrav: int, b_over_a: float, c_over_a: float) -> np.ndarray:
    """Lattice vectors, in units of the lattice parameter, of the simpler Bravais lattices (``latgen``)."""
    cells = {
        1: np.eye(3),
        2: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
        3: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
        4: [[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, c_over_a]],
        6: np.diag([1, 1, c_over_a]),
        8: np.diag([1, b_over_a, c_over_a]),
    }
    if ibrav not in cells:
        raise ValueError(f'ibrav = {ibrav} is not supported; run pw.x with ibrav = 0 and CELL_PARAMETERS')
    return np.array(cells[ibrav], dtype=float)


def read_potential(path: str | Path, atoms: Atoms | None = None) -> np.ndarray:
    """The total local Kohn-Sham potential that pp.x wrote with ``plot_num = 1``.

    Parameters
    ----------
    path : path
        The filplot. (A cube file of the same has five digits only, not enough.)
    atoms : ase.Atoms, optional
        The structure that it must belong to.

    Returns
    -------
    (n1, n2, n3) array
        eV.

    Raises
    ------
    ValueError
        If the file is damaged, holds something else than the potential, or is that of another structure.
    """
    return _read_plot(path, 1, atoms).values * RYDBERG


def read_density(path: str | Path, atoms: Atoms | None = None) -> np.ndarray:
    """The electron density that pp.x wrote with ``plot_num = 0``: (n1, n2, n3) array, bohr^-3; see `read_potential`."""
    return _read_plot(path, 0, atoms).values


def _read_plot(path, plot_num: int, atoms: Atoms | None) -> GridFile:
    grid = read_filplot(path)
    if grid.plot_num != plot_num:
        found = PLOTS.get(grid.plot_num, 'something else')
        raise ValueError(
            f'{path}: holds {found} (plot_num = {grid.plot_num}) instead of {PLOTS[plot_num]}; '
            f'run pp.x with plot_num = {plot_num}'
        )
    if atoms is not None:
        try:
            check_same_structure(atoms, grid.atoms)
        except ValueError as error:
            raise ValueError(f'{path}: belongs to another structure: {error}') from error
    return grid


def read_charge_density(path: str | Path, fft_grid: tuple[int, int, int], atoms: Atoms | None = None) -> np.ndarray:
    """The electron density of charge-density.dat or charge-density.hdf5 on the FFT grid.

    Parameters
    ----------
    path : path
        Quantum ESPRESSO's file, of a run without or with collinear spin, or the folder that it lies in; HDF5 if its
        name ends with '.hdf5'.
    fft_grid : three int
        Of the run; see `QeRun`.
    atoms : ase.Atoms, optional
        Structure whose cell it must belong to. (The file does not tell where the atoms are.)

    Returns
    -------
    (n1, n2, n3) or, with spin, (2, n1, n2, n3) array
        bohr^-3; with spin the electrons of spin up and those of spin down. (The file itself holds their sum and their
        difference.)

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated, is that of another cell or of a noncollinear run, does not fit the
        grid, or holds coefficients of which those of G and -G are not conjugate: no density is complex.
    """
    path = find_charge_density(path)
    read = _read_hdf5_coefficients if path.suffix == '.hdf5' else _read_binary_coefficients
    gamma_only, n_vectors, n_spin, reciprocal, miller, coefficients = read(path)
    if n_spin not in (1, 2):
        raise ValueError(f'{path}: holds {n_spin} spin components; noncollinear runs are not supported')
    if not np.isfinite(coefficients).all():
        raise ValueError(f'{path}: damaged charge density: coefficients are not finite')
    is_complete = 0 < len(miller) == coefficients.shape[1] == n_vectors
    # As floats: damaged indices may be so large that twice them overflows.
    if not is_complete or (2.0 * np.abs(miller.astype(float)).max(axis=0) >= fft_grid).any():
        raise ValueError(f'{path}: does not fit the FFT grid {fft_grid}')
    if atoms is not None:
        product = atoms.cell[:] / BOHR @ reciprocal.T / (2 * np.pi)
        if not np.abs(product - np.eye(3)).max() < 1e-5:
            raise ValueError(f'{path}: belongs to another structure: its lattice vectors differ')
    occupied = np.zeros(fft_grid, dtype=bool)
    occupied[tuple(miller.T)] = True
    if np.count_nonzero(occupied) < len(miller):
        raise ValueError(f'{path}: damaged charge density: a reciprocal vector occurs twice')
    components = np.stack([_on_grid(fft_grid, miller, component, gamma_only) for component in coefficients])
    # The total density sets the scale: without magnetization, that of the other component is noise.
    if not np.abs(components.imag).max() <= IMAGINARY_TOLERANCE * np.abs(components[0].real).max():
        raise ValueError(f'{path}: damaged charge density: it is not real')
    if len(components) == 1:
        return components[0].real
    total, magnetization = components.real
    return 0.5 * np.stack([total + magnetization, total - magnetization])


def _on_grid(fft_grid, miller: np.ndarray, coefficients: np.ndarray, gamma_only: bool) -> np.ndarray:
    full = np.zeros(fft_grid, dtype=complex)
    full[tuple(miller.T)] = coefficients
    if gamma_only:
        full[tuple(-miller.T)] = coefficients.conj()
    return np.fft.ifftn(full) * full.size


def find_charge_density(path: str | Path) -> Path:
    """The charge density in a folder of Quantum ESPRESSO ('prefix.save'); a path of anything else is returned as it is.

    Raises
    ------
    ValueError
        If the folder has none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ('charge-density.dat', 'charge-density.hdf5'):
        if (path / name).is_file():
            return path / name
    raise ValueError(f'{path}: has neither charge-density.dat nor charge-density.hdf5; give the folder prefix.save')


def _read_binary_coefficients(path):
    try:
        with FortranFile(path) as handle:
            gamma_only, n_vectors, n_spin = handle.read_ints(np.int32)
            reciprocal = handle.read_reals().reshape(3, 3)
            # Wider than in the file: a damaged index must not overflow where it is compared.
            miller = handle.read_ints(np.int32).reshape(-1, 3).astype(np.int64)
            coefficients = np.stack([handle.read_record(np.complex128) for _ in range(2 if n_spin == 2 else 1)])
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error
    except (TypeError, ValueError, MemoryError) as error:
        raise ValueError(f'{path}: not a charge density of Quantum ESPRESSO, or truncated ({error})') from error
    return bool(gamma_only), n_vectors, n_spin, reciprocal, miller, coefficients


def _read_hdf5_coefficients(path):
    with open_hdf5(path) as handle, damage_as_value_error(path):
        attributes = handle.attrs
        n_spin = int(attributes['nspin'])
        names = ('rhotot_g', 'rhodiff_g') if n_spin == 2 else ('rhotot_g',)
        miller = read_array(handle, 'MillerIndices').reshape(-1, 3).astype(np.int64)
        # Complex numbers stand as pairs of real ones.
        coefficients = np.stack(
            [read_array(handle, name).astype(np.float64).reshape(-1, 2) @ [1.0, 1.0j] for name in names]
        )
        reciprocal = np.array([handle['MillerIndices'].attrs[f'bg{axis}'] for axis in (1, 2, 3)], dtype=float)
        if reciprocal.shape != (3, 3):
            raise ValueError('the reciprocal lattice vectors are not three')
        gamma_only = 'TRUE' in str(attributes['gamma_only']).upper()
        return gamma_only, int(attributes['ngm_g']), n_spin, reciprocal, miller, coefficients
