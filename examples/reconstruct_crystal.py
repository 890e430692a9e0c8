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

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import band_path
from aiida_hamlr.electronic.bands.occupations import solve_mesh
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import reconstruct
from aiida_hamlr.io.qe import read_charge_density, read_scf_xml
from aiida_hamlr.plotting.bands import plot_bands

KPOINTS = (4, 4, 4)


def run_pw(atoms: Atoms, pseudo: Pseudopotential, folder: Path) -> Path:
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


def main(folder: Path) -> Hamiltonian | None:
    """Run the example; Hamiltonian file and figure are written to `folder`."""
    if shutil.which('pw.x') is None:
        print('skipped: pw.x is not on the PATH; install Quantum ESPRESSO')
        return None
    pseudos = {'Si': make_pseudopotential('Si')}  # from published GTH parameters
    save = run_pw(bulk('Si', a=5.43), pseudos['Si'], folder / 'silicon')
    run = read_scf_xml(save / 'data-file-schema.xml')
    density = read_charge_density(save / 'charge-density.dat', run.fft_grid, run.atoms)

    basis = Basis({'Si': generate_basis(pseudos['Si'], 'dzp', 8.0)})  # cutoff radius in bohr
    potential = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
    hamiltonian = reconstruct(run.atoms, potential, basis, pseudos, run.ecutrho, KPOINTS, run=run, density=density)
    hamiltonian.write(folder / 'silicon.h5')

    check = hamiltonian.attributes.verification
    print(f'{hamiltonian.pattern.n_entries} matrix elements of {len(hamiltonian.pattern)} pairs of atoms')
    print(f'occupied bands differ from those of pw.x by {check["band_mae_occupied_meV"]:.1f} meV on average')
    bands = Bands.on_path(hamiltonian, band_path(run.atoms), solve_mesh(hamiltonian, KPOINTS))
    plot_bands([bands], folder / 'silicon_bands.png', window=(-13.0, 6.0))
    print(f'Hamiltonian and bands are in {folder}')
    return hamiltonian


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
