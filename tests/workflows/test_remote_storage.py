"""A real reference whose Hamiltonian stays on the computer, and predictions that do."""

import shutil
from pathlib import Path

import pytest
from aiida import orm
from aiida.common.datastructures import StashMode
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import ParserFactory

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.electronic.matrices.description import describe, description_path, write_described
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.reference import ReferenceWorkChain

OPTIONS = {'withmpi': False, 'max_wallclock_seconds': 600, 'environment_variables': {'OMP_NUM_THREADS': '1'}}


@pytest.mark.qe
@pytest.mark.slow
def test_reference(pw_code, hamlr_code, structure, pseudo_family, al_as_pseudos, tmp_path):
    """Nothing large comes back, everything to query for does, and the cache looks for the file."""
    potentials = [Pseudopotential.from_text(node.get_content(), node.filename) for node in al_as_pseudos.values()]
    basis = Basis({each.element: generate_basis(each, 'szp', 6.0) for each in potentials})
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        protocol='fast',
        overrides={
            'scf': {'pseudo_family': pseudo_family, 'kpoints_distance': 0.8},
            'storage': 'remote',
            'stash_folder': str(tmp_path / 'kept'),
        },
        options=OPTIONS,
        basis=BasisData.from_basis(basis).store(),
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    hamiltonian = node.outputs.hamiltonian
    attributes = hamiltonian.base.attributes.all
    job = hamiltonian.creator
    assert hamiltonian.base.repository.list_object_names() == ['hamiltonian.h5.json']
    assert attributes['remote_path'].startswith(job.outputs.remote_stash.target_basepath)
    assert not any(name.endswith('.h5') for name in job.outputs.retrieved.list_object_names())
    opened = hamiltonian.open()
    for key, value in describe(opened).items():
        # A database keeps fewer digits.
        assert attributes[key] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), key
    assert attributes['gap'] > 0
    assert attributes['band_mae_occupied_meV'] > 0
    summary = node.outputs.output_parameters.get_dict()
    assert (summary['sha256'], summary['size_bytes']) == (attributes['sha256'], attributes['size'])

    # From the cache, as long as the file is there; else from a new run, whose folder alone is cleaned.
    with enable_caching():
        _, cached = run_get_node(builder)
        assert cached.outputs.hamiltonian.creator.base.caching.get_cache_source() == job.uuid
        shutil.rmtree(tmp_path / 'kept')
        builder.clean_workdir = orm.Bool(True)
        _, again = run_get_node(builder)
    assert again.is_finished_ok, again.exit_message
    made = again.outputs.hamiltonian
    assert not made.creator.base.caching.is_created_from_cache
    assert made.creator.outputs.remote_folder.is_cleaned
    assert not node.outputs.remote_folder.is_empty
    assert made.open().symbols == opened.symbols


def test_refused(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """A folder that is kept must be named, and a job is told which files to stash."""

    def build(**overrides):
        overrides['scf'] = {'pseudo_family': pseudo_family}
        return ReferenceWorkChain.get_builder_from_protocol(
            pw_code, hamlr_code, structure, overrides=overrides, options=OPTIONS, basis=basis_node
        )

    with pytest.raises(ValueError, match='`stash_folder`, the absolute path .*not None'):
        build(storage='remote')
    with pytest.raises(ValueError, match="not 'relative'"):
        build(storage='remote', stash_folder='relative')
    with pytest.raises(ValueError, match="'cloud'; known are repository, remote"):
        build(storage='cloud')
    builder = build()
    builder.reconstruct.storage = orm.Str('remote')
    error = ReferenceWorkChain.spec().inputs.validate(builder._inputs(prune=True))
    assert 'a `source_list` with hamiltonian.h5' in error.message


@pytest.mark.parametrize('stashed', [True, False])
def test_parser(make_process_node, make_hamiltonian, zincblende, localhost, tmp_path, stashed):
    """Predictions that are stashed become remote nodes; without the stash the job has failed."""
    path = tmp_path / 'predictions/a/hamiltonian.h5'
    write_described(make_hamiltonian(zincblende()), path)
    path.unlink()
    inputs = {
        'storage': orm.Str('remote').store(),
        'structures': {name: orm.StructureData(ase=zincblende()).store() for name in 'ab'},
    }
    node = make_process_node('hamlr.predict', {'hamlr.status': '0', 'summary.json': '{}'}, inputs=inputs)
    if stashed:
        stash = orm.RemoteStashFolderData(
            stash_mode=StashMode.COPY,
            target_basepath='/kept/ab/cd',
            source_list=['predictions/*/hamiltonian.h5'],
            computer=localhost,
        )
        stash.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='remote_stash')
        stash.store()
    results, parsed = ParserFactory('hamlr.predict').parse_from_node(
        node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
    )
    assert description_path(path).is_file()
    if not stashed:
        assert parsed.exit_status == PredictBaseWorkChain._process_class.exit_codes.ERROR_NOT_STASHED.status
        return
    assert parsed.is_finished_ok, parsed.exit_message
    assert list(results['hamiltonians']) == ['a']
    assert results['hamiltonians']['a'].base.attributes.get('remote_path') == (
        '/kept/ab/cd/predictions/a/hamiltonian.h5'
    )
    assert results['hamiltonians']['a'].computer.pk == localhost.pk


@pytest.mark.parametrize('gone', [True, False])
def test_cached_predictions(
    hamlr_code, model_node, structure, instantiate, make_finished, make_remote_hamiltonian, gone
):
    """What the cache gives back is predicted again if its files were deleted."""
    builder = PredictBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        model_node,
        {'a': structure},
        overrides={'storage': 'remote', 'stash_folder': '/kept'},
        options={'max_wallclock_seconds': 600},
    )
    process = instantiate(builder)
    process.setup()
    process.ctx.iteration = 1
    hamiltonian = make_remote_hamiltonian(30, origin='predicted')
    node = make_finished('calculations', 'hamlr.predict')
    output = orm.load_node(hamiltonian.pk).clone()
    output.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='hamiltonians__a')
    output.store()
    node.base.extras.set(node.base.caching.CACHED_FROM_KEY, node.uuid)
    if gone:
        Path(hamiltonian.base.attributes.get('remote_path')).unlink()
    process.ctx.children = [node]
    process.inspect_process()
    assert process.ctx.is_finished is not gone
    assert process.ctx.inputs.metadata.get('disable_cache', False) is gone
