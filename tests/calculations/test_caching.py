"""What the cache may give back, of every calculation."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from aiida.plugins.entry_point import get_entry_point_names

NAMES = [name for name in get_entry_point_names('aiida.calculations') if name.startswith('hamlr.')]

#: No GPU, killed, disk full: the same job may end otherwise on another day.
STOPPED_BY_COMPUTER = (431, 432, 433)


@pytest.fixture
def start(make_inputs, instantiate):
    """Return a function that makes the node of a job, which the cache may fill."""

    def run(name, **changes):
        builder = CalculationFactory(name).get_builder()
        builder._update(**{**make_inputs(name), **changes})
        with enable_caching():
            return instantiate(builder).node

    return run


@pytest.fixture
def finish(localhost, tmp_path):
    """Return a function that ends a job as the engine does; it returns the remote folder."""

    def run(node, exit_status=0):
        folder = orm.RemoteData(computer=localhost, remote_path=str(tmp_path))
        for label, output in (('remote_folder', folder), ('retrieved', orm.FolderData())):
            output.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=label)
            output.store()
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(exit_status)
        node.seal()
        return folder

    return run


@pytest.fixture
def other_input(request, make_remote, zincblende):
    """Return a function that gives an input of a job another value; a seed, where there is one."""

    def make(name):
        if 'seed' in CalculationFactory(name).spec().inputs:
            return {'seed': orm.Int(99)}
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([5, 5, 5])
        return {
            'hamlr.basis': lambda: {'parameters': orm.Dict({'size': 'szp'})},
            'hamlr.potential': lambda: {'parent_folder': make_remote(path='/scratch/other')},
            'hamlr.reconstruct': lambda: {'kpoints': kpoints},
            'hamlr.predict': lambda: {'structures': {'bulk': orm.StructureData(ase=zincblende(a=6.0))}},
            'hamlr.fetch': lambda: {'hamiltonians': {'a': request.getfixturevalue('make_remote_hamiltonian')(41)}},
        }[name]()

    return make


def test_all_calculations():
    """None is left out, and the training has a seed."""
    assert len(NAMES) == 6
    assert 'seed' in CalculationFactory('hamlr.train').spec().inputs


@pytest.mark.parametrize('name', NAMES)
def test_same_inputs_hit(aiida_profile_clean, start, finish, other_input, name):
    """Equal inputs give back the earlier job; another seed, or another input of one without, does not."""
    first = start(name)
    finish(first)
    assert start(name).base.caching.get_cache_source() == first.uuid
    assert not start(name, **other_input(name)).base.caching.is_created_from_cache


@pytest.mark.parametrize('name', NAMES)
def test_cleaned_folder_is_not_reused(aiida_profile_clean, start, finish, name):
    """A job whose product is its folder is no cache once that was cleaned: pp.x, and a training that stopped early."""
    exit_status = 400 if name == 'hamlr.train' else 0
    first = start(name)
    folder = finish(first, exit_status)
    assert start(name).base.caching.get_cache_source() == first.uuid
    folder.base.extras.set(orm.RemoteData.KEY_EXTRA_CLEANED, True)
    assert start(name).base.caching.is_created_from_cache is (name not in ('hamlr.potential', 'hamlr.train'))


@pytest.mark.parametrize('name', NAMES)
def test_cleaned_input_is_refused(make_inputs, make_remote, name):
    """No job takes a cleaned folder as its input, from wherever it comes."""
    process = CalculationFactory(name)
    labels = [
        label
        for label, port in process.spec().inputs.items()
        if label != 'remote_folder' and port.valid_type is not None and orm.RemoteData in _types(port)
    ]
    assert bool(labels) is (name in ('hamlr.potential', 'hamlr.reconstruct', 'hamlr.train'))
    for label in labels:
        cleaned = make_remote()
        cleaned.base.extras.set(orm.RemoteData.KEY_EXTRA_CLEANED, True)
        assert 'was cleaned' in process.spec().inputs.validate({**make_inputs(name), label: cleaned}).message


def _types(port):
    return port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)


@pytest.mark.parametrize('name', NAMES)
def test_exit_codes(make_finished, name):
    """A job that ended with a code below 400 is no cache, nor one that the computer stopped; others are."""
    codes = [code.status for code in CalculationFactory(name).exit_codes.values() if code.status >= 200]
    assert codes
    for status in codes:
        node = make_finished('calculations', name, status).seal()
        assert node.base.caching.is_valid_cache is (status >= 400 and status not in STOPPED_BY_COMPUTER), status
