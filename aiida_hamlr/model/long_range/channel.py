"""The long-range channel: learned charges and dipoles, their action on the orbitals, and atoms that respond.

Units: e, Å, V, eV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from aiida_hamlr.model import keys
from aiida_hamlr.model.long_range.blocks import Action
from aiida_hamlr.model.long_range.field_response import field_response
from aiida_hamlr.model.long_range.neutrality import passed_along_bonds
from aiida_hamlr.model.long_range.operators import graph_operator, keeps_matrices, store_matrices
from aiida_hamlr.model.long_range.polarisation import solve_dipoles

#: What is stored of potentials and fields at the atoms, and of those that act on the orbitals where they differ.
INNER = (keys.COULOMB_POTENTIAL, keys.COULOMB_FIELD, keys.COULOMB_DIPOLE)
OUTER = (keys.OUTER_POTENTIAL, keys.OUTER_FIELD, keys.OUTER_DIPOLE)


@dataclass
class Sources:
    """Charges and dipoles of the atoms, float64.

    ``charge`` (N,), e, neutral in every structure; ``factor`` (N,) of the field's action on the orbitals;
    ``polarisability`` (N,), Å^3, where charges polarise the atoms, and ``dipole`` (N, 3), e Å, the permanent ones.
    """

    charge: torch.Tensor
    factor: torch.Tensor
    polarisability: torch.Tensor | None = None
    dipole: torch.Tensor | None = None

    def _each(self, function: Callable) -> Sources:
        return Sources(**{name: function(value) for name, value in vars(self).items() if value is not None})

    def of(self, atoms) -> Sources:
        """Sources of some atoms."""
        return self._each(lambda value: value[atoms])

    def to_numpy(self) -> Sources:
        """The same as arrays."""
        return self._each(lambda value: value.cpu().numpy())


class LongRangeChannel(nn.Module):
    """Learned neutral charges, and their potentials and fields at the atoms.

    The Hamiltonian that follows is made in :mod:`blocks`. Charges and the factors of the field (1 at the start) are a
    constant per element plus a function of the atom's invariants that starts at zero.

    Parameters
    ----------
    n_species, n_invariants : int
        Numbers of elements and of invariants of an atom.
    multipole_order : int
        0: potentials act on the orbitals; 1: fields, too.
    width : float
        Width s of the kernel, Å.
    environment : bool
        Whether charges and factors depend on the surroundings; otherwise they are the constants of the elements.
    accuracy : float or None
        Of the mesh that large structures get, V for charges of 1 e; None: no structure gets one.
    bonds : bool
        Whether charges pass along the bonds of the graphs; otherwise the net charge is subtracted equally from all
        atoms.
    n_vectors : int
        Number of polar vectors of an atom, from which its permanent dipole is made (zero at the start); 0: no permanent
        dipoles.
    """

    #: Functions of an atom's surroundings: charge and factor.
    n_functions = 2

    def __init__(
        self,
        n_species: int,
        n_invariants: int,
        multipole_order: int,
        width: float,
        environment: bool = True,
        accuracy: float | None = None,
        bonds: bool = False,
        n_vectors: int = 0,
    ):
        super().__init__()
        self.multipole_order, self.width, self.accuracy, self.bonds = multipole_order, width, accuracy, bonds
        self.species_charge = nn.Parameter(torch.zeros(n_species))
        self.species_factor = nn.Parameter(torch.ones(n_species))
        self.environment = None
        if environment:
            self.environment = nn.Sequential(nn.Linear(n_invariants, 32), nn.SiLU(), nn.Linear(32, self.n_functions))
            nn.init.zeros_(self.environment[2].weight)
            nn.init.zeros_(self.environment[2].bias)
        self.dipole_weights = nn.Parameter(torch.zeros(n_species, n_vectors)) if n_vectors else None

    def sources(
        self,
        invariants: torch.Tensor,
        graph,
        vectors: torch.Tensor | None = None,
    ) -> Sources:
        """Sources from the network's invariants (N, c) and polar vectors (N, 3, c') of the atoms."""
        if self.environment is None:
            environment = self._no_environment(graph)
        else:
            environment = self.environment(invariants).double()
        sources = self._sources(environment, graph)
        if self.dipole_weights is not None:
            weights = self.dipole_weights[graph[keys.SPECIES]]
            sources.dipole = torch.einsum('nac,nc->na', vectors, weights).double()
        return sources

    def sources_of_elements(self, graph) -> Sources:
        """Sources if all atoms had the constants of their element."""
        return self._sources(self._no_environment(graph), graph)

    def _no_environment(self, graph) -> torch.Tensor:
        return self.species_charge.new_zeros(len(graph[keys.SPECIES]), self.n_functions).double()

    def _sources(self, environment, graph) -> Sources:
        species = graph[keys.SPECIES]
        charge = self.species_charge.double()[species] + environment[:, 0]
        factor = self.species_factor.double()[species] + environment[:, 1]
        return Sources(self.neutral(charge, graph), factor)

    def neutral(self, charge: torch.Tensor, graph) -> torch.Tensor:
        """(N,) charges that are neutral in every structure, from the raw charges (N,) of the atoms."""
        if self.bonds:
            return passed_along_bonds(charge, graph)
        batch, counts = graph[keys.BATCH], graph[keys.N_ATOMS]
        total = charge.new_zeros(len(counts)).index_add(0, batch, charge)
        return charge - (total / counts)[batch]

    def store(self, graph, matrices: bool = True):
        """Store in the graph of one structure, with its cell and positions, what the potentials need.

        For a small structure these are the matrices of all pairs of atoms, unless ``matrices`` is false, as for a graph
        that is used once only.
        """
        matrices = matrices and keeps_matrices(graph, self.width, self.accuracy)
        graph[keys.HAS_MATRICES] = torch.tensor([matrices])
        self._store_matrices(graph)

    @property
    def _inner(self) -> tuple[str, ...]:
        return INNER if self.dipole_weights is not None else INNER[:2]

    def _store_matrices(self, graph):
        store_matrices(graph, self._inner, self.width)

    def potentials(self, sources: Sources, graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,), V, and field (N, 3), V/Å, at the atoms of a graph that went through :meth:`store`."""
        return graph_operator(graph, self._inner, self.width, self.accuracy)(sources.charge, sources.dipole)

    def forward(self, sources: Sources, graph) -> Action:
        """Action of the sources on the orbitals of a graph's atoms."""
        potential, field = self.potentials(sources, graph)
        return Action(potential, sources.factor[:, None] * field if self.multipole_order else None)


