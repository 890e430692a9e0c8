"""Runs of pw.x and pp.x that several test modules share, each made once per session."""

import gzip
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
from aiida_hamlr.electronic.species import element_of_label
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


def pw_input(
    atoms: Atoms, ecutwfc: float, kpoints, n_bands: int, system='', electrons='', labels=None, control=''
) -> str:
    """Input of a converged scf run; ``labels`` name the species of every atom, by default its element."""
    labels = atoms.get_chemical_symbols() if labels is None else labels
    species = sorted(set(labels))
    lines = [
        f"&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='.' disk_io='low' {control} /",
        f'&system ibrav=0 nat={len(atoms)} ntyp={len(species)} ecutwfc={ecutwfc} nbnd={n_bands} {system} /',
        f'&electrons conv_thr=1e-13 diago_thr_init=1e-6 {electrons} /',
        'ATOMIC_SPECIES',
        *(f'{label} 1.0 {element_of_label(label)}.upf' for label in species),
        'CELL_PARAMETERS angstrom',
        *(' '.join(f'{x:.12f}' for x in vector) for vector in atoms.cell[:]),
        'ATOMIC_POSITIONS angstrom',
        *(f'{s} ' + ' '.join(f'{x:.12f}' for x in p) for s, p in zip(labels, atoms.positions, strict=True)),
        'K_POINTS automatic',
        ' '.join(str(k) for k in kpoints) + ' 0 0 0',
    ]
    return '\n'.join(lines) + '\n'


def scaled_hydrogen(charge: float) -> str:
    """UPF text of a hydrogen whose charge is scaled."""
    content = parse_upf((DEBIAN_PSEUDOS / 'H.pz-vbc.UPF').read_text())
    scaled = replace(
        content,
        z_valence=charge,
        v_local=charge * content.v_local,
        rho_atom=charge * content.rho_atom,
        wavefunctions=tuple(replace(w, occupation=charge) for w in content.wavefunctions),
    )
    return format_upf(scaled, f'hydrogen of charge {charge}', 'test')


def run_executable(executable: str, text: str, folder: Path) -> str:
    """Run pw.x or pp.x serially on an input text and return what it printed."""
    name = f'{executable.split(".")[0]}.in'
    (folder / name).write_text(text)
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [executable, '-in', name], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def run_pw(
    folder: Path, atoms: Atoms, pseudos, ecutwfc, kpoints, n_bands, system='', electrons='', labels=None, control=''
) -> FinishedRun:
    """Run pw.x and pp.x for potential (of a spin-polarised run the mean of both) and density."""
    if shutil.which('pw.x') is None or shutil.which('pp.x') is None:
        pytest.skip('pw.x and pp.x are not installed')
    for element in set(atoms.get_chemical_symbols()):
        (folder / f'{element}.upf').write_text(pseudos[element].text)
    text = pw_input(atoms, ecutwfc, kpoints, n_bands, system, electrons, labels, control)
    printed = run_executable('pw.x', text, folder)
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


#: Keywords of the electrostatics of a slab, of SYSTEM and of CONTROL.
SLAB_KEYWORDS = {
    'periodic': ('', ''),
    '2D': ("assume_isolated='2D'", ''),
    'dipole correction': ('edir=3 emaxpos=0.93 eopreg=0.06 eamp=0.0', 'tefield=.true. dipfield=.true.'),
}


@pytest.fixture(scope='session')
def polar_slab_runs(upf_pseudos, tmp_path_factory) -> dict[str, FinishedRun]:
    """A buckled layer of AlAs, which has a dipole, with each kind of electrostatics."""
    cell = [[3.9, 0, 0], [-1.95, 3.9 * np.sqrt(0.75), 0], [0, 0, 20.0]]
    atoms = Atoms('AlAs', scaled_positions=[[1 / 3, 2 / 3, 0.47], [2 / 3, 1 / 3, 0.517]], cell=cell, pbc=True)
    runs = {}
    for name, (system, control) in SLAB_KEYWORDS.items():
        folder = tmp_path_factory.mktemp('slab')
        runs[name] = run_pw(folder, atoms, upf_pseudos, 16, (2, 2, 1), 8, system, control=control)
    return runs


@pytest.fixture(scope='session')
def gan_run(upf_pseudos, tmp_path_factory) -> FinishedRun:
    """Zincblende GaN with Ga 3d."""
    if not {'Ga', 'N'} <= set(upf_pseudos):
        pytest.skip('the ONCV files of Ga and N are not installed')
    return run_pw(tmp_path_factory.mktemp('gan'), bulk('GaN', 'zincblende', a=4.5), upf_pseudos, 80, (2, 2, 2), 13)


