"""The XML file of a pw.x run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.units import BOHR, HARTREE
from aiida_hamlr.io.qe.structure import check_same_structure, element_of_label

#: Types of runs of pw.x.
CALCULATIONS = ('scf', 'nscf', 'bands', 'relax', 'vc-relax', 'md', 'vc-md')

#: Largest disagreement of the occupations and the number of electrons.
OCCUPATION_TOLERANCE = 1e-3

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


@dataclass(frozen=True)
class QeRun:
    """Result of a pw.x run.

    Parameters
    ----------
    source : str
        Name of the file.
    calculation : str
        'scf', 'nscf', 'bands', 'relax', ...
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
    kpoint_mesh : tuple of three int, or None
        Divisions of the automatic mesh; None if the points were listed.
    eigenvalues, occupations : (nk, nb) or (2, nk, nb) arrays
        eV; occupations 0 to 1.
    fermi_level : float or None
        eV.
    version : str
        Of Quantum ESPRESSO.
    pseudo_files : dict
        Name of the pseudopotential file of every element.
    hartree_energy : float or None
        Ry; of the density that the run ended with.
    magnetization : float or None
        Electrons of spin up less those of spin down, Bohr magnetons per cell; None without spin.
    fixed_magnetization : float or None
        The value at which the run held it (``tot_magnetization``); every spin has a Fermi level of its own then.
    """

    source: str
    calculation: str
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
    kpoint_mesh: tuple[int, int, int] | None
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
    hartree_energy: float | None = None
    magnetization: float | None = None
    fixed_magnetization: float | None = None


def read_scf_xml(path: str | Path) -> QeRun:
    """Read data-file-schema.xml (or prefix.xml) of Quantum ESPRESSO 6.7 to 7.x.

    Nothing is refused here for its physics; see `check_supported`.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated or is something else, or if what it says twice does not agree: cell and
        reciprocal cell, structure of input and output, cutoffs of input and output.
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


def _mesh(element) -> tuple[int, int, int] | None:
    return None if element is None else tuple(int(element.get(f'nk{axis}')) for axis in (1, 2, 3))


def _parse_structure(structure) -> Atoms:
    cell = np.array([_floats(structure.find(f'cell/a{axis}')) for axis in (1, 2, 3)])
    sites = structure.findall('atomic_positions/atom')
    positions = np.array([_floats(site) for site in sites]).reshape(-1, 3)
    if len(sites) != int(structure.get('nat')) or cell.shape != (3, 3):
        raise ValueError('the atomic structure is incomplete')
    symbols = [element_of_label(site.get('name')) for site in sites]
    return Atoms(symbols, positions=positions * BOHR, cell=cell * BOHR, pbc=True)


def _check_consistency(root, output, atoms: Atoms, calculation: str):
    """Compare what the file says twice, with ``ValueError``; a damaged digit is not noticed otherwise."""
    if calculation not in CALCULATIONS:
        raise ValueError(f'a run of unknown type {calculation!r}')
    alat = float(output.find('atomic_structure').get('alat'))
    reciprocal = np.array([_floats(output.find(f'basis_set/reciprocal_lattice/b{axis}')) for axis in (1, 2, 3)])
    product = atoms.cell[:] / BOHR @ reciprocal.T / alat
    if not np.abs(product - np.eye(3)).max() < 1e-6:
        raise ValueError('cell and reciprocal cell contradict each other')
    for name in ('ecutwfc', 'ecutrho'):
        given, used = (
            element.find(f'{path}/{name}') for element, path in ((root, 'input/basis'), (output, 'basis_set'))
        )
        if not float(used.text) > 0 or (given is not None and not np.isclose(float(given.text), float(used.text))):
            raise ValueError(f'{name} of input and output contradict each other')
    initial = root.find('input/atomic_structure')
    # In other calculations the atoms move; a structure in crystal coordinates is left alone.
    if calculation == 'scf' and initial is not None and initial.find('atomic_positions') is not None:
        try:
            check_same_structure(_parse_structure(initial), atoms, 1e-6)
        except ValueError as error:
            raise ValueError(f'the structures of input and output contradict each other: {error}') from error


