"""Damaged files: each is refused with a ValueError that names it, or reads as if it were whole."""

import numpy as np
import pytest
from fuzz_formats import (
    FOREIGN_BASES,
    foreign_formats,
    model_formats,
    our_formats,
    read_foreign_basis,
)
from fuzzing import damage, damage_file, fuzz, read_or_refuse
from hypothesis import given

from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

UPF = make_pseudopotential('H').text.encode()

#: Examples of every format; those of a whole model are read slowly.
OURS = {
    'hamiltonian.h5': 100,
    'hamiltonian.h5.json': 80,
    'Si.basis.h5': 80,
    'bands.h5': 80,
    'properties.h5': 80,
    'model: model.json': 15,
    'model: model.safetensors': 30,
    'model: basis/Si.basis.h5': 30,
    'model: pseudos/Si.upf': 30,
    'model of version 1: model.json': 40,
    'model of version 1: model.safetensors': 30,
    'last.ckpt': 60,
}
FOREIGN = {
    'structure: .extxyz': 60,
    'structure: .cif': 30,
    'structure: .vasp': 60,
    'structure: .xsf': 60,
    'train.yaml': 60,
    'predict.yaml': 60,
    'reconstruct.yaml': 60,
    'path of bands': 60,
}


@pytest.fixture(scope='module')
def formats(tmp_path_factory):
    """All formats by name."""
    makers = (our_formats, model_formats, foreign_formats)
    found = [item for make in makers for item in make(tmp_path_factory.mktemp('whole'))]
    return {item.name: item for item in found}


@pytest.mark.parametrize('name', [*OURS, *FOREIGN])
def test_files(formats, name):
    """Refused in one line that names the file; where a digest covers the content, what is read is what was written."""
    damage_file(formats[name], {**OURS, **FOREIGN}[name])


def test_no_format_is_left_out(formats):
    """UPF and orbitals of other codes have tests of their own."""
    assert {*OURS, *FOREIGN, 'UPF', *(name[2:] for name in FOREIGN_BASES)} == set(formats)


@fuzz(150)
@given(damage=damage())
def test_upf_files(tmp_path, damage):
    """UPF has no checksum: another digit is another pseudopotential, but it is one whose numbers are sound."""
    read = read_or_refuse(tmp_path / 'damaged.upf', damage(UPF), Pseudopotential.read)
    if read is not None:
        arrays = [read.r, read.rab, read.v_local, read.rho_atom, read.dij]
        arrays += [item.values for item in (*read.projectors, *read.wavefunctions)]
        assert all(np.isfinite(array).all() for array in arrays)
        assert np.isfinite(read.r2_moment) and np.isfinite(read.local_form_factor(np.array([0.0, 1.0]))).all()


@pytest.mark.parametrize('name', FOREIGN_BASES)
@fuzz(80)
@given(damage=damage())
def test_imported_bases(tmp_path, name, damage):
    read = read_or_refuse(tmp_path / name, damage(FOREIGN_BASES[name]().encode()), read_foreign_basis)
    if read is not None:
        r = read.step * np.arange(len(read.shells[0].radial))
        for each in read.shells:
            assert np.isfinite(each.radial).all()
            assert np.sum((r * each.radial) ** 2) * read.step == pytest.approx(1, abs=1e-3)
