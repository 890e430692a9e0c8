"""The text output of ph.x: a real run of a crystal without symmetry, other versions, and what is refused."""

import re

import numpy as np
import pytest
from fuzzing import damage, fuzz, read_or_refuse
from hypothesis import given
from qe_fixtures import pw_input, rattled_alas, run_executable

from aiida_hamlr.io.qe import read_field_response
from aiida_hamlr.io.qe.phonon import CHARGE_HEADINGS

pytestmark = pytest.mark.qe

PH = "&inputph prefix='aiida' outdir='./out' epsil=.true. zeu=.true. zue=.true. trans=.true. tr2_ph=1e-12 /"


@pytest.fixture(scope='module')
def printed(upf_pseudos, tmp_path_factory) -> str:
    """Output with both kinds of Born charges; few k-points and a low cutoff, of which nothing here depends."""
    folder = tmp_path_factory.mktemp('phonon')
    for element in ('Al', 'As'):
        (folder / f'{element}.upf').write_text(upf_pseudos[element].text)
    assert 'JOB DONE' in run_executable('pw.x', pw_input(rattled_alas(), 10, (2, 2, 2), 4), folder)
    text = run_executable('ph.x', f'rattled\n{PH}\n0 0 0\n', folder)
    assert 'JOB DONE' in text, text[-2000:]
    return text


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / 'ph.out').write_text(text)
        return read_field_response(tmp_path / 'ph.out')

    return read


def section(text, heading):
    """The tables of all atoms under a heading of an output of two atoms."""
    start = text.rindex(heading)
    return text[start : start + len(re.match(r'.*\n\n(.*\n){8}', text[start:])[0])]


def test_tensor_and_charges(printed, read):
    response = read(printed)
    response.check_structure(rattled_alas())
    rows = re.findall(r'\n +\((.*)\)', printed[printed.rindex('Dielectric constant') :])[:3]
    assert np.allclose(response.dielectric_tensor, [[float(x) for x in row.split()] for row in rows], atol=1e-4)
    assert np.allclose(response.dielectric_tensor, response.dielectric_tensor.T)
    assert np.abs(response.born_charges.sum(0)).max() < 1e-12
    # The first index after the atom is that of the field, as in the lines Ex, Ey, Ez.
    forces = section(printed, CHARGE_HEADINGS[0])
    lines = [[float(x) for x in row.split()] for row in re.findall(r'E[xyz] +\((.*)\)', forces)]
    charges = np.reshape(lines, (2, 3, 3))
    assert np.allclose(response.born_charges, charges - charges.mean(0), atol=1e-12)
    assert response.charge_sum == pytest.approx(np.abs(charges.sum(0)).max())
    assert np.abs(charges - charges.transpose(0, 2, 1)).max() > 0.01


def test_both_kinds_of_charges_have_one_order(printed, read):
    """d Force / dE from the response to the field, d P / du from that to the displacements."""
    other = read(printed.replace(CHARGE_HEADINGS[0], 'Other charges'))
    assert np.allclose(other.born_charges, read(printed).born_charges, atol=2e-3)


def test_version_7(printed, read):
    """It prints the charges twice, without and with a sum rule of its own, with their means."""
    forces = section(printed, CHARGE_HEADINGS[0])
    lines = re.sub(r'(atom +\d+ +A[ls])', r'\1  Mean Z*:        1.23456', forces)
    without = lines.replace('cartesian axis', 'cartesian axis without acoustic sum rule applied (asr)')
    applied = re.sub(r'(E[xyz] +\() +\S+', r'\1 99.0', lines.replace('axis', 'axis with asr applied:'))
    newer = printed.replace(forces, f'{without}     Effective charges Sum: Mean:  0.1\n\n{applied}')
    assert np.array_equal(read(newer).born_charges, read(printed).born_charges)


def test_tensor_without_charges(printed, read):
    text = printed.replace(CHARGE_HEADINGS[0], 'Other charges').replace(CHARGE_HEADINGS[1], 'Other charges')
    response = read(text)
    assert response.born_charges is None and response.charge_sum is None
    assert response.dielectric_tensor.shape == (3, 3)


REFUSED = {
    'no output of ph.x': ('Program PHONON', 'Program PWSCF', 'not the text output of ph.x'),
    'no structure': ('crystal axes', None, 'does not tell its structure'),
    'fewer atoms': (r'tau\( +2\)', 'tau', 'positions of 1 of its 2 atoms'),
    'overflow': (r'\(( +\d+\.\d{9}){3}', '( **** **** ****', 'not nine numbers; is it that of a metal'),
    'no charge': ('atom      2   As', 'atom      1   As', 'no Born charge of atom 2'),
    'other element': ('atom      2   As', 'atom      2   Al', 'no Born charge of atom 2'),
    'large charge': (r'Ey  \( +-?\d+', 'Ey  ( 1000', 'beyond 100 e'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(printed, read, name):
    old, new, words = REFUSED[name]
    assert re.search(old, printed)
    text = printed[: printed.index(old)] if new is None else re.sub(old, new, printed)
    with pytest.raises(ValueError, match=f'ph.out: .*{re.escape(words)}'):
        read(text)


def test_neither_tensor_nor_charges(printed, read):
    with pytest.raises(ValueError, match=r'ph\.out: neither dielectric tensor nor Born charges; run ph\.x with epsil'):
        read(printed[: printed.index('End of electric fields calculation')])


@pytest.mark.parametrize(('first', 'words'), [('0.1', 'the eigenvalue .*, below 1'), ('0.1 0.2', 'not symmetric')])
def test_tensors_that_are_none(printed, read, first, words):
    """The first of the three numbers in the first row, or the first two, are others."""
    start = printed.rindex('Dielectric constant')
    kept = 3 - len(first.split())
    row = rf'\((?: +\S+){{{3 - kept}}}((?: +\S+){{{kept}}} \))'
    with pytest.raises(ValueError, match=words):
        read(printed[:start] + re.sub(row, rf'( {first}\1', printed[start:], count=1))


def test_another_structure(printed, read):
    atoms = rattled_alas()
    atoms.positions[1, 0] += 0.01
    with pytest.raises(ValueError, match=r'ph\.out: a ph\.x run of another structure: atom 1 .* 0\.01'):
        read(printed).check_structure(atoms)
    with pytest.raises(ValueError, match='2 atoms instead of 4'):
        read(printed).check_structure(rattled_alas().repeat((1, 2, 1)))


@fuzz(150)
@given(damage=damage())
def test_damaged_files(tmp_path, printed, damage):
    response = read_or_refuse(tmp_path / 'ph.out', damage(printed.encode()), read_field_response)
    if response is not None and response.dielectric_tensor is not None:
        assert np.linalg.eigvalsh(response.dielectric_tensor)[0] >= 1
    if response is not None and response.born_charges is not None:
        assert response.born_charges.shape == (len(response.atoms), 3, 3)
        assert np.isfinite(response.born_charges).all()
