"""Import of a reconstruction that ran without AiiDA."""

import json
import shutil

import pytest
import yaml
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.reconstruct import run_reconstruct

pytestmark = pytest.mark.qe

ReconstructCalculation = CalculationFactory('hamlr.reconstruct')


@pytest.fixture
def outside(aiida_profile, alas_run, plain_basis, tmp_path):
    """Run `hamlr reconstruct` in a folder beside that of pw.x."""
    shutil.copytree(alas_run.folder, tmp_path / 'run')
    folder = tmp_path / 'hamlr'
    folder.mkdir()
    for element, species in plain_basis(('Al', 'As'), 'sz').items():
        species.write(folder / f'{element}.basis.h5')
    config = {
        'structure': '../run/out/aiida.save/data-file-schema.xml',
        'density': '../run/out/aiida.save',
        'pseudos': {element: f'../run/{element}.upf' for element in ('Al', 'As')},
        'basis': {element: f'{element}.basis.h5' for element in ('Al', 'As')},
        'kpoints': [2, 2, 2],
        'quality_assurance': False,
        'properties': {'outputs': ['dos']},
    }
    (folder / 'reconstruct.yaml').write_text(yaml.safe_dump(config))
    run_reconstruct(folder / 'reconstruct.yaml')
    return folder


def change(folder, **values):
    """Change keys of the configuration."""
    config = yaml.safe_load((folder / 'reconstruct.yaml').read_text()) | values
    (folder / 'reconstruct.yaml').write_text(yaml.safe_dump(config))


def test_import(outside, localhost, make_remote, tmp_path):
    """The inputs are those of the configuration, and the outputs those of a run with AiiDA."""
    folder = make_remote(path=outside)
    inputs = ReconstructCalculation.get_importer().parse_remote_data(folder)
    assert inputs['parent_folder'].get_remote_path() == str(tmp_path / 'run')
    assert inputs['kpoints'].get_kpoints_mesh() == ([2, 2, 2], [0.0, 0.0, 0.0])
    assert inputs['pseudos']['As'].get_content() == (tmp_path / 'run/As.upf').read_text()
    written = Hamiltonian.read(outside / 'hamiltonian.h5')
    assert inputs['basis'].content_hash == written.basis.content_hash
    result, node = run_get_node(
        ReconstructCalculation, remote_folder=folder, **inputs, metadata={'computer': localhost}
    )
    assert node.is_finished_ok, node.exit_message
    assert node.is_imported
    assert result['dos']['output_dos'].get_x()[2] == 'eV'
    hamiltonian = result['hamiltonian']
    assert (hamiltonian.open().hamiltonian == written.hamiltonian).all()
    assert hamiltonian.creator.uuid == node.uuid
    assert result['output_parameters']['sha256'] == hamiltonian.base.attributes.get('sha256')

    assert 'phonon' not in inputs
    (outside / 'response.out').write_text('Program PHONON')
    change(outside, phonon='response.out')
    assert ReconstructCalculation.get_importer().parse_remote_data(folder)['phonon'].get_content() == 'Program PHONON'

    # A folder without results is no success.
    (outside / 'hamiltonian.h5').unlink()
    _, node = run_get_node(ReconstructCalculation, remote_folder=folder, **inputs, metadata={'computer': localhost})
    assert node.exit_status == ReconstructCalculation.exit_codes.ERROR_OUTPUT_FILE_MISSING.status


def test_refused(outside, make_remote, al_as_pseudos):
    """What has no place in the inputs is named, with what to do; inputs that are given take precedence."""
    folder, parse = make_remote(path=outside), ReconstructCalculation.get_importer().parse_remote_data
    given = make_remote(path='/scratch/pw')
    assert parse(folder, parent_folder=given)['parent_folder'] is given
    for key, value, words in (
        ('output', 'other.h5', 'rename the file to hamiltonian.h5'),
        ('kpoints', None, 'kpoints is missing'),
        ('basis', {'size': 'dzp'}, 'basis does not name files'),
        ('structure', 'alas.cif', 'is the XML file of the run'),
        ('pseudos', {'Al': '../run/Al.upf', 'As': 'none.upf'}, 'none.upf on localhost: no such file'),
    ):
        kept = (outside / 'reconstruct.yaml').read_text()
        change(outside, **{key: value})
        with pytest.raises(ValueError, match=words):
            parse(folder)
        (outside / 'reconstruct.yaml').write_text(kept)
    (outside / 'reconstruct.yaml').write_text(json.dumps(['a']))
    with pytest.raises(ValueError, match='expected .key: value. lines'):
        parse(folder)
    with pytest.raises(ValueError, match='wrong.yaml on localhost: no such file'):
        parse(folder, config_filename='wrong.yaml')


def test_basis_node(outside, make_remote):
    """Basis nodes of imported and of generated orbitals are the same for the cache."""
    inputs = ReconstructCalculation.get_importer().parse_remote_data(make_remote(path=outside))
    files = [outside / f'{element}.basis.h5' for element in ('Al', 'As')]
    imported, own = inputs['basis'].store(), BasisData.from_files(files).store()
    assert imported.base.caching.get_hash() == own.base.caching.get_hash()
