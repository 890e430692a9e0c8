"""What HPRO wrote in DeepH's layouts: structure, orbitals and overlaps are those of its input.

The fixture holds S and H that HPRO 0.3.1 made of two atoms with s, p and d shells (.ion.xml files) and a
made-up local potential, in both layouts of DeepH.
"""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign_examples import assert_same, example

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.io.deeph import read_deeph
from aiida_hamlr.io.deepx import read_deepx, write_deepx
from aiida_hamlr.io.siesta import read_ion_xml

FIXTURE = Path(__file__).parent / 'fixtures'


@pytest.fixture(scope='module')
def hpro(tmp_path_factory):
    folder = tmp_path_factory.mktemp('hpro')
    for name in ('deepx', 'deeph', 'orbitals'):
        shutil.unpack_archive(FIXTURE / f'hpro_alas_{name}.tar.xz', folder)
    return folder


@pytest.fixture(scope='module')
def basis(hpro):
    return Basis({element: read_ion_xml(hpro / f'orbitals/{element}.ion.xml') for element in ('Al', 'As')})


@pytest.mark.parametrize(('name', 'read'), [('deepx', read_deepx), ('deeph', read_deeph)])
def test_overlaps_of_hpro_are_our_two_centre_integrals(hpro, basis, name, read):
    """Order and sign of orbitals, direction of R, rows and columns: all are wrong if one is."""
    foreign = read(hpro / name)
    hamiltonian = foreign.to_hamiltonian(basis)
    expected, _ = TwoCentreTables(basis).overlap_and_kinetic(hamiltonian.atoms, hamiltonian.pattern)
    assert hamiltonian.symbols == ['Al', 'As'] and foreign.angular_momenta == ((0, 1, 2), (0, 1, 2))
    np.testing.assert_allclose(hamiltonian.overlap, expected, atol=1e-6)


def test_both_layouts_of_hpro_hold_the_same(hpro, basis):
    """The first layout has OpenMX's order, so that each checks the other."""
    assert_same(
        read_deeph(hpro / 'deeph').to_hamiltonian(basis), read_deepx(hpro / 'deepx').to_hamiltonian(basis), 1e-9
    )


def test_atoms_of_an_element_stand_together(tmp_path):
    """As POSCAR needs it; a reader that does not know our key finds the sorted structure."""
    hamiltonian = example()
    write_deepx(hamiltonian, tmp_path)
    assert (tmp_path / 'POSCAR').read_text().splitlines()[5:7] == ['Al As', '2 1']
    info = json.loads((tmp_path / 'info.json').read_text())
    assert info.pop('atom_order') == [0, 2, 1]
    assert info['elements_orbital_map'] == {'Al': [1, 0, 2, 0], 'As': [0, 1, 3]}
    (tmp_path / 'info.json').write_text(json.dumps(info))
    found = read_deepx(tmp_path)
    assert found.atoms.get_chemical_symbols() == ['Al', 'Al', 'As']
    pair = found.pattern.atom_pairs.tolist().index([0, 0, 0, 2, 2])
    own = hamiltonian.pattern.atom_pairs.tolist().index([0, 0, 0, 1, 1])
    np.testing.assert_allclose(
        found.pattern.block(found.matrices['hamiltonian'], pair),
        hamiltonian.pattern.block(hamiltonian.hamiltonian, own),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('elements_orbital_map', {'Al': [0]}, 'does not list the shells of As'),
        ('elements_orbital_map', {'Al': [0, 1], 'As': [0, 1, 3]}, 'its blocks do not have the sizes'),
        ('elements_orbital_map', {'Al': [0, 9], 'As': [0]}, '2 shells with angular momenta'),
        ('spinful', True, 'its blocks do not have the sizes'),
        ('spinful', 'no', 'neither true nor false'),
        ('fermi_energy_eV', 'high', 'not a number'),
        ('orthogonal_basis', True, 'there is no overlap to import'),
        ('split_hkb', True, 'split into two files'),
        ('atom_order', [0, 0, 1], 'no permutation'),
    ],
)
def test_info_that_cannot_be_true(tmp_path, key, value, message):
    write_deepx(example(), tmp_path)
    info = json.loads((tmp_path / 'info.json').read_text())
    (tmp_path / 'info.json').write_text(json.dumps(info | {key: value}))
    with pytest.raises(ValueError, match=message) as caught:
        read_deepx(tmp_path)
    assert '\n' not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_moments_that_are_not_collinear_are_refused(tmp_path):
    write_deepx(example(spin_orbit=True), tmp_path)
    with h5py.File(tmp_path / 'hamiltonian.h5', 'a') as handle:
        entries = handle['entries'][:]
        # The off-diagonal spin block of the first orbital, and its conjugate.
        entries[10] += 0.5
        handle['entries'][:] = entries
    with pytest.raises(ValueError, match=r'hamiltonian\.h5: hamiltonian: magnetic moments that are not along z'):
        read_deepx(tmp_path)
