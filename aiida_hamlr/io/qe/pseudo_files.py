"""Whether given pseudopotentials are those that a run of pw.x read.

The XML file names the files; pw.x copies the files themselves into ``prefix.save``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import element_of_label
from aiida_hamlr.io.qe.run import QeRun


def find_other_names(run: QeRun, files: Mapping[str, Path]) -> str | None:
    """Return which files have other names than those of the run, or nothing.

    Names prove nothing, files are renamed; where levels differ they name the likeliest cause.

    Parameters
    ----------
    run : QeRun
        The run.
    files : mapping of str to path
        UPF file of every species, or of its element.
    """
    others = []
    for label, name in run.pseudo_files.items():
        given = files.get(label, files.get(element_of_label(label)))
        if given is not None and name and Path(given).name != name:
            others.append(f'{label} {name} (given: {Path(given).name})')
    return 'other pseudopotentials than those of the run, which read ' + ', '.join(others) if others else None


def check_saved_pseudos(run: QeRun, pseudos: Mapping[str, Pseudopotential], folders: Iterable[Path]) -> list[str]:
    """Compare pseudopotentials with the copies in ``prefix.save``, if it is at hand.

    Parameters
    ----------
    run : QeRun
        The run.
    pseudos : mapping of str to Pseudopotential
        By species, or by element.
    folders : list of path
        Where the copies may lie; others and missing files are passed over.

    Returns
    -------
    list of str
        Species whose copy was found and is the same file, or holds the same numbers.

    Raises
    ------
    ValueError
        If a copy holds another pseudopotential.
    """
    same = []
    for label, name in run.pseudo_files.items():
        pseudo = pseudos.get(label, pseudos.get(element_of_label(label)))
        # Whatever the XML file says, no other folder is looked into.
        copies = [folder / Path(name).name for folder in folders if name and (folder / Path(name).name).is_file()]
        if pseudo is None or not copies:
            continue
        if not _is_same(copies[0], pseudo):
            raise ValueError(
                f'{copies[0]}: the run read another pseudopotential of {label} than the given one; give this file'
            )
        same.append(label)
    return same


def _is_same(copy: Path, pseudo: Pseudopotential) -> bool:
    """Whether a file has the text of a pseudopotential or, written by another program, its numbers."""
    text = copy.read_text(encoding='utf-8', errors='replace')
    if text.split() == pseudo.text.split():
        return True
    try:
        other = Pseudopotential.from_text(text, str(copy))
    except ValueError:
        return False
    return (
        len(other.projectors) == len(pseudo.projectors)
        and other.z_valence == pseudo.z_valence
        and all(
            np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-8, atol=1e-10)
            for a, b in zip(_numbers(other), _numbers(pseudo), strict=True)
        )
    )


def _numbers(pseudo: Pseudopotential) -> list[np.ndarray]:
    core = np.zeros(0) if pseudo.core_density is None else pseudo.core_density
    return [pseudo.r, pseudo.v_local, pseudo.dij, core, *(projector.values for projector in pseudo.projectors)]
