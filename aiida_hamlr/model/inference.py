"""From a stored model and a structure to its Hamiltonian."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.magnetism import same_order_reversed, starting_moments
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.siblings import fully_relativistic
from aiida_hamlr.electronic.resources import choose_device
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model import keys
from aiida_hamlr.model.files import read_model
from aiida_hamlr.model.graph_builder import PairSelection, join_spins, join_tensors
from aiida_hamlr.model.hamiltonian_model import Components, HamiltonianModel
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range.blocks import Action, StructureIntegrals, long_range_entries
from aiida_hamlr.model.long_range.channel import Sources
from aiida_hamlr.model.structure_graph import structure_graph
from aiida_hamlr.model.uncertainty import Rigidity


class Predictor:
    """Predicts Hamiltonians with one model.

    Parameters
    ----------
    model : HamiltonianModel
        Network and long-range channel with trained weights.
    description : dict
        Content of ``model.json``.
    basis : Basis
        Orbitals of the elements that the model knows.
    pseudopotentials : mapping of str to str
        UPF texts of the elements; needed by :meth:`predict` only.
    device : str
        'cpu' or 'cuda'.
    memory_limit : float, optional
        GB, for H0 of one structure.
    """

    def __init__(
        self,
        model: HamiltonianModel,
        description: dict,
        basis: Basis,
        pseudopotentials: Mapping[str, str],
        device: str = 'cpu',
        memory_limit: float | None = None,
    ):
        self.memory_limit = memory_limit
        self.model, self.device = model.to(device).eval(), device
        self.description, self.basis = description, basis
        self.pseudopotentials = dict(pseudopotentials)
        self._spin_orbit_tables: TwoCentreTables | None = None

    @property
    def species(self) -> tuple[str, ...]:
        """Labels of the species that the model knows."""
        return self.model.slots.species

    @cached_property
    def pseudos(self) -> dict[str, Pseudopotential]:
        """Pseudopotentials of the training data."""
        missing = sorted(set(self.species) - set(self.pseudopotentials))
        if missing:
            raise ValueError(f'the model holds no pseudopotential of {", ".join(missing)}; H0 cannot be computed')
        return {e: Pseudopotential.from_text(text, f'{e}.upf') for e, text in self.pseudopotentials.items()}

    @cached_property
    def _tables(self) -> TwoCentreTables:
        return TwoCentreTables(self.basis, self.pseudos if self.pseudopotentials else None)

    @cached_property
    def content_hash(self) -> str:
        """sha256 of description and weights: the same for copies of a model folder, another for any other model."""
        digest = hashlib.sha256(json.dumps(self.description, sort_keys=True).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def rigidity(self) -> Rigidity | None:
        """Uncertainty of the atoms; None for models of earlier versions."""
        content = self.description.get('uncertainty')
        return None if content is None else Rigidity.from_dict(content)

    def predict(self, atoms: Atoms) -> Hamiltonian:
        """Hamiltonian, H0 and overlap of a structure; no DFT run.

        Raises
        ------
        ValueError
            If the structure has a species that was not in the training data.
        """
        return self.predict_from(self.start(atoms))

    def start(self, atoms: Atoms) -> Hamiltonian:
        """H0 and overlap of a structure, with the orbitals and the grid cutoff of the training data.

        Raises
        ------
        ValueError
            If the structure has a species that was not in the training data.
        """
        self.check_species(atoms)
        ecutrho = self.description.get('ecutrho_Ry')
        if ecutrho is None:
            raise ValueError('the model does not say at which ecutrho its H0 was made')
        return compute_h0(
            atoms,
            self.basis,
            self.pseudos,
            ecutrho,
            tables=self._tables,
            device=self.device,
            memory_limit=self.memory_limit,
        )

    def predict_from(self, h0: Hamiltonian) -> Hamiltonian:
        """The same as :meth:`predict`, starting from a Hamiltonian that holds ``h0`` and ``overlap``.

        Raises
        ------
        ValueError
            If an element is unknown, or a basis differs from the model's.
        NumericalError
            If the network gives values that are not finite.
        """
        return self.predict_batch([h0])[0]

    def predict_batch(self, h0s: Sequence[Hamiltonian]) -> list[Hamiltonian]:
        """`predict_from` of several structures with one pass through the network; memory grows with their number.

        Raises
        ------
        ValueError
            If an element is unknown, or a basis differs from the model's, in any of the structures.
        NumericalError
            If the network gives values that are not finite for any of them.
        """
        for h0 in h0s:
            self.check_species(h0.atoms)
            self.check_basis(h0.basis)
        corrections = self._corrections(h0s)
        return [self._corrected(h0, *correction) for h0, correction in zip(h0s, corrections, strict=True)]

    def _corrected(
        self, h0: Hamiltonian, delta: np.ndarray, sources: Sources | None, uncertainty: list | None
    ) -> Hamiltonian:
        """H0 with its correction (M,) or (2, M), eV, and the attributes of a prediction."""
        inherited = ('functional', 'gauge', 'n_electrons', 'grid', 'ecutrho')
        attributes = HamiltonianAttributes(
            **{name: getattr(h0.attributes, name) for name in inherited},
            n_spin=delta.ndim,
            origin='predicted',
            code=f'aiida-hamlr {__version__}',
            model={key: self.description.get(key) for key in ('identity', 'variant', 'data_hash')},
        )
        attributes.uncertainty = uncertainty
        if sources is not None:
            attributes.long_range_charges = sources.charge.tolist()
            if sources.polarisability is not None:
                attributes.long_range_polarisabilities = sources.polarisability.tolist()
            if sources.dipole is not None:
                attributes.long_range_permanent_dipoles = sources.dipole.tolist()
        delta += h0.h0  # in place: one array less
        matrices = {'overlap': h0.overlap, 'h0': h0.h0, 'hamiltonian': delta}
        return Hamiltonian(h0.atoms.copy(), h0.basis, h0.pattern, matrices, h0.pseudopotentials, attributes)

    def add_spin_orbit(
        self,
        hamiltonian: Hamiltonian,
        siblings: Mapping[str, Pseudopotential] | None = None,
        magnetization_axis: Sequence[float] | None = None,
    ):
        """Add the spin-orbit part to a prediction; nothing of it is learned, see `spin_orbit.add_spin_orbit`.

        Parameters
        ----------
        hamiltonian : Hamiltonian
            Of :meth:`predict`.
        siblings : mapping of str to Pseudopotential, optional
            Fully relativistic versions of the model's pseudopotentials; those of the first call are kept.
        magnetization_axis : (3,) array, optional
            Where spin up of a magnetic structure points, Cartesian; default: along z.

        Raises
        ------
        ValueError
            If a species of the model has no fully relativistic pseudopotential, or one that does not belong to its own,
            or an axis is given for a structure that is not magnetic.
        """
        if self._spin_orbit_tables is None:
            pseudos = fully_relativistic(self.species, self.pseudos, siblings)
            same = all(pseudos[label] is self.pseudos[label] for label in pseudos)
            self._spin_orbit_tables = self._tables if same else TwoCentreTables(self.basis, pseudos)
        add_spin_orbit(hamiltonian, tables=self._spin_orbit_tables, magnetization_axis=magnetization_axis)

    def field_response(self, hamiltonian: Hamiltonian) -> tuple[np.ndarray, np.ndarray]:
        """Dielectric tensor (3, 3) and Born charges (N, 3, 3), e, of a model with response.

        Parameters
        ----------
        hamiltonian : Hamiltonian
            Gives the structure, its overlap and H0, as of :meth:`predict`.

        Raises
        ------
        ValueError
            If the model has no response, or the file no H0 that the model needs.
        """
        if not self.model.config.has_response:
            raise ValueError(
                f'a model of variant {self.model.config.variant} without response has no dielectric tensor'
            )
        graph, _ = self._graph(hamiltonian)
        sources = self._evaluate(graph).sources.of(slice(0, len(hamiltonian.atoms)))
        geometry = (graph[keys.CELL][0].to(self.device), graph[keys.POSITION][: len(hamiltonian.atoms)].to(self.device))
        tensor, charges = self.model.long_range.field_response(sources, *geometry)
        return tensor.cpu().numpy(), charges.cpu().numpy()

    def correction(self, h0: Hamiltonian) -> tuple[np.ndarray, Sources | None]:
        """H - H0 in the storage of a Hamiltonian, eV, exactly symmetric, and the sources of its long range.

        (M,), or for a structure with starting moments (2, M): of spin up and spin down.

        Parameters
        ----------
        h0 : Hamiltonian
            Gives the structure, ``h0`` and ``overlap``.
        """
        return self._corrections([h0])[0][:2]

    def _corrections(self, h0s: Sequence[Hamiltonian]) -> list[tuple[np.ndarray, Sources | None, list | None]]:
        """`correction` of several structures, and the uncertainties of the atoms."""
        graphs, selections = zip(*(self._graph(h0) for h0 in h0s), strict=True)
        components = self._evaluate(*graphs)
        atoms, pairs = (
            np.cumsum([0, *(len(graph[key]) for graph in graphs)]) for key in (keys.SPECIES, keys.PAIR_LENGTH)
        )
        spins = [len(graph[keys.N_ATOMS]) for graph in graphs]
        del graphs  # they take more than a matrix
        onsite, offsite = (x.cpu().numpy() for x in (components.onsite, components.pairs))
        results = []
        for index, (h0, selection, n_spin) in enumerate(zip(h0s, selections, spins, strict=True)):
            of_atoms, of_pairs = (slice(bounds[index], bounds[index + 1]) for bounds in (atoms, pairs))
            first = slice(of_atoms.start, of_atoms.start + len(h0.atoms))
            action = None if components.action is None else components.action.of(first)
            blocks = zip(np.split(onsite[of_atoms], n_spin), np.split(offsite[of_pairs], n_spin), strict=True)
            deltas = [self._assemble(h0, selection, spin, action) for spin in blocks]
            if same_order_reversed(h0.atoms):
                deltas.reverse()
            delta = deltas[0] if n_spin == 1 else np.stack(deltas)
            sources = None if components.sources is None else components.sources.of(first).to_numpy()
            uncertainty = None
            if self.rigidity is not None:
                invariants = components.invariants[of_atoms].double().cpu().numpy()
                of_spins = self.rigidity(invariants, n_spin * species_labels(h0.atoms)).reshape(n_spin, -1)
                uncertainty = np.sqrt((of_spins**2).mean(axis=0)).tolist()
            results.append((delta, sources, uncertainty))
        return results

    def _graph(self, h0: Hamiltonian) -> tuple[dict, PairSelection]:
        """Graph of a structure with what the network needs, of both spins if it has moments, and its pairs."""
        atoms = h0.atoms
        graph, selection = structure_graph(self.model, h0)
        self.model.normalise(graph)
        for name in keys.H0_COMPONENTS:
            graph.pop(name, None)
        if self.model.long_range is not None:
            self.model.long_range.store(graph, matrices=False)
        if self.model.config.magnetic and starting_moments(atoms) is not None:
            if same_order_reversed(atoms):
                graph[keys.MOMENT] = -graph[keys.MOMENT]
            graph = join_spins(graph, graph)
        return graph, selection

    def _assemble(self, h0: Hamiltonian, selection, components: tuple, action: Action | None) -> np.ndarray:
        """H - H0 of one structure (M,), eV, from its components and the action of the long range."""
        model, atoms, pattern = self.model, h0.atoms, h0.pattern
        delta = BlockFrames.of(model.slots, atoms, pattern, selection).assemble(*components)
        if action is not None:
            tables = self._tables if model.long_range.multipole_order else None
            integrals = StructureIntegrals(atoms, pattern, h0.overlap, tables)
            long_range_entries(action.to('cpu'), integrals, model.pair_cutoff, onto=delta)
        if not np.isfinite(delta).all():
            raise NumericalError('the model predicts values that are not finite')
        return delta

    def _evaluate(self, *graphs) -> Components:
        """Short range and sources of graphs of :meth:`_graph`, in one pass."""
        graph = join_tensors(graphs)
        with torch.no_grad():
            return self.model.short_range_and_action({name: value.to(self.device) for name, value in graph.items()})

    def check_species(self, atoms: Atoms):
        """Raise ``ValueError`` if the structure has a species that the model never saw."""
        unknown = sorted(set(species_labels(atoms)) - set(self.species))
        if unknown:
            raise ValueError(
                f'{atoms.get_chemical_formula()}: the model never saw {", ".join(unknown)}; '
                f'it was trained on {", ".join(self.species)}'
            )

    def describe_moments(self, atoms: Atoms) -> list[str]:
        """What to warn of if a structure has starting moments and the model none, or the other way round."""
        moments = starting_moments(atoms)
        if moments is not None and not self.model.config.magnetic:
            return ['starting moments are ignored: the model was trained without collinear spin']
        if moments is None and self.model.config.magnetic:
            return ['the structure has no starting moments; it is predicted without magnetization (magnetic_moments)']
        return []

    def check_basis(self, basis: Basis):
        """Raise ``ValueError`` if a basis differs from the model's."""
        for element, species in basis.items():
            if element not in self.basis:
                continue
            expected, found = self.basis[element].content_hash, species.content_hash
            if expected != found:
                raise ValueError(
                    f'basis of {element}: the model was trained with {expected[:12]}, the structure has {found[:12]}'
                )


def load_model(path: str | Path, device: str = 'cpu', memory_limit: float | None = None) -> Predictor:
    """Load a model folder; runs no code from it.

    Parameters
    ----------
    path : path
        Folder with ``model.json``, or the output folder of a training, which has it in ``model/``.
    device : str
        'cpu', 'cuda' or 'auto'.
    memory_limit : float, optional
        GB, for H0 of one structure.

    Returns
    -------
    Predictor
        Ready to predict on the device.

    Raises
    ------
    ValueError
        If it is no model folder, or damaged, or newer than this program.
    """
    path = Path(path)
    if not (path / 'model.json').exists() and (path / 'model' / 'model.json').exists():
        path = path / 'model'
    return Predictor(*read_model(path), device=choose_device(device), memory_limit=memory_limit)
