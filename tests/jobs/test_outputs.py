"""Outputs are never inputs, and stay in their folder."""

import os
from pathlib import Path

import pytest

from aiida_hamlr.jobs.outputs import (
    check_folder,
    check_outputs,
    check_outside,
    check_replaceable,
    folder_names,
    remove_earlier,
)


def test_an_input_is_not_written_over(tmp_path):
    source = tmp_path / 'h.h5'
    source.touch()
    os.link(source, tmp_path / 'hard.h5')
    (tmp_path / 'soft.h5').symlink_to(source)
    for name in ('h.h5', 'hard.h5', 'soft.h5', '../' + tmp_path.name + '/h.h5'):
        with pytest.raises(ValueError, match='is both input and output'):
            check_outputs([tmp_path / name], [source])
    check_outputs([tmp_path / 'other.h5'], [source, None])
    with pytest.raises(ValueError, match='given for two outputs'):
        check_outputs([tmp_path / 'a', tmp_path / 'a'], [source])
    with pytest.raises(ValueError, match='is the name of the summary'):
        check_outputs([tmp_path / 'summary.json'], [source])
    with pytest.raises(ValueError, match='replaced by the summary'):
        check_outputs([tmp_path / 'a.h5'], [tmp_path / 'summary.json'])


def test_files_of_other_kinds_are_not_replaced(tmp_path):
    path = tmp_path / 'POSCAR'
    path.write_text('AlAs\n')
    for kind in ('HDF5', 'JSON'):
        with pytest.raises(ValueError, match=rf'POSCAR: exists and is not {kind}'):
            check_replaceable(path, kind)
    with pytest.raises(ValueError, match='does not replace it'):
        check_outputs([path], [])
    for content in (b'', b'\x89HDF\r\n\x1a\n'):
        path.write_bytes(content)
        check_outputs([path], [])


def test_folder_of_outputs(tmp_path):
    (tmp_path / 'file').touch()
    check_folder(tmp_path / 'new' / 'folder')
    assert not (tmp_path / 'new').exists()
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(ValueError, match='file: is a file, and the output needs a folder'):
            check_folder(folder)
    with pytest.raises(OSError, match='no file can be written in this folder'):
        check_outputs([Path('/proc/y.h5')], [])
    check_outside(tmp_path / 'model2', tmp_path / 'model')
    for output in (tmp_path / 'model', tmp_path / 'model' / 'basis'):
        with pytest.raises(ValueError, match='in the model folder'):
            check_outside(output, tmp_path / 'model')


def test_suffix_of_a_figure_is_checked_with_the_outputs(tmp_path):
    check_outputs([tmp_path / 'a.h5'], [], tmp_path / 'a.PNG')
    with pytest.raises(ValueError, match=r'a.jpg: figures are written as .png, .svg, .pdf'):
        check_outputs([tmp_path / 'a.h5'], [], tmp_path / 'a.jpg')


@pytest.mark.parametrize(
    ('stems', 'names'),
    [
        (['a', 'b'], ['a', 'b']),
        (['AlAs_001-2x2 (relaxed)'], ['0']),
        (['Größe 1'], ['Größe 1']),
        (['a', 'a'], ['0', '1']),
        (['a', 'A'], ['0', '1']),
        ([Path('...traj').stem], ['0']),
        (['..', 'a'], ['0', '1']),
        (['.'], ['0']),
        ([''], ['0']),
        (['.hidden'], ['0']),
        (['a/b'], ['0']),
        (['a\0b'], ['0']),
        (['a\nb'], ['0']),
        (['summary.json'], ['0']),
        (['Summary.JSON'], ['0']),
        (['x' * 300], ['0']),
        (['a '], ['0']),
    ],
)
def test_names_of_folders(stems, names):
    assert folder_names(stems) == names


def test_what_is_removed(tmp_path):
    (tmp_path / 'summary.json').touch()
    (tmp_path / 'folder').mkdir()
    remove_earlier([tmp_path / 'summary.json', tmp_path / 'none', tmp_path / 'folder'])
    assert os.listdir(tmp_path) == ['folder']
