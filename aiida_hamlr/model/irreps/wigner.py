"""Wigner matrices of bond frames, in float64."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics


@cache
def _polar_table(degree: int) -> np.ndarray:
    """(2l + 1, (2l + 1)^2) coefficients of 1, cos(m beta), sin(m beta) in the rotation by beta about x.

    The samples solve Y(R v) = D Y(v), so that the matrices belong to the harmonics to the last digits.
    """
    angles = np.arange(2 * degree + 1) * 2 * np.pi / (2 * degree + 1)
    points = np.random.default_rng(0).normal(size=(8 * degree + 4, 3))
    before = real_harmonics(degree, points)
    samples = []
    for angle in angles:
        sine, cosine = np.sin(angle), np.cos(angle)
        rotation = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
        samples.append(np.linalg.lstsq(before, real_harmonics(degree, points @ rotation.T), rcond=None)[0].T.ravel())
    return np.linalg.solve(_fourier(degree, angles), np.array(samples))


def _fourier(degree: int, angles: np.ndarray) -> np.ndarray:
    multiples = angles[:, None] * np.arange(1, degree + 1)
    return np.concatenate([np.ones((len(angles), 1)), np.cos(multiples), np.sin(multiples)], axis=1)


def bond_frame_wigner(vectors: np.ndarray, max_degree: int) -> list[np.ndarray]:
    """Wigner matrices that turn the polar axis y of e3nn's harmonics into the directions of ``vectors``.

    The angles come from atan2, not acos, which loses half of the digits near the poles.

    Parameters
    ----------
    vectors : (E, 3) array
        Non-zero vectors in any unit.
    max_degree : int
        Highest l.

    Returns
    -------
    list of (E, 2l + 1, 2l + 1) arrays
        ``D_l`` for l = 0 ... max_degree; ``D_l^T`` takes components into the bond frame.
    """
    x, y, z = np.asarray(vectors, dtype=np.float64).T
    alpha, beta = np.arctan2(x, z), np.arctan2(np.hypot(x, z), y)
    result = []
    for degree in range(max_degree + 1):
        polar = (_fourier(degree, beta) @ _polar_table(degree)).reshape(-1, 2 * degree + 1, 2 * degree + 1)
        # The rotation by alpha about y mixes the components +m and -m only.
        phases = alpha[:, None] * np.arange(degree, -degree - 1, -1)
        result.append(np.cos(phases)[..., None] * polar + np.sin(phases)[..., None] * polar[:, ::-1])
    return result


def flatten(matrices: list[np.ndarray]) -> np.ndarray:
    """(E, sum (2l + 1)^2) the matrices of all l one after the other."""
    return np.concatenate([matrix.reshape(len(matrix), matrix.shape[1] ** 2) for matrix in matrices], axis=1)


class DenseWigner(torch.nn.Module):
    """Expands flat Wigner matrices into the two dense ones that act on padded feature tensors.

    The natural matrix is (E, L2, L2) with L2 = (lmax + 1)^2: columns are the components l by l, rows the components in
    the bond frame sorted by |m|: all l for m = 0, then for each m > 0 the cosine rows of all l >= m and the sine rows.
    The unnatural one covers l = 1 ... lmax - 1 with twisted rows (see :class:`irreps.PairLayout`).
    """

    def __init__(self, max_degree: int):
        super().__init__()
        self.max_degree = max_degree
        offsets = np.concatenate([[0], np.cumsum([(2 * l + 1) ** 2 for l in range(max_degree + 1)])])
        self.n_flat = int(offsets[-1])
        for name, degrees, twisted in (
            ('natural', range(max_degree + 1), False),
            ('unnatural', range(1, max_degree), True),
        ):
            # (l, component, sign) of every row in the bond frame
            rows = [(l, l, 1.0) for l in degrees]
            for m in range(1, max_degree + 1):
                present = [l for l in degrees if l >= m]
                first, second, sign = (-m, m, -1.0) if twisted else (m, -m, 1.0)
                rows += [(l, l + first, 1.0) for l in present] + [(l, l + second, sign) for l in present]
            columns = [(l, k) for l in degrees for k in range(2 * l + 1)]
            size = len(rows)
            index = np.full((size, size), self.n_flat)
            signs = np.ones((size, size))
            for r, (l, component, sign) in enumerate(rows):
                for c, (l_column, k) in enumerate(columns):
                    if l == l_column:
                        # D^T: row of the frame, column of the crystal
                        index[r, c] = offsets[l] + k * (2 * l + 1) + component
                        signs[r, c] = sign
            self.register_buffer(f'{name}_index', torch.as_tensor(index.ravel()), persistent=False)
            self.register_buffer(f'{name}_sign', torch.as_tensor(signs, dtype=torch.float32), persistent=False)

    def forward(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Natural and unnatural matrices from the crystal into the bond frame."""
        padded = torch.cat([flat, flat.new_zeros(len(flat), 1)], dim=1)
        result = []
        for index, sign in ((self.natural_index, None), (self.unnatural_index, self.unnatural_sign)):
            size = round(len(index) ** 0.5)
            dense = padded.index_select(1, index).view(-1, size, size)
            result.append(dense if sign is None else dense * sign.to(dense.dtype))
        return result[0], result[1]
