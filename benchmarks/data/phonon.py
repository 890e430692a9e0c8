"""Runs of pw.x and ph.x for the response to a macroscopic field, with the pseudopotentials of the references."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.io import write

from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.jobs.reconstruct import run_reconstruct


def run_phonon(folder: Path, atoms: Atoms, cutoff: float, mesh: str) -> Path:
    """Dielectric tensor and Born charges of a structure; return the output of ph.x, which is kept in the folder.

    Parameters
    ----------
    folder : path
    atoms : ase.Atoms
    cutoff : float
        Of the plane waves, Ry.
    mesh : str
        Mesh of k-points and its shift in half steps, as in the input of pw.x.

    Raises
    ------
    RuntimeError
        If pw.x or ph.x fails.
    """
    output = folder / 'ph.out'
    if output.exists():
        return output
    folder.mkdir(parents=True, exist_ok=True)
    names = {element: f'{element}.upf' for element in sorted(set(atoms.get_chemical_symbols()))}
    for element, name in names.items():
        (folder / name).write_text(make_pseudopotential(element).text)
    points = np.array(mesh.split(), dtype=int)
    write(
        folder / 'pw.in',
        atoms,
        format='espresso-in',
        input_data={
            'control': {'prefix': 'pw', 'outdir': './out', 'pseudo_dir': '.'},
            'system': {'ecutwfc': cutoff},
            'electrons': {'conv_thr': 1e-12},
        },
        pseudopotentials=names,
        kpts=tuple(points[:3]),
        koffset=tuple(points[3:]),
    )
    settings = "prefix='pw' outdir='./out' epsil=.true. zeu=.true. trans=.false. tr2_ph=1e-14"
    (folder / 'ph.in').write_text(f'Z* and eps\n&inputph {settings} /\n0 0 0\n')
    for name in ('pw', 'ph'):
        command = [f'{name}.x', '-in', f'{name}.in']
        environment = os.environ | {'OMP_NUM_THREADS': '1'}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or 'JOB DONE' not in done.stdout:
            raise RuntimeError(f'{name}.x failed in {folder}: {done.stdout[-500:]}')
        (folder / f'{name}.part').write_text(done.stdout)
        (folder / f'{name}.part').rename(folder / f'{name}.out')
    return output


def labelled_hamiltonian(folder: Path, atoms: Atoms, cutoff: float, mesh: str, basis: Basis) -> Path:
    """Hamiltonian with dielectric tensor and Born charges of ph.x among its labels, kept in the folder.

    Parameters
    ----------
    folder, atoms, cutoff, mesh
        As of :func:`run_phonon`.
    basis : Basis
        Orbitals; elements that the structure lacks are left out.
    """
    path = folder / 'hamiltonian.h5'
    if path.exists():
        return path
    output = run_phonon(folder, atoms, cutoff, mesh)
    elements = sorted(set(atoms.get_chemical_symbols()))
    for element in elements:
        basis[element].write(folder / f'{element}.basis.h5')
    config = {
        'structure': 'out/pw.save/data-file-schema.xml',
        'density': 'out/pw.save',
        'phonon': output.name,
        'pseudos': {element: f'{element}.upf' for element in elements},
        'basis': {element: f'{element}.basis.h5' for element in elements},
        'output': path.name,
    }
    (folder / 'reconstruct.yaml').write_text(yaml.safe_dump(config))
    run_reconstruct(folder / 'reconstruct.yaml')
    return path
