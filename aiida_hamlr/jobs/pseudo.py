"""`hamlr pseudo`: UPF files from the published GTH parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiida_hamlr.electronic.pseudo.gth import GENERATED, charges_of, gth_parameters, write_upf
from aiida_hamlr.electronic.reading import read_text
from aiida_hamlr.jobs.by_element import by_element
from aiida_hamlr.jobs.outputs import check_folder, remove_earlier
from aiida_hamlr.jobs.progress import log, track

#: Largest file that may be one of those that are replaced, bytes.
_LARGEST_UPF = 100_000_000


def parse_charges(values: Sequence[str], elements: Sequence[str]) -> dict[str, float]:
    """Valence charges by element from ``Ga=3``, or from ``1.5`` where there is a single element.

    Raises
    ------
    ValueError
        If a value is no number, of no element or of several, or an element has two.
    """
    elements = list(dict.fromkeys(elements))
    charges: dict[str, float] = {}
    for element, number in by_element('--charge', values, elements).items():
        if not element and len(elements) > 1:
            raise ValueError(f'--charge {number}: of which element? Give {elements[0]}={number}')
        named = element or elements[0]
        if named in charges:
            raise ValueError(f'--charge {number}: given twice for {named}')
        try:
            charges[named] = float(number)
        except ValueError:
            raise ValueError(f'--charge {named}={number}: {number!r} is no number of electrons') from None
    return charges


def make_pseudopotentials(
    elements: Sequence[str], folder: Path, charges: Mapping[str, float] | None = None
) -> list[Path]:
    """Write ``El.upf`` for every element, or ``El.q1.5.upf`` if its charge is given.

    Nothing else is written: the folder can be made a family of pseudopotentials as it is.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols.
    folder : path
        Made if it is not there.
    charges : mapping of str to float, optional
        Numbers of valence electrons of some elements; default: those of `gth_parameters`.

    Raises
    ------
    ValueError
        If the table has no such element or charge, or a file of another origin would be replaced; nothing is written
        then.
    """
    charges = charges or {}
    entries = {element: gth_parameters(element, charges.get(element)) for element in dict.fromkeys(elements)}
    files = {
        element: folder / (f'{element}.q{charges[element]:g}.upf' if element in charges else f'{element}.upf')
        for element in entries
    }
    check_folder(folder)
    for path in files.values():
        _check_replaceable(path)
    remove_earlier([*files.values()])
    for element, path in track(files.items(), 'pseudo-atoms'):
        entry = entries[element]
        pseudo = write_upf(path, element, charges.get(element))
        log(f'{path}: {pseudo.z_valence:g} valence electrons, cutoff from {entry.ecutwfc:g} Ry')
        if entry.caveat:
            log(f'  note: {entry.caveat}')
        elif element not in charges and len(charges_of(element)) > 1:
            fewest = min(charges_of(element))
            log(f'  note: with d electrons; --charge {element}={fewest:g} is without them, and cheaper')
    return [*files.values()]


def _check_replaceable(path: Path):
    """Raise ``ValueError`` if there is a file that this command has not written, which may be an input of others."""
    if path.exists() and GENERATED not in read_text(path, _LARGEST_UPF):
        raise ValueError(f'{path}: is there already, and is not a file of hamlr pseudo; give another folder')
