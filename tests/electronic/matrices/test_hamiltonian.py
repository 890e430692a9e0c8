"""The file formats of bases and Hamiltonians: what goes in comes out, and damaged files are refused by name."""

import json

import h5py
import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis


def species(element, momenta, width=1.0):
    r = np.arange(0, 6.01, 0.05)
    shells = []
    for number, l in enumerate(momenta):
        radial = r**l * np.exp(-((r / width) ** 2) * (1 + number))
        shells.append(Shell(l, 6.0, radial, f'{number + 1}{"spdf"[l]}', 1.0))
    return SpeciesBasis(element, 0.05, tuple(shells), {'size': 'test'})


@pytest.fixture
def basis():
    return Basis({'Al': species('Al', (0, 0, 1)), 'As': species('As', (0, 1, 2), 1.3)})


@pytest.fixture
def hamiltonian(basis):
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=np.eye(3) * 5.6, pbc=True)
    pairs = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [-1, 0, 0, 1, 0]]
    pattern = BlockPattern(np.array(pairs), basis.n_orbitals(['Al', 'As']))
    rng = np.random.default_rng(0)
    matrices = {
        'hamiltonian': pattern.symmetrize(rng.normal(size=pattern.n_entries)),
        'overlap': pattern.symmetrize(rng.normal(size=pattern.n_entries)),
        'density_matrix': pattern.symmetrize(rng.normal(size=(2, pattern.n_entries))),
    }
    return Hamiltonian(
        atoms, basis, pattern, matrices, {'Al': 'upf text'}, HamiltonianAttributes(origin='reference', gauge_shift=1.0)
    )


def test_basis_of_missing_element_is_named(basis):
    with pytest.raises(ValueError, match='no basis for Ga, N'):
        basis.for_labels(['Al', 'N', 'Ga'])


def test_damaged_basis_is_refused(tmp_path, basis):
    path = tmp_path / 'Al.basis.h5'
    basis['Al'].write(path)
    with h5py.File(path, 'r+') as handle:
        handle['basis/radial'][1, 3] += 1e-3
    with pytest.raises(ValueError, match=r'Al\.basis\.h5.*damaged'):
        SpeciesBasis.read(path)


def test_hamiltonian_file_round_trip(tmp_path, hamiltonian):
    path = tmp_path / 'hamiltonian.h5'
    hamiltonian.write(path)
    read = Hamiltonian.read(path)
    for name, entries in hamiltonian.matrices.items():
        assert np.array_equal(read.matrices[name], entries)
    assert np.array_equal(read.pattern.atom_pairs, hamiltonian.pattern.atom_pairs)
    assert np.array_equal(read.atoms.positions, hamiltonian.atoms.positions)
    assert read.basis.content_hash == hamiltonian.basis.content_hash
    assert read.pseudopotentials == {'Al': 'upf text'}
    assert read.attributes == hamiltonian.attributes
    with pytest.raises(AttributeError, match='holds no h0'):
        _ = read.h0


def test_hamiltonian_file_has_the_documented_layout(tmp_path, hamiltonian):
    path = tmp_path / 'hamiltonian.h5'
    hamiltonian.write(path)
    with h5py.File(path) as handle:
        assert handle['blocks/atom_pairs'].shape == (6, 5)
        boundaries, shapes = handle['blocks/chunk_boundaries'][:], handle['blocks/chunk_shapes'][:]
        start, stop = boundaries[4:6]
        block = handle['hamiltonian/entries'][start:stop].reshape(shapes[4])
        assert np.array_equal(block, hamiltonian.pattern.block(hamiltonian.hamiltonian, 4))
        assert handle['density_matrix/entries'].shape == (2, hamiltonian.pattern.n_entries)


@pytest.mark.parametrize(('name', 'axis'), [('hamiltonian', 3), ('density_matrix', 1), ('overlap', 2), ('h0', 2)])
def test_other_leading_axes_than_that_of_spin_are_refused(tmp_path, hamiltonian, name, axis):
    entries = np.zeros((axis, hamiltonian.pattern.n_entries))
    with pytest.raises(ValueError, match=rf'{name} has shape \({axis}, .*axis, of length 2'):
        Hamiltonian(hamiltonian.atoms, hamiltonian.basis, hamiltonian.pattern, {name: entries})
    path = tmp_path / 'spin.h5'
    hamiltonian.matrices['h0'] = hamiltonian.overlap
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        del handle[f'{name}/entries']
        handle[f'{name}/entries'] = entries
    with pytest.raises(ValueError, match=rf'spin\.h5: {name} has shape \({axis}, '):
        Hamiltonian.read(path)


