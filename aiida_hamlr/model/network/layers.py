"""Equivariant layers: products with SO(2) symmetry in the bond frame, and linear maps on the atoms.

Features of atoms are padded tensors (Passaro and Zitnick 2023, arXiv:2302.03655, generalised to both parities):
``scalars`` (N, C_s); ``natural`` (N, (L + 1)^2, C_n), components of parity (-1)^l of l = 0 ... L; ``unnatural``
(N, L^2 - 1, C_u), components of parity -(-1)^l of l = 1 ... L - 1. In the frame of a bond a feature is a list of
tensors, one per |m|: natural m = 0 with the scalars (E, c), unnatural m = 0 (E, c), and (E, 2, c) for each m > 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


class AddRows(torch.autograd.Function):
    """Adds rows in place, as ``index_add_`` does, which would keep them for the gradient without need."""

    @staticmethod
    def forward(ctx, sums: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The sums (N, ...) after each of the rows (E, ...) was added at its place (E,)."""
        ctx.save_for_backward(places)
        ctx.mark_dirty(sums)
        return sums.index_add_(0, places, rows)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients of the sums before and of the rows."""
        (places,) = ctx.saved_tensors
        return gradient, gradient.index_select(0, places), None


@dataclass
class Features:
    """Features of atoms, or of edges in the crystal's frame."""

    scalars: torch.Tensor
    natural: torch.Tensor
    unnatural: torch.Tensor | None

    def __getitem__(self, index: torch.Tensor) -> Features:
        return Features(*(x.index_select(0, index) for x in (self.scalars, self.natural, self.unnatural)))

    def with_rows(self, rows: Features, places: torch.Tensor) -> Features:
        """These after each row was added, in place, at its place (E,); parts of the rows may be None."""
        both = ((getattr(self, name), getattr(rows, name)) for name in ('scalars', 'natural', 'unnatural'))
        return Features(*(mine if added is None else AddRows.apply(mine, added, places) for mine, added in both))

    @property
    def invariants(self) -> torch.Tensor:
        """(N, c) all that does not change with the orientation or by inversion."""
        return torch.cat([self.scalars, self.natural[:, 0]], dim=1)

    @property
    def vectors(self) -> torch.Tensor:
        """(N, 3, c) polar vectors."""
        return self.natural[:, 1:4]

    def __add__(self, other: Features) -> Features:
        return Features(self.scalars + other.scalars, self.natural + other.natural, self.unnatural + other.unnatural)


@dataclass(frozen=True)
class Widths:
    """Declared irreps of a feature: numbers of channels and the highest degree."""

    max_degree: int
    scalars: int
    natural: int
    unnatural: int

    @property
    def natural_degrees(self) -> list[int]:
        """Degree of every row of the natural part."""
        return [l for l in range(self.max_degree + 1) for _ in range(2 * l + 1)]

    @property
    def unnatural_degrees(self) -> list[int]:
        """Degree of every row of the unnatural part."""
        return [l for l in range(1, self.max_degree) for _ in range(2 * l + 1)]

    @property
    def frame(self) -> list[int]:
        """Number of channels of m = 0 natural, m = 0 unnatural, and every m > 0."""
        top = self.max_degree
        widths = [self.scalars + (top + 1) * self.natural, (top - 1) * self.unnatural]
        return widths + [(top + 1 - m) * self.natural + (top - m) * self.unnatural for m in range(1, top + 1)]

    @property
    def irreps(self) -> str:
        """The same in e3nn's notation."""
        parts = [f'{self.scalars}x0e'] + [f'{self.natural}x{l}{"eo"[l % 2]}' for l in range(self.max_degree + 1)]
        parts += [f'{self.unnatural}x{l}{"oe"[l % 2]}' for l in range(1, self.max_degree)]
        return ' + '.join(parts)

    def times(self, factor: int) -> Widths:
        """The features of several atoms side by side."""
        return Widths(self.max_degree, factor * self.scalars, factor * self.natural, factor * self.unnatural)


def bessel_basis(length: torch.Tensor, cutoff: float, number: int) -> torch.Tensor:
    """(E, number) spherical Bessel functions j_0 that vanish at the cutoff; lengths in the cutoff's unit."""
    wave = torch.arange(1, number + 1, device=length.device, dtype=length.dtype) * (math.pi / cutoff)
    return 2.0 * math.sqrt(2.0 / cutoff) * torch.sin(length[:, None] * wave) / length[:, None]


def envelope(length: torch.Tensor, cutoff: float, power: int = 6) -> torch.Tensor:
    """Polynomial that goes from 1 to 0 at the cutoff with two continuous derivatives (Gasteiger et al. 2020)."""
    x = (length / cutoff).clamp(max=1.0)
    p = power
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)


