"""Reading what Quantum ESPRESSO writes: data-file-schema.xml, pp.x's filplot and charge-density.dat."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.io import FortranFile

from aiida_hamlr.electronic.units import BOHR, HARTREE, RYDBERG

#: Names that Quantum ESPRESSO gives to the functionals known here.
FUNCTIONALS = {
    'PZ': 'lda_pz',
    'LDA': 'lda_pz',
    'SLA PZ NOGX NOGC': 'lda_pz',
    'PW': 'lda_pw',
    'SLA PW NOGX NOGC': 'lda_pw',
    'PBE': 'pbe',
    'SLA PW PBX PBC': 'pbe',
    'SLA PW PBE PBE': 'pbe',
    'PBESOL': 'pbesol',
    'SLA PW PSX PSC': 'pbesol',
}

#: What pp.x's plot_num means, for those that are read here.
PLOTS = {0: 'the charge density', 1: 'the total potential'}

#: Largest disagreement of two descriptions of one structure, Å; headers hold nine digits.
STRUCTURE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class QeRun:
    """Result of a pw.x run.

    Parameters
    ----------
    source : str
        Name of the file.
    atoms : ase.Atoms
        Å, periodic in three directions.
    n_electrons, total_charge : float
    n_spin : int
        2 for collinear spin.
    noncollinear, spin_orbit, converged, ultrasoft, paw : bool
    extensions : tuple of str
        What goes beyond a plain functional: 'hybrid functional', 'Hubbard correction', ...
    fft_grid : tuple of three int
    ecutwfc, ecutrho : float
        Ry.
    functional : str
        'lda_pz', 'lda_pw', 'pbe', 'pbesol', or the name in the file if it is none of these.
    kpoints : (nk, 3) array
        Fractional.
    weights : (nk,) array
        Normalised to a sum of 1.
    eigenvalues, occupations : (nk, nb) or (2, nk, nb) arrays
        eV; occupations 0 to 1.
    fermi_level : float or None
        eV.
    version : str
        Of Quantum ESPRESSO.
    pseudo_files : dict
        Name of the pseudopotential file of every element.
    """

    source: str
    atoms: Atoms
    n_electrons: float
    n_spin: int
    noncollinear: bool
    spin_orbit: bool
    total_charge: float
    converged: bool
    ultrasoft: bool
    paw: bool
    extensions: tuple[str, ...]
    fft_grid: tuple[int, int, int]
    ecutwfc: float
    ecutrho: float
    functional: str
    kpoints: np.ndarray
    weights: np.ndarray
    eigenvalues: np.ndarray
    occupations: np.ndarray
    fermi_level: float | None
    version: str
    pseudo_files: dict[str, str] = field(default_factory=dict)

    @property
    def kpoint_mesh(self) -> int:
        """Number of k-points of the run."""
        return len(self.kpoints)


def element_of_label(label: str) -> str:
    """Chemical symbol of a Quantum ESPRESSO species label such as 'As', 'Fe1', 'H_cap' or 'o-2'.

    Raises
    ------
    ValueError
        If it starts with no chemical symbol.
    """
    letters = re.match(r'[A-Za-z]{1,2}', label.strip())
    for length in (2, 1):
        symbol = letters.group(0)[:length].capitalize() if letters else ''
        if len(symbol) == length and symbol in atomic_numbers and symbol != 'X':
            return symbol
    raise ValueError(f'{label!r} does not start with a chemical symbol')


def read_scf_xml(path: str | Path) -> QeRun:
    """Read data-file-schema.xml (or prefix.xml) of Quantum ESPRESSO 6.7 to 7.x.

    Nothing is refused here for its physics; see `check_supported`.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated or is something else.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 expat expands no external entities
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror})') from error
    except ElementTree.ParseError as error:
        raise ValueError(f'{path}: not an XML file, or truncated ({error})') from error
    output = root.find('output')
    if not root.tag.endswith('espresso') or output is None:
        raise ValueError(f'{path}: not the XML file of a pw.x run, or the run wrote no output section')
    try:
        return _parse_run(root, output, str(path))
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f'{path}: incomplete XML file of pw.x ({error})') from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f'{path}: {error}') from error


def _flag(element, path: str) -> bool:
    found = element.find(path)
    return found is not None and (found.text or '').strip().lower() in ('true', '.true.', '1')


def _floats(element) -> np.ndarray:
    return np.array(element.text.split(), dtype=float)


def _text(element, path: str, default: str = '') -> str:
    found = element.find(path)
    return default if found is None or found.text is None else found.text.strip()


