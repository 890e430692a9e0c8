"""Small structures, bases and models for the tests of the network."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import o3

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.structure_graph import structure_graph

SMALL = {
    'scalar_channels': 8,
    'natural_channels': 6,
    'unnatural_channels': 4,
    'hidden_channels': 32,
    'pair_channels': 32,
    'radial_hidden': 16,
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def make_basis():
    """A basis of smooth functions that vanish at the cutoff radius (bohr)."""

    def make(shells, radius=5.5):
        r = 0.02 * np.arange(round(radius / 0.02) + 1)
        species = {}
        for element, momenta in shells.items():
            made = []
            for n, l in enumerate(momenta):
                values = r**l * np.exp(-(0.15 + 0.05 * n) * r**2) * (1 - (r / radius) ** 2) ** 3
                made.append(Shell(l, radius, values / np.sqrt(np.sum(values**2 * r**2) * 0.02), f'{n}'))
            species[element] = SpeciesBasis(element, 0.02, tuple(made))
        return Basis(species)

    return make


@pytest.fixture(scope='session')
def mixed_atoms():
    """Five atoms of three elements in a skew cell."""
    rng = np.random.default_rng(1)
    cell = np.diag([5.5, 6.0, 6.5]) + rng.normal(0, 0.3, (3, 3))
    scaled = np.array([[0.0, 0.0, 0.0], [0.5, 0.4, 0.1], [0.1, 0.5, 0.6], [0.6, 0.0, 0.5], [0.3, 0.7, 0.3]])
    atoms = Atoms('HGaAsGaH', cell=cell, scaled_positions=scaled, pbc=True)
    atoms.rattle(0.2, seed=2)
    return atoms


@pytest.fixture(scope='session')
def orbital_rotation():
    """What a rotation or reflection does to all orbitals of an atom.

    From the harmonics themselves, because e3nn's generators have single precision.
    """

    def make(momenta, operation):
        points = np.random.default_rng(0).normal(size=(40, 3))
        blocks = []
        for l in momenta:
            before, after = (
                o3.spherical_harmonics(l, torch.tensor(p), True).numpy() for p in (points, points @ operation.T)
            )
            blocks.append(torch.tensor(np.linalg.lstsq(before, after, rcond=None)[0].T))
        return torch.block_diag(*blocks).numpy()

    return make


@pytest.fixture(scope='session')
def make_model():
    """A model in float64 with random weights and tables."""

    def make(shells, pair_cutoff=5.0, **config):
        torch.manual_seed(0)
        model = HamiltonianModel(
            shells, ModelConfig.from_flat({'variant': 'sr', **SMALL, **config}), pair_cutoff, 20.0
        ).double()
        slots, tables, of_h0 = model.slots, model.normalisation, model.h0_normalisation
        generator = torch.Generator().manual_seed(3)
        for a, first in enumerate(slots.species):
            for b, second in enumerate(slots.species):
                columns, _ = slots.pairs.transform(first, second)
                kind = a * len(slots.species) + b
                tables.pair_scale[kind][:, columns] = 0.5
                if a < b:
                    values = torch.randn(tables.two_body.shape[1], len(columns), generator=generator).double()
                    tables.two_body[kind][:, columns] = 0.1 * values * torch.tensor(slots.pairs.is_two_body[columns])
            columns, _ = slots.onsite.transform(first)
            tables.onsite_scale[a, columns] = 1.0
        if of_h0 is not None:
            of_h0.pair_scale[:], of_h0.onsite_scale[:] = 2.0 * tables.pair_scale, tables.onsite_scale
            of_h0.two_body[:] = tables.two_body
            model.edge_h0_normalisation.load_state_dict(
                {name: value for name, value in of_h0.state_dict().items() if name != 'onsite_linear'}
            )
            layout, linear = slots.onsite, of_h0.onsite_linear
            for groups in (layout.natural, layout.unnatural):
                for group in filter(len, groups):
                    values = torch.randn(len(linear), len(group), len(group), generator=generator).double()
                    linear[:, torch.tensor(group)[:, None], torch.tensor(group)] = 0.05 * values
        with torch.no_grad():
            for attention in model.network.attention:
                attention.strength += torch.randn(attention.strength.shape, generator=generator)
            if model.network.field_weights is not None:
                model.network.field_weights += 0.1 * torch.randn(model.network.field_weights.shape, generator=generator)
        if model.long_range is not None:
            parameters = [model.long_range.species_charge]
            if model.long_range.environment is not None:
                parameters += model.long_range.environment[2].parameters()
            with torch.no_grad():
                for parameter in parameters:
                    parameter += 0.3 * torch.randn(parameter.shape, generator=generator).double()
                if model.config.has_response:
                    model.long_range.identified.fill_(1.0)
        return model

    return make


@pytest.fixture(scope='session')
def make_h0():
    """Overlap and an H0 whose on-site blocks depend on the directions of the neighbours, eV."""

    def make(atoms, tables, pattern=None):
        pattern = overlap_pattern(atoms, tables.basis) if pattern is None else pattern
        overlap, h0 = tables.overlap_and_kinetic(atoms, pattern)
        onsite = pattern.onsite[pattern.first]
        for pair in np.flatnonzero(onsite != np.arange(len(pattern))):
            block = pattern.block(overlap, pair)
            pattern.block(h0, onsite[pair])[:] -= 5.0 * block @ block.T
        return Hamiltonian(atoms, tables.basis, pattern, {'overlap': overlap, 'h0': h0}, {}, HamiltonianAttributes())

    return make


@pytest.fixture(scope='session')
def predict_short_range(make_h0):
    """Flat matrix of the short-range part, eV."""

    def predict(model, atoms, pattern, basis):
        graph, selection = structure_graph(model, make_h0(atoms, TwoCentreTables(basis), pattern))
        model.normalise(graph)
        with torch.no_grad():
            components, _ = model.short_range(graph)
        frames = BlockFrames.of(model.slots, atoms, pattern, selection)
        return frames.assemble(components.onsite.double().numpy(), components.pairs.double().numpy())

    return predict


@pytest.fixture(scope='session')
def make_reference(make_basis, make_h0):
    """A file's content whose H - H0 = S (w_i + w_j) / 2 depends on the atoms' surroundings, eV."""
    made = {}

    def tables_of(shells):
        key = str(shells)
        if key not in made:
            made[key] = TwoCentreTables(make_basis(shells))
        return made[key]

    def make(atoms, shells=None, strength=0.3, **attributes):
        tables = tables_of(shells or {'Al': [0, 1], 'As': [0, 1, 1]})
        start = make_h0(atoms, tables)
        pattern, overlap, h0 = start.pattern, start.overlap, start.h0
        lengths = np.linalg.norm(pattern.vectors(atoms.cell[:], atoms.positions), axis=1)
        level = np.zeros(len(atoms))
        np.add.at(level, pattern.first, strength * np.exp(-(((lengths - 1.8) / 0.7) ** 2)) * (lengths > 0))
        level *= np.where(atoms.numbers == atoms.numbers.min(), 1.0, -0.7)
        sizes = pattern.chunk_shapes.prod(axis=1)
        delta = overlap * np.repeat(0.5 * (level[pattern.first] + level[pattern.second]), sizes)
        known = {
            'origin': 'reference',
            'functional': 'lda_pz',
            'gauge': 'neutral_atom',
            'n_electrons': 4.0 * len(atoms),
            'ecutrho': 72.0,
            'scf_kpoints': [2, 2, 2],
        }
        matrices = {'overlap': overlap, 'h0': h0, 'hamiltonian': h0 + delta}
        return Hamiltonian(atoms, tables.basis, pattern, matrices, {}, HamiltonianAttributes(**{**known, **attributes}))

    return make


@pytest.fixture(scope='session')
def make_magnetic_reference(make_reference):
    """The same with starting moments, Bohr magnetons: levels of spin up and down differ by what depends on these."""

    def make(atoms, moments, strength=0.2, **attributes):
        atoms = atoms.copy()
        atoms.set_initial_magnetic_moments(moments)
        result = make_reference(atoms, **{'magnetization': 0.0, **attributes}, n_spin=2)
        pattern = result.pattern
        splitting = -strength * np.sign(moments)
        sizes = pattern.chunk_shapes.prod(axis=1)
        odd = result.overlap * np.repeat(0.5 * (splitting[pattern.first] + splitting[pattern.second]), sizes)
        matrices = {**result.matrices, 'hamiltonian': np.stack([result.hamiltonian + odd, result.hamiltonian - odd])}
        return Hamiltonian(atoms, result.basis, pattern, matrices, {}, result.attributes)

    return make


@pytest.fixture(scope='session')
def rattled():
    """Rattled primitive cells of AlAs."""

    def make(seed, amplitude=0.1):
        atoms = bulk('AlAs', 'zincblende', a=5.6)
        atoms.rattle(amplitude, seed=seed)
        return atoms

    return make


@pytest.fixture
def training_files(tmp_path, make_reference, rattled):
    """Six files of rattled AlAs."""
    paths = []
    for seed in range(6):
        path = tmp_path / 'data' / f'{seed}.h5'
        make_reference(rattled(seed, 0.2), strength=2.0).write(path)
        paths.append(path)
    return paths
