"""Runs of pw.x and pp.x that several test modules share, each made once per session."""

import gzip
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.basis import Basis
from aiida_hamlr.electronic.basis_generation import generate_basis
from aiida_hamlr.electronic.pseudopotential import Pseudopotential
from aiida_hamlr.io.qe import QeRun, read_scf_xml

DEBIAN_PSEUDOS = Path('/usr/share/espresso/pseudo')
DEBIAN_GAN = Path('/usr/share/doc/quantum-espresso/examples/EPW/gan/pp')

#: File of every element, for the compounds that the tests use.
PSEUDO_FILES = {
    'Al': DEBIAN_PSEUDOS / 'Al.pz-vbc.UPF',
    'As': DEBIAN_PSEUDOS / 'As.pz-bhs.UPF',
    'Si': DEBIAN_PSEUDOS / 'Si.pz-vbc.UPF',
    'Ga': DEBIAN_GAN / 'Ga_ONCV_LDA-1.0.upf.gz',
    'N': DEBIAN_GAN / 'N_ONCV_LDA-1.0.upf.gz',
}


@dataclass(frozen=True)
class FinishedRun:
    """Files of one pw.x run followed by pp.x."""

    folder: Path

    @property
    def xml(self) -> Path:
        return self.folder / 'out/aiida.save/data-file-schema.xml'

    @property
    def charge_density(self) -> Path:
        return self.folder / 'out/aiida.save/charge-density.dat'

    @property
    def potential(self) -> Path:
        return self.folder / 'potential.filplot'

    @property
    def density(self) -> Path:
        return self.folder / 'density.filplot'

    def read(self) -> QeRun:
        return read_scf_xml(self.xml)


def pw_input(atoms: Atoms, ecutwfc: float, kpoints, n_bands: int, system: str = '') -> str:
    """Input of a converged scf run."""
    species = sorted(set(atoms.get_chemical_symbols()))
    lines = [
        "&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='.' disk_io='low' /",
        f'&system ibrav=0 nat={len(atoms)} ntyp={len(species)} ecutwfc={ecutwfc} nbnd={n_bands} {system} /',
        '&electrons conv_thr=1e-13 diago_thr_init=1e-6 /',
        'ATOMIC_SPECIES',
        *(f'{element} 1.0 {element}.upf' for element in species),
        'CELL_PARAMETERS angstrom',
        *(' '.join(f'{x:.12f}' for x in vector) for vector in atoms.cell[:]),
        'ATOMIC_POSITIONS angstrom',
        *(f'{s} ' + ' '.join(f'{x:.12f}' for x in p) for s, p in zip(atoms.symbols, atoms.positions, strict=True)),
        'K_POINTS automatic',
        ' '.join(str(k) for k in kpoints) + ' 0 0 0',
    ]
    return '\n'.join(lines) + '\n'


def run_executable(executable: str, text: str, folder: Path) -> str:
    """Run pw.x or pp.x serially on an input text and return what it printed."""
    name = f'{executable.split(".")[0]}.in'
    (folder / name).write_text(text)
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [executable, '-in', name], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def run_pw(folder: Path, atoms: Atoms, pseudos, ecutwfc, kpoints, n_bands, system='') -> FinishedRun:
    """Run pw.x and pp.x for potential and density."""
    if shutil.which('pw.x') is None or shutil.which('pp.x') is None:
        pytest.skip('pw.x and pp.x are not installed')
    for element in set(atoms.get_chemical_symbols()):
        (folder / f'{element}.upf').write_text(pseudos[element].text)
    printed = run_executable('pw.x', pw_input(atoms, ecutwfc, kpoints, n_bands, system), folder)
    assert 'JOB DONE' in printed, printed[-2000:]
    for plot_num, name in ((1, 'potential.filplot'), (0, 'density.filplot')):
        text = f"&inputpp prefix='aiida' outdir='./out' filplot='{name}' plot_num={plot_num} /\n"
        assert 'JOB DONE' in run_executable('pp.x', text, folder)
    return FinishedRun(folder)


@pytest.fixture(scope='session')
def upf_pseudos() -> dict[str, Pseudopotential]:
    """Norm-conserving pseudopotentials that Debian's Quantum ESPRESSO brings, of those elements that it has."""
    found = {}
    for element, path in PSEUDO_FILES.items():
        if path.exists():
            text = gzip.decompress(path.read_bytes()).decode() if path.suffix == '.gz' else path.read_text()
            found[element] = Pseudopotential.from_text(text, path.name)
    if not {'Al', 'As', 'Si'} <= set(found):
        pytest.skip('Debian pseudopotentials are not installed')
    return found


@pytest.fixture(scope='session')
def plain_basis(upf_pseudos):
    """Function: the plain basis of some elements in one size, generated once."""
    made = {}

    def make(elements, size: str = 'dzp') -> Basis:
        for element in elements:
            if (element, size) not in made:
                made[element, size] = generate_basis(upf_pseudos[element], size)
        return Basis({element: made[element, size] for element in elements})

    return make


def rattled_alas() -> Atoms:
    """AlAs of two atoms, strained and displaced: no symmetry is left."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    strain = np.array([[0.01, 0.01, 0.0], [0.0, -0.02, 0.005], [0.015, 0.0, 0.01]])
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += [[0.21, 0.13, -0.32], [0.32, 0.06, -0.21]]
    return atoms


@pytest.fixture(scope='session')
def alas_run(upf_pseudos, tmp_path_factory) -> FinishedRun:
    """Bulk AlAs."""
    return run_pw(tmp_path_factory.mktemp('alas'), bulk('AlAs', 'zincblende', a=5.66), upf_pseudos, 30, (3, 3, 3), 8)


@pytest.fixture(scope='session')
def rattled_alas_run(upf_pseudos, tmp_path_factory) -> FinishedRun:
    """AlAs without symmetry, in a cell without right angles."""
    return run_pw(tmp_path_factory.mktemp('rattled'), rattled_alas(), upf_pseudos, 20, (2, 2, 2), 8)


@pytest.fixture(scope='session')
def si_run(upf_pseudos, tmp_path_factory) -> FinishedRun:
    """Bulk Si."""
    return run_pw(tmp_path_factory.mktemp('si'), bulk('Si', 'diamond', a=5.43), upf_pseudos, 30, (3, 3, 3), 8)


@pytest.fixture(scope='session')
def gan_run(upf_pseudos, tmp_path_factory) -> FinishedRun:
    """Zincblende GaN with Ga 3d."""
    if not {'Ga', 'N'} <= set(upf_pseudos):
        pytest.skip('the ONCV files of Ga and N are not installed')
    return run_pw(tmp_path_factory.mktemp('gan'), bulk('GaN', 'zincblende', a=4.5), upf_pseudos, 80, (2, 2, 2), 13)
