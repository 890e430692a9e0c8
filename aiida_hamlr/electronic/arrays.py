"""The array operations of the grid sums, in numpy for small ones and in torch for large ones and on a GPU.

Loading torch takes longer than the integrals of a few atoms. Arrays of both kinds share indexing, arithmetic, ``@``,
``reshape`` and ``swapaxes``; what they do not share is here.
"""

from __future__ import annotations

import sys

import numpy as np

#: Numbers to compute below which numpy is faster than loading torch: about a second on one CPU core.
SMALL = 30_000_000


def arrays_on(device: str, size: float) -> NumpyArrays | TorchArrays:
    """Operations for a task: numpy for a small one on a CPU if torch is not loaded yet.

    Both give the same numbers to rounding; torch uses all threads for all operations, numpy for matrix products only.

    Parameters
    ----------
    device : str
        'cpu' or 'cuda'.
    size : float
        Numbers to compute, about.
    """
    small = device == 'cpu' and size < SMALL and 'torch' not in sys.modules
    return NumpyArrays() if small else TorchArrays(device)


class NumpyArrays:
    """Operations on numpy arrays, float64."""

    def array(self, values: np.ndarray) -> np.ndarray:
        """The array for a numpy array."""
        return values

    def numpy(self, array: np.ndarray) -> np.ndarray:
        """The numpy array for an array."""
        return array

    def empty(self, *shape: int) -> np.ndarray:
        """An array to be written."""
        return np.empty(shape)

    def zeros(self, *shape: int) -> np.ndarray:
        """An array of zeros."""
        return np.zeros(shape)

    def permute(self, array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """View with axes in another order."""
        return array.transpose(axes)

    def rows(self, array: np.ndarray, axes: tuple[int, ...], length: int) -> np.ndarray:
        """The numbers of an array with axes in another order, in rows (n, length)."""
        return array.transpose(axes).reshape(-1, length)

    def multiply(self, a: np.ndarray, b: np.ndarray, out: np.ndarray):
        """Write a product."""
        np.multiply(a, b, out=out)

    def products(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Matrix products of stacks of matrices."""
        return a @ b

    def intervals(self, displacements: np.ndarray, step: float, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Interval of a mesh in which the length of displacements (3, ...) lies, at most ``last``, and the rest."""
        x, y, z = displacements
        scaled = x * x
        scaled += y * y
        scaled += z * z
        np.sqrt(scaled, out=scaled)
        scaled *= 1.0 / step
        np.minimum(scaled, last, out=scaled)
        index = scaled.astype(np.int32)
        scaled -= index
        return index, scaled

    def cubics(self, table: np.ndarray, index: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """(shells, n) cubics in ``rest`` (n,) with the coefficients ``table[:, :, index]``, the highest power first."""
        result, coefficients = np.empty((2, table.shape[1], len(index)))
        for power, shells in enumerate(table):
            for row, coefficient in zip(coefficients if power else result, shells, strict=True):
                np.take(coefficient, index, out=row, mode='clip')
            if power:
                result *= rest
                result += coefficients
        return result

    def add_rows(self, sums: np.ndarray, places: np.ndarray, rows: np.ndarray):
        """Add every row to that of ``sums`` that ``places`` names; places may repeat."""
        if not len(places):
            return
        order = np.argsort(places, kind='stable')
        places = places[order]
        starts = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
        sums[places[starts]] += np.add.reduceat(rows[order], starts, axis=0)


class TorchArrays:
    """The same on torch tensors.

    Parameters
    ----------
    device : str
    """

    def __init__(self, device: str):
        import torch

        self._torch, self._device = torch, device
        # On one thread numpy's OpenBLAS is up to 1.5 times as fast as torch's MKL on an AMD processor, and numpy copies
        # short rows twice as fast; with several threads torch shares the work among them.
        self._by_numpy = device == 'cpu' and torch.get_num_threads() == 1

    def array(self, values):
        """The tensor on the device for a numpy array."""
        return self._torch.from_numpy(values).to(self._device)

    def numpy(self, array):
        """The numpy array for a tensor."""
        return array.cpu().numpy()

    def empty(self, *shape):
        """A tensor to be written."""
        return self._torch.empty(shape, dtype=self._torch.float64, device=self._device)

    def zeros(self, *shape):
        """A tensor of zeros."""
        return self._torch.zeros(shape, dtype=self._torch.float64, device=self._device)

    def permute(self, array, axes):
        """View with axes in another order."""
        return array.permute(axes)

    def rows(self, array, axes, length):
        """The numbers of an array with axes in another order, in rows (n, length)."""
        if self._by_numpy:
            return self._torch.from_numpy(array.numpy().transpose(axes).reshape(-1, length))
        return array.permute(axes).reshape(-1, length)

    def multiply(self, a, b, out):
        """Write a product."""
        self._torch.mul(a, b, out=out)

    def products(self, a, b):
        """Matrix products of stacks of matrices."""
        if self._by_numpy:
            return self._torch.from_numpy(a.numpy() @ b.numpy())
        return a @ b

    def intervals(self, displacements, step, last):
        """Interval of a mesh in which the length of displacements (3, ...) lies, at most ``last``, and the rest."""
        x, y, z = displacements
        scaled = self._torch.mul(x, x).addcmul_(y, y).addcmul_(z, z).sqrt_().mul_(1.0 / step)
        scaled.clamp_(max=last)
        index = scaled.to(self._torch.int32)
        return index, scaled.sub_(index)

    def cubics(self, table, index, rest):
        """(shells, n) cubics in ``rest`` (n,) with the coefficients ``table[:, :, index]``, the highest power first."""
        result, coefficients = self.empty(2, table.shape[1], len(index))
        for power, shells in enumerate(table):
            for row, coefficient in zip(coefficients if power else result, shells, strict=True):
                self._torch.index_select(coefficient, 0, index, out=row)
            if power:
                self._torch.addcmul(coefficients, result, rest, out=result)
        return result

    def add_rows(self, sums, places, rows):
        """Add every row to that of ``sums`` that ``places`` names; places may repeat."""
        sums.index_add_(0, places, rows)
