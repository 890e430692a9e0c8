"""Files and models of earlier versions, written again in the newest."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.model.folder import read_description
from aiida_hamlr.model.inference import load_model

MODEL = Path(__file__).parents[1] / 'model/fixtures/format_1'


def test_models(hamlr, tmp_path):
    result = hamlr('upgrade', MODEL / 'model', '-o', 'new')
    assert result.exit_code == 0, result.stderr
    assert 'version 1' in result.stdout and 'new: version 2' in result.stdout
    old, new = read_description(MODEL / 'model'), read_description(tmp_path / 'new')
    assert {key: new[key] for key in ('identity', 'metrics', 'created_by')} == {
        key: old[key] for key in ('identity', 'metrics', 'created_by')
    }
    stored = Hamiltonian.read(MODEL / 'prediction.h5')
    predicted = load_model(tmp_path / 'new').predict_from(stored)
    assert np.abs(predicted.hamiltonian - stored.hamiltonian).max() < 1e-6
    assert hamlr('upgrade', 'new', '-o', 'new').exit_code == 2


def without_sums(path):
    with h5py.File(path, 'r+') as handle:
        handle.attrs['version'] = 1
        items = [handle]
        handle.visititems(lambda name, item: items.append(item))
        for item in items:
            item.attrs.pop('sha256', None)


def test_files(hamlr, tmp_path):
    shutil.copy(MODEL / 'prediction.h5', tmp_path / 'h.h5')
    shutil.copy(MODEL / 'model/basis/Al.basis.h5', tmp_path / 'Al.basis.h5')
    Bands(np.zeros((2, 3)), np.ones((1, 2, 3)), ('G', 'X')).write(tmp_path / 'bands.h5')
    for name, read in (('h.h5', Hamiltonian.read), ('Al.basis.h5', SpeciesBasis.read), ('bands.h5', Bands.read)):
        without_sums(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        assert hamlr('upgrade', name, '-o', name).exit_code == 2
        result = hamlr('upgrade', name, '-o', f'new.{name}')
        assert result.exit_code == 0, result.stderr
        assert (tmp_path / name).read_bytes() == before
        contents = [re.sub('0x[0-9a-f]+', '', repr(read(tmp_path / file))) for file in (name, f'new.{name}')]
        assert contents[0] == contents[1]
        with h5py.File(tmp_path / f'new.{name}') as handle:
            assert handle.attrs['version'] > 1
    with h5py.File(tmp_path / 'new.h.h5') as handle:
        assert 'sha256' in handle.attrs


@pytest.mark.parametrize('damage', ['hamiltonian', 'overlap'])
def test_damaged_ones_are_not_upgraded(hamlr, tmp_path, damage):
    shutil.copy(MODEL / 'prediction.h5', tmp_path / 'h.h5')
    without_sums(tmp_path / 'h.h5')
    with h5py.File(tmp_path / 'h.h5', 'r+') as handle:
        handle[damage]['entries'][1] += 0.1
    result = hamlr('upgrade', 'h.h5', '-o', 'new.h5')
    assert result.exit_code == 2 and 'differs from its transpose' in result.stderr
    assert not (tmp_path / 'new.h5').exists()
