"""Training data: reading and checking Hamiltonian files, and their targets on graphs."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from aiida_hamlr.electronic.distances import summarise_distances
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.graph import Graph
from aiida_hamlr.model.graph_builder import PairSelection
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range.blocks import StructureIntegrals
from aiida_hamlr.model.training.band_loss import BandReference
from aiida_hamlr.model.training.initial_charges import fit_charges, fit_response
from aiida_hamlr.model.training.labels import FirstSources, add_labels

#: H that is nowhere further from H0 is H0, eV.
SAME = 1e-6

#: Most orbital pairs from which a model's tables are made; a row of each is in memory then.
MOST_PAIRS = 300_000

#: Ratio of k spacings from which one is warned of.
SPACING_RATIO = 1.2


def refuse_spin(hamiltonian: Hamiltonian, path: str | Path):
    """Raise ``ValueError`` if the Hamiltonian of a file is spin-polarised."""
    if hamiltonian.n_spin != 1:
        raise ValueError(f'{path}: spin-polarised (n_spin = 2), which the network does not learn; leave the file out')


def fitted_shift(error: np.ndarray, overlap: np.ndarray) -> float:
    """The c (eV) for which ``error + c S`` has the smallest sum of squares."""
    return -float(overlap @ error) / float(overlap @ overlap)


@dataclass
class Head:
    """What a Hamiltonian file says beside its matrices."""

    path: str
    atoms: Atoms
    basis: Basis
    pseudopotentials: dict[str, str]
    attributes: HamiltonianAttributes
    labels: dict[str, np.ndarray]

    def k_spacing(self) -> float | None:
        """Largest distance of k points of the self-consistent run, 1/Å (without 2 pi), or None if not recorded."""
        mesh = self.attributes.scf_kpoints
        try:
            mesh = np.asarray(mesh, dtype=float)
        except (TypeError, ValueError):
            return None
        if mesh.shape != (3,) or not (mesh > 0).all():
            return None
        return float((np.linalg.norm(np.linalg.inv(np.asarray(self.atoms.cell)), axis=0) / mesh).max())


@dataclass
class Survey(Head):
    """The same with what is known of the matrices without keeping them: their hash and :func:`block_means`."""

    content_hash: str
    block_means: tuple[np.ndarray, np.ndarray]


@dataclass
class Reference(Head):
    """What is learned from one Hamiltonian file: ``delta`` = H - H0 (M,) and H0 (M,), eV, and the overlap (M,)."""

    pattern: BlockPattern
    delta: np.ndarray
    overlap: np.ndarray
    h0: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Reference:
        """Read a Hamiltonian file and check that it can be learned from.

        Raises
        ------
        ValueError
            If a matrix is missing, H equals H0 up to a constant, or the file is spin-polarised.
        """
        hamiltonian = Hamiltonian.read(path, ('hamiltonian', 'h0', 'overlap'))
        missing = [name for name in ('hamiltonian', 'h0', 'overlap') if name not in hamiltonian.matrices]
        if missing:
            raise ValueError(f'{path}: holds no {" and no ".join(missing)}; train on files of `hamlr reconstruct`')
        refuse_spin(hamiltonian, path)
        delta = hamiltonian.hamiltonian - hamiltonian.h0
        shift = fitted_shift(delta, hamiltonian.overlap)
        if np.abs(delta + shift * hamiltonian.overlap).max(initial=0.0) < SAME:
            what = 'H0' if abs(shift) < SAME else f'H0 {-shift:+.4g} eV'
            raise ValueError(f'{path}: H equals {what}, so there is nothing to learn; it is no reference calculation')
        return cls(
            str(path),
            hamiltonian.atoms,
            hamiltonian.basis,
            dict(hamiltonian.pseudopotentials),
            hamiltonian.attributes,
            hamiltonian.labels,
            hamiltonian.pattern,
            delta,
            hamiltonian.overlap,
            hamiltonian.h0,
        )

    @property
    def content_hash(self) -> str:
        """sha256 of structure and matrices."""
        digest = hashlib.sha256()
        for array in (np.asarray(self.atoms.cell), self.atoms.positions, self.atoms.numbers, self.delta, self.overlap):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def survey(self) -> Survey:
        """What to know of the file when its matrices are gone."""
        head = (self.path, self.atoms, self.basis, self.pseudopotentials, self.attributes, self.labels)
        return Survey(*head, self.content_hash, block_means(self))


@dataclass(frozen=True)
class DataIdentity:
    """What all files of a training have in common, and in ``warnings`` what they should have, but have not."""

    basis: Basis
    pseudopotentials: dict[str, str]
    functional: str | None
    gauge: str | None
    ecutrho: float | None
    content_hash: str
    warnings: tuple[str, ...] = ()
    #: Of `summarise_distances`.
    distances: dict = field(default_factory=dict)

    @property
    def shells(self) -> dict[str, list[int]]:
        """Angular momenta of the shells of every element."""
        return {element: list(species.angular_momenta) for element, species in self.basis.items()}


def identify(references: Sequence[Reference | Survey]) -> DataIdentity:
    """Check that files can be learned together, and say what they have in common.

    Raises
    ------
    ValueError
        If bases, pseudopotentials, functionals or gauges differ; the message names two files.

    Warns
    -----
    UserWarning
        If the k spacings of the runs or their cutoffs differ, or files have the same content.
    """
    if not references:
        raise ValueError('no Hamiltonian files to train on')
    first = references[0]
    basis, texts, origin = {}, {}, {}
    for reference in references:
        for name in ('functional', 'gauge'):
            one, other = getattr(first.attributes, name), getattr(reference.attributes, name)
            if one != other:
                raise ValueError(f'{first.path} and {reference.path} differ in {name}: {one} and {other}')
        for element, species in reference.basis.items():
            if basis.setdefault(element, species).content_hash != species.content_hash:
                raise ValueError(f'{origin[element]} and {reference.path} have different bases for {element}')
            text = reference.pseudopotentials.get(element)
            if text is not None and texts.setdefault(element, text) != text:
                raise ValueError(f'{origin[element]} and {reference.path} have different pseudopotentials of {element}')
            origin.setdefault(element, reference.path)
    spacings = [reference.k_spacing() for reference in references]
    found = [_spread(references, 'k spacing (1/Å)', spacings, SPACING_RATIO)]
    for name in ('ecutrho', 'ecutwfc'):
        cutoffs = [getattr(reference.attributes, name) for reference in references]
        found.append(_spread(references, f'{name} (Ry)', cutoffs, 1.001))
    hashes = [reference.content_hash for reference in references]
    found.append(_repetition(references, hashes))
    found = tuple(text for text in found if text is not None)
    for text in found:
        warnings.warn(text, stacklevel=2)
    return DataIdentity(
        Basis(basis),
        texts,
        first.attributes.functional,
        first.attributes.gauge,
        first.attributes.ecutrho,
        hash_of_data(hashes),
        found,
        summarise_distances(reference.atoms for reference in references),
    )


def hash_of_data(hashes: Sequence[str]) -> str:
    """sha256 of files from those of their contents, in whatever order."""
    return hashlib.sha256(json.dumps(sorted(hashes)).encode()).hexdigest()


def _spread(references, what: str, values, ratio: float) -> str | None:
    known = [(value, reference.path) for value, reference in zip(values, references, strict=True) if value]
    if not known or max(known)[0] <= ratio * min(known)[0]:
        return None
    (low, low_path), (high, high_path) = min(known), max(known)
    return f'{what} differs between the training files: {low:.4g} in {low_path}, {high:.4g} in {high_path}'


def _repetition(references, hashes: Sequence[str]) -> str | None:
    first: dict[str, str] = {}
    repeated = [
        (first[content], reference.path)
        for content, reference in zip(hashes, references, strict=True)
        if first.setdefault(content, reference.path) != reference.path
    ]
    if not repeated:
        return None
    (one, other), more = repeated[0], len(repeated) - 1
    return f'{one} and {other} have the same content' + (f' (and {more} more such pairs)' if more else '')


def block_means(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (Å) of the off-site blocks and their mean absolute elements of H - H0 (eV)."""
    pattern = reference.pattern
    sums = np.add.reduceat(np.abs(reference.delta), pattern.chunk_boundaries[:-1])
    lengths = np.linalg.norm(pattern.vectors(np.asarray(reference.atoms.cell), reference.atoms.positions), axis=1)
    offsite = np.ones(len(pattern), dtype=bool)
    offsite[pattern.onsite] = False
    return lengths[offsite], (sums / pattern.chunk_shapes.prod(axis=1))[offsite]


