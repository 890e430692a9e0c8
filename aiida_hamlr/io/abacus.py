"""ABACUS's numerical orbital files, .orb."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.io.radial_tables import RadialTable, read_text, tabulated_basis


def read_orb(path: str | Path) -> SpeciesBasis:
    """Read the orbitals of an ABACUS species.

    The file holds ``R(r)`` of every orbital on one uniform mesh, ordered by l, then by number, as in ABACUS's matrices.

    Raises
    ------
    ValueError
        If the file is truncated, inconsistent or no .orb file; the message names it.
    """
    text = read_text(path)
    header, *sections = re.split(r'^\s*Type\s+L\s+N\s*$', text, flags=re.MULTILINE)
    try:
        element = _entry(header, 'Element')
        cutoff = float(_entry(header, r'Radius Cutoff\(a\.u\.\)'))
        l_max, mesh = int(_entry(header, 'Lmax')), int(_entry(header, 'Mesh'))
        step = float(_entry(header, 'dr'))
        counts = {letter: int(count) for letter, count in re.findall(r'Number of ([A-Z])orbital-->\s+(\d+)', header)}
        tables = [_orbital(section, mesh, step, cutoff) for section in sections]
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{path}: damaged or no .orb file of ABACUS: {error}') from error
    # The generator of some versions names p orbitals of hydrogen too, none of them.
    counts = {letter: count for letter, count in counts.items() if count or letter in 'SPDFG'[: l_max + 1]}
    if not 0 <= l_max <= 4 or list(counts) != list('SPDFG'[: l_max + 1]):
        raise ValueError(f'{path}: Lmax is {l_max}, but the numbers of orbitals are given for {" ".join(counts)}')
    expected = [f'{letter.lower()} {n + 1}' for letter, count in counts.items() for n in range(count)]
    found = [table.label for table in tables]
    if found != expected:
        raise ValueError(f'{path}: announces {len(expected)} orbitals and has {len(found)}, or in another order')
    # The mesh is made odd where the radius asks for an even number of points.
    if not cutoff - 1e-6 <= step * (mesh - 1) <= cutoff + 1.5 * step:
        raise ValueError(f'{path}: {mesh} points of step {step} do not make up the cutoff radius {cutoff}')
    return tabulated_basis(element, tables, path, 'ABACUS .orb')


def _entry(header: str, name: str) -> str:
    found = re.search(rf'^\s*{name}\s+(\S+)\s*$', header, flags=re.MULTILINE)
    if found is None:
        raise ValueError(f'no {name.replace(chr(92), "")} in its header')
    return found[1]


def _orbital(section: str, mesh: int, step: float, cutoff: float) -> RadialTable:
    words = section.split(maxsplit=3)
    if len(words) < 4:
        raise ValueError('its last orbital is incomplete')
    _, l, n = (int(word) for word in words[:3])
    values = parse_numbers(words[3])
    if not 0 <= l <= 4:
        raise ValueError(f'an orbital has l = {l}')
    if len(values) != mesh:
        raise ValueError(f'orbital {n} of l = {l} has {len(values)} values, the mesh {mesh}')
    return RadialTable(l, step * np.arange(mesh), values, cutoff, f'{"spdfg"[l]} {n + 1}')