def _parse_run(root, output, source: str) -> QeRun:
    structure, bands, basis_set = (output.find(tag) for tag in ('atomic_structure', 'band_structure', 'basis_set'))
    cell = np.array([_floats(structure.find(f'cell/a{axis}')) for axis in (1, 2, 3)])
    sites = structure.findall('atomic_positions/atom')
    positions = np.array([_floats(site) for site in sites]).reshape(-1, 3)
    if len(sites) != int(structure.get('nat')) or cell.shape != (3, 3):
        raise ValueError(f'{source}: the atomic structure is incomplete')
    symbols = [element_of_label(site.get('name')) for site in sites]
    atoms = Atoms(symbols, positions=positions * BOHR, cell=cell * BOHR, pbc=True)
    n_spin = 2 if _flag(bands, 'lsda') else 1
    entries = bands.findall('ks_energies')
    alat = float(structure.get('alat'))
    kpoints = np.array([_floats(entry.find('k_point')) for entry in entries]).reshape(-1, 3)
    weights = np.array([float(entry.find('k_point').get('weight')) for entry in entries])
    eigenvalues = np.array([_floats(entry.find('eigenvalues')) for entry in entries]) * HARTREE
    occupations = np.array([_floats(entry.find('occupations')) for entry in entries])
    if len(entries) and not (eigenvalues.shape == occupations.shape and eigenvalues.ndim == 2):
        raise ValueError(f'{source}: eigenvalues and occupations disagree in number')
    if n_spin == 2 and len(entries):
        eigenvalues, occupations = (
            np.moveaxis(array.reshape(len(entries), 2, -1), 1, 0) for array in (eigenvalues, occupations)
        )
    grid = basis_set.find('fft_grid')
    fermi = _text(bands, 'fermi_energy') or _text(bands, 'highestOccupiedLevel')
    extensions = {
        'hybrid functional': output.find('dft/hybrid'),
        'Hubbard correction': output.find('dft/dftU'),
        'electric field': output.find('electric_field'),
    }
    functional = ' '.join(_text(output, 'dft/functional').upper().replace('-', ' ').replace('+', ' ').split())
    creator = root.find('general_info/creator')
    return QeRun(
        source=source,
        atoms=atoms,
        n_electrons=float(bands.find('nelec').text),
        n_spin=n_spin,
        noncollinear=_flag(bands, 'noncolin'),
        spin_orbit=_flag(bands, 'spinorbit'),
        total_charge=float(_text(root, 'input/bands/tot_charge', '0')),
        converged=_flag(output, 'convergence_info/scf_conv/convergence_achieved'),
        ultrasoft=_flag(output, 'algorithmic_info/uspp'),
        paw=_flag(output, 'algorithmic_info/paw'),
        extensions=tuple(name for name, found in extensions.items() if found is not None),
        fft_grid=tuple(int(grid.get(f'nr{axis}')) for axis in (1, 2, 3)),
        ecutwfc=2 * float(basis_set.find('ecutwfc').text),
        ecutrho=2 * float(basis_set.find('ecutrho').text),
        functional=FUNCTIONALS.get(functional, functional),
        kpoints=kpoints @ cell.T / alat,
        weights=weights / weights.sum() if len(weights) else weights,
        eigenvalues=eigenvalues,
        occupations=occupations,
        fermi_level=float(fermi) * HARTREE if fermi else None,
        version='' if creator is None else creator.get('VERSION', ''),
        pseudo_files={
            element_of_label(species.get('name')): _text(species, 'pseudo_file')
            for species in output.findall('atomic_species/species')
        },
    )


