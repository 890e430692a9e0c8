"""`verdi data hamlr export` and `import`: nodes to files and back, with their provenance."""

import numpy as np
import pytest
from aiida import orm
from aiida.cmdline.commands.cmd_verdi import verdi
from foreign_examples import assert_same, example

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.exchange import FORMATS


def test_there_and_back(aiida_profile, invoke, tmp_path):
    """The files of the other program are a node, and the calculation function that read them is the creator."""
    original = example()
    node = HamiltonianData.from_hamiltonian(original).store()
    result = invoke(verdi, 'data', 'hamlr', 'export', node.pk, '--format', 'deepx', '-o', tmp_path / 'deepx')
    assert result.exit_code == 0, result.output
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path / 'deepx', '--format', 'deepx', '--electrons', 8)
    assert result.exit_code == 0, result.output
    pk = int(result.output.split('HamiltonianData<')[1].split('>')[0])
    found = orm.load_node(pk)
    assert found.base.attributes.get('origin') == 'imported'
    assert found.base.attributes.get('source_format') == 'deepx'
    assert found.base.attributes.get('n_electrons') == 8.0
    assert found.creator.process_label == 'import_hamiltonian'
    assert isinstance(found.creator.inputs.source, orm.FolderData)
    np.testing.assert_allclose(found.open().hamiltonian, original.hamiltonian, rtol=0, atol=1e-12)
    result = invoke(verdi, 'data', 'hamlr', 'export', node.pk, found.pk, '-o', tmp_path / 'own')
    assert result.exit_code == 0, result.output
    assert_same(Hamiltonian.read(tmp_path / f'own/{node.pk}/hamiltonian.h5'), original)


def test_unknown_electrons_are_said(aiida_profile, invoke, tmp_path):
    FORMATS['deeph'].write(example(), tmp_path / 'deeph')
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path / 'deeph', '--format', 'deeph')
    assert result.exit_code == 0 and 'the number of electrons is not known' in result.output
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path / 'deeph', '--format', 'deeph', '--electrons', 100)
    assert result.exit_code != 0 and '--electrons 100: the 31 orbitals of the cell hold at most 62' in result.output


@pytest.mark.parametrize(('name', 'file'), [('cp2k', 'hamlr.out'), ('sisl', 'hamiltonian.nc')])
def test_files_beside_the_named_one_belong_to_it(name, file, aiida_profile, invoke, tmp_path):
    if name == 'sisl':
        pytest.importorskip('netCDF4')
    FORMATS[name].write(example(), tmp_path / name)
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path / name / file, '--format', name)
    assert result.exit_code == 0, result.output


def test_with_orbitals_and_pseudopotentials(aiida_profile, invoke, basis_node, pseudo_family, zincblende, tmp_path):
    """H0 comes from nodes, and they stand in the provenance."""
    family = orm.load_group(pseudo_family)
    pseudos = {label: family.get_pseudo(label) for label in ('Al', 'As')}
    parsed = {label: Pseudopotential.from_text(node.get_content()) for label, node in pseudos.items()}
    original = compute_h0(zincblende(), basis_node.get_basis(), parsed, 60.0)
    original.matrices['hamiltonian'] = 1.02 * original.h0
    FORMATS['deepx'].write(original, tmp_path / 'deepx')
    options = ('--basis', basis_node.pk, '--pseudo-family', pseudo_family, '--ecutrho', 60)
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path / 'deepx', '--format', 'deepx', *options)
    assert result.exit_code == 0, result.output
    found = orm.load_node(int(result.output.split('HamiltonianData<')[1].split('>')[0]))
    np.testing.assert_allclose(found.open().h0, original.h0, rtol=0, atol=1e-10)
    inputs = {node.pk for node in found.creator.base.links.get_incoming().all_nodes()}
    assert inputs >= {basis_node.pk, *(node.pk for node in pseudos.values())}


def test_refusals(aiida_profile, invoke, tmp_path):
    (tmp_path / 'info.json').write_text('{}')
    result = invoke(verdi, 'data', 'hamlr', 'import', tmp_path, '--format', 'deepx')
    assert result.exit_code != 0 and 'The files cannot be imported: source/POSCAR: no such file' in result.output
    spinors = HamiltonianData.from_hamiltonian(example(spin_orbit=True)).store()
    result = invoke(verdi, 'data', 'hamlr', 'export', spinors.pk, '--format', 'deeptb', '-o', tmp_path / 'x')
    assert result.exit_code != 0 and 'DeePTB holds no spin-orbit coupling' in result.output
