"""CP2K's printed H(R) and S(R): its own bands come out, and its overlaps are our two-centre integrals.

The fixture holds what CP2K 2023.1 printed for a distorted cell of two silicon atoms. With the marker ``cp2k`` the
program itself is run on a cell of two elements, with d shells.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.kspace import bloch_matrices
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.units import HARTREE
from aiida_hamlr.io.cp2k import read_cp2k

FIXTURE = Path(__file__).parent / 'fixtures' / 'cp2k_si2.tar.xz'

#: CP2K's conversion from Hartree to eV (CODATA 2006).
CP2K_HARTREE = 27.2113838565563

#: The basis sets of the runs: exponents, and per shell l and contraction coefficients (VandeVondele, Hutter, 2007).
SILICON = [1.256767641387, 0.506394122478, 0.238883845662, 0.087336883836]
CARBON = [5.605330751705, 2.113016390533, 0.769911454810, 0.348157086385, 0.128212254710]
SI_S = [0.2277184666, -0.0243235993, -0.5586397789, -0.2072725022]
SI_P = [0.0677762675, -0.2137167702, -0.4098937266, -0.3539223027]
SI_SZV = [(0, SI_S), (1, SI_P)]
SI_DZVP = [
    (0, SI_S),
    (0, [-1.0257480843, 0.6942830333, 0.0581625616, -0.258181009]),
    (1, SI_P),
    (1, [0.0997856288, -0.4119852298, -0.0571831263, 0.7003078694]),
    (2, [0.1590266803, 0.3923304368, 0.3930851518, 0.550337119]),
]
C_SZV = [
    (0, [0.1115328819, 0.1531421941, -0.3213968794, -0.6109264216, -0.1339908628]),
    (1, [-0.0648689785, -0.2004702557, -0.4131417301, -0.4153371392, -0.2885276736]),
]


def gaussian_basis(element, exponents, shells, radius=17.0, step=0.02):
    """Contracted Gaussians on a radial mesh: coefficients are those of normalised primitives."""
    r = step * np.arange(int(radius / step) + 1)
    alpha = np.array(exponents)[:, None]
    tables = []
    for l, coefficients in shells:
        # int r^(2l+2) exp(-2 a r^2) dr is proportional to a^-(2l+3)/2
        radial = np.array(coefficients) @ (alpha ** ((2 * l + 3) / 4) * r**l * np.exp(-alpha * r**2))
        tables.append(Shell(l, radius, radial / np.sqrt(np.sum((r * radial) ** 2) * step)))
    return SpeciesBasis(element, step, tuple(tables))


def printed_bands(path):
    """k-points and eigenvalues (eV) of a .bs file."""
    point = r'Point \d+\s+Spin 1:\s+(\S+)\s+(\S+)\s+(\S+)[^\n]*\n[^\n]*\n((?:\s+\d+\s+\S+\s+\S+\n?)+)'
    for x, y, z, rows in re.findall(point, path.read_text()):
        yield [float(x), float(y), float(z)], [float(row.split()[1]) for row in rows.strip().splitlines()]


def band_errors(matrices, path):
    errors = []
    for k, expected in printed_bands(path):
        hamiltonian = bloch_matrices(matrices.pattern, matrices.matrices['hamiltonian'], [k])[0]
        overlap = bloch_matrices(matrices.pattern, matrices.matrices['overlap'], [k])[0]
        found = eigh(hamiltonian, overlap, eigvals_only=True) * CP2K_HARTREE / HARTREE
        errors.append(np.abs(found[: len(expected)] - expected).max())
    return errors


@pytest.fixture(scope='module')
def printed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cp2k')
    shutil.unpack_archive(FIXTURE, folder)
    return folder


@pytest.fixture(scope='module')
def silicon(printed):
    return read_cp2k(printed / 'si.out')


def test_structure_and_shells(silicon):
    assert silicon.atoms.get_chemical_symbols() == ['Si', 'Si']
    np.testing.assert_allclose(silicon.atoms.cell[:], [[0.1, 2.7, 2.8], [2.65, -0.05, 2.7], [2.7, 2.75, 0.0]])
    np.testing.assert_allclose(silicon.atoms.positions[1], [1.25, 1.45, 1.3])
    assert silicon.angular_momenta == ((0, 1), (0, 1))
    assert silicon.matrices['hamiltonian'].shape == silicon.matrices['overlap'].shape == (silicon.pattern.n_entries,)


def test_blocks_of_opposite_images_are_transposed(silicon):
    assert silicon.pattern.asymmetry(silicon.matrices['hamiltonian']) < 1e-13
    assert silicon.pattern.asymmetry(silicon.matrices['overlap']) < 1e-14


def test_bloch_sums_give_the_bands_that_cp2k_prints(silicon, printed):
    errors = band_errors(silicon, printed / 'si.bs')
    assert len(errors) == 4
    # Eight decimals are printed; the cut of small elements (EPS_DEFAULT 1e-14) shows in the seventh.
    assert max(errors) < 2e-7


def test_overlaps_are_our_own_two_centre_integrals(silicon):
    """Order and sign of orbitals, direction of R, rows and columns: all are wrong if one is."""
    tables = TwoCentreTables(Basis({'Si': gaussian_basis('Si', SILICON, SI_SZV)}))
    expected, _ = tables.overlap_and_kinetic(silicon.atoms, silicon.pattern)
    np.testing.assert_allclose(silicon.matrices['overlap'], expected, atol=2e-7)


@pytest.mark.parametrize('spoil', ['missing', 'lines', 'half a line', 'text', 'foreign orbital', 'twice'])
def test_damaged_matrix_files_are_refused_by_name(printed, tmp_path, spoil):
    shutil.copytree(printed, tmp_path / 'run')
    path = tmp_path / 'run' / 'si-KS_SPIN_1_R_3-1_0.csr'
    lines = path.read_text().splitlines(keepends=True)
    name = re.escape(path.name)
    if spoil == 'missing':
        path.unlink()
    elif spoil == 'lines':
        path.write_text(''.join(lines[:40]))
        name = 'si.out: hamiltonian: blocks of R and -R differ'
    elif spoil == 'half a line':
        path.write_text(''.join(lines)[:-9])
    elif spoil == 'text':
        path.write_text('a b c\n')
    elif spoil == 'foreign orbital':
        path.write_text(''.join(lines).replace('       8       8', '       8       9'))
    else:
        path.write_text(''.join([*lines, lines[0]]))
    with pytest.raises(ValueError, match=name):
        read_cp2k(tmp_path / 'run' / 'si.out')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('SCF run converged', 'SCF run NOT converged', 'the SCF did not converge'),
        ('KS CSR write|', '', 'no real-space KS matrix; set KS_CSR_WRITE'),
        ('  S CSR write| 357', '  S CSR write| 900', 'the list of the 900 periodic images of S is incomplete'),
        ('Orbital Basis Set', 'Orbital', 'the basis of Si is incomplete; print level MEDIUM is needed'),
        ('1       1    2s', '1       x    2s', 'the basis of Si is incomplete'),
        ('ATOMIC COORDINATES', 'ATOMS', 'no cell or no atomic coordinates'),
        ('Project name', 'Project', 'no line like'),
    ],
)
def test_outputs_without_what_is_needed_are_refused(printed, tmp_path, old, new, message):
    text = (printed / 'si.out').read_text()
    assert old in text
    path = tmp_path / 'si.out'
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=r'si\.out: ') as caught:
        read_cp2k(path)
    assert message in str(caught.value)


def run_cp2k(folder, text):
    if shutil.which('cp2k') is None:
        if os.environ.get('HAMLR_REQUIRE_CP2K'):
            pytest.fail('cp2k is not installed, but HAMLR_REQUIRE_CP2K is set')
        pytest.skip('cp2k is not installed (288 MB; on Debian apt-get install cp2k)')
    (folder / 'run.inp').write_text(text)
    command = ['cp2k', '-i', 'run.inp', '-o', 'run.out']
    result = subprocess.run(
        command, cwd=folder, env=os.environ | {'OMP_NUM_THREADS': '1'}, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    return folder / 'run.out'


@pytest.mark.cp2k
def test_cp2k_itself_with_two_elements_and_d_shells(printed, tmp_path):
    text = (printed / 'si.inp').read_text()
    text = text.replace('PROJECT si', 'PROJECT sic').replace('EPS_DEFAULT 1.0E-14', 'EPS_DEFAULT 1.0E-10')
    text = text.replace('EPS_SCF 1.0E-12', 'EPS_SCF 1.0E-7').replace('Si 1.25 1.45 1.3', 'C 1.05 1.15 1.0')
    text = re.sub(r'(?m)^ *A 0.*$', 'A 0.1 2.2 2.25', text)
    text = re.sub(r'(?m)^ *B 2.*$', 'B 2.15 -0.05 2.2', text)
    text = re.sub(r'(?m)^ *C 2.*$', 'C 2.2 2.25 0.0', text)
    text = text.replace('SZV-MOLOPT', 'DZVP-MOLOPT')
    carbon = '&END KIND\n&KIND C\nBASIS_SET SZV-MOLOPT-SR-GTH\nPOTENTIAL GTH-PBE\n&END KIND'
    matrices = read_cp2k(run_cp2k(tmp_path, text.replace('&END KIND', carbon)))
    assert matrices.angular_momenta == ((0, 0, 1, 1, 2), (0, 1))
    basis = {'Si': gaussian_basis('Si', SILICON, SI_DZVP), 'C': gaussian_basis('C', CARBON, C_SZV)}
    expected, _ = TwoCentreTables(Basis(basis)).overlap_and_kinetic(matrices.atoms, matrices.pattern)
    np.testing.assert_allclose(matrices.matrices['overlap'], expected, atol=2e-6)
    assert max(band_errors(matrices, tmp_path / 'si.bs')) < 1e-4
