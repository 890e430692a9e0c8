"""Make data/densities.npz: electron densities from which the examples build their Hamiltonians; needs pw.x.

    OMP_NUM_THREADS=1 python examples/make_densities.py

Runs pw.x (LDA, GTH pseudopotentials, 16 Ry) for a few cells of AlAs, about a minute on one core, and keeps the
structure and the valence density of each. The cutoff and the mesh of k-points are lower than a study would have them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import ase.io
import numpy as np
from alas import rattled, wave
from ase import Atoms

from aiida_hamlr import make_pseudopotential
from aiida_hamlr.io.qe import read_charge_density, read_scf_xml

FILE = Path(__file__).parent / 'data/densities.npz'
CUTOFF = 16.0  # Ry
KPOINTS, SHIFT = (2, 2, 1), (1, 1, 0)


def structures() -> dict[str, Atoms]:
    """Structures by name; the part of the name before the underscore is what they are for."""
    return {
        **{f'train_{n}': rattled(n) for n in range(6)},
        'train_wave16a': wave(4, 0.05),
        'train_wave16b': wave(4, 0.10),
        'validation_0': rattled(6),
        'test_wave24': wave(6, 0.06),
    }


def compute_density(atoms: Atoms) -> np.ndarray:
    """Valence density of a structure by pw.x, (n1, n2, n3), electrons per cubic bohr."""
    pseudos = {element: make_pseudopotential(element) for element in sorted(set(atoms.symbols))}
    settings: dict = {
        'input_data': {
            'control': {'prefix': 'pw', 'outdir': './out', 'pseudo_dir': '.'},
            'system': {'ecutwfc': CUTOFF},
            'electrons': {'conv_thr': 1e-9, 'mixing_mode': 'local-TF', 'mixing_beta': 0.7},
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        for element, pseudo in pseudos.items():
            (Path(folder) / f'{element}.upf').write_text(pseudo.text)
        files = {element: f'{element}.upf' for element in pseudos}
        settings |= {'pseudopotentials': files, 'kpts': KPOINTS, 'koffset': SHIFT}
        ase.io.write(Path(folder) / 'pw.in', atoms, format='espresso-in', **settings)
        environment = os.environ | {'OMP_NUM_THREADS': '1'}
        subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, env=environment, check=True, capture_output=True)
        save = Path(folder) / 'out/pw.save'
        run = read_scf_xml(save / 'data-file-schema.xml')
        return read_charge_density(save / 'charge-density.dat', run.fft_grid, run.atoms)


def main():
    """Write the file."""
    arrays = {}
    for name, atoms in structures().items():
        density = compute_density(atoms)
        print(name, density.shape, flush=True)
        arrays |= {
            f'{name}/numbers': atoms.numbers,
            f'{name}/cell': atoms.cell[:],
            f'{name}/positions': atoms.positions,
            f'{name}/density': density.astype(np.float32),
        }
    np.savez_compressed(FILE, ecutwfc=CUTOFF, kpoints=KPOINTS, **arrays)


if __name__ == '__main__':
    main()
