"""Files that do not belong together are refused or told."""

import pytest
from ase.build import bulk

from aiida_hamlr.model.training.data_identity import identify
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def written(hamiltonian, path):
    hamiltonian.write(path)
    return path


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
    assert len([warning for warning in record if 'k spacing' in str(warning.message)]) == 1


def test_equal_k_densities_of_different_cells_are_not(tmp_path, recwarn, make_reference, rattled):
    cubic = make_reference(bulk('AlAs', 'zincblende', a=5.6, cubic=True), SHELLS, scf_kpoints=[2, 2, 2])
    double = make_reference(
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
