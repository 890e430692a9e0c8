"""Bands with their edges, and their file."""

import io
from dataclasses import replace

import h5py
import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands, band_edges, band_structure
from aiida_hamlr.electronic.bands.kpoints import band_path
from aiida_hamlr.electronic.bands.mesh import solve_mesh


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende):
    return make_hamiltonian(zincblende())


@pytest.fixture
def bands(hamiltonian):
    return Bands.on_path(hamiltonian, band_path(hamiltonian.atoms, 0.1), solve_mesh(hamiltonian, (3, 3, 3)))


def test_edges_are_those_of_path_and_mesh_together(hamiltonian, bands):
    mesh = solve_mesh(hamiltonian, (3, 3, 3)).eigenvalues
    vbm = max(bands.eigenvalues[0, :, 3].max(), mesh[:, 3].max())
    cbm = min(bands.eigenvalues[0, :, 4].min(), mesh[:, 4].min())
    assert bands.attributes.vbm == pytest.approx(vbm)
    assert bands.attributes.gap == pytest.approx(cbm - vbm)
    assert bands.attributes.fermi_level == pytest.approx(0.5 * (vbm + cbm))


def test_one_call_gives_the_standard_path(hamiltonian, bands, tmp_path):
    found = band_structure(hamiltonian, mesh=(3, 3, 3), spacing=0.1)
    assert np.array_equal(found.eigenvalues, bands.eigenvalues)
    assert (found.labels, found.attributes) == (bands.labels, bands.attributes)
    (tmp_path / 'path.txt').write_text('GAMMA 0 0 0\nX 0.5 0 0.5\n')
    short = band_structure(hamiltonian, tmp_path / 'path.txt', (3, 3, 3), n_bands=5, spacing=0.1)
    assert (short.labels[0], short.labels[-1]) == ('GAMMA', 'X')
    assert short.eigenvalues.shape[2] == 5
    assert np.array_equal(short.eigenvalues[0, 0], found.eigenvalues[0, 0, :5])


def test_matrix_and_threshold_are_those_of_the_mesh(hamiltonian):
    mesh = solve_mesh(hamiltonian, (2, 2, 2), matrix='h0', overlap_threshold=1e-3)
    found = Bands.on_mesh(hamiltonian, mesh)
    assert np.allclose(found.eigenvalues[0], mesh.eigenvalues)
    assert (found.attributes.matrix, found.attributes.overlap_threshold) == ('h0', 1e-3)


def test_metal_has_a_fermi_level_and_the_gap_zero(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(), n_electrons=7)
    solution = solve_mesh(hamiltonian, (3, 3, 3))
    bands = Bands.on_mesh(hamiltonian, solution)
    assert bands.attributes.gap == 0.0 and bands.attributes.vbm is None
    assert bands.attributes.fermi_level == solution.filling.fermi_level
    assert bands.weights.sum() == pytest.approx(1)


def test_metal_of_an_even_number_of_electrons_has_no_edges(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(), n_electrons=12)
    bands = Bands.on_mesh(hamiltonian, solve_mesh(hamiltonian, (3, 3, 3)))
    assert bands.attributes.gap == 0.0
    assert bands.attributes.vbm is None and bands.attributes.direct_gap is None


@pytest.mark.parametrize('n_bands', [2, 4, 5])
def test_edges_do_not_depend_on_how_many_bands_are_kept(hamiltonian, n_bands):
    solution = solve_mesh(hamiltonian, (3, 3, 3))
    few, all_of_them = (Bands.on_mesh(hamiltonian, solution, n) for n in (n_bands, None))
    assert few.eigenvalues.shape[-1] == n_bands
    assert few.attributes.gap == pytest.approx(all_of_them.attributes.gap)
    assert few.attributes.fermi_level == pytest.approx(all_of_them.attributes.fermi_level)


def test_bands_that_touch_to_rounding_have_no_gap(hamiltonian):
    solution = solve_mesh(hamiltonian, (2, 2, 2))
    levels = solution.eigenvalues.copy()
    levels[:, 4:] -= levels[:, 4:].min() - levels[:, 3].max() - 1e-7
    attributes = band_edges(hamiltonian, replace(solution, eigenvalues=levels))
    assert attributes.gap == 0.0 and attributes.fermi_level == solution.filling.fermi_level
    assert attributes.cbm - attributes.vbm == pytest.approx(1e-7, rel=1e-3)


def test_file_holds_everything(bands, tmp_path):
    bands.write(tmp_path / 'bands.h5')
    for source in (tmp_path / 'bands.h5', io.BytesIO((tmp_path / 'bands.h5').read_bytes())):
        again = Bands.read(source)
        for name in ('kpoints', 'eigenvalues', 'distances'):
            assert np.array_equal(getattr(again, name), getattr(bands, name))
        assert (again.labels, again.attributes, again.weights) == (bands.labels, bands.attributes, None)
    with h5py.File(tmp_path / 'bands.h5') as handle:
        assert handle['eigenvalues'].shape == (1, len(bands.kpoints), 8)


def test_damaged_files_are_refused_by_name(bands, tmp_path):
    file = tmp_path / 'bands.h5'
    bands.write(file)
    whole = file.read_bytes()
    for damage in ('labels', 'eigenvalues'):
        file.write_bytes(whole)
        with h5py.File(file, 'a') as handle:
            del handle[damage]
        with pytest.raises(ValueError, match=r'bands\.h5: incomplete'):
            Bands.read(file)
    file.write_bytes(whole)
    with h5py.File(file, 'a') as handle:
        handle.attrs['version'] = 99
    with pytest.raises(ValueError, match='version 99 is newer'):
        Bands.read(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='truncated'):
        Bands.read(file)


def test_arrays_that_disagree_are_refused():
    with pytest.raises(ValueError, match='disagree'):
        Bands(np.zeros((2, 3)), np.zeros((1, 3, 4)), ('', ''))