@pytest.mark.parametrize(('n_spin', 'axes'), [(1, (2,)), (2, ())])
def test_number_of_spins_and_axes_must_agree(tmp_path, hamiltonian, n_spin, axes):
    n = hamiltonian.pattern.n_entries
    hamiltonian.attributes.n_spin = n_spin
    hamiltonian.matrices = {'hamiltonian': np.zeros((*axes, n)), 'overlap': hamiltonian.overlap}
    hamiltonian.write(tmp_path / 'spin.h5')
    with pytest.raises(ValueError, match=rf'spin\.h5: hamiltonian of a Hamiltonian with n_spin = {n_spin} has shape'):
        Hamiltonian.read(tmp_path / 'spin.h5')


def test_failed_write_leaves_nothing(tmp_path, hamiltonian):
    hamiltonian.attributes.other['not json'] = object()
    with pytest.raises(TypeError):
        hamiltonian.write(tmp_path / 'hamiltonian.h5')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('fraction', [0.0, 0.3, 0.9])
def test_truncated_file_is_refused_by_name(tmp_path, hamiltonian, fraction):
    path = tmp_path / 'cut.h5'
    hamiltonian.write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=r'cut\.h5'):
        Hamiltonian.read(path)


def test_newer_version_is_refused_with_both_numbers(tmp_path, hamiltonian):
    path = tmp_path / 'new.h5'
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        handle.attrs['version'] = 99
    with pytest.raises(ValueError, match='version 99 is newer than version 8'):
        Hamiltonian.read(path)


def test_foreign_and_inconsistent_files_are_refused(tmp_path, hamiltonian):
    path = tmp_path / 'foreign.h5'
    with h5py.File(path, 'w') as handle:
        handle['a'] = 1
    with pytest.raises(ValueError, match='not a hamlr-hamiltonian file'):
        Hamiltonian.read(path)
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        del handle['overlap/entries']
        handle['overlap/entries'] = np.zeros(7)
    with pytest.raises(ValueError, match=r'foreign\.h5.*overlap has shape'):
        Hamiltonian.read(path)


def test_not_finite_numbers_are_refused(tmp_path, hamiltonian):
    path = tmp_path / 'nan.h5'
    hamiltonian.hamiltonian[3] = np.nan
    hamiltonian.write(path)
    with pytest.raises(ValueError, match='hamiltonian has entries that are not finite'):
        Hamiltonian.read(path)


def test_attributes_are_plain_json(tmp_path, hamiltonian):
    path = tmp_path / 'hamiltonian.h5'
    hamiltonian.write(path)
    with h5py.File(path) as handle:
        assert json.loads(handle.attrs['attributes'])['origin'] == 'reference'
        assert handle.attrs['gauge_shift_eV'] == 1.0


def test_header_that_lies_about_its_size_is_refused_before_allocation(tmp_path, hamiltonian):
    path = tmp_path / 'liar.h5'
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        del handle['blocks/atom_pairs']
        handle['blocks'].create_dataset('atom_pairs', shape=(10**12, 5), dtype='i8')
    with pytest.raises(ValueError, match='atom_pairs claims 40000000000000 bytes'):
        Hamiltonian.read(path)


def test_files_of_version_1_have_no_digests_and_are_read(tmp_path, hamiltonian):
    path = tmp_path / 'old.h5'
    overlap = hamiltonian.overlap
    for pair in hamiltonian.pattern.onsite:
        np.fill_diagonal(hamiltonian.pattern.block(overlap, pair), 1.0)
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        for item in (handle, *handle['basis'].values(), *(handle[name]['entries'] for name in hamiltonian.matrices)):
            del item.attrs['sha256']
        del handle.attrs['matrices']
    with pytest.raises(ValueError, match=r'old\.h5.*recorded sha256'):
        Hamiltonian.read(path)
    with h5py.File(path, 'r+') as handle:
        handle.attrs['version'] = 1
    assert set(Hamiltonian.read(path).matrices) == set(hamiltonian.matrices)
    assert set(Hamiltonian.read(path, ['overlap']).matrices) == {'overlap'}
    for name, message in (('hamiltonian', 'differs from its transpose'), ('overlap', 'not normalised')):
        with h5py.File(path, 'r+') as handle:
            position = hamiltonian.pattern.chunk_boundaries[hamiltonian.pattern.onsite[0]] + (name == 'hamiltonian')
            handle[name]['entries'][..., position] += 0.5
        with pytest.raises(ValueError, match=message):
            Hamiltonian.read(path, [name])


