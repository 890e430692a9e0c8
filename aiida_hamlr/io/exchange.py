"""The formats of other programs by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES
from aiida_hamlr.io.cp2k import read_cp2k, write_cp2k
from aiida_hamlr.io.deeph import read_deeph, write_deeph
from aiida_hamlr.io.deeptb import PREFIX, read_deeptb, write_deeptb, write_training_input
from aiida_hamlr.io.deepx import read_deepx, write_deepx
from aiida_hamlr.io.foreign_matrices import ForeignMatrices
from aiida_hamlr.io.hamgnn import write_hamgnn
from aiida_hamlr.io.sisl import read_sisl, write_sisl
from aiida_hamlr.io.structure_notes import KEYS, PBC
from aiida_hamlr.io.wannier90 import write_wannier90


@dataclass(frozen=True)
class Format:
    """What can be done with a format.

    Parameters
    ----------
    write : callable
        From a Hamiltonian, or a sequence of them, and a folder to files.
    read : callable, optional
        From a file or folder to `ForeignMatrices`; None if it is only written.
    carries : tuple of str
        Matrices that it holds, and those of `aiida_hamlr.io.structure_notes.KEYS` that it says of the structure.
    joins : bool
        Whether one file holds several structures.
    options : tuple of str
        Keywords of ``read``: 'shells', 'frame'.
    subfolder : str, optional
        Of the subfolders of several structures, before a running number, where the program finds them by it; default:
        the names of the structures.
    write_together : callable, optional
        From the Hamiltonians and the folder of their subfolders to files in it that concern all of them.
    unreadable : str
        Why it is only written.
    """

    write: Callable
    read: Callable[..., ForeignMatrices] | None
    carries: tuple[str, ...]
    joins: bool = False
    options: tuple[str, ...] = ()
    subfolder: str | None = None
    write_together: Callable | None = None
    unreadable: str = ''


FORMATS = {
    'deepx': Format(write_deepx, read_deepx, (*OF_STATES, *KEYS)),
    'deeph': Format(write_deeph, read_deeph, (*OF_STATES, *KEYS)),
    'deeptb': Format(
        write_deeptb,
        read_deeptb,
        ('hamiltonian', 'overlap', *KEYS),
        options=('shells', 'frame'),
        subfolder=f'{PREFIX}.',
        write_together=write_training_input,
    ),
    'sisl': Format(write_sisl, read_sisl, (*OF_STATES, *KEYS), options=('shells',)),
    'cp2k': Format(write_cp2k, read_cp2k, ('hamiltonian', 'overlap', PBC)),
    'wannier90': Format(
        write_wannier90,
        None,
        ('hamiltonian', 'overlap'),
        unreadable='Wannier functions are not orbitals of atoms, which everything here needs',
    ),
    'hamgnn': Format(
        write_hamgnn,
        None,
        ('hamiltonian', 'overlap', 'h0'),
        joins=True,
        unreadable='its files are pickles, and reading one runs the code that it names',
    ),
}

#: Formats that can be read.
READABLE = tuple(name for name, each in FORMATS.items() if each.read is not None)


def find_format(name: str) -> Format:
    """The format of a name.

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if name not in FORMATS:
        raise ValueError(f'unknown format {name!r}; known are {", ".join(FORMATS)}')
    return FORMATS[name]


def read_foreign(
    path: str | Path,
    name: str,
    shells: Mapping[str, Sequence[int]] | None = None,
    frame: int | None = None,
) -> ForeignMatrices:
    """Read matrices of another program.

    Parameters
    ----------
    path : path
        File or folder, as the format has it.
    name : str
        Of the format.
    shells : mapping of str to sequences of int, optional
        Angular momenta by element, where the format does not say them.
    frame : int, optional
        Which structure, from 0, where the format holds several.

    Raises
    ------
    ValueError
        If the format is not known or only written, takes no such option, or the files are refused.
    """
    item = find_format(name)
    if item.read is None:
        raise ValueError(f'{name} is written but not read: {item.unreadable}')
    given = {key: value for key, value in (('shells', shells), ('frame', frame)) if value is not None}
    for key in given:
        if key not in item.options:
            raise ValueError(f'the format {name} takes no --{key}: its files say it; leave the option out')
    return item.read(path, **given)
