"""Model folders: every change is noticed, and impossible sizes are refused before anything is allocated."""

import json
import random
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aiida_hamlr.model.files import read_model, write_model
from aiida_hamlr.model.folder import check_folder, read_description

FIXTURES = Path(__file__).parent / 'fixtures'
NAMES = ('model.json', 'model.safetensors', 'basis/Al.basis.h5', 'basis/As.basis.h5')


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FIXTURES / 'format_2/model', tmp_path / 'model'))


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(FIXTURES / 'format_1/model', tmp_path / 'old'))


def edit(folder, change):
    """Change the description; it keeps its recorded sum."""
    description = json.loads((folder / 'model.json').read_text())
    change(description)
    (folder / 'model.json').write_text(json.dumps(description))


@pytest.mark.parametrize('name', NAMES)
def test_every_flipped_bit_is_noticed(folder, name):
    """Of the description a bit may be of its layout, which says nothing."""
    whole, expected = (folder / name).read_bytes(), read_description(folder)
    generator = random.Random(name)  # noqa: S311
    for _ in range(60):
        changed = bytearray(whole)
        changed[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        (folder / name).write_bytes(changed)
        try:
            found = check_folder(folder)
        except ValueError as error:
            assert Path(name).name in str(error) and '\n' not in str(error)
        else:
            assert name == 'model.json' and found == expected


@pytest.mark.parametrize('name', NAMES)
def test_missing_and_empty_files_are_named(folder, name):
    (folder / name).write_bytes(b'')
    with pytest.raises(ValueError, match=Path(name).name):
        check_folder(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f'{Path(name).name}: no such file'):
        check_folder(folder)


def test_sums_cannot_be_left_out(folder):
    edit(folder, lambda description: description.update(version=1))
    with pytest.raises(ValueError, match='version 1, but has sha256 sums'):
        check_folder(folder)
    edit(folder, lambda description: (description.update(version=2), description.pop('sha256')))
    with pytest.raises(ValueError, match='recorded sha256'):
        check_folder(folder)


IMPOSSIBLE = {
    'layers': (('architecture', 'config', 'layers'), 10**6),
    'angular momentum': (('architecture', 'shells', 'Al'), [0, 50]),
    'many shells': (('architecture', 'shells', 'Al'), [0] * 1000),
    'message cutoff': (('architecture', 'config', 'message_cutoff'), 300.0),
    'channels': (('architecture', 'config', 'scalar_channels'), 10**9),
    'not a number': (('architecture', 'config', 'kernel_width'), float('nan')),
    'infinite': (('architecture', 'n_neighbours'), float('inf')),
    'pair cutoff': (('architecture', 'pair_cutoff'), 300.0),
    'precision': (('architecture', 'precision'), 'float128'),
    'element': (('species',), ['Al', '../..']),
    'hash': (('basis_hash', 'Al'), 'x'),
    'parameters': (('n_parameters',), 10**12),
    'version': (('version',), True),
    'negative version': (('version',), -1),
    'cutoff of the density': (('ecutrho_Ry',), -1.0),
}


@pytest.mark.parametrize('name', IMPOSSIBLE)
def test_impossible_numbers_are_refused_at_once(old, name):
    """In the format that has no sums; within bounds, the weights tell."""
    (*path, last), value = IMPOSSIBLE[name]

    def change(description):
        for key in path:
            description = description[key]
        description[last] = value

    edit(old, change)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r'model\.(json|safetensors)') as error:
        read_model(old)
    assert len(str(error.value)) < 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000


@pytest.mark.parametrize(
    ('key', 'value'), [('layers', 32), ('hidden_channels', 4096), ('scalar_channels', 5), ('variant', 'sr')]
)
def test_weights_of_another_network_are_refused(old, key, value):
    """Nothing is allocated to find out: the first two would take gigabytes."""
    edit(old, lambda description: description['architecture']['config'].update({key: value}))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r'model\.safetensors: weights do not fit model\.json: .* instead of'):
        read_model(old)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000


@pytest.mark.parametrize('kind', [torch.float64, torch.int32, torch.float16])
def test_weights_of_another_type_are_refused(old, kind):
    weights = load_file(old / 'model.safetensors')
    name = next(name for name, value in weights.items() if value.dtype == torch.float32)
    save_file({**weights, name: weights[name].to(kind)}, old / 'model.safetensors')
    with pytest.raises(ValueError, match=f'{name} is .* instead of F32'):
        read_model(old)


def test_other_files_in_a_folder_are_no_part_of_it(folder):
    (folder / 'notes.txt').write_text('mine')
    model, description, basis, texts = read_model(folder)
    write_model(folder, model, model.state_dict(), basis, texts, {'functional': 'pbe'})
    assert (folder / 'notes.txt').read_text() == 'mine'
    assert read_model(folder)[1]['functional'] == 'pbe'
    assert [path.name for path in folder.parent.iterdir()] == ['model']


def test_a_failed_write_leaves_the_model_that_was_there(folder):
    model, description, basis, texts = read_model(folder)
    with pytest.raises(TypeError):
        write_model(folder, model, model.state_dict(), basis, texts, {'functional': {1, 2}})
    assert read_model(folder)[1] == description
    assert [path.name for path in folder.parent.iterdir()] == ['model']


def test_files_outside_the_folder_are_not_read(folder):
    secret = folder.parent / 'secret.upf'
    secret.write_text('secret')
    (folder / 'pseudos').mkdir()
    (folder / 'pseudos/Al.upf').symlink_to(secret)
    assert read_model(folder)[3] == {}
