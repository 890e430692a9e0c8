"""Checks of inputs before anything runs; each returns one line, or nothing."""

from __future__ import annotations

__all__ = ('find_pseudo_problem', 'validate_pseudos')

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
