"""Checks of inputs before anything runs; each returns one line, or nothing."""

from __future__ import annotations

__all__ = (
    'find_computer_problem',
    'find_pseudo_problem',
    'find_pw_problem',
    'find_structure_problem',
    'validate_pseudos',
)

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
    from aiida_hamlr.electronic.pseudopotential import Pseudopotential

    # Work chains check their inputs often, and the files do not change.
    if pseudo.md5 not in _PROBLEMS:
        try:
            Pseudopotential.from_text(pseudo.get_content(), pseudo.filename)
        except ValueError as error:
            _PROBLEMS[pseudo.md5] = str(error)
        else:
            _PROBLEMS[pseudo.md5] = None
    return _PROBLEMS[pseudo.md5]


def find_structure_problem(structure) -> str | None:
    """Return why a structure has no Hamiltonian, or nothing."""
    if structure is not None and (structure.is_alloy or structure.has_vacancies):
        return 'the structure has sites with mixed or partial occupation'
    return None


def find_pw_problem(pw) -> str | None:
    """Return what in the inputs of a pw.x run is not supported, or nothing."""
    parameters = pw['parameters'].get_dict() if 'parameters' in pw else {}
    control, system = parameters.get('CONTROL', {}), parameters.get('SYSTEM', {})
    if control.get('calculation', 'scf') != 'scf':
        return f'`CONTROL.calculation` is {control["calculation"]!r}; a reference needs the potential of an `scf` run'
    if system.get('nspin', 1) != 1 or 'starting_magnetization' in system or 'tot_magnetization' in system:
        return 'magnetic runs (`SYSTEM.nspin` other than 1) are not supported yet'
    if system.get('noncolin', False) or system.get('lspinorb', False):
        return 'noncollinear and spin-orbit runs are not supported yet'
    if system.get('tot_charge', 0) != 0:
        return f'charged cells (`SYSTEM.tot_charge` {system["tot_charge"]}) are not supported'
    if 'input_dft' in system:
        return '`SYSTEM.input_dft` is not supported: the functional must be that of the pseudopotentials'
    return None


def find_computer_problem(codes: dict) -> str | None:
    """Return which codes, by their port, do not run on one computer, or nothing."""
    computers = {port: code.computer for port, code in codes.items() if code is not None and code.computer is not None}
    if len({computer.uuid for computer in computers.values()}) > 1:
        listed = ', '.join(f'`{port}` on {computer.label}' for port, computer in computers.items())
        return f'the codes must be on one computer, for their jobs read the files of each other: {listed}'
    return None