class ResponseChannel(LongRangeChannel):
    """Learned charges that polarise the atoms; their potentials and fields act on the orbitals with a second width.

    Polarisabilities are ``UNIT (r + f)^2`` with a constant r per element, small at the start, and a function f of the
    atom's invariants that starts at zero. Elements whose polarisability the training data do not determine keep zero.

    Parameters
    ----------
    n_species, n_invariants : int
        Numbers of elements and of invariants of an atom.
    multipole_order : int
        0: potentials act on the orbitals; 1: fields, too.
    width, output_width : float
        Widths of the kernel in the self-consistent solution and of the potentials that act on the orbitals, Å.
    **more
        As for :class:`LongRangeChannel`.
    """

    #: Charge, factor and polarisability.
    n_functions = 3

    #: Polarisability of r + f = 1, Å^3: one of the size of a bond's.
    UNIT = 10.0

    #: r at the start.
    START = 0.1

    def __init__(
        self,
        n_species: int,
        n_invariants: int,
        multipole_order: int,
        width: float,
        output_width: float,
        **more,
    ):
        super().__init__(n_species, n_invariants, multipole_order, width, **more)
        self.output_width = output_width
        self.species_root = nn.Parameter(torch.full((n_species,), self.START))
        self.register_buffer('identified', torch.zeros(n_species))

    @property
    def species_polarisability(self) -> torch.Tensor:
        """(n_species,) polarisability of the elements without what their surroundings add, Å^3."""
        return (self.identified * self.UNIT * self.species_root.square()).detach()

    def start_from(self, polarisabilities):
        """Set the polarisabilities (Å^3), one or (n_species,), with which training starts; all stay above zero."""
        roots = (torch.as_tensor(polarisabilities) / self.UNIT).sqrt().clamp_min(self.START)
        with torch.no_grad():
            self.species_root.copy_(roots.expand_as(self.species_root))

    def _sources(self, environment, graph) -> Sources:
        sources = super()._sources(environment, graph)
        species = graph[keys.SPECIES]
        root = self.species_root.double()[species] + environment[:, 2]
        sources.polarisability = self.identified.double()[species] * self.UNIT * root.square()
        return sources

    @property
    def _inner(self) -> tuple[str, ...]:
        return INNER

    def _store_matrices(self, graph):
        store_matrices(graph, INNER, self.width)
        store_matrices(graph, OUTER, self.output_width)

    def dipoles(self, sources: Sources, graph) -> torch.Tensor:
        """(N, 3) self-consistent dipoles, permanent ones included, e Å."""
        operator = graph_operator(graph, INNER, self.width, self.accuracy)
        return solve_dipoles(operator, sources.charge, sources.polarisability, sources.dipole)[0]

    def field_response(self, sources: Sources, cell, positions) -> tuple[torch.Tensor, torch.Tensor]:
        """Dielectric tensor (3, 3) and Born charges (N, 3, 3), e, of one structure; see :mod:`field_response`."""
        arguments = (sources.charge, sources.polarisability, sources.dipole)
        return field_response(cell, positions, self.width, *arguments)

    def potentials(self, sources: Sources, graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,), V, and field (N, 3), V/Å, of charges and self-consistent dipoles at the atoms of a graph."""
        operator = graph_operator(graph, OUTER, self.output_width, self.accuracy)
        return operator(sources.charge, self.dipoles(sources, graph))
