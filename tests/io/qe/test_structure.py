"""Inputs of pw.x as structures: what pw.x itself makes of them is what counts."""

import numpy as np
import pytest
from qe_fixtures import run_executable

from aiida_hamlr.electronic.species import element_of_label, species_labels
from aiida_hamlr.io.qe import check_same_structure, is_pw_input, read_pw_input, read_scf_xml

ALAT_WITH_COMMENT = """&CONTROL
 calculation = 'scf'
/
&SYSTEM
 ibrav = 0
 A = 1.00 ! in angstrom

 ecutwfc =  60.0 ! in Ry
 nat = 2, ntyp = 2
/
&ELECTRONS
 conv_thr = 1.0d-12
/
CELL_PARAMETERS alat
     3.1475397403694503   -0.0000000000000009    0.0000000000000000
    -1.5737698701847196    2.7258493745810197    0.0000000000000000
    0.0000000000000000    0.0000000000000000   20.0000000000000000
ATOMIC_SPECIES
  Mo  95.95   Mo.upf
  S   32.066  S.upf
ATOMIC_POSITIONS crystal
  Mo    0.3333329860000021    0.6666669849999991    0.4126130268582878
  S    0.6666669849999991    0.3333329860000021    0.3341893333364299
K_POINTS automatic
6 6 1 0 0 0
"""


def test_lattice_constant_with_a_comment_behind_it():
    assert is_pw_input(ALAT_WITH_COMMENT)
    atoms = read_pw_input(ALAT_WITH_COMMENT)
    assert atoms.get_chemical_symbols() == ['Mo', 'S']
    assert atoms.cell.lengths() == pytest.approx([3.1475397, 3.1475397, 20.0])
    assert atoms.positions[:, 2] == pytest.approx([8.25226, 6.68379], abs=1e-5)


def test_inputs_that_are_incomplete():
    with pytest.raises(ValueError, match='nat is 3, but 2 atomic positions'):
        read_pw_input(ALAT_WITH_COMMENT.replace('nat = 2', 'nat = 3'))
    with pytest.raises(ValueError, match=r'not a complete input of pw\.x'):
        read_pw_input(ALAT_WITH_COMMENT.replace('CELL_PARAMETERS alat', 'CELL_PARAMETERS furlong'))
    assert not is_pw_input('ATOMIC_POSITIONS\n') and not is_pw_input('&system\n/')


def test_namelists_on_one_line():
    text = ALAT_WITH_COMMENT.replace(
        ALAT_WITH_COMMENT[: ALAT_WITH_COMMENT.index('CELL_PARAMETERS')],
        "&CONTROL calculation='scf', title = 'C=3/' /\n&system ibrav=0 A = 1.00, ecutwfc=60 nat=2 ! nat=3\n ntyp=2/\n",
    )
    expected, atoms = read_pw_input(ALAT_WITH_COMMENT), read_pw_input(text)
    check_same_structure(expected, atoms, 1e-12)


def test_isotopes_are_hydrogen():
    assert [element_of_label(label) for label in ('D', 'T', 'D1', 'Dy', 'Ti2', 'h_cap')] == [
        'H', 'H', 'H', 'Dy', 'Ti', 'H',
    ]  # fmt: skip


CELLS = {
    'celldm': 'ibrav=4, celldm(1)=7.3, celldm(3)=1.63',
    'upper case, A': 'IBRAV=2, A=5.4d0 ! a comment\n  ',
    'trigonal': 'ibrav=5, celldm(1)=7.2, celldm(4)=0.55',
    'monoclinic': 'ibrav=-12, A=4.0, B=4.4, C=5.0, cosAC=0.1',
    'triclinic': 'ibrav=14, celldm(1)=7.0, celldm(2)=1.1, celldm(3)=1.2, celldm(4)=0.1, celldm(5)=0.2, celldm(6)=0.05',
}


@pytest.mark.qe
@pytest.mark.parametrize('name', CELLS)
@pytest.mark.parametrize('positions', ['(alat)', '{crystal}', 'bohr'])
def test_the_structure_is_the_one_that_pw_x_reads(upf_pseudos, tmp_path, name, positions):
    (tmp_path / 'Si.upf').write_text(upf_pseudos['Si'].text)
    scale = 5.0 if positions == 'bohr' else 1.0
    text = (
        "&control\n prefix='aiida', outdir='./out' pseudo_dir='.'\n/\n"
        f'&system\n {CELLS[name]}, nat=2, ntyp=2, ecutwfc=6\n/\n&electrons conv_thr=1e-2 /\n'
        'ATOMIC_SPECIES\nSi1 28.0 Si.upf\nSi2 28.0 Si.upf\n'
        f'ATOMIC_POSITIONS {positions}\nSi1 0 0 0\nSi2 {0.3 * scale} {0.25 * scale} {0.2 * scale} 0 0 1\n'
        'K_POINTS gamma\n'
    )
    assert 'JOB DONE' in run_executable('pw.x', text, tmp_path)
    run = read_scf_xml(tmp_path / 'out/aiida.save/data-file-schema.xml')
    atoms = read_pw_input(text)
    check_same_structure(run.atoms, atoms, 1e-5)
    assert np.array_equal(atoms.numbers, [14, 14])
    assert species_labels(run.atoms) == species_labels(atoms) == ['Si1', 'Si2']
    assert run.pseudo_files == {'Si1': 'Si.upf', 'Si2': 'Si.upf'}