def _parse_run(root, output, source: str) -> QeRun:
    structure, bands, basis_set = (output.find(tag) for tag in ('atomic_structure', 'band_structure', 'basis_set'))
    atoms = _parse_structure(structure)
    cell = atoms.cell[:] / BOHR
    calculation = _text(root, 'input/control_variables/calculation', 'scf')
    _check_consistency(root, output, atoms, calculation)
    n_spin = 2 if _flag(bands, 'lsda') else 1
    entries = bands.findall('ks_energies')
    alat = float(structure.get('alat'))
    kpoints = np.array([_floats(entry.find('k_point')) for entry in entries]).reshape(-1, 3)
    weights = np.array([float(entry.find('k_point').get('weight')) for entry in entries])
    eigenvalues = np.array([_floats(entry.find('eigenvalues')) for entry in entries]) * HARTREE
    occupations = np.array([_floats(entry.find('occupations')) for entry in entries])
    if len(entries) and not (eigenvalues.shape == occupations.shape and eigenvalues.ndim == 2):
        raise ValueError(f'{source}: eigenvalues and occupations disagree in number')
    for name, values in (('eigenvalues', eigenvalues), ('occupations', occupations), ('k-points', kpoints)):
        if not np.isfinite(values).all():
            raise ValueError(f'{source}: {name} are not finite')
    if not (weights > 0).all() or len(entries) != int(_text(bands, 'nks', str(len(entries)))):
        raise ValueError(f'{source}: the list of k-points is damaged')
    if n_spin == 2 and len(entries):
        eigenvalues, occupations = (
            np.moveaxis(array.reshape(len(entries), 2, -1), 1, 0) for array in (eigenvalues, occupations)
        )
    magnetization = float(_text(output, 'magnetization/total', '0')) if n_spin == 2 else None
    fixed_magnetization = None
    if n_spin == 2 and bands.find('two_fermi_energies') is not None:
        fixed_magnetization = float(_text(root, 'input/bands/tot_magnetization') or round(magnetization, 6))
    grid = basis_set.find('fft_grid')
    fermi = _text(bands, 'fermi_energy') or _text(bands, 'highestOccupiedLevel')
    extensions = {
        'hybrid functional': output.find('dft/hybrid'),
        'Hubbard correction': output.find('dft/dftU'),
        'electric field': output.find('electric_field'),
    }
    functional = ' '.join(_text(output, 'dft/functional').upper().replace('-', ' ').replace('+', ' ').split())
    creator = root.find('general_info/creator')
    hartree = output.find('total_energy/ehart')
    return QeRun(
        source=source,
        calculation=calculation,
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
        kpoint_mesh=_mesh(root.find('input/k_points_IBZ/monkhorst_pack')),
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
        hartree_energy=None if hartree is None else 2 * float(hartree.text),
        magnetization=magnetization,
        fixed_magnetization=fixed_magnetization,
    )


def check_supported(run: QeRun):
    """Refuse a run from which no Hamiltonian can be made.

    Raises
    ------
    ValueError
        If the run is no scf run, or did not converge; if it is noncollinear, charged, ultrasoft, PAW, or uses a
        functional or an extension of it that is not supported; if it holds no eigenvalues, or its occupations are not
        those of its electrons. The message names the file.
    """
    reasons = {
        f'a run of type {run.calculation!r} does not tell whether the scf cycle converged; give the scf run': (
            run.calculation in ('nscf', 'bands')
        ),
        'the scf cycle did not converge (pw.x says JOB DONE all the same); converge it first': not run.converged,
        'noncollinear and spin-orbit runs are not supported': run.noncollinear or run.spin_orbit,
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
    electrons = 2 / run.n_spin * float((run.weights[:, None] * run.occupations).sum())
    if not abs(electrons - run.n_electrons) < OCCUPATION_TOLERANCE:
        raise ValueError(
            f'{run.source}: damaged: its occupations hold {electrons:.6g} electrons instead of {run.n_electrons:.6g}'
        )
