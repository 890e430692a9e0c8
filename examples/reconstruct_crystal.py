"""From a plane-wave run of silicon to its Hamiltonian in atomic orbitals, and its bands from both.

    python examples/reconstruct_crystal.py

Takes some ten seconds and needs pw.x of Quantum ESPRESSO.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
from ase import Atoms
from ase.build import bulk

import aiida_hamlr as hamlr

KPOINTS = (4, 4, 4)


def run_pw(atoms: Atoms, pseudo: hamlr.Pseudopotential, folder: Path) -> Path:
    """Run pw.x and return the folder with its density and eigenvalues."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'Si.upf').write_text(pseudo.text)
    settings = {
        'control': {'prefix': 'pw', 'outdir': './out', 'pseudo_dir': '.'},
        'system': {'ecutwfc': 24.0, 'nbnd': 8},  # Ry; four empty bands to compare with
    }
    files = {'Si': 'Si.upf'}
    ase.io.write(
        folder / 'pw.in', atoms, format='espresso-in', input_data=settings, pseudopotentials=files, kpts=KPOINTS
    )
    subprocess.run(['pw.x', '-in', 'pw.in'], cwd=folder, check=True, capture_output=True)
    return folder / 'out/pw.save'


def main(folder: Path) -> hamlr.Hamiltonian | None:
    """Run the example; Hamiltonian file and figure are written to `folder`."""
    if shutil.which('pw.x') is None:
        print('skipped: pw.x is not on the PATH; install Quantum ESPRESSO')
        return None
    pseudo = hamlr.make_pseudopotential('Si')  # from published GTH parameters
    save = run_pw(bulk('Si', a=5.43), pseudo, folder / 'silicon')

    # The keywords are the keys of reconstruct.yaml.
    hamiltonian = hamlr.reconstruct(
        structure=save / 'data-file-schema.xml',
        density=save / 'charge-density.dat',
        pseudos={'Si': folder / 'silicon/Si.upf'},
        basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': 8.0},  # bohr
        kpoints=KPOINTS,
    )
    hamiltonian.write(folder / 'silicon.h5')

    check = hamiltonian.attributes.verification
    print(f'{hamiltonian.pattern.n_entries} matrix elements of {len(hamiltonian.pattern)} pairs of atoms')
    print(f'occupied bands differ from those of pw.x by {check["band_mae_occupied_meV"]:.1f} meV on average')
    hamlr.plot_bands([hamlr.band_structure(hamiltonian)], folder / 'silicon_bands.png', window=(-13.0, 6.0))
    print(f'Hamiltonian and bands are in {folder}')
    return hamiltonian


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
