"""The long-range channel: sources, what graphs hold of them, and large structures on a mesh."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import geometry
from aiida_hamlr.model.long_range import particle_mesh
from aiida_hamlr.model.long_range.channel import LongRangeChannel, ResponseChannel, Sources
from aiida_hamlr.model.long_range.ewald import DirectSum

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


def test_charges_pass_along_bonds():
    """Two separate pairs of atoms: each is neutral by itself, not only the whole."""
    channel = LongRangeChannel(3, 3, 1, 1.5, environment=False, bonds=True)
    with torch.no_grad():
        channel.species_charge.copy_(torch.tensor([1.0, -0.5, 0.2]))
    graph = species_graph([0, 1, 1, 2], [4])
    graph[keys.BOND_INDEX] = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    graph[keys.BOND_WEIGHT] = tensor([0.5, 0.5, 0.25, 0.25])
    charge = channel.sources(torch.zeros(4, 3), graph).charge
    assert charge.tolist() == pytest.approx([0.75, -0.75, -0.175, 0.175])


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


def stored(channel, atoms, matrices=True):
    graph = Graph(**geometry(atoms), species=torch.zeros(len(atoms), dtype=torch.long))
    channel.store(graph, matrices)
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
        expected.append(channel.potentials(one, stored(channel, atoms, matrices=False)))
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
    invariants = torch.randn(8, 4)

    def potentials(one):
        sources = one.sources(invariants, graph)
        return one.potentials(sources, stored(one, atoms, matrices=False))

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


@pytest.mark.parametrize('matrices', [True, False])
def test_a_large_structure_alone_is_on_a_mesh(skew, monkeypatch, matrices):
    charges = tensor(np.where(skew.symbols == 'Al', 1.0, -1.0))
    sources = Sources(charges, torch.ones_like(charges), uniform(skew, 10.0))
    channel = ResponseChannel(1, 4, 1, 1.5, 2.0, accuracy=1e-6)
    expected = channel.potentials(sources, stored(channel, skew))
    monkeypatch.setattr(particle_mesh, 'DIRECT_SIZE', 0)
    graph = stored(channel, skew, matrices)
    assert not graph[keys.HAS_MATRICES].any() and not len(graph[keys.COULOMB_POTENTIAL])
    for one, other in zip(channel.potentials(sources, graph), expected, strict=True):
        assert 0.0 < float((one - other).abs().max()) < 1e-5


def test_sources_are_constants_plus_functions_of_the_surroundings(skew):
    """Each by its formula, atom by atom."""
    channel = ResponseChannel(2, 4, 1, 1.5, 2.0, n_vectors=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in channel.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=generator)
        channel.identified.copy_(torch.tensor([1.0, 0.0]))
    species = [0, 1, 1, 0, 0]
    invariants, vectors = torch.randn(5, 4, generator=generator), torch.randn(5, 3, 3, generator=generator)
    with torch.no_grad():
        sources = channel.sources(invariants, species_graph(species, [2, 3]), vectors)
        functions = channel.environment(invariants).double().numpy()
    assert np.abs(functions).min() > 1e-3
    constants = [
        parameter.detach().double().numpy()
        for parameter in (channel.species_charge, channel.species_factor, channel.species_root, channel.dipole_weights)
    ]
    raw = np.array([constants[0][kind] + functions[n, 0] for n, kind in enumerate(species)])
    for structure in (slice(0, 2), slice(2, 5)):
        expected = raw[structure] - sum(raw[structure]) / len(raw[structure])
        assert sources.charge[structure].numpy() == pytest.approx(expected, abs=1e-7)
    for n, kind in enumerate(species):
        assert float(sources.factor[n]) == pytest.approx(constants[1][kind] + functions[n, 1], abs=1e-7)
        polarisability = 10.0 * (constants[2][kind] + functions[n, 2]) ** 2 if kind == 0 else 0.0
        assert float(sources.polarisability[n]) == pytest.approx(polarisability, rel=1e-6)
        dipole = [sum(constants[3][kind][c] * float(vectors[n, a, c]) for c in range(3)) for a in range(3)]
        assert sources.dipole[n].numpy() == pytest.approx(dipole, abs=1e-6)


def test_constants_of_elements_at_the_start():
    """Stored models hold the roots, in units of 10 Å^3."""
    channel = ResponseChannel(2, 4, 1, 1.5, 2.0)
    assert channel.species_factor.tolist() == [1.0, 1.0] and not channel.species_charge.any()
    channel.identified.copy_(torch.tensor([1.0, 0.0]))
    channel.start_from(torch.tensor([40.0, 40.0]))
    assert channel.species_polarisability.tolist() == pytest.approx([40.0, 0.0])


@KINDS
def test_action_of_the_sources_on_the_orbitals(skew, response, dipoles):
    """The potential, and the field times the factor, of charges and dipoles: those induced with the width of the
    charges, all of them acting with the width of the output.
    """
    channel = make_channel(response, dipoles=dipoles)
    rng = np.random.default_rng(7)
    charges, factor = rng.normal(size=8), rng.normal(size=8)
    sources = Sources(tensor(charges - charges.mean()), tensor(factor), uniform(skew, 5.0) if response else None)
    sources.dipole = permanent_dipoles(rng, 8, dipoles)
    geometries = tensor(skew.cell[:]), tensor(skew.positions)
    inner, outer = DirectSum(*geometries, 1.5), DirectSum(*geometries, 2.0 if response else 1.5)
    total = sources.dipole
    if response:
        total = torch.zeros(8, 3).double()
        for _ in range(400):
            field = inner(sources.charge, total)[1]
            total = 0.5 * total + 0.5 * ((0.0 if sources.dipole is None else sources.dipole) + 5.0 / COULOMB * field)
    potential, field = outer(sources.charge, total)
    for matrices in (True, False):
        action = channel(sources, stored(channel, skew, matrices))
        assert torch.allclose(action.potential, potential, atol=1e-7)
        assert torch.allclose(action.force, tensor(factor)[:, None] * field, atol=1e-7)
    channel.multipole_order = 0
    assert channel(sources, stored(channel, skew)).force is None