@dataclass
class Example:
    """A structure with targets, ready for the network; pairs of one element in both orientations."""

    graph: Graph
    selection: PairSelection
    name: str
    bands: BandReference | None = None

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """(n_half,) one orientation of every pair, at random for pairs of one element."""
        n_half = self.selection.n_half
        return np.where(generator.random(n_half) < 0.5, self.selection.other, np.arange(n_half))


def add_long_range(model, graph, atoms: Atoms, frames: BlockFrames, overlap, tables: TwoCentreTables):
    """Store in a graph what the long-range channel needs to give components."""
    model.long_range.store(graph)
    if model.config.multipole_order:
        dipole = StructureIntegrals(atoms, frames.pattern, overlap, tables).flat_dipole()
        for name, parts in (
            (keys.PAIR_DIPOLE, frames.pair_components(*dipole)),
            (keys.ONSITE_DIPOLE, frames.onsite_components(*dipole)),
        ):
            graph[name] = torch.as_tensor(np.stack(parts, axis=1), dtype=model.dtype)


def make_example(
    model, reference: Reference, tables: TwoCentreTables, settings: TrainingConfig | None = None
) -> Example:
    """Graph and targets of one file; two-body parts and scales are not yet on it.

    With settings that ask for them, what the errors of bands need is added.
    """
    tensors, selection = model.builder.build(reference.atoms, reference.pattern)
    graph = Graph(**tensors)
    frames = BlockFrames.of(model.slots, reference.atoms, reference.pattern, selection)
    overlap = reference.pattern.symmetrize(reference.overlap)
    pairs = frames.pair_components(reference.delta, overlap)
    onsite = frames.onsite_components(reference.delta, overlap)
    for name, values in (
        (keys.PAIR_TARGET, pairs[0]),
        (keys.PAIR_OVERLAP, pairs[1]),
        (keys.ONSITE_TARGET, onsite[0]),
        (keys.ONSITE_OVERLAP, onsite[1]),
    ):
        graph[name] = torch.as_tensor(values, dtype=model.dtype)
    sizes = reference.pattern.chunk_shapes.prod(axis=1)
    n_onsite = int(sizes[reference.pattern.onsite].sum())
    half = selection.blocks[: selection.n_half]
    neglected = np.ones(len(sizes), dtype=bool)
    neglected[np.concatenate([half, reference.pattern.reverse[half], reference.pattern.onsite])] = False
    rest = np.add.reduceat(np.abs(reference.delta), reference.pattern.chunk_boundaries[:-1])[neglected].sum()
    graph[keys.N_ONSITE] = torch.tensor([n_onsite])
    graph[keys.N_PAIRS] = torch.tensor([int(2 * sizes[half].sum())])
    graph[keys.N_ALL] = torch.tensor([reference.pattern.n_entries])
    graph[keys.NEGLECTED] = torch.tensor([rest], dtype=model.dtype)
    if model.long_range is not None:
        add_long_range(model, graph, reference.atoms, frames, overlap, tables)
        add_labels(graph, reference.labels)
    bands = None
    if settings is not None and settings.needs_bands and frames.pattern.n_orbitals.sum() <= settings.band_max_orbitals:
        bands = BandReference(
            frames,
            reference.h0,
            reference.delta,
            reference.overlap,
            reference.attributes.n_electrons,
            settings.bands_below,
            settings.bands_above,
            reference.path,
        )
    return Example(graph, selection, reference.path, bands)


