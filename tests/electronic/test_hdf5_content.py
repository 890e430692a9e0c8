"""HDF5 files that take data from elsewhere, or more of it than they declare, are refused."""

import zlib

import h5py
import numpy as np
import pytest

from aiida_hamlr.electronic.files import atomic_hdf5, open_hdf5, read_array


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / 'secret'
    path.write_bytes(b'secret!!' * 100)
    with h5py.File(tmp_path / 'other.h5', 'w') as handle:
        handle['data'] = np.arange(10.0)
    return path


def external_storage(handle, secret):
    handle.create_dataset('stolen', (800,), dtype='u1', external=[(str(secret), 0, 800)])


def external_link(handle, secret):
    handle['stolen'] = h5py.ExternalLink(str(secret.with_name('other.h5')), 'data')


def soft_link(handle, secret):
    handle['group/stolen'] = h5py.SoftLink('/data')


def virtual_dataset(handle, secret):
    layout = h5py.VirtualLayout((10,), dtype='f8')
    layout[:] = h5py.VirtualSource(str(secret.with_name('other.h5')), 'data', (10,))
    handle.create_virtual_dataset('stolen', layout)


def unknown_filter(handle, secret):
    handle.create_dataset('stolen', data=np.zeros(1000), compression='lzf')


def references(handle, secret):
    handle.create_dataset('stolen', data=np.array([handle.ref], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)


def named_type(handle, secret):
    handle['stolen'] = np.dtype('f8')


def bomb(handle, secret):
    """A chunk that inflates to 64 MB, in a dataset that declares 80 bytes."""
    dataset = handle.create_dataset('stolen', (10,), dtype='f8', chunks=(10,), compression='gzip')
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(2**26), 9))


def large_chunks(handle, secret):
    dataset = handle.create_dataset('stolen', (10,), maxshape=(None,), dtype='f8', chunks=(2**26,), compression='gzip')
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(80), 9))


@pytest.mark.parametrize(
    ('attack', 'message'),
    [
        (external_storage, 'stolen keeps its data in another file'),
        (external_link, 'stolen is a link to another file'),
        (soft_link, 'group/stolen is a soft link'),
        (virtual_dataset, 'stolen is a virtual dataset'),
        (unknown_filter, 'stolen is compressed with lzf'),
        (references, 'stolen holds neither numbers nor text'),
        (named_type, 'stolen is neither a group nor a dataset'),
        (bomb, 'stolen inflates to more than the 80 bytes'),
        (large_chunks, 'stolen has 80 bytes in chunks of 536870912'),
    ],
)
def test_what_is_not_plain_data_is_refused(tmp_path, secret, attack, message):
    path = tmp_path / 'attack.h5'
    with h5py.File(path, 'w') as handle:
        handle['data'] = np.arange(3.0)
        attack(handle, secret)
    with pytest.raises(ValueError, match=f'attack.h5: {message}'), open_hdf5(path):
        pytest.fail('the file was opened')


def test_plain_data_are_read(tmp_path):
    path = tmp_path / 'plain.h5'
    text = np.frombuffer(b'a text ' * 1000, dtype='u1')
    with atomic_hdf5(path, 'test', 1) as handle:
        handle.create_group('group').create_dataset('text', data=text, compression='gzip', shuffle=True)
        handle['labels'], handle['flags'] = ['a', 'b'], np.array([True, False])
    with open_hdf5(path) as handle:
        assert np.array_equal(read_array(handle['group'], 'text'), text)
        assert [*read_array(handle, 'labels')] == [b'a', b'b']
        assert read_array(handle, 'flags').tolist() == [True, False]
