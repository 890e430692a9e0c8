"""A damaged checkpoint is named, and the one before it taken."""

import pickle
import zipfile

import pytest
import torch

from aiida_hamlr.model.training.checkpoints import find_checkpoint, find_damage


@pytest.fixture
def output(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    for name in ('last', 'best'):
        torch.save({'state_dict': {'weight': torch.arange(1000.0)}, 'name': name}, checkpoint(tmp_path, name))
    return tmp_path


def checkpoint(folder, name):
    return folder / 'checkpoints' / f'{name}.ckpt'


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def flip(path):
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(1000.0).numpy().tobytes()[2000:3000]) + 5] ^= 1
    path.write_bytes(data)


def run_code(path):
    class Hostile:
        def __reduce__(self):
            return (pytest.fail, ('code was run',))

    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps(Hostile()))
        archive.writestr('archive/version', '3')


def test_the_last_one_is_taken(output):
    assert find_checkpoint(None, output) == checkpoint(output, 'last')


def test_without_checkpoints_a_training_begins(tmp_path):
    assert find_checkpoint(None, tmp_path) is None


@pytest.mark.parametrize('damage', [cut, flip, run_code, lambda path: path.write_bytes(b'')])
def test_a_damaged_last_one_is_named_and_the_best_taken(output, damage):
    damage(checkpoint(output, 'last'))
    assert find_damage(checkpoint(output, 'last')) is not None
    with pytest.warns(UserWarning, match=r'last\.ckpt: damaged checkpoint.*resuming from .*best\.ckpt'):
        assert find_checkpoint(None, output) == checkpoint(output, 'best')
    damage(checkpoint(output, 'best'))
    with pytest.raises(ValueError, match=r'last\.ckpt: damaged .*best\.ckpt: damaged .* remove .* to begin anew'):
        find_checkpoint(None, output)


def test_a_named_one_stands_for_itself(output):
    assert find_checkpoint(str(checkpoint(output, 'best')), output) == checkpoint(output, 'best')
    cut(checkpoint(output, 'best'))
    with pytest.raises(ValueError, match=r'training\.resume: .*best\.ckpt: damaged checkpoint'):
        find_checkpoint(str(checkpoint(output, 'best')), output)
    with pytest.raises(ValueError, match='no such file'):
        find_checkpoint(str(output / 'none.ckpt'), output)
