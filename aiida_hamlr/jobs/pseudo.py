"""`hamlr pseudo`: UPF files from the published GTH parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiida_hamlr.electronic.pseudo.gth import GENERATED, gth_parameters, write_upf
from aiida_hamlr.electronic.reading import read_text
from aiida_hamlr.jobs.outputs import remove_earlier
from aiida_hamlr.jobs.progress import log, track

#: Largest file that may be one of those that are replaced, bytes.
_LARGEST_UPF = 100_000_000


def make_pseudopotentials(elements: Sequence[str], folder: Path, charge: float | None = None) -> list[Path]:
    """Write ``El.upf`` for every element, or ``El.q1.5.upf`` if a charge is given.

    Nothing else is written: the folder can be made a family of pseudopotentials as it is.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols.
    folder : path
        Made if it is not there.
    charge : float, optional
        Valence charge, of one element only.

    Raises
    ------
    ValueError
        If the table has no such element or charge, or a file of another origin would be replaced; nothing is written
        then.
    """
    elements = list(dict.fromkeys(elements))
    if charge is not None and len(elements) > 1:
        raise ValueError(f'--charge goes with one element, not with {", ".join(elements)}')
    entries = {element: gth_parameters(element, charge) for element in elements}
    suffix = '' if charge is None else f'.q{charge:g}'
    paths = []
    files = {element: folder / f'{element}{suffix}.upf' for element in elements}
    for path in files.values():
        _check_replaceable(path)
    remove_earlier([*files.values()])
    for element, path in track(files.items(), 'pseudo-atoms'):
        pseudo = write_upf(path, element, charge)
        paths.append(path)
        log(f'{path}: {pseudo.z_valence:g} valence electrons, cutoff from {entries[element].ecutwfc:g} Ry')
        if entries[element].caveat:
            log(f'  note: {entries[element].caveat}')
    return paths


def _check_replaceable(path: Path):
    """Raise ``ValueError`` if there is a file that this command has not written, which may be an input of others."""
    if path.exists() and GENERATED not in read_text(path, _LARGEST_UPF):
        raise ValueError(f'{path}: is there already, and is not a file of hamlr pseudo; give another folder')
