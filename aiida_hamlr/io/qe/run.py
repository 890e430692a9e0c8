"""The XML file of a pw.x run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.reference.electrostatics import Electrostatics
from aiida_hamlr.electronic.species import labelled_atoms, normalise_label
from aiida_hamlr.electronic.units import BOHR, HARTREE
from aiida_hamlr.io.qe.keywords import MOVED_AFTER_SCF, electrostatics_of, find_keyword_problem, keywords_of_xml
from aiida_hamlr.io.qe.structure import check_same_structure

#: Types of runs of pw.x.
CALCULATIONS = ('scf', 'nscf', 'bands', 'relax', 'vc-relax', 'md', 'vc-md')

#: Those of them that move atoms until forces vanish.
RELAXATIONS = ('relax', 'vc-relax')

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
        Å, periodic in three directions; species have their labels, see `aiida_hamlr.electronic.species`.
    n_electrons, total_charge : float
    n_spin : int
        2 for collinear spin.
    noncollinear, spin_orbit, converged, ultrasoft, paw : bool
    keywords : dict
        What was set in the input of pw.x, see `aiida_hamlr.io.qe.keywords`.
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
        Name of the pseudopotential file of every species, by label.
    positions_converged : bool or None
        Whether a relaxation ended by convergence; None of runs that move no atom.
    scf_accuracy : float or None
        Estimate of pw.x of how far the total energy is from convergence, Ry.
    hartree_energy : float or None
        Ry; of the density that the run ended with.
    magnetization : float or None
        Electrons of spin up less those of spin down, Bohr magnetons per cell; None without spin.
    fixed_magnetization : float or None
        The value at which the run held it (``tot_magnetization``); every spin has a Fermi level of its own then.
    noncollinear_magnetization : bool
        Whether a noncollinear run has a magnetization, which may vanish at the end.
    starting_magnetization : dict
        ``starting_magnetization`` of every species, by label; 0 where none was set.
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
    keywords: dict[str, object]
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
    positions_converged: bool | None = None
    scf_accuracy: float | None = None
    hartree_energy: float | None = None
    magnetization: float | None = None
    fixed_magnetization: float | None = None
    noncollinear_magnetization: bool = False
    starting_magnetization: dict[str, float] = field(default_factory=dict)

    @property
    def electrons_per_band(self) -> int:
        """Electrons that a band holds: 2, with collinear spin or of spinors 1."""
        return 1 if self.noncollinear or self.n_spin == 2 else 2

    @property
    def electrostatics(self) -> Electrostatics:
        """How the run treats the long range of the Coulomb interaction."""
        return electrostatics_of(self.keywords)


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
    creator = root.find('general_info/creator')
    program, version = ('', '') if creator is None else (creator.get('NAME', ''), creator.get('VERSION', ''))
    if root.tag.endswith('espresso') and (program.upper().startswith('CP') or root.find('cpstatus') is not None):
        raise ValueError(f'{path}: written by cp.x, whose wave functions are no eigenstates; run pw.x (scf)')
    output = root.find('output')
    if not root.tag.endswith('espresso') or output is None:
        raise ValueError(
            f'{path}: not the XML file of a pw.x run, or the run wrote no output section: it was killed, or still runs'
        )
    written = f'written by {program or "an unknown program"} {version}; versions 6.7 to 7.x of pw.x are read'
    try:
        return _parse_run(root, output, str(path))
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f'{path}: incomplete XML file of pw.x ({error}), {written}') from error
    except _MissingSection as error:
        raise ValueError(f'{path}: {error}, {written}') from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f'{path}: {error}') from error


class _MissingSection(ValueError):
    """A section of the XML file is missing or does not hold what it should."""


def _required(element, path: str):
    found = element.find(path)
    if found is None:
        raise _MissingSection(f'the section {element.tag}/{path} is missing')
    return found


def _numbers(element, path: str) -> np.ndarray:
    found = _required(element, path)
    try:
        return _floats(found)
    except (AttributeError, ValueError) as error:
        raise _MissingSection(f'the section {element.tag}/{path} holds no numbers ({error})') from error


def _number(element, path: str) -> float:
    values = _numbers(element, path)
    if values.size != 1:
        raise _MissingSection(f'the section {element.tag}/{path} holds {values.size} numbers instead of one')
    return float(values[0])


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
    cell = np.array([_numbers(structure, f'cell/a{axis}') for axis in (1, 2, 3)])
    sites = structure.findall('atomic_positions/atom')
    positions = np.array([_floats(site) for site in sites]).reshape(-1, 3)
    if len(sites) != int(structure.get('nat')) or cell.shape != (3, 3):
        raise ValueError('the atomic structure is incomplete')
    labels = [site.get('name') for site in sites]
    return labelled_atoms(labels, positions=positions * BOHR, cell=cell * BOHR, pbc=True)


def _pseudo_files(output) -> dict[str, str]:
    files: dict[str, str] = {}
    for species in output.findall('atomic_species/species'):
        label, file = normalise_label(species.get('name')), _text(species, 'pseudo_file')
        if files.setdefault(label, file) != file:
            raise ValueError(f'two species {label} have different pseudopotentials: {files[label]} and {file}')
    return files


def _check_consistency(root, output, atoms: Atoms, calculation: str):
    """Compare what the file says twice, with ``ValueError``; a damaged digit is not noticed otherwise."""
    if calculation not in CALCULATIONS:
        raise ValueError(f'a run of unknown type {calculation!r}')
    alat = float(output.find('atomic_structure').get('alat'))
    reciprocal = np.array([_numbers(output, f'basis_set/reciprocal_lattice/b{axis}') for axis in (1, 2, 3)])
    product = atoms.cell[:] / BOHR @ reciprocal.T / alat
    if not np.abs(product - np.eye(3)).max() < 1e-6:
        raise ValueError('cell and reciprocal cell contradict each other')
    for name in ('ecutwfc', 'ecutrho'):
        given, used = root.find(f'input/basis/{name}'), _number(output, f'basis_set/{name}')
        if not used > 0 or (given is not None and not np.isclose(float(given.text), used)):
            raise ValueError(f'{name} of input and output contradict each other')
    initial = root.find('input/atomic_structure')
    # In other calculations the atoms move; a structure in crystal coordinates is left alone.
    if calculation == 'scf' and initial is not None and initial.find('atomic_positions') is not None:
        try:
            check_same_structure(_parse_structure(initial), atoms, 1e-6)
        except ValueError as error:
            raise ValueError(f'the structures of input and output contradict each other: {error}') from error


def _parse_run(root, output, source: str) -> QeRun:
    structure, bands, basis_set = (
        _required(output, tag) for tag in ('atomic_structure', 'band_structure', 'basis_set')
    )
    atoms = _parse_structure(structure)
    cell = atoms.cell[:] / BOHR
    calculation = _text(root, 'input/control_variables/calculation', 'scf')
    _check_consistency(root, output, atoms, calculation)
    n_spin = 2 if _flag(bands, 'lsda') else 1
    entries = bands.findall('ks_energies')
    alat = float(structure.get('alat'))
    kpoints = np.array([_numbers(entry, 'k_point') for entry in entries]).reshape(-1, 3)
    weights = np.array([float(entry.find('k_point').get('weight')) for entry in entries])
    eigenvalues = np.array([_numbers(entry, 'eigenvalues') for entry in entries]) * HARTREE
    occupations = np.array([_numbers(entry, 'occupations') for entry in entries])
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
    grid = _required(basis_set, 'fft_grid')
    fermi = _text(bands, 'fermi_energy') or _text(bands, 'highestOccupiedLevel')
    functional = ' '.join(_text(output, 'dft/functional').upper().replace('-', ' ').replace('+', ' ').split())
    creator = root.find('general_info/creator')
    hartree = output.find('total_energy/ehart')
    accuracy = _text(output, 'convergence_info/scf_conv/scf_error')
    return QeRun(
        source=source,
        calculation=calculation,
        atoms=atoms,
        n_electrons=_number(bands, 'nelec'),
        n_spin=n_spin,
        noncollinear=_flag(bands, 'noncolin'),
        spin_orbit=_flag(bands, 'spinorbit'),
        total_charge=float(_text(root, 'input/bands/tot_charge', '0')),
        converged=_flag(output, 'convergence_info/scf_conv/convergence_achieved'),
        ultrasoft=_flag(output, 'algorithmic_info/uspp'),
        paw=_flag(output, 'algorithmic_info/paw'),
        keywords=keywords_of_xml(root),
        kpoint_mesh=_mesh(root.find('input/k_points_IBZ/monkhorst_pack')),
        fft_grid=tuple(int(grid.get(f'nr{axis}')) for axis in (1, 2, 3)),
        ecutwfc=2 * _number(basis_set, 'ecutwfc'),
        ecutrho=2 * _number(basis_set, 'ecutrho'),
        functional=FUNCTIONALS.get(functional, functional),
        kpoints=kpoints @ cell.T / alat,
        weights=weights / weights.sum() if len(weights) else weights,
        eigenvalues=eigenvalues,
        occupations=occupations,
        fermi_level=float(fermi) * HARTREE if fermi else None,
        version='' if creator is None else creator.get('VERSION', ''),
        pseudo_files=_pseudo_files(output),
        scf_accuracy=2 * float(accuracy) if accuracy else None,
        positions_converged=None
        if calculation not in RELAXATIONS
        else _flag(output, 'convergence_info/opt_conv/convergence_achieved'),
        hartree_energy=None if hartree is None else 2 * float(hartree.text),
        magnetization=magnetization,
        fixed_magnetization=fixed_magnetization,
        starting_magnetization={
            normalise_label(one.get('name')): float(_text(one, 'starting_magnetization', '0'))
            for one in output.findall('atomic_species/species')
        },
        noncollinear_magnetization=_flag(output, 'magnetization/do_magnetization') and _flag(bands, 'noncolin'),
    )


def check_supported(run: QeRun):
    """Refuse a run from which no Hamiltonian can be made.

    Raises
    ------
    ValueError
        If the run is no scf run, or did not converge; if it is charged, ultrasoft, PAW, noncollinear without spin-orbit
        coupling or with a magnetization, or uses a functional or an extension of it that is not supported; if it holds
        no eigenvalues, or its occupations are not those of its electrons; if its atoms moved after the last scf cycle;
        if a keyword is set that is not supported, see `find_keyword_problem`. The message names the file.
    """
    if run.calculation in MOVED_AFTER_SCF:
        raise ValueError(f'{run.source}: {MOVED_AFTER_SCF[run.calculation]}')
    problem = find_keyword_problem(run.keywords)
    reasons = {
        'the scf cycle did not converge (pw.x says JOB DONE all the same); converge it first': not run.converged,
        'the relaxation did not converge (opt_conv): pw.x moved the atoms after the last scf cycle, so that the '
        'positions are not those of density and eigenvalues; relax further, or run scf at the last positions': (
            run.positions_converged is False
        ),
        problem: problem is not None,
        'noncolin: noncollinear runs without spin-orbit coupling (lspinorb) are not supported': (
            run.noncollinear and not run.spin_orbit
        ),
        'noncolin, lspinorb: spin-orbit runs with a magnetization are not supported; leave it out': (
            run.noncollinear_magnetization
        ),
        'lspinorb: spin-orbit runs without noncolin are not supported': run.spin_orbit and not run.noncollinear,
        f'tot_charge = {run.total_charge:g}: charged cells are not supported; run a neutral cell': (
            abs(run.total_charge) > 1e-8
        ),
        'ultrasoft and PAW pseudopotentials are not supported; use norm-conserving ones': run.ultrasoft or run.paw,
        f'functional {run.functional!r} is not supported; use PZ, PW, PBE or PBEsol': (
            run.functional not in FUNCTIONALS.values()
        ),
        'the run holds no eigenvalues': run.eigenvalues.size == 0,
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(f'{run.source}: {reason}')
    electrons = run.electrons_per_band * float((run.weights[:, None] * run.occupations).sum())
    if not abs(electrons - run.n_electrons) < OCCUPATION_TOLERANCE:
        raise ValueError(
            f'{run.source}: damaged: its occupations hold {electrons:.6g} electrons instead of {run.n_electrons:.6g}'
        )
