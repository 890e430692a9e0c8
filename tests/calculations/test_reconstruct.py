"""Tests of the reconstruction."""

import pytest
import yaml
from aiida import orm
from aiida_fixtures import find_problem as problem


def read(folder, name):
    """Return a configuration that a job wrote."""
    with folder.open(name) as stream:
        return yaml.safe_load(stream)


def test_reconstruct(prepare, make_inputs, file_regression):
    """The configuration names files that are copied or linked."""
    calc_info, folder = prepare('hamlr.reconstruct', make_inputs('hamlr.reconstruct'))
    with folder.open('reconstruct.yaml') as stream:
        file_regression.check(stream.read(), extension='.yaml')
    config = read(folder, 'reconstruct.yaml')
    there = {entry[2] for entry in (*calc_info.local_copy_list, *calc_info.remote_symlink_list)}
    needed = {config['structure'], config['potential'], *config['pseudos'].values(), *config['basis'].values()}
    assert needed == there
    assert calc_info.retrieve_temporary_list == ['hamiltonian.h5']
    assert 'hamiltonian.h5' not in calc_info.retrieve_list


def test_reconstruct_from_density(prepare, make_inputs):
    """Without the folder of pp.x the potential comes from the charge density, whatever its format."""
    inputs = make_inputs('hamlr.reconstruct')
    del inputs['potential_folder']
    calc_info, folder = prepare('hamlr.reconstruct', inputs)
    config = read(folder, 'reconstruct.yaml')
    assert 'potential' not in config
    assert [entry[1:] for entry in calc_info.remote_symlink_list] == [
        ('/scratch/pw/./out/aiida.save/data-file-schema.xml', 'scf.xml'),
        ('/scratch/pw/./out/aiida.save/charge-density.*', config['density']),
    ]
    assert config['density'] in folder.get_content_list()


@pytest.mark.parametrize('kind', ['file', 'retrieved'])
def test_reconstruct_with_phonon(prepare, make_inputs, tmp_path, kind):
    """The output of ph.x is copied from a file, or from what a `PhCalculation` retrieved."""
    (tmp_path / 'aiida.out').write_text('Program PHONON')
    node = orm.SinglefileData(tmp_path / 'aiida.out', filename='zstar.out')
    if kind == 'retrieved':
        node = orm.FolderData(tree=tmp_path)
    inputs = {**make_inputs('hamlr.reconstruct'), 'phonon': node.store()}
    assert problem('hamlr.reconstruct', inputs) is None
    calc_info, folder = prepare('hamlr.reconstruct', inputs)
    source = 'zstar.out' if kind == 'file' else 'aiida.out'
    assert (node.uuid, source, read(folder, 'reconstruct.yaml')['phonon']) in calc_info.local_copy_list


def test_reconstruct_with_another_folder(make_inputs):
    """A folder without the output of ph.x is refused."""
    inputs = {**make_inputs('hamlr.reconstruct'), 'phonon': orm.FolderData().store()}
    assert 'has no file aiida.out; give the output `retrieved`' in problem('hamlr.reconstruct', inputs)


def test_basis_without_an_element(make_inputs, pseudos):
    """An element without orbitals is named."""
    valid = make_inputs('hamlr.reconstruct')
    assert 'no orbitals of Si' in problem('hamlr.reconstruct', {**valid, 'pseudos': pseudos})


def test_properties(prepare, make_inputs):
    """They stand in the configuration with the keys of a prediction, and their files are fetched."""
    properties = orm.Dict({'outputs': ['bands', 'dos'], 'kpoints': [4, 4, 4]})
    inputs = {**make_inputs('hamlr.reconstruct'), 'properties': properties}
    assert problem('hamlr.reconstruct', inputs) is None
    calc_info, folder = prepare('hamlr.reconstruct', inputs)
    assert read(folder, 'reconstruct.yaml')['properties'] == properties.get_dict()
    assert calc_info.retrieve_temporary_list == ['hamiltonian.h5', 'bands.h5', 'properties.h5']


@pytest.mark.parametrize(
    ('properties', 'words'),
    [
        ({'outputs': ['doss']}, 'outputs.0'),
        ({'spacin': 0.1}, "unknown key 'spacin'; did you mean 'spacing'?"),
        ({'path': 'path.txt'}, "unknown key 'path'"),
    ],
)
def test_refused_properties(make_inputs, properties, words):
    """What `hamlr` would refuse, and files, which are no nodes, are refused before pw.x runs."""
    assert words in problem(
        'hamlr.reconstruct', {**make_inputs('hamlr.reconstruct'), 'properties': orm.Dict(properties)}
    )
