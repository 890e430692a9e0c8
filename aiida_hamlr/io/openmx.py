"""OpenMX's pseudo-atomic orbital files, .pao."""

from __future__ import annotations

import re
from pathlib import Path

from ase.data import chemical_symbols

from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.io.radial_tables import RadialTable, read_text, tabulated_basis


def read_pao(path: str | Path, selection: str | None = None) -> SpeciesBasis:
    """Read orbitals of an OpenMX species.

    A file holds many orbitals of every angular momentum, of which a calculation uses the first few. Its columns are
    ``ln r``, ``r`` and ``R(r)`` of every orbital.

    Parameters
    ----------
    path : path
        The file.
    selection : str, optional
        How many of each angular momentum, in OpenMX's notation: 's2p2d1'.

    Raises
    ------
    ValueError
        If the file is truncated, inconsistent or no .pao file, or the selection is missing or asks for more than there
        is; the message names the file.
    """
    text = read_text(path)
    try:
        number, l_max, multiplicity = (int(_entry(text, key)) for key in ('AtomSpecies', 'PAO.Lmax', 'PAO.Mul'))
        cutoff, rows = float(_entry(text, 'radial.cutoff.pao')), int(_entry(text, 'grid.num.output'))
        if not (1 <= number < len(chemical_symbols) and 0 <= l_max <= 4 and 1 <= multiplicity <= 50):
            raise ValueError(f'AtomSpecies {number}, PAO.Lmax {l_max}, PAO.Mul {multiplicity}')
        counts = _counts(selection, l_max, multiplicity, Path(path).name)
        tables = []
        for l in range(l_max + 1):
            columns = _section(text, l, rows, multiplicity)
            for n in range(counts.get('spdfg'[l], 0)):
                tables.append(RadialTable(l, columns[1], columns[2 + n], cutoff, f'{"spdfg"[l]} {n + 1}'))
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{path}: {error}') from error
    return tabulated_basis(chemical_symbols[number], tables, path, 'OpenMX .pao', selection=selection)


def _entry(text: str, name: str) -> str:
    """The last value of a keyword; the input of the orbitals' generation stands above what it made."""
    found = re.findall(rf'^\s*{re.escape(name)}\s+(\S+)', text, flags=re.MULTILINE)
    if not found:
        raise ValueError(f'no {name}; it is truncated or no .pao file of OpenMX')
    return found[-1]


def _counts(selection: str | None, l_max: int, multiplicity: int, name: str) -> dict[str, int]:
    if selection is None:
        raise ValueError(
            f'holds {multiplicity} orbitals of each of {", ".join("spdfg"[: l_max + 1])}; say how many are wanted: '
            f'hamlr basis --from {name} --size s2p2d1 -o FILE.basis.h5'
        )
    if not re.fullmatch(r'([spdfg]\d{1,2})+', selection):
        raise ValueError(f'the selection {selection!r} is not of the form s2p2d1')
    pairs = re.findall(r'([spdfg])(\d+)', selection)
    counts = {letter: int(count) for letter, count in pairs}
    available = 'spdfg'[: l_max + 1]
    if len(counts) < len(pairs) or any(
        letter not in available or count > multiplicity for letter, count in counts.items()
    ):
        raise ValueError(
            f'the selection {selection} asks for more than {multiplicity} of each of {", ".join(available)}'
        )
    return counts


def _section(text: str, l: int, rows: int, multiplicity: int):
    """(2 + multiplicity, rows) columns of one angular momentum."""
    name = f'pseudo.atomic.orbitals.L={l}'
    found = re.search(rf'^<{re.escape(name)}\s*$(.*?)^{re.escape(name)}>', text, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f'{name} is missing or has no end; the file is truncated')
    values = parse_numbers(found[1])
    if rows < 10 or len(values) != rows * (2 + multiplicity):
        raise ValueError(f'{name} has {len(values)} numbers instead of {rows} rows of {2 + multiplicity}')
    return values.reshape(rows, -1).T
