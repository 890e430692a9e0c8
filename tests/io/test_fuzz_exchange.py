"""Damaged files of other programs: refused in one line that names what does not fit, or read."""

import numpy as np
import pytest
from fuzz_formats import exchange_formats
from fuzzing import damage, fuzz
from hypothesis import given


@pytest.fixture(scope='module')
def formats(tmp_path_factory):
    return {item.name: item for item in exchange_formats(tmp_path_factory.mktemp('exchange'))}


def damage_format(item):
    """Damage one file in some ways; what reads it says what does not fit, or reads it."""
    path = item.folder / item.file
    whole = path.read_bytes()

    @fuzz(6)
    @given(damage=damage())
    def check(damage):
        path.write_bytes(damage(whole))
        try:
            item.read(item.folder)
        except ValueError as error:
            assert item.names(str(error)), error

    check()
    path.write_bytes(whole)


def test_damaged_files(formats):
    """No digest covers them: another digit is another number, but structure and matrices stay sound."""
    assert len(formats) > 15
    for item in formats.values():
        damage_format(item)


@pytest.mark.parametrize('name', ['deepx: hamiltonian.h5', 'deeph: site_positions.dat', 'deeptb: positions.dat'])
def test_numbers_that_are_not_finite(formats, name):
    import h5py

    item = formats[name]
    path = item.folder / item.file
    whole = path.read_bytes()
    if path.suffix == '.h5':
        with h5py.File(path, 'a') as handle:
            handle['entries'][3] = np.nan
    else:
        path.write_text(path.read_text().replace('1.4', 'nan', 1))
    with pytest.raises(ValueError, match=f'{path.name}: has values that are not finite'):
        item.read(item.folder)
    path.write_bytes(whole)
