"""The long-range channel: sources, what graphs hold of them, and large structures on a mesh."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import geometry
from aiida_hamlr.model.long_range import particle_mesh
from aiida_hamlr.model.long_range.channel import LongRangeChannel, ResponseChannel, Sources

A = 5.6


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def uniform(atoms, polarisability):
    return tensor(np.full(len(atoms), polarisability))


def species_graph(species, counts):
    """Graph of structures of which only the elements are known."""
    counts = torch.tensor(counts)
    batch = torch.arange(len(counts)).repeat_interleave(counts)
    return {keys.SPECIES: torch.as_tensor(species), keys.N_ATOMS: counts, keys.BATCH: batch}


@pytest.fixture
def skew():
    """Eight ions in a skew cell."""
    rng = np.random.default_rng(5)
    cell = np.diag([6.0, 7.0, 8.0]) + rng.normal(0, 0.4, (3, 3))
    return Atoms('Al4As4', cell=cell, scaled_positions=rng.random((8, 3)), pbc=True)


def test_charges_are_neutral_in_every_structure_of_a_batch():
    channel = LongRangeChannel(2, 3, 1, 1.5)
    torch.nn.init.normal_(channel.environment[2].weight)
    graph = species_graph([0, 1, 1, 0, 1], [3, 2])
    sources = channel.sources(torch.randn(5, 3), graph)
    charges, factors = sources.charge.detach(), sources.factor
    assert abs(float(charges[:3].sum())) < 1e-12 and abs(float(charges[3:].sum())) < 1e-12
    assert float(charges.abs().max()) > 0 and len(factors) == 5


def test_charges_of_the_elements_alone():
    """Without functions of the surroundings atoms of one element are alike; with them they need not be."""
    graph = species_graph([0, 1, 1, 0], [4])
    invariants = torch.randn(4, 3)
    alone, usual = LongRangeChannel(2, 3, 1, 1.5, environment=False), LongRangeChannel(2, 3, 1, 1.5)
    torch.nn.init.normal_(usual.environment[2].weight)
    with torch.no_grad():
        for channel in (alone, usual):
            channel.species_charge.copy_(torch.tensor([0.3, -0.1]))
    charge = alone.sources(invariants, graph).charge
    assert charge.tolist() == pytest.approx([0.2, -0.2, -0.2, 0.2])
    assert {name for name, _ in alone.named_parameters()} == {'species_charge', 'species_factor'}
    charge = usual.sources(invariants, graph).charge
    assert float((charge[0] - charge[3]).detach().abs()) > 1e-3


def stored(channel, atoms):
    graph = Graph(**geometry(atoms), species=torch.zeros(len(atoms), dtype=torch.long))
    channel.store(graph)
    return graph


def make_channel(response, accuracy=None, dipoles=False):
    common = {'accuracy': accuracy, 'n_vectors': 3 if dipoles else 0}
    return ResponseChannel(1, 4, 1, 1.5, 2.0, **common) if response else LongRangeChannel(1, 4, 1, 1.5, **common)


KINDS = pytest.mark.parametrize(('response', 'dipoles'), [(False, False), (False, True), (True, False), (True, True)])


def permanent_dipoles(rng, n_atoms, dipoles):
    return tensor(rng.normal(0, 0.3, (n_atoms, 3))) if dipoles else None


@KINDS
def test_graphs_and_batches_give_the_same_as_sums(skew, response, dipoles):
    channel = make_channel(response, dipoles=dipoles)
    crystals = [skew, bulk('AlAs', 'zincblende', a=A), skew[:5]]
    rng = np.random.default_rng(3)
    sources, expected = [], []
    for atoms in crystals:
        charges = rng.normal(size=len(atoms))
        one = Sources(tensor(charges - charges.mean()), uniform(atoms, 1.0), tensor(rng.uniform(0, 14, len(atoms))))
        one.dipole = permanent_dipoles(rng, len(atoms), dipoles)
        sources.append(one)
        cell, positions = tensor(atoms.cell[:]), tensor(atoms.positions)
        expected.append(channel.potentials_of(one, cell, positions))
        found = channel.potentials(one, stored(channel, atoms))
        assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(found, expected[-1], strict=True))
    batch = join_graphs([stored(channel, atoms) for atoms in crystals])
    names = ('charge', 'factor', 'polarisability', 'dipole')[: 4 if dipoles else 3]
    joined = Sources(*(torch.cat([getattr(one, name) for one in sources]) for name in names))
    found = channel.potentials(joined, batch)
    for one, other in zip(found, zip(*expected, strict=True), strict=True):
        assert torch.allclose(one, torch.cat(other), atol=1e-7)


def test_unidentified_elements_keep_fixed_charges(skew):
    """Then the channel is that of fixed charges with the width of its output."""
    atoms = skew
    channel, fixed = ResponseChannel(2, 4, 1, 1.5, 2.0), LongRangeChannel(2, 4, 1, 2.0)
    with torch.no_grad():
        for one in (channel, fixed):
            one.species_charge += torch.tensor([0.3, -0.2])
    channel.species_root.data += 1.0
    species = torch.tensor((atoms.symbols == 'As').astype(int))
    graph = species_graph(species, [8])
    cell, positions = tensor(atoms.cell[:]), tensor(atoms.positions)
    invariants = torch.randn(8, 4)

    def potentials(one):
        sources = one.sources(invariants, graph)
        return one.potentials_of(sources, cell, positions)

    for one, other in zip(potentials(channel), potentials(fixed), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    channel.identified[1] = 1.0
    assert not torch.allclose(potentials(channel)[0], potentials(fixed)[0], atol=1e-2)
    polarisability = channel.sources(invariants, graph).polarisability
    assert not polarisability[species == 0].any() and bool((polarisability[species == 1] > 5).all())


@KINDS
def test_large_structures_of_a_batch_are_on_a_mesh(skew, monkeypatch, response, dipoles):
    """To its accuracy potentials and fields are those of direct sums, and so are the gradients of the charges."""
    crystals = [skew, bulk('AlAs', 'zincblende', a=A), skew.repeat((2, 1, 1))]
    rng = np.random.default_rng(3)
    charges = [rng.normal(size=len(atoms)) for atoms in crystals]
    charges = tensor(np.concatenate([values - values.mean() for values in charges])).requires_grad_()
    alphas = tensor(rng.uniform(0, 14, len(charges)))
    permanent = permanent_dipoles(rng, len(charges), dipoles)
    sources = Sources(charges, torch.ones_like(alphas), alphas, permanent)
    found = {}
    for accuracy in (None, 1e-6):
        channel = make_channel(response, accuracy, dipoles)
        # Of eight and sixteen atoms in such cells.
        monkeypatch.setattr(particle_mesh, 'DIRECT_SIZE', 1500)
        batch = join_graphs([stored(channel, atoms) for atoms in crystals])
        assert batch[keys.HAS_MATRICES].tolist() == [not accuracy, True, not accuracy]
        assert len(batch[keys.COULOMB_POTENTIAL]) == (4 if accuracy else 64 + 4 + 256)
        potential, field = channel.potentials(sources, batch)
        weights = torch.linspace(-1, 1, len(potential)).double()
        (gradient,) = torch.autograd.grad(weights @ potential + (weights @ field).sum(), charges)
        found[accuracy] = potential, field, gradient
    for one, other in zip(*found.values(), strict=True):
        assert float(one.detach().abs().max()) > 0.1
        assert torch.allclose(one, other, atol=1e-5)


def test_a_large_structure_alone_is_on_a_mesh(skew, monkeypatch):
    monkeypatch.setattr(particle_mesh, 'DIRECT_SIZE', 0)
    charges = tensor(np.where(skew.symbols == 'Al', 1.0, -1.0))
    sources = Sources(charges, torch.ones_like(charges), uniform(skew, 10.0))
    channel = ResponseChannel(1, 4, 1, 1.5, 2.0, accuracy=1e-6)
    found = channel.potentials(sources, stored(channel, skew))
    expected = channel.potentials_of(sources, tensor(skew.cell[:]), tensor(skew.positions))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-9)
