"""SIESTA's .ion.xml files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.io.radial_tables import RadialTable, read_text, tabulated_basis

ZETA_NAMES = ('', ' second zeta', ' third zeta')


def read_ion_xml(path: str | Path) -> SpeciesBasis:
    """Read the orbitals of a SIESTA species.

    The file holds ``R(r) / r^l`` on a uniform mesh that ends at the cutoff radius of each orbital. The shells keep the
    order of the file, which is that of SIESTA's matrices; the orbitals inside a shell have the order of this package.

    Raises
    ------
    ValueError
        If the file is truncated, inconsistent or no .ion.xml file; the message names it.
    """
    text = read_text(path)
    # The parser would expand entities, which can fill the memory.
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise ValueError(f'{path}: declares XML entities, which no .ion.xml file does')
    try:
        ion = ElementTree.fromstring(text)  # noqa: S314
    except ElementTree.ParseError as error:
        raise ValueError(f'{path}: not an XML file, or truncated ({error})') from error
    if ion.tag != 'ion':
        raise ValueError(f'{path}: not a .ion.xml file of SIESTA (its root is {ion.tag!r})')
    try:
        element, announced = ion.findtext('symbol', '').strip(), int(ion.findtext('norbs_nl', '-1'))
        tables = [_orbital(orbital) for orbital in ion.iterfind('paos/orbital')]
    except (KeyError, ValueError, OverflowError) as error:
        reason = f'an orbital has no {error}' if isinstance(error, KeyError) else str(error)
        raise ValueError(f'{path}: damaged .ion.xml file: {reason}') from error
    if announced != len(tables):
        raise ValueError(f'{path}: announces {announced} orbitals and has {len(tables)}')
    return tabulated_basis(element, tables, path, 'SIESTA .ion.xml')


def _orbital(orbital: ElementTree.Element) -> RadialTable:
    l, n, zeta, polarisation = (int(orbital.attrib[key]) for key in ('l', 'n', 'z', 'ispol'))
    if not (0 <= l <= 4 and 1 <= zeta <= 9):
        raise ValueError(f'an orbital has l = {l} and zeta = {zeta}')
    label = f'{n}{"spdfg"[l]}' + (' polarisation' if polarisation else '')
    label += ZETA_NAMES[zeta - 1] if zeta <= len(ZETA_NAMES) else f' zeta {zeta}'
    npts, step, cutoff = (_number(orbital, f'radfunc/{key}') for key in ('npts', 'delta', 'cutoff'))
    data = parse_numbers(orbital.findtext('radfunc/data', ''))
    if len(data) != 2 * npts:
        raise ValueError(f'orbital {label} announces {npts:g} points and has {len(data) / 2:g}')
    r, scaled = data[::2], data[1::2]
    mesh = step * np.arange(len(r))
    if not np.allclose(r, mesh, rtol=1e-6, atol=1e-8):
        raise ValueError(f'the radii of orbital {label} are not multiples of its step {step:g}')
    # Some versions print the cutoff radius with a few digits only.
    if not abs(mesh[-1] - cutoff) <= 1e-3:
        raise ValueError(f'orbital {label} ends at {mesh[-1]:g} instead of its cutoff radius {cutoff:g}')
    population = float(parse_numbers(orbital.attrib['population'])[0])
    return RadialTable(l, mesh, scaled * mesh**l, float(mesh[-1]), label, population)


def _number(orbital: ElementTree.Element, tag: str) -> float:
    values = parse_numbers(orbital.findtext(tag, ''))
    if len(values) != 1:
        raise ValueError(f'{tag} is missing or not one number')
    return float(values[0])