def to_frame(
    features: Features, wigner: tuple[torch.Tensor, torch.Tensor], top: int, more: Sequence[torch.Tensor] = ()
) -> list[torch.Tensor]:
    """Rotate features of edges into the bond frames and sort them by |m|; behind them stand ``more``, which are so."""
    n_edges = len(features.scalars)
    natural = torch.bmm(wigner[0], features.natural).split(
        [top + 1] + [2 * (top + 1 - m) for m in range(1, top + 1)], 1
    )
    unnatural = torch.bmm(wigner[1], features.unnatural).split(
        [top - 1] + [2 * (top - m) for m in range(1, top + 1)], 1
    )
    parts = [[features.scalars, natural[0].flatten(1)], [unnatural[0].flatten(1)]]
    for of_m in zip(natural[1:], unnatural[1:], strict=True):
        parts.append([x.reshape(n_edges, 2, x.shape[1] // 2 * x.shape[2]) for x in of_m])
    for part, piece in zip(parts, more, strict=False):
        part.append(piece)
    return [torch.cat(part, dim=-1) for part in parts]


def from_frame(pieces: list[torch.Tensor], wigner: tuple[torch.Tensor, torch.Tensor], widths: Widths) -> Features:
    """Inverse of :func:`to_frame`."""
    top, n_edges = widths.max_degree, len(pieces[0])
    scalars, first = pieces[0].split([widths.scalars, (top + 1) * widths.natural], dim=1)
    natural = [first.reshape(n_edges, top + 1, widths.natural)]
    unnatural = [pieces[1].reshape(n_edges, top - 1, widths.unnatural)]
    for m in range(1, top + 1):
        plain, twisted = pieces[m + 1].split([(top + 1 - m) * widths.natural, (top - m) * widths.unnatural], dim=2)
        natural.append(plain.reshape(n_edges, 2 * (top + 1 - m), widths.natural))
        if m < top:
            unnatural.append(twisted.reshape(n_edges, 2 * (top - m), widths.unnatural))
    return Features(
        scalars,
        torch.bmm(wigner[0].transpose(1, 2), torch.cat(natural, dim=1)),
        torch.bmm(wigner[1].transpose(1, 2), torch.cat(unnatural, dim=1)),
    )


class FrameLinear(nn.Module):
    """One real matrix per |m|, the same for cosine and sine: linear over l in O(L^3) per edge."""

    def __init__(self, inputs: list[int], outputs: list[int]):
        super().__init__()
        self.outputs = outputs
        self.maps = nn.ModuleList(
            nn.Linear(n_in, n_out, bias=index == 0) if n_in and n_out else None
            for index, (n_in, n_out) in enumerate(zip(inputs, outputs, strict=True))
        )

    def forward(self, pieces: list[torch.Tensor]) -> list[torch.Tensor]:
        """Pieces of the features, one tensor per |m| as in the text of the module, with new channels."""
        return [
            piece.new_zeros(*piece.shape[:-1], width) if linear is None else linear(piece)
            for linear, piece, width in zip(self.maps, pieces, self.outputs, strict=True)
        ]


class EdgeNetwork(nn.Module):
    """Non-linear function of a feature in the bond frame and of the bond's radial functions.

    The inputs are scaled channel by channel by functions of the distance and the two elements, then two
    :class:`FrameLinear` with a gated non-linearity between them: SiLU on the natural m = 0 channels, sigmoids of more
    such channels times 2 on all others, which keeps the symmetry exactly.

    Parameters
    ----------
    inputs, hidden, outputs : list of int
        Channels per piece of the frame.
    n_radial, radial_hidden : int
        Width of the radial input and of the hidden layers on it.
    """

    def __init__(self, inputs: list[int], hidden: list[int], outputs: list[int], n_radial: int, radial_hidden: int):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.radial = nn.Sequential(
            nn.Linear(n_radial, radial_hidden),
            nn.SiLU(),
            nn.Linear(radial_hidden, radial_hidden),
            nn.SiLU(),
            nn.Linear(radial_hidden, sum(inputs) + hidden[0]),
        )
        self.first = FrameLinear(inputs, [sum(hidden), *hidden[1:]])
        self.second = FrameLinear(hidden, outputs)

    def forward(self, pieces: list[torch.Tensor], radial: torch.Tensor) -> list[torch.Tensor]:
        """Pieces of the edges, from theirs and from the radial functions (E, n_radial)."""
        *scales, shift = self.radial(radial).split([*self.inputs, self.hidden[0]], dim=1)
        pieces = self.first([_scale(piece, scale) for piece, scale in zip(pieces, scales, strict=True)])
        scalars, gates = pieces[0].split([self.hidden[0], sum(self.hidden[1:])], dim=1)
        gates = (2.0 * torch.sigmoid(gates)).split(self.hidden[1:], dim=1)
        activated = [functional.silu(scalars + shift)]
        activated += [_scale(piece, gate) for piece, gate in zip(pieces[1:], gates, strict=True)]
        return self.second(activated)


def _scale(piece: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return piece * (factor if piece.dim() == 2 else factor[:, None])


class DegreeLinear(nn.Module):
    """One matrix per degree l on the channels of padded features."""

    def __init__(self, degrees: list[int], n_in: int, n_out: int):
        super().__init__()
        first = degrees[0] if degrees else 0
        self.register_buffer('row', torch.tensor(degrees, dtype=torch.long) - first, persistent=False)
        n_degrees = max(degrees) - first + 1 if degrees else 0
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(n_degrees, n_in, n_out).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, rows, n_out) from (N, rows, n_in)."""
        return torch.bmm(x.transpose(0, 1), self.weight.index_select(0, self.row)).transpose(0, 1)


class DegreeNorm(nn.Module):
    """Divides the channels of every degree by their root mean square, and scales them by learned gains."""

    def __init__(self, widths: Widths):
        super().__init__()
        self.scalar_gain = nn.Parameter(torch.ones(widths.scalars))
        for name, degrees, channels in (
            ('natural', widths.natural_degrees, widths.natural),
            ('unnatural', widths.unnatural_degrees, widths.unnatural),
        ):
            row = torch.tensor(degrees) - min(degrees)
            member = functional.one_hot(row, max(degrees) - min(degrees) + 1).to(torch.get_default_dtype())
            self.register_buffer(f'{name}_row', row, persistent=False)
            self.register_buffer(f'{name}_mean', (member / member.sum(0)) @ member.T, persistent=False)
            setattr(self, f'{name}_gain', nn.Parameter(torch.ones(member.shape[1], channels)))

    def forward(self, features: Features) -> Features:
        """Normalised features of the atoms."""
        scalars = features.scalars
        scalars = scalars * self.scalar_gain * torch.rsqrt(scalars.square().mean(1, keepdim=True) + 1e-3)
        parts = []
        for name in ('natural', 'unnatural'):
            x = getattr(features, name)
            power = x.square().mean(2) @ getattr(self, f'{name}_mean')
            gain = getattr(self, f'{name}_gain').index_select(0, getattr(self, f'{name}_row'))
            parts.append(x * torch.rsqrt(power + 1e-3)[..., None] * gain)
        return Features(scalars, *parts)


class AtomNetwork(nn.Module):
    """Gated two-layer network on the features of single atoms."""

    def __init__(self, widths: Widths):
        super().__init__()
        top = widths.max_degree
        n_invariant = widths.scalars + widths.natural
        self.hidden = [n_invariant, top * widths.natural, (top - 1) * widths.unnatural]
        self.first = nn.Linear(n_invariant, sum(self.hidden))
        self.second = nn.Linear(n_invariant, n_invariant)
        self.outputs = [widths.scalars, widths.natural]
        self.register_buffer('natural_row', torch.tensor(widths.natural_degrees[1:]) - 1, persistent=False)
        self.register_buffer('unnatural_row', torch.tensor(widths.unnatural_degrees) - 1, persistent=False)
        for name, degrees, channels in (
            ('natural', widths.natural_degrees[1:], widths.natural),
            ('unnatural', widths.unnatural_degrees, widths.unnatural),
        ):
            setattr(self, f'{name}_first', DegreeLinear(degrees, channels, channels))
            setattr(self, f'{name}_second', DegreeLinear(degrees, channels, channels))

    def forward(self, features: Features) -> Features:
        """New features of the atoms."""
        n_atoms = len(features.scalars)
        invariant = torch.cat([features.scalars, features.natural[:, 0]], dim=1)
        scalars, gates = self.first(invariant).split([self.hidden[0], sum(self.hidden[1:])], dim=1)
        gates = (2.0 * torch.sigmoid(gates)).split(self.hidden[1:], dim=1)
        scalars, zeroth = self.second(functional.silu(scalars)).split(self.outputs, dim=1)
        parts = []
        for name, x, gate in zip(
            ('natural', 'unnatural'), (features.natural[:, 1:], features.unnatural), gates, strict=True
        ):
            gate = gate.reshape(n_atoms, -1, x.shape[2]).index_select(1, getattr(self, f'{name}_row'))
            x = getattr(self, f'{name}_first')(x) * gate
            parts.append(getattr(self, f'{name}_second')(x))
        return Features(scalars, torch.cat([zeroth[:, None], parts[0]], dim=1), parts[1])


class AtomLinear(nn.Module):
    """Linear map on the features of single atoms, scalars and l = 0 apart."""

    def __init__(self, widths: Widths):
        super().__init__()
        self.scalars = nn.Linear(widths.scalars, widths.scalars)
        self.natural = DegreeLinear(widths.natural_degrees, widths.natural, widths.natural)
        self.unnatural = DegreeLinear(widths.unnatural_degrees, widths.unnatural, widths.unnatural)

    def forward(self, features: Features) -> Features:
        """New features of the atoms."""
        return Features(
            self.scalars(features.scalars), self.natural(features.natural), self.unnatural(features.unnatural)
        )
