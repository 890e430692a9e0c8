"""Runs of pw.x and ph.x for the response to a macroscopic field, with the pseudopotentials of the references."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from aiida_hamlr.electronic.gth import make_pseudopotential


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
