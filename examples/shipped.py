"""Reference Hamiltonians for the examples, built in seconds from electron densities that are shipped with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

import aiida_hamlr as hamlr
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct

DENSITIES = Path(__file__).parent / 'data/densities.npz'


def write_references(folder: Path, names: str = '') -> dict[str, list[Path]]:
    """Write a Hamiltonian file of each shipped density of AlAs whose name starts with `names`.

    Returns
    -------
    dict of str to list of path
        The files for training (cells of 8 and 16 atoms), validation and test (a polarisation wave of 24 atoms).
    """
    pseudos = {element: hamlr.make_pseudopotential(element) for element in ('Al', 'As')}
    basis = hamlr.Basis({element: hamlr.generate_basis(pseudo, 'dzp', 7.0) for element, pseudo in pseudos.items()})
    options = ReconstructionOptions(tables=TwoCentreTables(basis, pseudos))
    files: dict[str, list[Path]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(DENSITIES, allow_pickle=False) as data:
        ecutrho, kpoints = 4 * float(data['ecutwfc']), tuple(data['kpoints'].tolist())  # Ry
        for name in sorted({key.split('/')[0] for key in data if '/' in key and key.startswith(names)}):
            atoms, density = (
                Atoms(data[f'{name}/numbers'], data[f'{name}/positions'], cell=data[f'{name}/cell'], pbc=True),
                data[f'{name}/density'].astype(float),
            )
            potential = potential_from_density(atoms, density, pseudos, ecutrho)
            hamiltonian = reconstruct(atoms, potential, basis, pseudos, ecutrho, kpoints, options=options)
            path = folder / f'{name}.h5'
            hamiltonian.write(path)
            files.setdefault(name.split('_')[0], []).append(path)
    return files
