"""What cannot be learned is refused; what can is in the right form."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import join_graphs
from aiida_hamlr.model.training.data import (
    Reference,
    block_means,
    identify,
    make_example,
    prepare,
)
from aiida_hamlr.model.training.losses import ComponentErrors

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def written(hamiltonian, path):
    hamiltonian.write(path)
    return path


@pytest.fixture
def reference(tmp_path, make_hamiltonian, rattled):
    def make(seed=0, **arguments):
        path = tmp_path / f'{seed}-{len(list(tmp_path.iterdir()))}.h5'
        return Reference.read(written(make_hamiltonian(rattled(seed), **arguments), path))

    return make


def test_hamiltonian_equal_to_h0_is_refused(tmp_path, make_hamiltonian, rattled):
    path = written(make_hamiltonian(rattled(0), strength=0.0), tmp_path / 'same.h5')
    with pytest.raises(ValueError, match=r'same\.h5: H equals H0'):
        Reference.read(path)


def test_hamiltonian_equal_to_h0_but_for_a_constant_is_refused(tmp_path, make_hamiltonian, rattled):
    hamiltonian = make_hamiltonian(rattled(0), strength=0.0)
    hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 + 0.5 * hamiltonian.overlap
    with pytest.raises(ValueError, match=r'shifted\.h5: H equals H0 \+0\.5 eV'):
        Reference.read(written(hamiltonian, tmp_path / 'shifted.h5'))


def test_missing_matrices_are_named(tmp_path, make_hamiltonian, rattled):
    hamiltonian = make_hamiltonian(rattled(0))
    del hamiltonian.matrices['h0']
    with pytest.raises(ValueError, match=r'no_h0\.h5: holds no h0'):
        Reference.read(written(hamiltonian, tmp_path / 'no_h0.h5'))


def test_spin_is_refused(tmp_path, make_hamiltonian, rattled):
    hamiltonian = make_hamiltonian(rattled(0))
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian] * 2)
    hamiltonian.attributes.n_spin = 2
    with pytest.raises(ValueError, match=r'spin\.h5: spin-polarised \(n_spin = 2\), which the network does not learn'):
        Reference.read(written(hamiltonian, tmp_path / 'spin.h5'))


def test_the_number_of_spins_is_believed(tmp_path, make_hamiltonian, rattled):
    with pytest.raises(ValueError, match=r'one_of_two\.h5: .*n_spin = 2'):
        Reference.read(written(make_hamiltonian(rattled(0), n_spin=2), tmp_path / 'one_of_two.h5'))


def test_not_a_number_is_refused(tmp_path, make_hamiltonian, rattled):
    hamiltonian = make_hamiltonian(rattled(0))
    hamiltonian.matrices['hamiltonian'][3] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        Reference.read(written(hamiltonian, tmp_path / 'nan.h5'))


@pytest.mark.parametrize(('name', 'value'), [('functional', 'pbe'), ('gauge', 'vacuum')])
def test_mixed_attributes_are_refused(reference, name, value):
    with pytest.raises(ValueError, match=f'differ in {name}: .* and {value}'):
        identify([reference(0), reference(1, **{name: value})])


def test_mixed_bases_are_refused(reference):
    with pytest.raises(ValueError, match='different bases for Al'):
        identify([reference(0), reference(1, shells={'Al': [0, 1, 1], 'As': [0, 1, 1]})])


def test_different_k_densities_are_told_with_numbers(reference):
    with pytest.warns(UserWarning, match=r'k spacing .* 0\.1\d+ in .* 0\.3\d+ in') as record:
        identify([reference(0), reference(1, scf_kpoints=[1, 1, 1])])
    assert len(record) == 1


def test_equal_k_densities_of_different_cells_are_not(tmp_path, recwarn, make_hamiltonian, rattled):
    cubic = make_hamiltonian(bulk('AlAs', 'zincblende', a=5.6, cubic=True), SHELLS, scf_kpoints=[2, 2, 2])
    double = make_hamiltonian(
        bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat((2, 1, 1)), SHELLS, scf_kpoints=[1, 2, 2]
    )
    paths = [written(h, tmp_path / f'{n}.h5') for n, h in enumerate((cubic, double))]
    identify([Reference.read(path) for path in paths])
    assert not [w for w in recwarn if 'k spacing' in str(w.message)]


def test_files_of_the_same_content_are_told(reference):
    one = reference(0)
    other = Reference(**{**vars(one), 'path': 'copy.h5'})
    with pytest.warns(UserWarning, match='and copy.h5 have the same content'):
        assert len(identify([one, other, reference(1)]).warnings) == 1


def test_block_means_are_those_of_the_blocks(reference):
    one = reference(0)
    lengths, means = block_means(one)
    offsite = np.setdiff1d(np.arange(len(one.pattern)), one.pattern.onsite)
    assert means[5] == pytest.approx(np.abs(one.pattern.block(one.delta, int(offsite[5]))).mean())
    assert lengths.min() > 1.0


@pytest.fixture
def example(reference, make_model):
    model = make_model(SHELLS, pair_cutoff=4.5)
    one = reference(0)
    made = make_example(model, one, TwoCentreTables(one.basis))
    prepare(model, [made])
    return model, one, made


def test_the_two_orientations_of_a_pair_have_transposed_targets(example):
    model, one, made = example
    selection = made.selection
    same = np.flatnonzero(selection.other != np.arange(selection.n_half))
    assert len(same)
    for position in same[:5]:
        there, back = (
            one.pattern.block(one.delta, int(selection.blocks[n])) for n in (position, selection.other[position])
        )
        assert np.abs(there - back.T).max() < 1e-12
    drawn = made.graph.with_pairs(torch.as_tensor(made.draw(np.random.default_rng(0))))
    assert drawn[keys.PAIR_INDEX].shape[1] == drawn[keys.PAIR_TARGET].shape[0] == selection.n_half
    assert drawn[keys.EDGE_INDEX].shape == made.graph[keys.EDGE_INDEX].shape


def test_errors_count_every_element_once_and_ignore_a_constant(example):
    """Components are a change of basis, so squares are those of the elements; here all errors are +- one constant."""
    model, one, made = example
    graph = made.graph.with_pairs(torch.arange(made.selection.n_half))
    errors = ComponentErrors(model.slots.onsite.multiplicity).double()
    with torch.no_grad():
        components, _ = model.short_range(graph)
        components.onsite = graph[keys.ONSITE_TARGET] + 0.7 * graph[keys.ONSITE_OVERLAP]
        components.pairs = graph[keys.PAIR_TARGET] + 0.7 * graph[keys.PAIR_OVERLAP]
        found = errors(components, graph)
    assert float(found.onsite.sum() + found.pairs.sum()) < 1e-6
    sizes = one.pattern.chunk_shapes.prod(axis=1)
    assert int(found.n_onsite) == sizes[one.pattern.onsite].sum()
    assert int(found.n_all) == one.pattern.n_entries
    assert int(found.n_onsite + found.n_pairs) < one.pattern.n_entries


def test_a_batch_gives_the_errors_of_its_members(reference, make_model):
    model = make_model(SHELLS, variant='lr', pair_cutoff=4.5)
    references = [reference(0), reference(1)]
    tables = TwoCentreTables(references[0].basis)
    examples = [make_example(model, one, tables) for one in references]
    prepare(model, examples)
    errors = ComponentErrors(model.slots.onsite.multiplicity).double()
    graphs = [
        one.graph.with_pairs(torch.as_tensor(one.draw(np.random.default_rng(n)))) for n, one in enumerate(examples)
    ]
    with torch.no_grad():
        singles = [errors(model(graph), graph) for graph in graphs]
        batch = join_graphs(graphs)
        together = errors(model(batch), batch)
    for name in ('onsite', 'pairs', 'n_all'):
        expected = torch.cat([getattr(one, name) for one in singles])
        assert torch.allclose(getattr(together, name), expected, rtol=1e-9)


def test_read_hamiltonian_is_unchanged(training_files):
    one = Reference.read(training_files[0])
    stored = Hamiltonian.read(training_files[0])
    assert np.array_equal(one.delta, stored.hamiltonian - stored.h0)
