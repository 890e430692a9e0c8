"""Species labels: on structures, in files, and several species of one element in H0 and in plane waves."""

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk, sort
from ase.io import read, write

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import write_upf
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.species import (
    SPECIES_LABELS,
    element_of_label,
    labelled_atoms,
    normalise_label,
    set_species_labels,
    species_labels,
    species_numbers,
)

ECUTRHO = 60.0


@pytest.fixture(scope='module')
def pseudos(tmp_path_factory):
    """Al, As, and hydrogen of 1, 1.25 and 0.75 electrons as H, H1 and H2."""
    folder = tmp_path_factory.mktemp('pseudos')
    charges = {'Al': None, 'As': None, 'H': None, 'H1': 1.25, 'H2': 0.75}
    return {label: write_upf(folder / f'{label}.upf', element_of_label(label), q) for label, q in charges.items()}


@pytest.fixture(scope='module')
def basis(pseudos):
    sizes = {'H1': 'szp'}
    return Basis({label: generate_basis(p, sizes.get(label, 'sz'), 6.0) for label, p in pseudos.items()})


@pytest.fixture
def layer() -> Atoms:
    """One layer of AlAs with a hydrogen on either side, and no symmetry."""
    atoms = Atoms(
        'AlAsHH',
        scaled_positions=[(1 / 3, 2 / 3, 0.53), (2 / 3, 1 / 3, 0.46), (1 / 3, 2 / 3, 0.67), (2 / 3, 1 / 3, 0.33)],
        cell=[(3.92, 0, 0), (-1.96, 3.3948, 0), (0, 0, 11.7)],
        pbc=True,
    )
    atoms.rattle(0.05, seed=3)
    return atoms


def capped(atoms: Atoms, labels=('Al', 'As', 'H1', 'H2')) -> Atoms:
    atoms = atoms.copy()
    set_species_labels(atoms, labels)
    return atoms


@pytest.mark.parametrize(
    ('label', 'element'),
    [('As', 'As'), ('Fe1', 'Fe'), ('H_cap', 'H'), ('o-2', 'O'), ('C1', 'C'), ('D', 'H'), ('SI1', 'Si')],
)
def test_element_of_a_label(label, element):
    assert element_of_label(label) == element
    assert element_of_label(normalise_label(label)) == element
    assert normalise_label(label).startswith(element)


@pytest.mark.parametrize('label', ['9z', '', 'X1', 'H/../a', 'H 1', 'H.1', 'H' + '1' * 16, 'Hé', 'Aluminium'])
def test_labels_that_are_refused(label):
    with pytest.raises(ValueError, match='chemical (symbol|element)'):
        normalise_label(label)


def test_default_labels_are_the_symbols(layer):
    assert species_labels(layer) == ['Al', 'As', 'H', 'H']
    set_species_labels(layer, ['al', 'As', 'H', 'D'])
    assert SPECIES_LABELS not in layer.arrays
    np.testing.assert_array_equal(species_numbers(layer), layer.numbers)


def test_labels_of_another_element_are_refused(layer):
    with pytest.raises(ValueError, match=r"atom 2 \(from 0\) is H, but has the species label 'He1'"):
        set_species_labels(layer, ['Al', 'As', 'He1', 'H2'])
    with pytest.raises(ValueError, match='3 species labels are given for 4 atoms'):
        set_species_labels(layer, ['Al', 'As', 'H1'])
    labelled = capped(layer)
    labelled.symbols[3] = 'He'
    with pytest.raises(ValueError, match='atom 3'):
        species_labels(labelled)


def test_labels_survive_what_ase_does(layer, tmp_path):
    labelled = capped(layer)
    assert species_labels(labelled.repeat((1, 2, 1))) == ['Al', 'As', 'H1', 'H2'] * 2
    assert species_labels(labelled[[3, 0]]) == ['H2', 'Al']
    assert species_labels(sort(labelled, labelled.positions[:, 2])) == ['H2', 'As', 'Al', 'H1']
    longer = labelled_atoms(['Fe_up'], positions=[(0, 0, 5)], cell=np.eye(3) * 9)
    assert species_labels(labelled + longer + Atoms('O')) == ['Al', 'As', 'H1', 'H2', 'Fe_up', 'O']
    assert species_labels(Atoms('O') + labelled) == ['O', 'Al', 'As', 'H1', 'H2']
    write(tmp_path / 'layer.extxyz', [labelled, layer])
    first, second = read(tmp_path / 'layer.extxyz', ':')
    assert species_labels(first) == ['Al', 'As', 'H1', 'H2']
    assert species_labels(second) == ['Al', 'As', 'H', 'H']


def test_symmetry_sees_species():
    """Diamond of two species has the symmetry of zincblende."""
    atoms = bulk('Si')
    set_species_labels(atoms, ['Si1', 'Si2'])
    for numbers, expected in ((atoms.numbers, 227), (species_numbers(atoms), 216)):
        dataset = spglib.get_symmetry_dataset((atoms.cell[:], atoms.get_scaled_positions(), numbers))
        assert dataset.number == expected


