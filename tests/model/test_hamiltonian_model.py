"""The whole model: training and prediction are the same physics, for all kinds of models."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.inference import Predictor
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range import particle_mesh
from aiida_hamlr.model.long_range.ewald import DirectSum, count_half_space_vectors
from aiida_hamlr.model.long_range.polarisation import solve_dipoles
from aiida_hamlr.model.network.short_range import FIELD_UNIT
from aiida_hamlr.model.structure_graph import structure_graph
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}

#: Å; cuts through the second neighbours, so that many pairs are in the shell of the switch.
CUTOFF = 4.2

#: Å; small, so that a cell of two atoms has fields.
WIDTHS = {'kernel_width': 1.0, 'output_width': 1.2}

CHANNELS = {
    'charges': {},
    'cell': {'neutrality': 'cell'},
    'elements': {'environment_charges': False},
    'field': {'field_features': True},
    'dipoles': {'permanent_dipoles': True},
    'response': {'response': True},
    'response-dipoles': {'response': True, 'permanent_dipoles': True},
    'near': {'response': True, 'permanent_dipoles': True, 'source_layers': 1},
    'response-field': {'response': True, 'field_features': True},
    'all-cell': {'response': True, 'permanent_dipoles': True, 'field_features': True, 'neutrality': 'cell'},
}
MODELS = {'sr': {'variant': 'sr'}, 'ea': {'variant': 'ea'}} | {
    f'{variant}-{order}-{name}': {'variant': variant, 'multipole_order': order, **config}
    for variant in ('lr', 'lr+ea')
    for order in (0, 1)
    for name, config in CHANNELS.items()
    if variant == 'lr' or name in ('charges', 'all-cell')
}

ALL = pytest.mark.parametrize('config', MODELS.values(), ids=MODELS)
LONG_RANGE = pytest.mark.parametrize(
    'config', [c for c in MODELS.values() if 'lr' in c['variant']], ids=[n for n in MODELS if 'lr' in n]
)


@pytest.fixture
def make_random_model(make_model):
    """No parameter of the long range has the value with which it starts."""

    def make(**config):
        model = make_model(SHELLS, pair_cutoff=CUTOFF, **WIDTHS, **config)
        if model.long_range is not None:
            generator = torch.Generator().manual_seed(5)
            with torch.no_grad():
                for parameter in model.long_range.parameters():
                    parameter += 0.2 * torch.randn(parameter.shape, generator=generator).double()
                model.long_range.species_charge += torch.tensor([0.9, -0.7]).double()
        return model

    return make


@pytest.fixture(scope='module')
def references(tmp_path_factory, make_reference, rattled):
    made = []
    for seed, repetitions in enumerate([(1, 1, 1), (2, 1, 1), (1, 1, 1)]):
        path = tmp_path_factory.mktemp('references') / f'{seed}.h5'
        make_reference(rattled(seed, 0.2).repeat(repetitions), SHELLS).write(path)
        made.append(Reference.read(path))
    return made


@pytest.fixture(scope='module')
def tables(references):
    return TwoCentreTables(references[0].basis)


def examples_of(model, references, tables):
    made = [make_example(model, reference, tables) for reference in references]
    for example in made:
        model.normalise(example.graph)
    return made


def predict(model, reference):
    predictor = Predictor(model, {}, reference.basis, {})
    return predictor.correction(reference)


@ALL
def test_training_and_prediction_give_the_same(make_random_model, references, tables, config):
    """What a training compares with its targets, put together, is the Hamiltonian that a prediction gives."""
    model = make_random_model(**config)
    for reference, example in zip(references[:2], examples_of(model, references[:2], tables), strict=True):
        weights = example.graph[keys.PAIR_SWITCH]
        assert int(((weights > 0.05) & (weights < 0.95)).sum()) > 5
        with torch.no_grad():
            found = model(example.graph)
        frames = BlockFrames.of(model.slots, reference.atoms, reference.pattern, example.selection)
        delta, sources = predict(model, reference)
        assert np.abs(delta).max() > 0.1
        assert np.abs(frames.assemble(found.onsite.numpy(), found.pairs.numpy()) - delta).max() < 1e-10
        if sources is not None:
            for name in ('charge', 'factor', 'polarisability', 'dipole'):
                one, other = getattr(found.sources, name), getattr(sources, name)
                assert (one is None) == (other is None)
                assert one is None or np.abs(one.numpy() - other).max() < 1e-10


@ALL
def test_structures_of_a_batch_do_not_see_each_other(make_random_model, references, tables, config):
    model = make_random_model(**config)
    graphs = [example.graph for example in examples_of(model, references, tables)]
    with torch.no_grad():
        found, alone = model(join_graphs(graphs)), [model(graph) for graph in graphs]
    for name in ('onsite', 'pairs'):
        assert float((getattr(found, name) - torch.cat([getattr(one, name) for one in alone])).abs().max()) < 1e-9


@LONG_RANGE
def test_large_structures_in_training_are_on_the_mesh(make_random_model, references, tables, config, monkeypatch):
    """To its accuracy, alone and in a batch with one whose matrices are kept."""
    model = make_random_model(**config, long_range_accuracy=1e-7)
    graphs = [example.graph for example in examples_of(model, references, tables)]
    with torch.no_grad():
        expected = model(join_graphs(graphs))
        # The cell of four atoms has four times as many atoms times waves as that of two.
        size = 2 * count_half_space_vectors(graphs[0][keys.CELL][0], WIDTHS['kernel_width'])
        monkeypatch.setattr(particle_mesh, 'DIRECT_SIZE', 2 * size)
        graphs = [example.graph for example in examples_of(model, references, tables)]
        batch = join_graphs(graphs)
        assert batch[keys.HAS_MATRICES].tolist() == [True, False, True]
        found, alone = model(batch), model(graphs[1])
    differences = [float((getattr(found, name) - getattr(expected, name)).abs().max()) for name in ('onsite', 'pairs')]
    assert 0.0 < max(differences) < 2e-5
    assert torch.allclose(found.onsite[2:6], alone.onsite, atol=1e-9)


@LONG_RANGE
def test_the_whole_is_the_short_range_and_the_channel(make_random_model, references, tables, config):
    """Beside the network: potentials by sums over waves, and blocks by plain loops over the formula."""
    model, reference = make_random_model(**config), references[0]
    delta, sources = predict(model, reference)
    graph, selection = structure_graph(model, reference)
    model.normalise(graph)
    geometry = graph[keys.CELL][0], graph[keys.POSITION]

    def action_of(one):
        charge, dipole = one.charge, one.dipole
        inner = DirectSum(*geometry, model.config.long_range.kernel_width)
        if not model.config.has_response:
            return inner(charge, dipole)
        dipole, _ = solve_dipoles(inner, charge, one.polarisability, dipole)
        return DirectSum(*geometry, model.config.long_range.output_width)(charge, dipole)

    with torch.no_grad():
        model.long_range.store(graph, matrices=False)
        if model.config.long_range.field_features:
            bare = model.long_range.sources_of_elements(graph)
            graph[keys.FIELD] = action_of(bare)[1]
            assert float(graph[keys.FIELD].abs().max()) > 1e-3
        components, output = model.short_range(graph)
        expected = model.long_range.sources(output.source_invariants, graph, output.source_vectors)
        potential, field = action_of(expected)
    assert np.abs(expected.charge.numpy() - sources.charge).max() < 1e-12
    assert np.abs(sources.charge).max() > 0.05
    frames = BlockFrames.of(model.slots, reference.atoms, reference.pattern, selection)
    rest = delta - frames.assemble(components.onsite.numpy(), components.pairs.numpy())
    pattern, order = reference.pattern, model.config.long_range.multipole_order
    lengths = np.linalg.norm(frames.vectors, axis=1)
    dipoles = tables.dipole(reference.atoms, pattern)
    force = expected.factor.numpy()[:, None] * field.numpy()
    formula = np.zeros(pattern.n_entries)
    for p, (i, j) in enumerate(pattern.atom_pairs[:, 3:]):
        overlap = pattern.block(reference.overlap, p)
        block = -0.5 * (float(potential[i]) + float(potential[j])) * overlap
        for axis in range(3 if order else 0):
            dipole = pattern.block(dipoles[axis], p)
            block = block + 0.5 * force[i, axis] * dipole
            block = block + 0.5 * force[j, axis] * (dipole - frames.vectors[p, axis] * overlap)
        x = np.clip((lengths[p] - CUTOFF) / 0.5 + 1.0, 0.0, 1.0)
        pattern.block(formula, p)[:] = (1.0 - 10 * x**3 + 15 * x**4 - 6 * x**5) * block
    assert np.abs(rest).max() > 0.01
    assert np.abs(rest - pattern.symmetrize(formula)).max() < 1e-10


def sources_of(model, atoms, make_reference):
    reference = make_reference(atoms, SHELLS)
    graph, _ = structure_graph(model, reference)
    model.normalise(graph)
    with torch.no_grad():
        output = model.short_range(graph)[1]
        return model.long_range.sources(output.source_invariants, graph, output.source_vectors).to_numpy()


@pytest.mark.parametrize('source_layers', [None, 1])
def test_sources_see_as_many_layers_as_they_are_made_from(make_random_model, make_reference, source_layers):
    """Beyond one message cutoff for a layer they do not feel that an atom has moved; charges pass one bond farther."""
    model = make_random_model(
        variant='lr', response=True, permanent_dipoles=True, message_cutoff=3.0, source_layers=source_layers
    )
    atoms = bulk('AlAs', 'zincblende', 5.6, cubic=True).repeat((1, 1, 3))
    atoms.rattle(0.05, seed=1)
    moved = atoms.copy()
    moved.positions[0] += [0.2, 0.1, -0.1]
    before, after = (sources_of(model, one, make_reference) for one in (atoms, moved))
    distances = atoms.get_distances(0, np.arange(len(atoms)), mic=True)
    beyond, next_layer = distances > 3.4, (distances > 3.4) & (distances < 5.0)
    for name in ('factor', 'polarisability', 'dipole'):
        change = np.abs(getattr(after, name) - getattr(before, name)).reshape(len(atoms), -1).max(1)
        assert change[distances < 3.0].max() > 1e-4
        assert (change[next_layer].max() > 1e-5) == (source_layers is None)
        assert source_layers is None or change[beyond].max() < 1e-12
    assert source_layers is None or np.abs(after.charge - before.charge)[distances > 6.0].max() < 1e-12


def test_dipoles_of_the_first_layer_are_linear_in_displacements(make_random_model, make_reference):
    """Where the features are normalised first, a displacement ten times as large hardly makes a larger dipole."""
    atoms = bulk('AlAs', 'zincblende', 5.6, cubic=True)
    ratios = {}
    for source_layers in (None, 1):
        model = make_random_model(variant='lr', permanent_dipoles=True, source_layers=source_layers)
        sizes = []
        for displacement in (0.01, 0.1):
            moved = atoms.copy()
            moved.positions[0, 2] += displacement
            sizes.append(np.linalg.norm(sources_of(model, moved, make_reference).dipole[0]))
        ratios[source_layers] = sizes[1] / sizes[0]
    assert abs(ratios[1] - 10.0) < 0.5
    assert ratios[None] < 9.0


def test_the_unit_of_the_field_features_belongs_to_stored_models():
    """Weights of stored models multiply the field in this unit, V/Å."""
    assert FIELD_UNIT == 0.05
