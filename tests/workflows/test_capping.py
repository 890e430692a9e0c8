"""Capping hydrogens of two charges from kinds of AiiDA to the Hamiltonian, with pw.x."""

import io
import shutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_fixtures import PSEUDOS
from aiida_fixtures import find_problem as problem
from qe_fixtures import DEBIAN_PSEUDOS, scaled_hydrogen

from aiida_hamlr.cli.installation import create_pseudo_family
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.data.upf import FractionalUpfData, create_upf
from aiida_hamlr.electronic.species import labelled_atoms
from aiida_hamlr.workflows.reference import ReferenceWorkChain

LABELS = ['Al', 'As', 'H1', 'H2']


@pytest.fixture
def hydrogens(aiida_profile):
    """Return hydrogens of 1.25 and 0.75 electrons by kind."""
    if not DEBIAN_PSEUDOS.is_dir():
        pytest.skip('the pseudopotentials of Quantum ESPRESSO are not installed')
    charges = {'H1': 1.25, 'H2': 0.75}
    return {
        label: create_upf(io.BytesIO(scaled_hydrogen(q).encode()), f'H.{q}.upf').store() for label, q in charges.items()
    }


@pytest.fixture
def builder(pw_code, hamlr_code, hydrogens, tmp_path):
    """Return the inputs of a layer of AlAs with a hydrogen on either side."""
    folder = tmp_path / 'with_hydrogen'
    folder.mkdir()
    for name in (PSEUDOS['Al'], PSEUDOS['As'], 'H.pz-vbc.UPF'):
        shutil.copy(DEBIAN_PSEUDOS / name, folder)
    atoms = labelled_atoms(
        LABELS,
        scaled_positions=[(1 / 3, 2 / 3, 0.53), (2 / 3, 1 / 3, 0.46), (1 / 3, 2 / 3, 0.667), (2 / 3, 1 / 3, 0.332)],
        cell=[(3.916, 0, 0), (-1.958, 3.3914, 0), (0, 0, 11.7477)],
        pbc=True,
    )
    return ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure_from_atoms(atoms),
        protocol='fast',
        overrides={
            'scf': {
                'pseudo_family': create_pseudo_family(folder, 'capping', 16).label,
                'kpoints_distance': 0.8,
            },
            'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0, 'recipe': 'plain'}},
        },
        options={'withmpi': False, 'max_wallclock_seconds': 600},
        pseudos=hydrogens,
    )


def test_builder_has_species(builder, hydrogens):
    """Those that are given take the place of those of the family; the others are those of their elements."""
    assert problem(builder) is None
    assert set(builder.pseudos) == set(LABELS)
    assert builder.pseudos['H1'].uuid == hydrogens['H1'].uuid
    assert isinstance(builder.pseudos['H2'], FractionalUpfData)
    del builder.pseudos['H1']
    assert 'no pseudopotential of H1' in problem(builder)


@pytest.mark.qe
@pytest.mark.slow
def test_reference(builder, hydrogens):
    """Orbitals, pw.x and reconstruction know four species, and the graph leads back to both hydrogens."""
    result, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    hamiltonian = result['hamiltonian']
    assert hamiltonian.species == LABELS
    assert hamiltonian.base.attributes.get('elements') == ['Al', 'As', 'H']
    assert hamiltonian.base.attributes.get('n_electrons') == pytest.approx(10.0)
    assert hamiltonian.base.attributes.get('variational_violation_truncated_meV') < 1.0
    assert result['basis'].species == LABELS
    assert [site.kind_name for site in hamiltonian.get_structure().sites] == LABELS
    pw = [job for job in node.called_descendants if job.process_label == 'PwCalculation'][-1]
    assert {label: pseudo.uuid for label, pseudo in pw.inputs.pseudos.items() if label in hydrogens} == {
        label: pseudo.uuid for label, pseudo in hydrogens.items()
    }
    ancestors = (
        orm.QueryBuilder()
        .append(FractionalUpfData, tag='upf')
        .append(orm.Node, filters={'uuid': hamiltonian.uuid}, with_ancestors='upf')
    )
    assert ancestors.count() > 0
