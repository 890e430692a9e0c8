"""Orbitals from files of any known format."""

from __future__ import annotations

from pathlib import Path

from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.io.abacus import read_orb
from aiida_hamlr.io.openmx import read_pao
from aiida_hamlr.io.siesta import read_ion_xml


def read_basis(path: str | Path, selection: str | None = None) -> SpeciesBasis:
    """Read the orbitals of an element; the format follows from the end of the file's name.

    Parameters
    ----------
    path : path
        ``.h5`` of this package, ``.ion.xml`` of SIESTA, ``.orb`` of ABACUS or ``.pao`` of OpenMX.
    selection : str, optional
        Which orbitals of a ``.pao`` file, as in 's2p2d1'.

    Returns
    -------
    SpeciesBasis
        Its orbitals are normalised.

    Raises
    ------
    ValueError
        If the format is not known, or the file is damaged; the message names the file.
    """
    name = Path(path).name.lower()
    if selection is not None and not name.endswith('.pao'):
        raise ValueError(f'{path}: only of .pao files can orbitals be selected ({selection})')
    if name.endswith('.h5'):
        return SpeciesBasis.read(path)
    if name.endswith('.ion.xml'):
        return read_ion_xml(path)
    if name.endswith('.orb'):
        return read_orb(path)
    if name.endswith('.pao'):
        return read_pao(path, selection)
    raise ValueError(f'{path}: not a known format of orbitals; known are .basis.h5, .ion.xml, .orb and .pao')
