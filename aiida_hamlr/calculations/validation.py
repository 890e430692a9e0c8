"""Checks of inputs before anything runs; each returns one line, or nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from aiida_hamlr.data.structures import find_kind_problem
from aiida_hamlr.electronic.species import check_label
from aiida_hamlr.io.qe.keywords import SWITCHED, find_keyword_problem, known_keywords
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
    for label, pseudo in (value or {}).items():
        problem = find_pseudo_problem(pseudo)
        if problem is not None:
            return problem
        try:
            check_label(label, pseudo.element, 'the pseudopotential')
        except ValueError as error:
            return f'{error} ({pseudo.filename})'
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
    if structure is None:
        return None
    if structure.is_alloy or structure.has_vacancies:
        return 'the structure has sites with mixed or partial occupation; give an ordered supercell'
    # `HubbardStructureData` makes pw.x add the correction whatever the parameters say.
    if getattr(getattr(structure, 'hubbard', None), 'parameters', None):
        return (
            'the structure has Hubbard parameters (`HubbardStructureData`); Hubbard corrections are not '
            'supported, give a `StructureData`'
        )
    return find_kind_problem(structure)


def find_misspelt_keyword(parameters: Mapping) -> str | None:
    """Return which keyword of pw.x is probably misspelt, or nothing."""
    known = known_keywords()
    for name, content in parameters.items():
        if name.upper() not in NAMELISTS:
            return describe_unknown_key(name, 'parameters', NAMELISTS)
        for key in content:
            close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=LIKENESS)
            if close and key.lower() not in known:
                return f'unknown key {key!r} in {name}; did you mean {close[0]!r}?'
    return None


def find_pw_problem(pw, *, with_pp: bool = False) -> str | None:
    """Return what in the inputs of a pw.x run is not supported, or nothing.

    :param with_pp: whether pp.x writes the potential.
    """
    parameters = pw['parameters'].get_dict() if 'parameters' in pw else {}
    misspelt = find_misspelt_keyword(parameters)
    if misspelt is not None:
        return misspelt
    # aiida-quantumespresso takes names in any case.
    keywords = {
        key.lower(): value
        for name, content in parameters.items()
        if name.upper() not in SWITCHED
        for key, value in content.items()
    }
    calculation, n_spin = keywords.get('calculation', 'scf'), keywords.get('nspin', 1)
    reasons = {
        f'`CONTROL.calculation` is {calculation!r}; a reference needs the potential of an `scf` run': (
            calculation != 'scf'
        ),
        'magnetizations in `SYSTEM` need `nspin` 2': (
            n_spin == 1 and ('starting_magnetization' in keywords or 'tot_magnetization' in keywords)
        ),
        'with fixed occupations `SYSTEM.nspin` 2 needs `tot_magnetization`; or set `occupations` to smearing': (
            n_spin == 2 and keywords.get('occupations') == 'fixed' and keywords.get('tot_magnetization') is None
        ),
        'pp.x writes the potential of one spin only; leave `potential` out when `SYSTEM.nspin` is 2': (
            with_pp and n_spin == 2
        ),
        '`hubbard_file`: Hubbard corrections are not supported; leave it out': 'hubbard_file' in pw,
        '`settings`: Environ adds a potential that is not rebuilt here; leave it out': _uses_environ(pw),
    }
    problem = next((reason for reason, applies in reasons.items() if applies), None)
    if problem is None:
        problem = find_keyword_problem(keywords)
        problem = None if problem is None else f'`pw.parameters`: {problem}'
    return problem


def _uses_environ(pw) -> bool:
    settings = pw['settings'].get_dict() if 'settings' in pw else {}
    settings = {key.upper(): value for key, value in settings.items()}
    return 'ENVIRON' in settings or any('environ' in str(word).lower() for word in settings.get('CMDLINE', ()))


def find_computer_problem(codes: dict) -> str | None:
    """Return which codes, by their port, do not run on one computer, or nothing."""
    computers = {port: code.computer for port, code in codes.items() if code is not None and code.computer is not None}
    if len({computer.uuid for computer in computers.values()}) > 1:
        listed = ', '.join(f'`{port}` on {computer.label}' for port, computer in computers.items())
        return f"the codes must be on one computer, because their jobs read each other's files: {listed}"
    return None