#: Of spin-polarised runs also the empty bands are converged, since they are compared.
SPIN_ELECTRONS = 'diago_full_acc=.true. mixing_beta=0.4'


def debian_pseudo(name: str, old: str = '', new: str = '') -> Pseudopotential:
    """One of Debian's pseudopotentials, with one text in its file replaced by another."""
    path = DEBIAN_PSEUDOS / name
    if not path.exists():
        pytest.skip('Debian pseudopotentials are not installed')
    text = path.read_text()
    assert old in text
    return Pseudopotential.from_text(text.replace(old, new), name)


@pytest.fixture(scope='session')
def antiferromagnet_run(tmp_path_factory) -> FinishedRun:
    """Chains of hydrogen atoms far apart, up and down in turn: LDA (PZ), an insulator."""
    atoms = Atoms('H2', positions=[[0, 0, 0], [2.7, 0, 0]], cell=np.diag([5.4, 3.6, 3.6]), pbc=True)
    system = "nspin=2 starting_magnetization(1)=0.9 starting_magnetization(2)=-0.9 occupations='smearing' degauss=0.005"
    pseudos = {'H': debian_pseudo('H.pz-vbc.UPF')}
    folder = tmp_path_factory.mktemp('antiferromagnet')
    return run_pw(folder, atoms, pseudos, 20, (2, 1, 1), 6, system, SPIN_ELECTRONS, ['H1', 'H2'])


@pytest.fixture(scope='session')
def ferromagnet_run(tmp_path_factory) -> FinishedRun:
    """Chains of carbon atoms: PBE, a metal whose magnetization is free."""
    atoms = Atoms('C', positions=[[1, 1.1, 1.2]], cell=[[2.2, 0, 0], [0.2, 3.5, 0], [0, 0.1, 3.6]], pbc=True)
    system = "nspin=2 occupations='smearing' degauss=0.02 starting_magnetization(1)=0.6"
    pseudos = {'C': debian_pseudo('C.pbe-mt_gipaw.UPF')}
    return run_pw(tmp_path_factory.mktemp('ferromagnet'), atoms, pseudos, 30, (4, 1, 1), 6, system, SPIN_ELECTRONS)


@pytest.fixture(scope='session')
def open_shell_run(tmp_path_factory) -> FinishedRun:
    """A carbon atom in a box whose total magnetization is held at 2: PBE, two Fermi levels."""
    atoms = Atoms('C', positions=[[1, 1.1, 1.2]], cell=[[3.3, 0, 0], [0.2, 3.8, 0], [0, 0.1, 5.0]], pbc=True)
    pseudos = {'C': debian_pseudo('C.pbe-mt_gipaw.UPF')}
    system = 'nspin=2 tot_magnetization=2'
    return run_pw(tmp_path_factory.mktemp('open_shell'), atoms, pseudos, 30, (1, 1, 1), 6, system, SPIN_ELECTRONS)


@pytest.fixture(scope='session')
def spin_orbit_pseudos() -> dict[str, Pseudopotential]:
    """A scalar-relativistic aluminium and a fully relativistic arsenic, both LDA, from Debian's Quantum ESPRESSO."""
    path = Path('/usr/share/doc/quantum-espresso/examples/atomic/pseudo-gen/reference/Asrel.RRKJ3.UPF.gz')
    if not path.exists():
        pytest.skip('Debian examples of Quantum ESPRESSO are not installed')
    arsenic = Pseudopotential.from_text(gzip.decompress(path.read_bytes()).decode(), path.name)
    return {'Al': debian_pseudo('Al.pz-vbc.UPF'), 'As': arsenic}


@pytest.fixture(scope='session')
def spin_orbit_basis(spin_orbit_pseudos) -> Basis:
    """Plain orbitals, single zeta with polarisation."""
    return Basis({element: generate_basis(pseudo, 'szp', 7.0) for element, pseudo in spin_orbit_pseudos.items()})


@pytest.fixture(scope='session')
def spin_orbit_run(spin_orbit_pseudos, tmp_path_factory) -> FinishedRun:
    """AlAs with spin-orbit coupling and without magnetization."""
    folder, atoms = tmp_path_factory.mktemp('spin_orbit'), bulk('AlAs', 'zincblende', a=5.66)
    return run_pw(folder, atoms, spin_orbit_pseudos, 20, (2, 2, 2), 14, 'noncolin=.true. lspinorb=.true.')