def test_version_1_with_sums_is_refused(tmp_path, hamiltonian):
    path = tmp_path / 'flipped.h5'
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        handle.attrs['version'] = 1
    with pytest.raises(ValueError, match='version 1, but .* has a sha256, which came later'):
        Hamiltonian.read(path)


def test_changed_content_is_refused(tmp_path, hamiltonian):
    path = tmp_path / 'changed.h5'
    changes = {
        'hamiltonian/entries': lambda entries: entries + 1e-9,
        'structure/positions': lambda positions: positions[::-1],
        'basis/As/occupation': lambda occupations: occupations + 1,
    }
    for name, change in changes.items():
        hamiltonian.write(path)
        with h5py.File(path, 'r+') as handle:
            handle[name][...] = change(handle[name][...])
        with pytest.raises(ValueError, match=r'changed\.h5.*the file is damaged'):
            Hamiltonian.read(path)
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        del handle['overlap']
    with pytest.raises(ValueError, match=r'changed\.h5: incomplete file: .*overlap'):
        Hamiltonian.read(path)


@pytest.fixture
def labelled(hamiltonian):
    n_atoms = len(hamiltonian.atoms)
    hamiltonian.labels = {
        'hirshfeld_charges': np.linspace(-0.2, 0.2, n_atoms),
        'hirshfeld_dipoles': np.arange(3.0 * n_atoms).reshape(n_atoms, 3),
        'dielectric_tensor': np.diag([7.0, 8.0, 9.0]),
        'born_charges': np.arange(9.0 * n_atoms).reshape(n_atoms, 3, 3),
    }
    return hamiltonian


def test_labels_of_the_atoms(tmp_path, labelled):
    path = tmp_path / 'labelled.h5'
    labelled.write(path)
    read = Hamiltonian.read(path, matrices=())
    assert set(read.labels) == {'hirshfeld_charges', 'hirshfeld_dipoles', 'dielectric_tensor', 'born_charges'}
    for name, values in labelled.labels.items():
        assert np.array_equal(read.labels[name], values)


def test_files_of_version_2_have_no_labels_and_are_read(tmp_path, hamiltonian):
    path = tmp_path / 'old.h5'
    hamiltonian.write(path)
    with h5py.File(path, 'r+') as handle:
        handle.attrs['version'] = 2
        del handle.attrs['labels']
        del handle['labels']
    read = Hamiltonian.read(path)
    assert read.labels == {}
    assert np.array_equal(read.hamiltonian, hamiltonian.hamiltonian)


def test_changed_labels_are_refused(tmp_path, labelled):
    path = tmp_path / 'changed.h5'

    def dropped(handle):
        handle.attrs['labels'] = '["hirshfeld_dipoles"]'

    def reshaped(handle):
        del handle['labels/hirshfeld_dipoles']
        handle['labels/hirshfeld_dipoles'] = np.zeros((len(labelled.atoms), 2))

    damages = {
        'labels/hirshfeld_charges does not have its recorded sha256': lambda handle: handle['labels'][
            'hirshfeld_charges'
        ].write_direct(np.zeros(len(labelled.atoms))),
        'hirshfeld_dipoles has shape': reshaped,
        'recorded sha256': dropped,
        'incomplete file': lambda handle: handle.pop('labels'),
        'finite': lambda handle: handle['labels/hirshfeld_charges'].write_direct(np.full(len(labelled.atoms), np.nan)),
    }
    for message, damage in damages.items():
        labelled.write(path)
        with h5py.File(path, 'r+') as handle:
            damage(handle)
        with pytest.raises(ValueError, match=message) as caught:
            Hamiltonian.read(path)
        assert 'changed.h5' in str(caught.value)


def test_labels_that_are_not_of_the_atoms(hamiltonian):
    parts = (hamiltonian.atoms, hamiltonian.basis, hamiltonian.pattern, hamiltonian.matrices)
    with pytest.raises(ValueError, match="unknown label 'bader'"):
        Hamiltonian(*parts, labels={'bader': np.zeros(2)})
    with pytest.raises(ValueError, match=r'dielectric_tensor has shape \(3,\) instead of \(3, 3\)'):
        Hamiltonian(*parts, labels={'dielectric_tensor': np.ones(3)})
    with pytest.raises(ValueError, match='hirshfeld_charges has shape'):
        Hamiltonian(*parts, labels={'hirshfeld_charges': np.zeros(len(hamiltonian.atoms) + 1)})
