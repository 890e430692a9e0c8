"""Attention in reciprocal space: the formula by direct sums, symmetries, and the same result in any cell."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import geometry
from aiida_hamlr.model.network.attention import ReciprocalAttention, Waves, add_waves
from aiida_hamlr.model.network.layers import Features, Widths

WIDTHS = Widths(2, 8, 6, 4)
N_INVARIANTS = WIDTHS.scalars + WIDTHS.natural
CUTOFF, N_BASIS, HEADS, CHANNELS = 2.1, 5, 2, 3

OPERATIONS = {
    'rotation': Rotation.random(random_state=3).as_matrix(),
    'inversion': -np.eye(3),
    'mirror': np.diag([1.0, 1.0, -1.0]),
    'improper': -Rotation.random(random_state=4).as_matrix(),
}


@pytest.fixture
def attention():
    module = ReciprocalAttention(WIDTHS, HEADS, CHANNELS, N_BASIS).double()
    torch.nn.init.normal_(module.strength)
    return module


@pytest.fixture
def atoms(mixed_atoms):
    return mixed_atoms


@pytest.fixture
def invariants(atoms):
    return torch.randn(len(atoms), N_INVARIANTS, dtype=torch.float64)


def waves_of(atoms, cutoff=CUTOFF):
    graph = geometry(atoms)
    add_waves(graph, cutoff)
    return Waves.of(graph, cutoff, N_BASIS, torch.float64)


def attend(attention, atoms, invariants, cutoff=CUTOFF):
    with torch.no_grad():
        return attention.attend(invariants, waves_of(atoms, cutoff))


def largest(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def random_features(n_atoms):
    shapes = (WIDTHS.scalars,), (len(WIDTHS.natural_degrees), 6), (len(WIDTHS.unnatural_degrees), 4)
    return Features(*(torch.randn(n_atoms, *shape, dtype=torch.float64) for shape in shapes))


def test_formula_by_direct_sums_over_all_wave_vectors(attention, atoms, invariants):
    scalars, vectors = attend(attention, atoms, invariants)
    projected = attention.projections(invariants).detach().numpy().reshape(len(atoms), 3, HEADS, CHANNELS)
    query, key, value = projected.swapaxes(0, 1)
    filters = attention.filters.weight.detach().numpy()
    axes = np.meshgrid(*(np.arange(-6, 7),) * 3, indexing='ij')
    k = 2 * np.pi * np.stack(axes, axis=-1).reshape(-1, 3) @ np.linalg.inv(atoms.cell[:]).T
    length = np.linalg.norm(k, axis=1)
    k, length = k[(length > 1e-9) & (length < CUTOFF)], length[(length > 1e-9) & (length < CUTOFF)]
    assert len(k) > 20
    centres = CUTOFF / N_BASIS * np.arange(1, N_BASIS + 1)
    basis = np.exp(-0.5 * ((length[:, None] - centres) * N_BASIS / CUTOFF) ** 2)
    x = length / CUTOFF
    basis *= (1 - 28 * x**6 + 48 * x**7 - 21 * x**8)[:, None]
    weights = (basis @ filters.T).reshape(len(k), 2, HEADS) / (atoms.get_volume() * CUTOFF**3 / (6 * np.pi**2))
    difference = atoms.positions[:, None] - atoms.positions
    kernel = np.einsum('kh,kij->hij', weights[:, 0], np.exp(1j * np.einsum('ka,ija->kij', k, difference)))
    # The gradient of exp(i k.r) is i k exp(i k.r).
    slope = np.einsum(
        'kh,ka,kij->haij', weights[:, 1], 1j * k / CUTOFF, np.exp(1j * np.einsum('ka,ija->kij', k, difference))
    )
    assert np.abs(kernel.imag).max() < 1e-12 and np.abs(slope.imag).max() < 1e-12
    product = np.einsum('ihc,jhc->hij', query, key) / np.sqrt(CHANNELS)
    expected = np.einsum('hij,hij,jhd->ihd', product, kernel.real, value).reshape(len(atoms), -1)
    assert np.abs(scalars.numpy() - expected).max() < 1e-12
    expected = np.einsum('hij,haij,jhd->iahd', product, slope.real, value).reshape(len(atoms), 3, -1)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(vectors.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize('name', OPERATIONS)
def test_scalars_stay_and_polar_vectors_turn_with_the_crystal(attention, atoms, invariants, name):
    operation = OPERATIONS[name]
    moved = Atoms(atoms.numbers, cell=atoms.cell[:] @ operation.T, positions=atoms.positions @ operation.T, pbc=True)
    scalars, vectors = attend(attention, atoms, invariants)
    expected = scalars, torch.einsum('ab,nbc->nac', torch.tensor(operation), vectors)
    assert min(float(x.abs().max()) for x in expected) > 1e-3
    assert largest(attend(attention, moved, invariants), expected) < 1e-12


def test_independent_of_translations(attention, atoms, invariants):
    moved = atoms.copy()
    moved.positions += [0.3, -11.7, 0.9]
    assert largest(attend(attention, moved, invariants), attend(attention, atoms, invariants)) < 1e-12


def test_independent_of_the_order_of_atoms(attention, atoms, invariants):
    order = [3, 0, 4, 2, 1]
    expected = [x[order] for x in attend(attention, atoms, invariants)]
    assert largest(attend(attention, atoms[order], invariants[order]), expected) < 1e-12


@pytest.mark.parametrize('shape', [np.diag([2, 2, 2]), [[2, 1, 0], [0, 3, 1], [-1, 0, 1]]], ids=['diagonal', 'skew'])
def test_supercells_give_the_features_of_the_cell(attention, atoms, invariants, shape):
    supercell = make_supercell(atoms, shape, order='atom-major')
    times = len(supercell) // len(atoms)
    assert waves_of(supercell).radial.shape[1] > 0.9 * times * waves_of(atoms).radial.shape[1]
    expected = [x.repeat_interleave(times, 0) for x in attend(attention, atoms, invariants)]
    assert largest(attend(attention, supercell, invariants.repeat_interleave(times, 0)), expected) < 1e-10


def test_independent_of_the_choice_of_the_unit_cell(attention, atoms, invariants):
    moved = atoms.copy()
    moved.set_cell(np.array([[1, 2, 0], [0, 1, -1], [1, 2, 1]]) @ atoms.cell[:])
    moved.positions += np.array([[1, 0, 0], [0, -2, 1], [0, 0, 0], [3, 1, 0], [0, 0, -1]]) @ atoms.cell[:]
    assert moved.get_volume() == pytest.approx(atoms.get_volume())
    assert largest(attend(attention, moved, invariants), attend(attention, atoms, invariants)) < 1e-12


def test_smooth_where_a_wave_vector_crosses_the_cutoff(attention, atoms, invariants):
    """The change between the two sides of the crossing follows the slope; a jump would not shrink with the step."""
    # Along y the cell is as long as the wave at the cutoff, a moment of strain 0.
    cell = np.diag([5.0, 2 * np.pi / CUTOFF, 6.0])
    positions = atoms.get_scaled_positions()

    def at(strain):
        strained = cell * [1.0, 1.0 + strain, 1.0]
        crystal = Atoms(atoms.numbers, cell=strained, scaled_positions=positions, pbc=True)
        return attend(attention, crystal, invariants), waves_of(crystal).radial.shape[1]

    middle, _ = at(0.0)
    curvatures = []
    for step in (1e-3, 1e-4):
        (below, n_below), (above, n_above) = at(-step), at(step)
        assert n_above > n_below
        assert largest(above, below) > 0.0
        curvatures.append(
            largest([a + b for a, b in zip(above, below, strict=True)], [2 * m for m in middle]) / step**2
        )
    assert curvatures[1] == pytest.approx(curvatures[0], rel=0.1)


def test_structures_of_a_batch_do_not_see_each_other(attention, atoms, rattled):
    structures = [rattled(0), atoms, rattled(1).repeat((2, 1, 1))]
    graphs, features = [], []
    for structure in structures:
        graphs.append(Graph(**geometry(structure), species=torch.zeros(len(structure), dtype=torch.long)))
        add_waves(graphs[-1], CUTOFF)
        features.append(random_features(len(structure)))
    batch = join_graphs(graphs)
    joined = Features(*(torch.cat([getattr(x, n) for x in features]) for n in ('scalars', 'natural', 'unnatural')))
    with torch.no_grad():
        found = attention(joined, Waves.of(batch, CUTOFF, N_BASIS, torch.float64))
        single = [attention(x, waves_of(s)) for x, s in zip(features, structures, strict=True)]
    for name in ('scalars', 'natural', 'unnatural'):
        expected = torch.cat([getattr(x, name) for x in single])
        assert float((getattr(found, name) - expected).abs().max()) < 1e-12


def test_closed_gates_change_nothing_and_open_by_training(attention, atoms):
    torch.nn.init.zeros_(attention.strength)
    features = random_features(len(atoms))
    found = attention(features, waves_of(atoms))
    for name in ('scalars', 'natural', 'unnatural'):
        assert torch.equal(getattr(found, name), getattr(features, name))
    (found.scalars.sum() + found.natural.sum()).backward()
    assert float(attention.strength.grad.abs().min()) > 0.0


def test_a_crystal_without_waves_below_the_cutoff_is_left_alone(attention, rattled):
    atoms = rattled(0)
    waves = waves_of(atoms, cutoff=0.5)
    assert waves.radial.shape[1] == 0
    features = random_features(len(atoms))
    assert torch.equal(attention(features, waves).natural, features.natural)


def test_attention_reaches_beyond_the_messages(make_model, make_basis, rattled):
    """One layer with short messages: only with attention does an atom know the element of a distant one."""
    shells = {'Al': [0, 1], 'As': [0, 1], 'Ga': [0, 1]}
    atoms, basis = rattled(0).repeat((1, 1, 6)), make_basis(shells, radius=3.0)
    changed = atoms.copy()
    changed.symbols[6] = 'Ga'
    assert atoms.get_distance(0, 6, mic=True) > 6.5
    for variant, expected in (('sr', False), ('ea', True)):
        model = make_model(shells, variant=variant, layers=1, message_cutoff=3.5, h0_features=False)
        invariants = []
        for structure in (atoms, changed):
            graph, _ = model.builder.build(structure, overlap_pattern(structure, basis))
            with torch.no_grad():
                invariants.append(model.network.atoms(graph).scalars[0])
        assert (float((invariants[0] - invariants[1]).abs().max()) > 1e-6) == expected
