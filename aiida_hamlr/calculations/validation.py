"""Checks of inputs before anything runs; each returns one line, or nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from aiida_quantumespresso.calculations import helpers

from aiida_hamlr.jobs.config import describe_unknown_key

__all__ = (
    'find_computer_problem',
    'find_misspelt_keyword',
    'find_pseudo_problem',
    'find_pw_problem',
    'find_structure_problem',
    'validate_pseudos',
    'validate_structures',
    'validate_trajectory',
)

#: Namelists of pw.x. A keyword counts as misspelt only if it resembles a known one.
NAMELISTS = ('CONTROL', 'SYSTEM', 'ELECTRONS', 'IONS', 'CELL', 'FCP', 'RISM')
LIKENESS = 0.85

_PROBLEMS: dict[str, str | None] = {}


def validate_pseudos(value, _) -> str | None:
    """Return which pseudopotential cannot be used and why, or nothing."""
    for element, pseudo in (value or {}).items():
        problem = find_pseudo_problem(pseudo)
        if problem is not None:
            return problem
        if pseudo.element != element:
            return f'the pseudopotential given for {element} is one of {pseudo.element} ({pseudo.filename})'
    return None


def find_pseudo_problem(pseudo) -> str | None:
    """Return why a pseudopotential cannot be used (ultrasoft, PAW, spin-orbit, unknown functional), or nothing."""
    from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

    # Work chains check their inputs often, and the files do not change.
    if pseudo.md5 not in _PROBLEMS:
        try:
            Pseudopotential.from_text(pseudo.get_content(), pseudo.filename)
        except ValueError as error:
            _PROBLEMS[pseudo.md5] = str(error)
        else:
            _PROBLEMS[pseudo.md5] = None
    return _PROBLEMS[pseudo.md5]


def validate_structures(value, _) -> str | None:
    """Return which structure cannot be used and why, or nothing."""
    for label, structure in (value or {}).items():
        problem = find_structure_problem(structure)
        if problem is not None:
            return f'{label}: {problem}'
    return None


def validate_trajectory(value, _) -> str | None:
    """Return why the structures of a trajectory cannot be used, or nothing."""
    if value is not None and value.get_cells() is None:
        return 'the trajectory has no cells; molecules need one, with vacuum around them'
    return None


def find_structure_problem(structure) -> str | None:
    """Return why no Hamiltonian can be computed for a structure, or nothing."""
    if structure is not None and (structure.is_alloy or structure.has_vacancies):
        return 'the structure has sites with mixed or partial occupation; give each site one species'
    return None


@cache
def _pw_keywords() -> frozenset[str]:
    """Keywords of pw.x, from the description of an older version in aiida-quantumespresso."""
    newest = sorted(path.name for path in resources.files(helpers).iterdir() if path.name.startswith('INPUT_PW'))[-1]
    text = resources.files(helpers).joinpath(newest).read_text(encoding='utf-8')
    return frozenset(name.lower() for name in re.findall(r'<(?:var|dimension|multidimension)\s+name="(\w+)"', text))


def find_misspelt_keyword(parameters: Mapping) -> str | None:
    """Return which keyword of pw.x is probably misspelt, or nothing."""
    for name, content in parameters.items():
        if name.upper() not in NAMELISTS:
            return describe_unknown_key(name, 'parameters', NAMELISTS)
        for key in content:
            close = difflib.get_close_matches(key.lower(), _pw_keywords(), n=1, cutoff=LIKENESS)
            if close and key.lower() not in _pw_keywords():
                return f'unknown key {key!r} in {name}; did you mean {close[0]!r}?'
    return None


def find_pw_problem(pw, *, with_pp: bool = False, to_learn: bool = False) -> str | None:
    """Return what in the inputs of a pw.x run is not supported, or nothing.

    :param with_pp: whether pp.x writes the potential.
    :param to_learn: whether a network is trained on the Hamiltonian.
    """
    parameters = pw['parameters'].get_dict() if 'parameters' in pw else {}
    misspelt = find_misspelt_keyword(parameters)
    if misspelt is not None:
        return misspelt
    # aiida-quantumespresso takes names in any case.
    namelists = {
        name.upper(): {key.lower(): value for key, value in content.items()} for name, content in parameters.items()
    }
    control, system = namelists.get('CONTROL', {}), namelists.get('SYSTEM', {})
    calculation, charge = control.get('calculation', 'scf'), system.get('tot_charge', 0)
    reasons = {
        f'`CONTROL.calculation` is {calculation!r}; a reference needs the potential of an `scf` run': (
            calculation != 'scf'
        ),
        '`SYSTEM.nspin` is neither 1 nor 2 (collinear spin)': system.get('nspin', 1) not in (1, 2),
        'magnetizations in `SYSTEM` need `nspin` 2': (
            system.get('nspin', 1) == 1 and ('starting_magnetization' in system or 'tot_magnetization' in system)
        ),
        'with fixed occupations `SYSTEM.nspin` 2 needs `tot_magnetization`; or set `occupations` to smearing': (
            system.get('nspin', 1) == 2
            and system.get('occupations') == 'fixed'
            and system.get('tot_magnetization') is None
        ),
        'pp.x writes the potential of one spin only; leave `potential` out when `SYSTEM.nspin` is 2': (
            with_pp and system.get('nspin', 1) == 2
        ),
        'the network does not support spin-polarised Hamiltonians (`SYSTEM.nspin` 2)': (
            to_learn and system.get('nspin', 1) == 2
        ),
        'noncollinear and spin-orbit runs are not supported yet': (
            system.get('noncolin', False) or system.get('lspinorb', False)
        ),
        f'charged cells (`SYSTEM.tot_charge` {charge}) are not supported': charge != 0,
        '`SYSTEM.input_dft` is not supported: the functional must be that of the pseudopotentials': (
            'input_dft' in system
        ),
        'Hubbard corrections (`SYSTEM.lda_plus_u`) are not supported': system.get('lda_plus_u', False),
        'isolated cells (`SYSTEM.assume_isolated`) are not supported: make the structure periodic in all directions': (
            system.get('assume_isolated', 'none') != 'none'
        ),
        'electric fields (`CONTROL.tefield`, `CONTROL.lelfield`) are not supported': (
            control.get('tefield', False) or control.get('lelfield', False)
        ),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def find_computer_problem(codes: dict) -> str | None:
    """Return which codes, by their port, do not run on one computer, or nothing."""
    computers = {port: code.computer for port, code in codes.items() if code is not None and code.computer is not None}
    if len({computer.uuid for computer in computers.values()}) > 1:
        listed = ', '.join(f'`{port}` on {computer.label}' for port, computer in computers.items())
        return f"the codes must be on one computer, because their jobs read each other's files: {listed}"
    return None
