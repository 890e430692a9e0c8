"""The same operations in numpy and in torch."""

import sys

import numpy as np
import pytest

from aiida_hamlr.electronic.arrays import SMALL, NumpyArrays, TorchArrays, arrays_on


@pytest.fixture(params=[NumpyArrays, lambda: TorchArrays('cpu')], ids=['numpy', 'torch'])
def arrays(request):
    return request.param()


def test_intervals_and_cubics_are_a_piecewise_polynomial(arrays):
    """Two shells; on the last interval all coefficients are zero, and lengths beyond the mesh belong to it."""
    rng = np.random.default_rng(0)
    displacements, table = rng.normal(size=(3, 50)), rng.normal(size=(4, 2, 8))
    table[:, :, 7] = 0.0
    index, rest = arrays.intervals(arrays.array(displacements), 0.25, 7)
    found = arrays.numpy(arrays.cubics(arrays.array(table), index, rest))
    scaled = np.linalg.norm(displacements, axis=0) / 0.25
    whole = np.minimum(np.floor(scaled), 7).astype(int)
    assert np.array_equal(arrays.numpy(index), whole)
    expected = [[np.polyval(table[:, shell, i], x - i) for i, x in zip(whole, scaled, strict=True)] for shell in (0, 1)]
    assert (whole == 7).any() and np.allclose(found, expected, atol=1e-12)


def test_rows_are_added_where_places_repeat(arrays):
    rng = np.random.default_rng(1)
    places, rows = rng.integers(0, 5, size=40), rng.normal(size=(40, 3))
    sums = arrays.zeros(6, 3)
    arrays.add_rows(sums, arrays.array(places), arrays.array(rows))
    arrays.add_rows(sums, arrays.array(places[:0]), arrays.array(rows[:0]))
    expected = np.zeros((6, 3))
    np.add.at(expected, places, rows)
    assert np.allclose(arrays.numpy(sums), expected, atol=1e-13)


def test_products_are_written_into_permuted_views(arrays):
    out = arrays.zeros(2, 3, 4)
    a, b = np.arange(24.0).reshape(4, 2, 3), np.full((4, 2, 3), 2.0)
    arrays.multiply(arrays.array(a), arrays.array(b), out=arrays.permute(out, (2, 0, 1)))
    assert np.array_equal(arrays.numpy(out), 2 * a.transpose(1, 2, 0))


@pytest.mark.parametrize('by_numpy', [False, True])
def test_stacks_of_products_and_rows(arrays, by_numpy):
    """Also of views, and whoever does them on the CPU."""
    arrays._by_numpy = by_numpy
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 7, 5))
    found = arrays.products(arrays.array(a), arrays.array(b)[:, 1:].swapaxes(1, 2))
    assert np.allclose(arrays.numpy(found), np.einsum('gik,gjk->gij', a, b[:, 1:]), atol=1e-13)
    rows = arrays.rows(arrays.array(a)[:, 1:], (2, 0, 1), 3)
    assert np.array_equal(arrays.numpy(rows), a[:, 1:].transpose(2, 0, 1).reshape(-1, 3))


def test_numpy_serves_small_tasks_until_torch_is_loaded(monkeypatch):
    assert isinstance(arrays_on('cpu', 1), TorchArrays)
    monkeypatch.delitem(sys.modules, 'torch')
    assert isinstance(arrays_on('cpu', SMALL - 1), NumpyArrays)
    monkeypatch.undo()
    assert isinstance(arrays_on('cpu', SMALL), TorchArrays)
