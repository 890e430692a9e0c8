"""Scales of the targets, and the part of a block that depends on the distance of its two atoms alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from aiida_hamlr.model.irreps.shells import ShellSlots

#: No target has a smaller scale, eV: empty bins stay finite.
SCALE_FLOOR = 2e-5

#: Blocks of H - H0 are neglected beyond the distance where their mean absolute element falls below this, eV.
NEGLIGIBLE = 1e-5

N_BINS = 12
N_RADIAL = 14
FEWEST_PAIRS = 100

#: Width of the shell before the pair cutoff in which blocks go to zero, Å.
SWITCH_WIDTH = 0.5


def pair_cutoff_from_data(lengths: np.ndarray, mean_abs: np.ndarray, width: float = 0.25) -> float:
    """Distance (Å) beyond which the blocks of H - H0 are negligible in every shell of the given width.

    Parameters
    ----------
    lengths : (P,) array
        Lengths of all off-site pairs of the data, Å.
    mean_abs : (P,) array
        Mean absolute element of their blocks, eV.
    width : float
        Of the shells, Å.
    """
    shell = (lengths / width).astype(int)
    counts = np.bincount(shell)
    means = np.bincount(shell, weights=mean_abs) / np.maximum(counts, 1)
    significant = np.flatnonzero(means > NEGLIGIBLE)
    last = significant[-1] if len(significant) else shell.min()
    return float((last + 1) * width)


def switch(length: np.ndarray, cutoff: float, width: float = SWITCH_WIDTH) -> np.ndarray:
    """1 up to the switching shell, then a polynomial to 0 at the cutoff with two continuous derivatives."""
    x = np.clip((length - cutoff) / min(width, cutoff) + 1.0, 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def _radial_basis(length: np.ndarray, cutoff: float) -> np.ndarray:
    return np.sin(length[:, None] * np.arange(1, N_RADIAL + 1) * np.pi / (1.1 * cutoff)) / length[:, None]


class Normalisation(nn.Module):
    """Tables that a model carries.

    Pair components are ``switch(d) * (two_body(d) + scale(d) * output)`` and on-site ones ``mean + scale * output``.
    The two-body part is a radial fit, per ordered pair of elements, of the components that a function of the distance
    may have; scales are root mean squares of the rest, per pair of elements, distance and irreducible channel.
    """

    def __init__(self, slots: ShellSlots, pair_cutoff: float):
        super().__init__()
        n_species, n_columns, n_onsite = len(slots.species), len(slots.pairs), len(slots.onsite)
        self.n_species, self.pair_cutoff = n_species, pair_cutoff
        self.register_buffer('two_body', torch.zeros(n_species**2, N_RADIAL, n_columns, dtype=torch.float64))
        self.register_buffer('pair_scale', torch.zeros(n_species**2, N_BINS, n_columns, dtype=torch.float64))
        self.register_buffer('onsite_mean', torch.zeros(n_species, n_onsite, dtype=torch.float64))
        self.register_buffer('onsite_scale', torch.zeros(n_species, n_onsite, dtype=torch.float64))

    def fit(self, slots: ShellSlots, kinds, lengths, pair_targets, species, onsite_targets):
        """Fill the tables.

        Parameters
        ----------
        slots : ShellSlots
            Those with which the tables were made.
        kinds : (P,) int array
            ``n_species * i + j`` of the elements of every pair, both orientations of pairs of one element.
        lengths : (P,) array
            Å.
        pair_targets : (P, n_columns) array
            eV.
        species : (N,) int array
            Index of every atom's element.
        onsite_targets : (N, n_onsite) array
            eV.
        """
        for kind in np.unique(kinds):
            members = kinds == kind
            first, second = (slots.species[n] for n in divmod(int(kind), self.n_species))
            columns, _ = slots.pairs.transform(first, second)
            length, target = lengths[members], pair_targets[members][:, columns]
            damping = switch(length, self.pair_cutoff)
            basis = _radial_basis(length, self.pair_cutoff) * damping[:, None]
            normal = basis.T @ basis + 1e-6 * len(basis) * np.eye(N_RADIAL)
            coefficients = np.linalg.solve(normal, basis.T @ target) * slots.pairs.is_two_body[columns]
            self.two_body[kind][:, columns] = torch.as_tensor(coefficients)
            scale = self._binned_scale(
                length, (target - basis @ coefficients) * damping[:, None], slots.pairs.column_channel[columns]
            )
            self.pair_scale[kind][:, columns] = torch.as_tensor(scale)
        for element in np.unique(species):
            columns, _ = slots.onsite.transform(slots.species[element])
            target = onsite_targets[species == element][:, columns]
            mean = target.mean(axis=0) * slots.onsite.is_scalar[columns]
            square = _channel_mean(((target - mean) ** 2).mean(axis=0), slots.onsite.column_channel[columns])
            self.onsite_mean[element, columns] = torch.as_tensor(mean)
            self.onsite_scale[element, columns] = torch.as_tensor(np.sqrt(square) + SCALE_FLOOR)

    def _binned_scale(self, length, residual, channel) -> np.ndarray:
        position = length / self._bin_width
        scale = np.empty((N_BINS, residual.shape[1]))
        for n in range(N_BINS):
            reach = 0.5
            members = np.abs(position - n) <= reach
            # Thin data: borrow from the neighbouring bins.
            while members.sum() < min(FEWEST_PAIRS, len(length)):
                reach += 0.5
                members = np.abs(position - n) <= reach
            scale[n] = np.sqrt(_channel_mean((residual[members] ** 2).mean(axis=0), channel))
        return scale + SCALE_FLOOR

    @property
    def _bin_width(self) -> float:
        return self.pair_cutoff / (N_BINS - 1)

    def pairs(self, kinds: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(P, n_columns) two-body part and scale of the pairs, eV; both go to zero at the pair cutoff."""
        two_body, scales = self.two_body.cpu().numpy(), self.pair_scale.cpu().numpy()
        shape = (len(lengths), two_body.shape[2])
        baseline, scale = np.zeros(shape), np.zeros(shape)
        damping = switch(lengths, self.pair_cutoff)[:, None]
        for kind in np.unique(kinds):
            members = np.flatnonzero(kinds == kind)
            length = lengths[members]
            baseline[members] = _radial_basis(length, self.pair_cutoff) @ two_body[kind]
            position = np.minimum(length / self._bin_width, N_BINS - 1.001)
            left = position.astype(int)
            weight = (position - left)[:, None]
            scale[members] = scales[kind][left] * (1 - weight) + scales[kind][left + 1] * weight
        return damping * baseline, damping * scale


def _channel_mean(values: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Mean over the components of every channel, spread back over them."""
    counts, sums = np.bincount(channel), np.bincount(channel, weights=values)
    return (sums / np.maximum(counts, 1))[channel]