def representative(examples: Sequence[Example]) -> list[Example]:
    """Examples, as many as the memory has room for, that stand for all: evenly spaced ones."""
    first = examples[0]
    # Before all are loaded, the first has to tell how large they are.
    n_chosen = max(1, min(len(examples), MOST_PAIRS // max(1, len(first.selection.blocks))))
    return [examples[int(index)] for index in np.linspace(0, len(examples) - 1, n_chosen).round()]


def prepare(model, examples: Sequence[Example], known: FirstSources | None = None):
    """Set a model's tables, and its charges to begin with, from the training set; complete the graphs with the tables.

    Charges and polarisabilities that are known are not taken from the levels of the atoms.
    The tables are those of H - H0 less the part of the initial charges, which is what the network has to give at first.
    """
    for example in examples:
        model.normalise_pairs(example.graph)
    if model.long_range is not None:
        arguments = (
            model.long_range,
            [example.graph for example in examples],
            len(model.slots.species),
            model.config.message_cutoff,
            model.slots.onsite.multiplicity,
        )
        if model.config.response:
            if known is None or known.polarisability is None:
                charges, polarisabilities = fit_response(*arguments)
            else:
                polarisabilities = known.polarisability * model.long_range.identified.numpy()
                charges = fit_charges(*arguments, polarisabilities)
            model.long_range.start_from(polarisabilities)
        else:
            charges = fit_charges(*arguments)
        for element, charge in known.charges.items() if known is not None else ():
            charges[model.slots.species.index(element)] = charge
        with torch.no_grad():
            model.long_range.species_charge.copy_(torch.as_tensor(charges))
    _fit_normalisation(model, examples)
    for example in examples:
        model.normalise_pairs(example.graph)


def _fit_normalisation(model, examples: Sequence[Example]):
    n_species = len(model.slots.species)
    kinds, lengths, pairs, species, onsite = [], [], [], [], []
    for example in examples:
        graph = example.graph
        elements = graph[keys.SPECIES].numpy()
        first, second = graph[keys.PAIR_INDEX].numpy()
        kinds.append(n_species * elements[first] + elements[second])
        lengths.append(graph[keys.PAIR_LENGTH].double().numpy())
        species.append(elements)
        onsite_target, pair_target = graph[keys.ONSITE_TARGET], graph[keys.PAIR_TARGET]
        if model.long_range is not None:
            with torch.no_grad():
                onsite_part, pair_part = model.blocks_of_elements(graph)
            onsite_target, pair_target = onsite_target - onsite_part, pair_target - pair_part
        pairs.append(pair_target.double().numpy())
        onsite.append(onsite_target.double().numpy())
    arrays = (np.concatenate(parts) for parts in (kinds, lengths, pairs, species, onsite))
    model.normalisation.fit(model.slots, *arrays)