def test_two_species_with_one_pseudopotential_are_one(layer, pseudos, basis):
    """H0 and overlap to 1e-12, plane-wave eigenvalues too."""
    plain = compute_h0(layer, basis, pseudos, ECUTRHO)
    same = {'Al': 'Al', 'As': 'As', 'H1': 'H', 'H_2': 'H'}
    labelled = capped(layer, list(same))
    two = compute_h0(
        labelled,
        Basis({label: basis[element] for label, element in same.items()}),
        {label: pseudos[element] for label, element in same.items()},
        ECUTRHO,
    )
    assert two.species == list(same)
    assert two.n_electrons == plain.n_electrons
    for name in ('h0', 'overlap'):
        np.testing.assert_allclose(two.matrices[name], plain.matrices[name], rtol=0, atol=1e-12)
    grid, kpoint = fft_grid(layer.cell[:], ECUTRHO), np.array([0.1, 0.2, 0.0])
    energies = [
        PlaneWaveHamiltonian(
            atoms, neutral_atom_potential(atoms, chosen, grid, ECUTRHO), chosen, ECUTRHO / 4
        ).eigenvalues(kpoint, 6)
        for atoms, chosen in ((layer, pseudos), (labelled, {label: pseudos[e] for label, e in same.items()}))
    ]
    np.testing.assert_allclose(*energies, rtol=0, atol=1e-9)


def test_species_have_their_own_pseudopotentials(layer, pseudos, basis):
    capping = compute_h0(capped(layer), basis, pseudos, ECUTRHO)
    assert capping.n_electrons == pytest.approx(3 + 5 + 1.25 + 0.75)
    assert capping.pattern.n_orbitals.tolist() == [4, 4, 4, 1]
    # The names of the species are of no consequence.
    renamed = {'Al': 'Al', 'As': 'As', 'H2': 'H1', 'H1': 'H2'}
    other = compute_h0(
        capped(layer, list(renamed)),
        Basis({label: basis[given] for label, given in renamed.items()}),
        {label: pseudos[given] for label, given in renamed.items()},
        ECUTRHO,
    )
    np.testing.assert_allclose(other.h0, capping.h0, rtol=0, atol=1e-12)
    # Nor is the order of the atoms.
    order = [3, 1, 0, 2]
    permuted = compute_h0(capped(layer)[order], basis, pseudos, ECUTRHO)
    place = np.argsort(order)
    pairs = capping.pattern.atom_pairs.copy()
    pairs[:, 3:] = place[pairs[:, 3:]]
    blocks = {tuple(pair): number for number, pair in enumerate(permuted.pattern.atom_pairs)}
    for number, pair in enumerate(pairs):
        np.testing.assert_allclose(
            permuted.pattern.block(permuted.h0, blocks[tuple(pair)]),
            capping.pattern.block(capping.h0, number),
            rtol=0,
            atol=1e-10,
        )
    # The hydrogen of more charge binds its electron more deeply.
    onsite = {
        capping.species[i]: capping.pattern.block(capping.h0, n)[0, 0]
        for n, (*image, i, j) in enumerate(capping.pattern.atom_pairs)
        if i == j and not any(image)
    }
    assert onsite['H1'] < onsite['H2']


def test_missing_species_are_named(layer, pseudos, basis):
    with pytest.raises(ValueError, match='no basis for H3; there is one for Al, As, H, H1, H2'):
        compute_h0(capped(layer, ('Al', 'As', 'H3', 'H2')), basis, pseudos, ECUTRHO)
    with pytest.raises(ValueError, match='no pseudopotential for H2'):
        compute_h0(capped(layer), basis, {k: v for k, v in pseudos.items() if k != 'H2'}, ECUTRHO)
    with pytest.raises(ValueError, match='basis given for O1 is one of H'):
        Basis({'O1': basis['H1']})
    with pytest.raises(ValueError, match="basis given for 'h1': write H1"):
        Basis({'h1': basis['H1']})


def test_file_keeps_species(layer, pseudos, basis, tmp_path):
    """With labels the version is 5; without, file and digest are those of version 4."""
    import h5py

    for atoms, version in ((capped(layer), 5), (layer, 4)):
        written = compute_h0(atoms, basis, pseudos, ECUTRHO)
        written.write(tmp_path / 'h0.h5')
        found = Hamiltonian.read(tmp_path / 'h0.h5')
        assert found.species == written.species
        assert list(found.basis) == sorted(set(found.species))
        assert set(found.pseudopotentials) == set(found.species)
        np.testing.assert_array_equal(found.h0, written.h0)
        with h5py.File(tmp_path / 'h0.h5') as handle:
            assert handle.attrs['version'] == version
            assert ('species' in handle['structure']) == (version == 5)
    assert 'species' not in written._content


def test_changed_label_is_refused(layer, pseudos, basis, tmp_path):
    """The digest covers the labels."""
    import h5py

    compute_h0(capped(layer), basis, pseudos, ECUTRHO).write(tmp_path / 'h0.h5')
    content = (tmp_path / 'h0.h5').read_bytes()
    mark = content.rfind(b'\nhamlr-sha256 ')
    (tmp_path / 'h0.h5').write_bytes(content[:mark])
    with h5py.File(tmp_path / 'h0.h5', 'r+') as handle:
        handle['structure/species'][2:] = [b'H2', b'H1']
    with pytest.raises(ValueError, match=r'h0\.h5'):
        Hamiltonian.read(tmp_path / 'h0.h5')


def test_hash_of_a_basis_knows_its_labels(basis):
    given = {'H1': basis['H1'], 'H2': basis['H2']}
    assert Basis(given).content_hash != Basis({'H1': basis['H2'], 'H2': basis['H1']}).content_hash
    assert Basis(given).content_hash != Basis({'H1': basis['H1'], 'H3': basis['H2']}).content_hash
