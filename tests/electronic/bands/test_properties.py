"""The file of properties."""

import io

import h5py
import numpy as np
import pytest

from aiida_hamlr.electronic.bands.properties import Properties


@pytest.fixture
def properties():
    rng = np.random.default_rng(0)
    return Properties(
        ['Al', 'As'], rng.normal(size=(2, 3)), np.arange(5.0), rng.normal(size=5), charges=rng.normal(size=2)
    )


def test_what_is_written_is_read(tmp_path, properties):
    path = tmp_path / 'properties.h5'
    properties.write(path)
    for source in (path, io.BytesIO(path.read_bytes())):
        read = Properties.read(source)
        assert read.symbols == ['Al', 'As']
        assert np.array_equal(read.positions, properties.positions)
        for name in ('dos_energies', 'dos', 'charges'):
            assert np.array_equal(getattr(read, name), getattr(properties, name))
        assert read.levels is None and read.potential is None


def test_damaged_files_are_refused_by_name(tmp_path, properties):
    path = tmp_path / 'damaged.h5'
    properties.write(path)
    with h5py.File(path, 'a') as handle:
        del handle['positions']
    with pytest.raises(ValueError, match=r'damaged\.h5'):
        Properties.read(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r'damaged\.h5'):
        Properties.read(path)
