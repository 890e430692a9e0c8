"""Scales of the targets, and the part of a block that depends on the distance of its two atoms alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from aiida_hamlr.model.irreps.shells import ShellSlots

#: No target has a smaller scale, eV: empty bins stay finite.
SCALE_FLOOR = 2e-5

#: Added to the scales of the components of H0 that the network sees, eV: what hardly changes in the training data, as
#: by the symmetry of their structures, stays small where it does change.
LEAST_H0_SCALE = 1e-3

#: Weight of the squares of the coefficients beside the mean square error, both in units of the scales.
RIDGE = 1e-2

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

    def fit_pairs(self, slots: ShellSlots, kinds: np.ndarray, lengths: np.ndarray, targets: np.ndarray):
        """Fill the tables of the pairs.

        Parameters
        ----------
        slots : ShellSlots
            Those with which the tables were made.
        kinds : (P,) int array
            ``n_species * i + j`` of the elements of every pair, both orientations of pairs of one element.
        lengths : (P,) array
            Å.
        targets : (P, n_columns) array
            eV.
        """
        for kind in np.unique(kinds):
            members = kinds == kind
            first, second = (slots.species[n] for n in divmod(int(kind), self.n_species))
            columns, _ = slots.pairs.transform(first, second)
            length, target = lengths[members], targets[members][:, columns]
            damping = switch(length, self.pair_cutoff)
            basis = _radial_basis(length, self.pair_cutoff) * damping[:, None]
            normal = basis.T @ basis + 1e-6 * len(basis) * np.eye(N_RADIAL)
            coefficients = np.linalg.solve(normal, basis.T @ target) * slots.pairs.is_two_body[columns]
            self.two_body[kind][:, columns] = torch.as_tensor(coefficients)
            scale = self._binned_scale(
                length, (target - basis @ coefficients) * damping[:, None], slots.pairs.column_channel[columns]
            )
            self.pair_scale[kind][:, columns] = torch.as_tensor(scale)

    def fit_onsite(self, slots: ShellSlots, species: np.ndarray, targets: np.ndarray):
        """Fill the tables of the on-site blocks.

        Parameters
        ----------
        slots : ShellSlots
            Those with which the tables were made.
        species : (N,) int array
            Index of every atom's element.
        targets : (N, n_onsite) array
            eV.
        """
        for element in np.unique(species):
            columns, _ = slots.onsite.transform(slots.species[element])
            target = targets[species == element][:, columns]
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


class H0Normalisation(Normalisation):
    """The same tables of H0, and the part of the on-site blocks of H - H0 that is linear in those of H0.

    What bonds do to an atom is nearly proportional to what the atoms around it do before: within an element, on-site
    components of H - H0 follow those of H0 of the same angular momentum and parity, by a least-squares fit.
    """

    def __init__(self, slots: ShellSlots, pair_cutoff: float):
        super().__init__(slots, pair_cutoff)
        n_channels = len(slots.onsite.channels)
        self.register_buffer(
            'onsite_linear', torch.zeros(len(slots.species), n_channels, n_channels, dtype=torch.float64)
        )
        self.slots = slots

    def fit_linear(self, species: np.ndarray, inputs: np.ndarray, targets: np.ndarray):
        """Fit the linear part.

        Parameters
        ----------
        species : (N,) int array
            Index of every atom's element.
        inputs : (N, n_onsite) array
            Components of H0 as `onsite_input` gives them.
        targets : (N, n_onsite) array
            Of H - H0, eV.
        """
        layout = self.slots.onsite
        self.onsite_linear.zero_()
        for element in np.unique(species):
            known = set(layout.column_channel[layout.transform(self.slots.species[element])[0]])
            x, y = inputs[species == element], targets[species == element]
            for group in (group for groups in (layout.natural, layout.unnatural) for group in groups):
                channels = np.array([n for n in group if n in known], dtype=int)
                if not len(channels):
                    continue
                columns = np.stack([np.flatnonzero(layout.column_channel == n) for n in channels])
                # A row for every atom and component, a column for every channel.
                one, other = (a[:, columns].transpose(0, 2, 1).reshape(-1, len(channels)) for a in (x, y))
                if columns.shape[1] == 1:
                    other = other - other.mean(axis=0)
                normal = one.T @ one + RIDGE * len(one) * np.eye(len(channels))
                found = np.linalg.solve(normal, one.T @ other)
                self.onsite_linear[element, channels[:, None], channels] = torch.as_tensor(found)

    def onsite_input(self, species: np.ndarray, onsite: np.ndarray) -> np.ndarray:
        """(N, n_onsite) deviations of components of H0, eV, from their means, in units of their scales."""
        return in_units(onsite, self.onsite_mean.cpu().numpy()[species], self.onsite_scale.cpu().numpy()[species])

    def onsite_baseline(self, species: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """(N, n_onsite) linear part of the components of H - H0, eV, from those of `onsite_input`."""
        layout, linear = self.slots.onsite, self.onsite_linear.cpu().numpy()
        component = np.array([m for _, m in layout.columns])
        channel = layout.column_channel
        same = component[:, None] == component
        result = np.zeros_like(inputs)
        for element in np.unique(species):
            matrix = np.where(same, linear[element][channel[:, None], channel], 0.0)
            result[species == element] = inputs[species == element] @ matrix
        return result


def in_units(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Deviations from the mean in units of the scale, eV; 0 where the training had none, such as of other shells."""
    return np.where(scale > 0.0, (values - mean) / (scale + LEAST_H0_SCALE), 0.0)


def _channel_mean(values: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Mean over the components of every channel, spread back over them."""
    counts, sums = np.bincount(channel), np.bincount(channel, weights=values)
    return (sums / np.maximum(counts, 1))[channel]
