"""Structures that are read from files, and those that are refused."""

from pathlib import Path

import pytest

from aiida_hamlr.jobs.inputs import (
    read_basis_folder,
    read_frames,
    read_pseudo_folder,
    read_sibling_folder,
    read_structure,
)


@pytest.mark.parametrize(
    ('sites', 'words'),
    [
        ('Al1 Al 0 0 0 0.7\nSi1 Si 0 0 0 0.3\nAs1 As 0.25 0.25 0.25 1', 'a site is occupied by Al 0.7, Si 0.3'),
        ('Al1 Al 0 0 0 0.7\nAs1 As 0.25 0.25 0.25 1', 'a site is occupied by Al 0.7'),
        ('Al1 Al 0 0 0 1\nAs1 As 0.25 0.25 0.25 1.0', None),
    ],
)
def test_disordered_structures_are_refused(tmp_path, zincblende_cif, sites, words):
    path = tmp_path / 'x.cif'
    path.write_text(zincblende_cif(sites))
    if words is None:
        assert read_structure(path).get_chemical_formula() == 'Al4As4'
        return
    with pytest.raises(ValueError, match=words) as caught:
        read_structure(path)
    assert str(caught.value).startswith(f'{path}: the structure is disordered')


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('water.vasp', 'x\n1.0\n5 0 0\n0 5 0\n0 0 5\nD T O\n1 1 1\nDirect\n0 0 0\n0 0 .3\n0 0 .6\n'),
        (
            'water.xyz',
            '3\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\nD 0 0 0\nT 0 0 1.5\nO 0 0 3\n',
        ),
    ],
)
def test_deuterium_and_tritium_are_hydrogen(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (atoms,) = read_frames(tmp_path / name)
    assert atoms.get_chemical_symbols() == ['H', 'H', 'O']


def test_what_is_no_structure_is_refused_in_words(tmp_path):
    (tmp_path / 'garbage.cif').write_text('nothing\n')
    (tmp_path / 'C.basis.h5').write_text('nothing\n')
    (tmp_path / 'x.vasp').write_bytes(b'\x89HDF')
    for path, words in (
        (tmp_path, 'is a folder; give a file with structures'),
        (tmp_path / 'absent.cif', 'no such file'),
        (tmp_path / 'garbage.cif', 'its content does not fit the format that its name says'),
        (tmp_path / 'x.vasp', 'its content does not fit the format that its name says'),
        (tmp_path / 'C.basis.h5', "files of type 'h5' hold none; give one as .cif"),
    ):
        with pytest.raises(ValueError, match=words):
            read_frames(path)


@pytest.mark.parametrize('read', [read_basis_folder, read_pseudo_folder])
def test_folders_of_inputs_are_folders(tmp_path, read):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='file: is a file; give the folder with'):
        read(tmp_path / 'file', ['C'])
    with pytest.raises(ValueError, match='absent: no such folder; give the folder with'):
        read(tmp_path / 'absent', ['C'])


def test_folder_without_spin_orbit_names_the_options(tmp_path):
    assert read_sibling_folder(False, None, {}) == {}
    with pytest.raises(ValueError, match='--spin-orbit-pseudos is given without --spin-orbit; add it'):
        read_sibling_folder(False, Path('FR'), {})


def test_inputs_of_pw_are_read_as_pw_reads_them(tmp_path):
    path = tmp_path / 'scf.in'
    path.write_text(
        '&control\n/\n&SYSTEM\n ibrav = 2, A = 5.43 ! Angstrom\n nat = 2, ntyp = 1, ecutwfc = 20\n/\n&electrons\n/\n'
        'ATOMIC_SPECIES\nSi 28. Si.upf\nATOMIC_POSITIONS crystal\nSi 0 0 0\nSi 0.25 0.25 0.25\nK_POINTS gamma\n'
    )
    atoms = read_structure(path)
    assert atoms.get_volume() == pytest.approx(5.43**3 / 4)
    path.write_text(path.read_text().replace('nat = 2', 'nat = 5'))
    with pytest.raises(ValueError, match=r'scf\.in: cannot be read as a structure: nat is 5'):
        read_structure(path)