def check_supported(run: QeRun):
    """Refuse a run from which no Hamiltonian can be made.

    Raises
    ------
    ValueError
        If the scf did not converge; if the run is magnetic, noncollinear, charged, ultrasoft, PAW, or uses a functional
        or an extension of it that is not supported; if it holds no eigenvalues. The message names the file.
    """
    reasons = {
        'the scf cycle did not converge (pw.x says JOB DONE all the same); converge it first': not run.converged,
        'noncollinear and spin-orbit runs are not supported': run.noncollinear or run.spin_orbit,
        'spin-polarised runs (nspin = 2) are not supported yet; use nspin = 1': run.n_spin == 2,
        f'the cell is charged (tot_charge = {run.total_charge:g}); only neutral cells are supported': (
            abs(run.total_charge) > 1e-8
        ),
        'ultrasoft and PAW pseudopotentials are not supported; use norm-conserving ones': run.ultrasoft or run.paw,
        f'{" and ".join(run.extensions)} not supported; use a plain LDA or GGA functional': bool(run.extensions),
        f'functional {run.functional!r} is not supported; use PZ, PW, PBE or PBEsol': (
            run.functional not in FUNCTIONALS.values()
        ),
        'the run holds no eigenvalues': run.eigenvalues.size == 0,
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(f'{run.source}: {reason}')


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
    try:
        values = np.array(body.split(), dtype=float)
    except ValueError as error:
        raise ValueError(f'{path}: damaged pp.x filplot ({error})') from error
    expected = padded[0] * padded[1] * padded[2]
    if len(values) != expected:
        raise ValueError(f'{path}: truncated or damaged pp.x filplot: {len(values)} of {expected} grid values')
    if not np.isfinite(values).all():
        raise ValueError(f'{path}: damaged pp.x filplot: grid values are not finite')
    values = values.reshape(padded[::-1]).transpose(2, 1, 0)[: shape[0], : shape[1], : shape[2]]
    return GridFile(str(path), np.ascontiguousarray(values), plot_num, atoms, valences, ecutwfc, ecutrho)


def _split_filplot(data: bytes) -> tuple[list[str], bytes]:
    """Header lines, the title left out, and the rest."""
    stream = iter(data.split(b'\n', 4)[1:4])
    sizes = [int(word) for word in next(stream).split()]
    if len(sizes) != 8 or min(sizes) < 1 or max(sizes) > 100_000:
        raise ValueError('its second line does not hold eight sizes')
    lattice = next(stream).split()
    n_lines = 3 + (3 if int(lattice[0]) == 0 else 0) + 1 + sizes[7] + sizes[6]
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
        raise ValueError(f'ibrav = {ibrav} in the header; run pw.x with ibrav = 0 and CELL_PARAMETERS')
    cell = np.array([[float(word) for word in line.split()] for line in lines[cursor : cursor + 3]])
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise ValueError('the lattice vectors are not a cell')
    cursor += 3
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
    if min(sizes[3:6]) < 1 or any(n > padded for n, padded in zip(sizes[3:6], sizes[:3], strict=True)):
        raise ValueError('the grid dimensions are damaged')
    ecutrho = float(gcutm) * (2 * np.pi / alat) ** 2
    if not (np.isclose(ecutrho, float(dual) * float(ecutwfc), rtol=1e-4)):
        raise ValueError('the cutoffs in the header contradict each other')
    return tuple(sizes[:3]), sizes[3:6], atoms, valences, float(ecutwfc), ecutrho, int(plot_num)


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


def check_same_structure(expected: Atoms, found: Atoms, tolerance: float = STRUCTURE_TOLERANCE):
    """Refuse two structures that differ in more than lattice translations of single atoms.

    Parameters
    ----------
    expected, found : ase.Atoms
    tolerance : float
        Å.

    Raises
    ------
    ValueError
        Says what differs: number of atoms, elements, cell or position of which atom, and by how much.
    """
    if len(expected) != len(found):
        raise ValueError(f'{len(found)} atoms instead of {len(expected)}')
    for index, (a, b) in enumerate(zip(expected.symbols, found.symbols, strict=True)):
        if a != b:
            raise ValueError(f'atom {index} (from 0) is {b} instead of {a}')
    difference = np.abs(expected.cell[:] - found.cell[:]).max()
    if not difference <= tolerance:
        raise ValueError(f'lattice vectors differ by up to {difference:.5f} Å')
    shifts = (found.positions - expected.positions) @ np.linalg.inv(expected.cell[:])
    distances = np.linalg.norm((shifts - np.round(shifts)) @ expected.cell[:], axis=1)
    if not distances.max(initial=0.0) <= tolerance:
        worst = int(distances.argmax())
        raise ValueError(f'atom {worst} (from 0) is {distances[worst]:.5f} Å from where it should be')


def read_charge_density(path: str | Path, fft_grid: tuple[int, int, int]) -> np.ndarray:
    """The electron density of charge-density.dat on the FFT grid.

    Parameters
    ----------
    path : path
        Quantum ESPRESSO's binary file, of a run without spin.
    fft_grid : three int
        Of the run; see `QeRun`.

    Returns
    -------
    (n1, n2, n3) array
        bohr^-3.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated, or does not fit the grid.
    """
    try:
        with FortranFile(path) as handle:
            gamma_only, n_vectors, n_spin = handle.read_ints(np.int32)
            handle.read_reals()
            miller = handle.read_ints(np.int32).reshape(-1, 3)
            coefficients = handle.read_record(np.complex128)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error
    except (TypeError, ValueError, MemoryError) as error:
        raise ValueError(f'{path}: not a charge density of Quantum ESPRESSO, or truncated ({error})') from error
    if n_spin != 1:
        raise ValueError(f'{path}: holds {n_spin} spin components; only runs without spin are supported')
    if not len(miller) == len(coefficients) == n_vectors or (2 * np.abs(miller).max(axis=0) >= fft_grid).any():
        raise ValueError(f'{path}: does not fit the FFT grid {fft_grid}')
    full = np.zeros(fft_grid, dtype=complex)
    full[tuple(miller.T)] = coefficients
    if gamma_only:
        full[tuple(-miller.T)] = coefficients.conj()
    return np.fft.ifftn(full).real * full.size
