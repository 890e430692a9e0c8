"""What ph.x prints about the response to a macroscopic field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.electronic.species import element_of_label
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.qe.structure import check_same_structure
from aiida_hamlr.io.radial_tables import read_text

#: Born charges beyond this are those of no insulator, |e|.
LARGEST_CHARGE = 100.0

#: Largest asymmetry of a dielectric tensor, relative to its largest element.
ASYMMETRY = 1e-3

#: Error of the printed lattice vectors, which have four digits behind the point, in units of the lattice parameter.
PRINTED = 1e-4

#: Headings of the Born charges, the better kind first: one solution for the field gives the forces on all atoms.
CHARGE_HEADINGS = ('Effective charges (d Force / dE)', 'Effective charges (d P / du)')

_NUMBER = r'\s*([-+.\dEe]+)'
_ROW = rf'\({_NUMBER}{_NUMBER}{_NUMBER}\s*\)'


@dataclass(frozen=True)
class FieldResponse:
    """Response to a macroscopic field with the atoms at rest, from ph.x.

    Parameters
    ----------
    source : str
        Name of the file.
    atoms : ase.Atoms
        To the digits printed.
    tolerance : float
        Error of these digits, Å.
    dielectric_tensor : (3, 3) array or None
        Symmetric.
    born_charges : (N, 3, 3) array or None
        ``[i, a, b]``: derivative of component b of the force on atom i with respect to component a of the field, which
        is that of component a of the polarisation times the volume with respect to component b of the position of the
        atom; |e|. Their sum over the atoms is zero.
    charge_sum : float or None
        Largest element of that sum as ph.x gave it, before the mean was subtracted, |e|: the violation of the acoustic
        sum rule.
    """

    source: str
    atoms: Atoms
    tolerance: float
    dielectric_tensor: np.ndarray | None
    born_charges: np.ndarray | None
    charge_sum: float | None

    def check_structure(self, atoms: Atoms):
        """Raise ``ValueError`` unless atoms, in this order, are those of the run."""
        try:
            check_same_structure(atoms, self.atoms, self.tolerance)
        except ValueError as error:
            raise ValueError(f'{self.source}: a ph.x run of another structure: {error}') from error


def read_field_response(path: str | Path) -> FieldResponse:
    """Read dielectric tensor and Born charges from the text output of ph.x 6.x or 7.x (epsil, zeu or zue, q = 0).

    Of several, as of a run that was continued, the last ones count.

    Raises
    ------
    ValueError
        If the file cannot be read, is truncated, is no output of ph.x or holds neither, or if the tensor is not
        symmetric or has eigenvalues below 1, or a charge is out of bounds.
    """
    text = read_text(path)
    if 'Program PHONON' not in text:
        raise ValueError(f'{path}: not the text output of ph.x')
    with naming(path):
        atoms, tolerance = _structure(text)
        tensor = _dielectric_tensor(text)
        charges = _born_charges(text, atoms)
    if tensor is None and charges is None:
        raise ValueError(
            f'{path}: neither dielectric tensor nor Born charges; run ph.x with epsil=.true. and zeu=.true. at q = 0'
        )
    charge_sum = None
    if charges is not None:
        charge_sum = float(np.abs(charges.sum(axis=0)).max())
        charges = charges - charges.mean(axis=0)
    return FieldResponse(str(path), atoms, tolerance, tensor, charges, charge_sum)


def _structure(text: str) -> tuple[Atoms, float]:
    count = re.search(r'number of atoms/cell\s*=\s*(\d+)', text)
    parameter = re.search(r'celldm\(1\)\s*=\s*([\d.]+)', text)
    vectors = re.findall(rf'^\s*a\([123]\)\s*=\s*{_ROW}', text, re.MULTILINE)[:3]
    sites = re.findall(rf'^\s*(\d+)\s+(\S+)\s+[\d.]+\s+tau\(\s*\d+\)\s*=\s*{_ROW}', text, re.MULTILINE)
    if count is None or parameter is None or len(vectors) < 3:
        raise ValueError('truncated, or damaged: it does not tell its structure')
    n_atoms, length = int(count[1]), float(parameter[1]) * BOHR
    sites = sites[:n_atoms]
    if len(sites) != n_atoms or any(int(site[0]) != number for number, site in enumerate(sites, start=1)):
        raise ValueError(f'truncated, or damaged: positions of {len(sites)} of its {n_atoms} atoms')
    cell, positions = _numbers(vectors), _numbers([site[2:] for site in sites])
    if not abs(np.linalg.det(cell)) > 1e-6:
        raise ValueError('damaged: its cell has no volume')
    symbols = [element_of_label(site[1]) for site in sites]
    return Atoms(symbols, positions=length * positions, cell=length * cell, pbc=True), PRINTED * max(1.0, length)


def _numbers(rows) -> np.ndarray:
    values = np.array([[float(word) for word in row] for row in rows])
    if not np.isfinite(values).all():
        raise ValueError('damaged: numbers that are not finite')
    return values


def _dielectric_tensor(text: str) -> np.ndarray | None:
    heading = 'Dielectric constant in cartesian axis'
    start = text.rfind(heading)
    if start < 0:
        return None
    rows = re.match(rf'\s*{_ROW}\s*{_ROW}\s*{_ROW}', text[start + len(heading) :])
    if rows is None:
        raise ValueError('truncated, or damaged: its dielectric tensor is not nine numbers; is it that of a metal?')
    tensor = _numbers([rows.groups()]).reshape(3, 3)
    if not np.abs(tensor - tensor.T).max() <= ASYMMETRY * np.abs(tensor).max():
        raise ValueError('its dielectric tensor is not symmetric')
    tensor = (tensor + tensor.T) / 2
    lowest = float(np.linalg.eigvalsh(tensor)[0])
    if lowest < 1:
        raise ValueError(f'its dielectric tensor has the eigenvalue {lowest:.6g}, below 1')
    return tensor


def _born_charges(text: str, atoms: Atoms) -> np.ndarray | None:
    """(N, 3, 3) charges as they are printed, rows the field; those to which ph.x applied no sum rule."""
    for heading in CHARGE_HEADINGS:
        titles = [title for title in re.finditer(rf'{re.escape(heading)}.*', text) if 'asr applied' not in title[0]]
        if titles:
            break
    else:
        return None
    rows = r'\s*'.join(rf'[EP]{axis}\s*{_ROW}' for axis in 'xyz')
    atom = re.compile(rf'\s*atom\s+(\d+)\s+(\S+)[^\n]*\n\s*{rows}')
    place, charges = titles[-1].end(), []
    for number, symbol in enumerate(atoms.symbols, start=1):
        found = atom.match(text, place)
        if found is None or int(found[1]) != number or element_of_label(found[2]) != symbol:
            raise ValueError(f'truncated, or damaged: no Born charge of atom {number} (from 1), {symbol}')
        charges.append(_numbers([found.groups()[2:]]).reshape(3, 3))
        place = found.end()
    charges = np.array(charges)
    largest = float(np.abs(charges).max())
    if largest > LARGEST_CHARGE:
        raise ValueError(f'a Born charge of {largest:.6g} e, beyond {LARGEST_CHARGE:g} e; is it that of a metal?')
    return charges
