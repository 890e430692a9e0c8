"""Tests of the reference work chain without running anything."""

import re
from types import SimpleNamespace

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida_fixtures import find_problem as problem
from aiida_quantumespresso.common.types import ElectronicType, SpinType
from ase.build import bulk
from plumpy.base.utils import call_with_super_check
from qe_fixtures import DEBIAN_PSEUDOS, debian_pseudo

from aiida_hamlr.calculations.functions.kpoints import even_mesh, shift_mesh
from aiida_hamlr.workflows.dataset import DatasetWorkChain
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.reference import ReferenceWorkChain
from aiida_hamlr.workflows.reuse import hash_inputs
from aiida_hamlr.workflows.scf import couple_spin_orbit
from aiida_hamlr.workflows.steps import describe_failure

CODES = ReferenceWorkChain.exit_codes


@pytest.fixture
def builder(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """Return a builder with a basis."""
    return ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        protocol='fast',
        overrides={'scf': {'pseudo_family': pseudo_family}},
        basis=basis_node,
    )


def with_system(builder, **system):
    """Change the namelist SYSTEM of a builder."""
    parameters = builder.scf.pw.parameters.get_dict()
    parameters['SYSTEM'].update(system)
    builder.scf.pw.parameters = orm.Dict(parameters)
    return builder


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_protocols(pw_code, hamlr_code, structure, pseudo_family, protocol, data_regression):
    """The inputs of each protocol."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        protocol=protocol,
        overrides={'scf': {'pseudo_family': pseudo_family}},
        options={'withmpi': False, 'max_wallclock_seconds': 100},
    )
    assert problem(builder) is None
    data_regression.check(serialize(builder))


def serialize(builder):
    """Return the inputs of a builder as plain values."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, orm.Dict):
            return value.get_dict()
        if isinstance(value, orm.Int | orm.Float | orm.Bool | orm.Str):
            return value.value
        if isinstance(value, orm.StructureData):
            return value.get_formula()
        if isinstance(value, orm.Code):
            return value.label
        return value.filename if isinstance(value, orm.SinglefileData) else value

    return plain(builder._inputs(prune=True))


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'scff': {}}, "unknown key 'scff' in overrides; did you mean 'scf'?"),
        (
            {'scf': {'pw': {'metadata': {'option': {}}}}},
            "'option' in overrides.scf.pw.metadata; did you",
        ),
        (
            {'scf': {'pw': {'parameters': {'SYSTEM': {'ecutwfcc': 30}}}}},
            "'ecutwfcc' in SYSTEM; did you mean 'ecutwfc'",
        ),
        ({'scf': {'pw': {'parameters': {'SISTEM': {}}}}}, "'SISTEM' in parameters; did you mean 'SYSTEM'?"),
        ({'scf': {'meta_parameters': {'conv_thr': 1}}}, "'conv_thr' in overrides.scf.meta_parameters"),
        ({'generate_basis': {'parameters': {'sise': 'dzp'}}}, 'sise'),
    ],
)
def test_unknown_override(pw_code, hamlr_code, structure, pseudo_family, overrides, words):
    """A key that no input has is named, wherever it is, with the nearest known one."""
    overrides.setdefault('scf', {})['pseudo_family'] = pseudo_family
    with pytest.raises(ValueError, match=words.split(';')[0]) as error:
        ReferenceWorkChain.get_builder_from_protocol(pw_code, hamlr_code, structure, overrides=overrides)
    assert words in str(error.value) and '\n' not in words


@pytest.mark.parametrize(
    ('system', 'words'),
    [
        ({'nspin': 4}, 'nspin = 4: noncollinear'),
        ({'starting_magnetization': {'Al': 0.1}}, 'need `nspin` 2'),
        ({'noncolin': True}, 'noncollinear'),
        ({'lspinorb': True}, 'spin-orbit'),
        ({'tot_charge': 1}, 'charged cells'),
        ({'input_dft': 'HSE'}, 'input_dft'),
        ({'assume_isolated': 'esm'}, 'assume_isolated = esm'),
    ],
)
def test_unsupported_runs(builder, system, words):
    """What cannot be represented yet is refused before anything runs."""
    assert words in problem(with_system(builder, **system))


def test_not_scf(builder):
    """Only a self-consistent run has the potential."""
    parameters = builder.scf.pw.parameters.get_dict()
    parameters['CONTROL']['calculation'] = 'relax'
    builder.scf.pw.parameters = orm.Dict(parameters)
    assert "'relax'" in problem(builder)


def test_no_orbitals(builder, pseudos):
    """An element without orbitals or without a pseudopotential is named."""
    from ase.build import bulk

    builder.structure = orm.StructureData(ase=bulk('Si'))
    assert 'no pseudopotential of Si' in problem(builder)
    builder.pseudos = pseudos
    assert 'no orbitals of Si' in problem(builder)


def test_no_basis(builder):
    """There must be orbitals or a way to them."""
    builder.pop('basis')
    assert 'give `basis`, or `generate_basis.code`' in problem(builder)


def test_computers(builder, other_computer):
    """Jobs that read each other's files must be on one computer."""
    code = orm.InstalledCode(computer=other_computer, filepath_executable='/bin/hamlr', label='hamlr').store()
    builder.reconstruct.code = code
    message = problem(builder)
    assert '`reconstruct.code` on elsewhere' in message


def test_ultrasoft(builder, al_as_pseudos, tmp_path):
    """An ultrasoft pseudopotential is named."""
    from aiida_pseudo.data.pseudo.upf import UpfData

    path = tmp_path / 'Al.us.UPF'
    path.write_text(al_as_pseudos['Al'].get_content().replace('pseudo_type="NC"', 'pseudo_type="US"'))
    with pytest.raises(ValueError, match='Al.us.UPF'):
        builder.pseudos = {**al_as_pseudos, 'Al': UpfData(path)}


def test_bands(builder, instantiate):
    """Eight electrons and eight empty bands, unless the user says otherwise; the code decides about MPI."""
    process = instantiate(builder)
    process.setup()
    submitted = capture(process)
    process.run_scf()
    parameters = submitted[0]['pw']['parameters'].get_dict()
    assert parameters['SYSTEM']['nbnd'] == 4 + 8
    assert parameters['SYSTEM']['occupations'] == 'fixed'
    process = instantiate(with_system(builder, nbnd=5))
    process.setup()
    submitted = capture(process)
    process.run_scf()
    assert submitted[0]['pw']['parameters'].get_dict()['SYSTEM']['nbnd'] == 5


def capture(process):
    """Let a process submit nothing, and return what it would have submitted."""
    submitted = []

    def submit(_, **inputs):
        submitted.append(inputs)
        return orm.WorkChainNode().store()

    process.submit = submit
    return submitted


def test_shifted_mesh(builder, instantiate):
    """The mesh of the spacing is shifted for pw.x, and has Gamma for the density matrix."""
    builder.scf.kpoints_distance = orm.Float(0.6)
    builder.kpoints_offset = orm.List([0.5, 0.5, 0])
    assert problem(builder) is None
    process = instantiate(builder)
    process.setup()
    submitted = capture(process)
    process.run_scf()
    assert 'kpoints_distance' not in submitted[0]
    mesh, offset = submitted[0]['kpoints'].get_kpoints_mesh()
    # The fcc cell has reciprocal vectors of 2 pi sqrt(3) / a = 1.92 1/Å.
    assert mesh == [4, 4, 4]
    assert offset == [0.5, 0.5, 0]
    assert shift_mesh(submitted[0]['kpoints'], orm.List([0, 0, 0])).get_kpoints_mesh() == ([4, 4, 4], [0, 0, 0])


def test_even_mesh(builder, instantiate):
    """An axis has an even number of points, or one if it is long, as in the vacuum of a slab."""
    builder.scf.kpoints_distance = orm.Float(0.7)
    ase_structure = builder.structure.get_ase()
    ase_structure.set_cell([4.0, 5.0, 40.0])
    builder.structure = orm.StructureData(ase=ase_structure)
    process = instantiate(builder)
    process.setup()
    submitted = capture(process)
    process.run_scf()
    # 2 pi / (0.7 a) is 2.2, 1.8 and 0.2.
    assert submitted[0]['kpoints'].get_kpoints_mesh() == ([4, 2, 1], [0, 0, 0])
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([5, 3, 3])
    assert even_mesh(mesh, builder.structure).get_kpoints_mesh() == ([6, 4, 1], [0, 0, 0])
    assert even_mesh(mesh, orm.StructureData(ase=bulk('Al', cubic=True))).get_kpoints_mesh() == ([6, 4, 4], [0, 0, 0])


def test_senseless_kpoints(builder):
    """An offset is one of half steps, and of a mesh that a spacing gives; a list gives no mesh."""
    with pytest.raises(ValueError, match='0 or 0.5'):
        builder.kpoints_offset = orm.List([0.25, 0, 0])
    with pytest.raises(ValueError, match='0 or 0.5'):
        builder.kpoints_offset = orm.List([0.5])
    builder.scf.pop('kpoints_distance')
    builder.scf.kpoints = orm.KpointsData()
    builder.scf.kpoints.set_kpoints([[0, 0, 0], [0.5, 0, 0]])
    assert '`scf.kpoints` is a list' in problem(builder)
    builder.kpoints_offset = orm.List([0.5, 0.5, 0.5])
    assert '`kpoints_offset` shifts the mesh of `scf.kpoints_distance`' in problem(builder)


def test_kpoints_offset_of_the_overrides(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """The offset can stand in a file of overrides."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        overrides={'scf': {'pseudo_family': pseudo_family}, 'kpoints_offset': [0.5, 0.5, 0]},
        basis=basis_node,
    )
    assert builder.kpoints_offset.get_list() == [0.5, 0.5, 0]


@pytest.fixture
def make_scf(make_finished, make_remote, localhost):
    """Return a factory of finished pw.x work chains."""

    def make(exit_status=0, converged=True, path='/scratch'):
        convergence = {'convergence_info': {'scf_conv': {'convergence_achieved': converged}}}
        folder = orm.RemoteData(computer=localhost, remote_path=str(path))
        outputs = {'output_parameters': orm.Dict(convergence), 'remote_folder': folder}
        return make_finished('workflows', 'quantumespresso.pw.base', exit_status, outputs)

    return make


def test_scf_checks(builder, instantiate, make_scf):
    """A run that failed or did not converge ends the work chain; pw.x itself says JOB DONE in both cases."""
    process = instantiate(builder)
    process.setup()
    process.ctx.scf = [make_scf(exit_status=401)]
    assert process.inspect_scf().status == CODES.ERROR_SUB_PROCESS_FAILED_SCF.status
    process.ctx.scf = [make_scf(converged=False)]
    assert process.inspect_scf() == CODES.ERROR_SCF_NOT_CONVERGED
    process.ctx.scf = [make_scf()]
    assert process.inspect_scf() is None
    assert not process.should_run_scf()


@pytest.fixture
def make_cached(make_finished, localhost, tmp_path):
    """Return a factory of finished jobs from the cache, with files in their folder."""

    def make(entry_point, files, **outputs):
        folder = orm.RemoteData(computer=localhost, remote_path=str(tmp_path))
        node = make_finished('calculations', entry_point, outputs={'remote_folder': folder, **outputs})
        node.base.extras.set(node.base.caching.CACHED_FROM_KEY, node.uuid)
        for name in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return node

    return make


def test_purged_parent(builder, instantiate, make_cached, make_finished, tmp_path):
    """A run from the cache whose density was deleted by others is run again, although its folder is there."""
    process = instantiate(builder)
    process.setup()
    job = make_cached('quantumespresso.pw', ('out/aiida.save/data-file-schema.xml',))
    convergence = {'convergence_info': {'scf_conv': {'convergence_achieved': True}}}
    node = make_finished('workflows', 'quantumespresso.pw.base', outputs={'output_parameters': orm.Dict(convergence)})
    job.outputs.remote_folder.base.links.add_incoming(node, link_type=LinkType.RETURN, link_label='remote_folder')
    process.ctx.scf = [node]
    assert process.inspect_scf() is None
    assert process.should_run_scf()
    (tmp_path / 'out/aiida.save/charge-density.hdf5').touch()
    assert process.inspect_scf() is None
    assert not process.should_run_scf()


def test_purged_potential(builder, instantiate, make_cached, pp_code, tmp_path):
    """A potential from the cache that was deleted is made again, once."""
    options = {'resources': {'num_machines': 1}, 'max_wallclock_seconds': 100}
    builder.potential = {'code': pp_code, 'metadata': {'options': options}}
    process = instantiate(builder)
    process.setup()
    assert not process.should_run_potential()
    process.ctx.scf_is_done = True
    assert process.should_run_potential()
    process.ctx.scf = [make_cached('quantumespresso.pw', ())]
    process.ctx.potential = make_cached('hamlr.potential', ())
    assert process.inspect_potential() is None
    assert process.should_run_potential()
    submitted = capture(process)
    process.run_potential()
    assert submitted[0]['metadata']['disable_cache'] is True
    assert 'files are gone' in process.inspect_potential().message
    (tmp_path / 'aiida.filplot').touch()
    assert process.inspect_potential() is None
    assert not process.should_run_potential()


def test_cleaned_parent(builder, instantiate, make_scf):
    """A finished run from the cache whose files are gone is run again, once, without the cache."""
    process = instantiate(builder)
    process.setup()
    node = make_scf()
    node.outputs.remote_folder.base.extras.set(orm.RemoteData.KEY_EXTRA_CLEANED, True)
    process.ctx.scf = [node]
    assert process.inspect_scf() is None
    assert process.should_run_scf()
    submitted = capture(process)
    process.run_scf()
    assert submitted[0]['pw']['metadata']['disable_cache'] is True
    process.ctx.scf = [node]
    assert process.inspect_scf() == CODES.ERROR_SCF_FOLDER_GONE


@pytest.fixture
def make_reconstruct(make_finished, make_hamiltonian_node):
    """Return a factory of finished reconstructions with an error of the occupied bands in meV."""

    def make(error, of_cutoff=None):
        errors = {'band_mae_occupied_meV': error, 'cutoff_error_meV': of_cutoff}
        verification = {name: value for name, value in errors.items() if value is not None}
        hamiltonian = make_hamiltonian_node(verification=verification)
        outputs = {'hamiltonian': hamiltonian, 'output_parameters': orm.Dict(verification)}
        return make_finished('calculations', 'hamlr.reconstruct', 0, outputs)

    return make


@pytest.mark.parametrize(
    ('error', 'of_cutoff', 'words'),
    [
        (14.9, 20.0, None),
        (15.1, None, '15.1 meV.*larger basis'),
        (15.1, 14.0, 'larger basis'),
        (1043.5, 2191.0, 'ecutwfc.*too low.*2191 meV'),
        (None, None, 'unknown.*larger basis'),
    ],
)
def test_band_tolerance(builder, instantiate, make_scf, make_reconstruct, error, of_cutoff, words):
    """Bands that are too far from those of pw.x have an exit code of their own, which names the likelier cause.

    The outputs are there all the same.
    """
    builder.band_tolerance = orm.Float(15.0)
    process = instantiate(builder)
    process.setup()
    process.ctx.scf = [make_scf()]
    process.ctx.reconstruct = make_reconstruct(error, of_cutoff)
    assert process.inspect_reconstruct() is None
    assert {'hamiltonian', 'output_parameters', 'remote_folder'} <= set(process.outputs)
    assert process.should_inspect_bands()
    exit_code = process.inspect_bands()
    if words is None:
        assert exit_code is None
    else:
        assert exit_code.status == CODES.ERROR_BAND_TOLERANCE_EXCEEDED.status == 412
        assert re.search(words, exit_code.message)


def test_a_molecule_is_told_to_be_periodic(builder, instantiate, monkeypatch):
    """What is not periodic is computed as if it were; the report says so, and that images are near."""
    atoms = builder.structure.get_ase()
    atoms.pbc = (True, True, False)
    builder.structure = orm.StructureData(ase=atoms)
    process, reports = instantiate(builder), []
    monkeypatch.setattr(process, 'report', reports.append)
    process.setup()
    assert len(reports) == 1 and 'not periodic along cell vector 3' in reports[0] and 'add vacuum' in reports[0]


def test_warnings_are_reported(builder, instantiate):
    """A reference that is usable only with care says so in its report."""
    process = instantiate(builder)
    warnings = {'warnings': ['levels change by up to 708 meV']}
    node = SimpleNamespace(base=SimpleNamespace(attributes=warnings))
    reports = []
    process.report = reports.append
    process.report_warnings(node)
    assert reports == ['warning: levels change by up to 708 meV']


def test_magnetic_metal(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """Electronic type, spin type and moments are those of aiida-quantumespresso."""
    settings = {
        'electronic_type': ElectronicType.METAL,
        'spin_type': SpinType.COLLINEAR,
        'initial_magnetic_moments': {'Al': 1.0},
    }
    overrides = {'scf': {'pseudo_family': pseudo_family}}
    make = ReferenceWorkChain.get_builder_from_protocol
    builder = make(pw_code, hamlr_code, structure, overrides=overrides, basis=basis_node, **settings)
    system = builder.scf.pw.parameters['SYSTEM']
    assert system['occupations'] == 'smearing' and system['degauss'] > 0 and system['nspin'] == 2
    assert system['starting_magnetization'] == pytest.approx({'Al': 1 / 3, 'As': 0.0})
    mistaken = settings | {'initial_magnetic_moments': {'Al1': 1.0}}
    with pytest.raises(ValueError, match='for Al1, but the kinds of the structure are Al, As'):
        make(pw_code, hamlr_code, structure, overrides=overrides, basis=basis_node, **mistaken)
    settings['spin_type'] = SpinType.NON_COLLINEAR
    with pytest.raises(ValueError, match='is not supported; use none, collinear or spin_orbit'):
        make(pw_code, hamlr_code, structure, overrides=overrides, basis=basis_node, **settings)


def test_spin_orbit(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """It needs fully relativistic files, and sets no magnetization."""
    settings = {'overrides': {'scf': {'pseudo_family': pseudo_family}}, 'basis': basis_node}
    make = ReferenceWorkChain.get_builder_from_protocol
    with pytest.raises(ValueError, match='those of Al, As are scalar-relativistic'):
        make(pw_code, hamlr_code, structure, spin_type=SpinType.SPIN_ORBIT, **settings)
    settings['initial_magnetic_moments'] = {'Al': 1.0}
    with pytest.raises(ValueError, match='not supported together'):
        make(pw_code, hamlr_code, structure, spin_type=SpinType.SPIN_ORBIT, **settings)
    debian_pseudo('Si_r.upf')
    full = orm.SinglefileData(DEBIAN_PSEUDOS / 'Si_r.upf')
    system = couple_spin_orbit(orm.Dict({'SYSTEM': {'ecutwfc': 20}}), {'Si': full})['SYSTEM']
    assert system == {'ecutwfc': 20, 'noncolin': True, 'lspinorb': True}


def test_the_deepest_reason_is_told():
    """A work chain that only knows that a job failed hands on what the job says."""

    def node(pk, label, status, message, called=()):
        return SimpleNamespace(
            pk=pk, process_label=label, exit_status=status, exit_message=message, called=called,
            process_state=SimpleNamespace(value='finished'), is_excepted=False,
        )  # fmt: skip

    jobs = [
        node(2, 'PwCalculation', 400, 'killed'),
        node(3, 'PwCalculation', 531, 'Smearing might be required'),
        node(4, 'mesh', 0, None),
    ]
    found = describe_failure(node(1, 'PwBaseWorkChain', 300, 'An unhandled failure.', jobs))
    assert found == 'An unhandled failure: PwCalculation<3> [531] Smearing might be required'
    assert describe_failure(node(5, 'PwCalculation', 531, None)) == 'exit status 531'
    # Once is enough, and a sentence goes on after it.
    told = node(7, 'ReconstructCalculation', 433, 'There was no room.')
    chain = node(6, 'ReferenceWorkChain', 404, 'The reconstruction failed: There was no room. Look into it.', [told])
    assert describe_failure(chain) == 'The reconstruction failed: There was no room. Look into it'


def test_the_error_of_a_process_that_excepted_is_told():
    """Its last error is one line, also within the reason of the work chain that called it."""
    node = orm.CalcFunctionNode()
    node.set_process_label('mesh')
    node.set_process_state('excepted')
    assert describe_failure(node) == 'it ended with an exception'
    node.set_exception(
        'Traceback (most recent call last):\n  File "mesh.py", line 1, in mesh\nsqlite3.OperationalError: locked\n\n'
        'The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n'
        '  File "mesh.py", line 2, in mesh\nsqlalchemy.exc.OperationalError: database is locked\n'
        '[SQL: UPDATE db_dbnode]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)\n'
    )
    assert describe_failure(node) == 'sqlalchemy.exc.OperationalError: database is locked'
    chain = SimpleNamespace(exit_status=402, exit_message='The mesh failed.', called=[node.store()], is_excepted=False)
    assert describe_failure(chain) == (
        f'The mesh failed: mesh<{node.pk}> [excepted] sqlalchemy.exc.OperationalError: database is locked'
    )


@pytest.mark.parametrize('has_hamiltonian', [True, False])
def test_scratch_of_what_failed_is_kept(builder, instantiate, make_scf, monkeypatch, has_hamiltonian, make_reconstruct):
    """The folders are cleaned after the reconstruction only, not after one that failed."""
    builder.clean_workdir = orm.Bool(True)
    process = instantiate(builder)
    process.setup()
    process.ctx.scf = [make_scf()]
    process.ctx.reconstruct = make_reconstruct(5.0)
    if has_hamiltonian:
        assert process.inspect_reconstruct() is None
        assert not process.should_run_reconstruct()
    calls = []
    monkeypatch.setattr('aiida_hamlr.workflows.steps.clean_called_folders', lambda node, _: calls.append(node) or [])
    call_with_super_check(process.on_terminated)
    assert bool(calls) is has_hamiltonian


def test_no_band_tolerance(builder, instantiate):
    """Without a tolerance nothing is compared; a senseless one is refused."""
    assert builder.band_tolerance.value == 300.0
    builder.pop('band_tolerance')
    assert not instantiate(builder).should_inspect_bands()
    with pytest.raises(ValueError, match='must be positive'):
        builder.band_tolerance = orm.Float(-1.0)


def test_band_tolerance_of_the_overrides(pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """The tolerance can stand in a file of overrides."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        overrides={'scf': {'pseudo_family': pseudo_family}, 'band_tolerance': 20},
        basis=basis_node,
    )
    assert builder.band_tolerance.value == 20.0


@pytest.fixture
def scf_folder(tmp_path):
    """Return a folder with what the reconstruction reads of a pw.x run."""
    save = tmp_path / 'scf/out/aiida.save'
    save.mkdir(parents=True)
    for name in ('data-file-schema.xml', 'charge-density.dat'):
        (save / name).touch()
    return tmp_path / 'scf'


def test_deleted_scf(builder, instantiate, make_scf, make_finished, scf_folder):
    """If the reconstruction fails and the files of pw.x are gone, pw.x runs again, once and without the cache."""
    process = instantiate(builder)
    process.setup()
    process.ctx.scf = [make_scf(path=scf_folder)]
    assert process.inspect_scf() is None
    assert process.has_potential()
    (scf_folder / 'out/aiida.save/charge-density.dat').unlink()
    process.ctx.reconstruct = make_finished('calculations', 'hamlr.reconstruct', 210, message='no such file')
    assert process.inspect_reconstruct() is None
    assert process.should_run_scf()
    assert not process.has_potential()
    submitted = capture(process)
    process.run_scf()
    assert submitted[0]['pw']['metadata']['disable_cache'] is True
    process.ctx.scf = [make_scf(path=scf_folder)]
    assert process.inspect_reconstruct().status == CODES.ERROR_SUB_PROCESS_FAILED_RECONSTRUCT.status


def test_failed_steps(builder, instantiate, make_finished, make_scf, scf_folder):
    """Every step has its exit code."""
    process = instantiate(builder)
    process.setup()
    process.ctx.scf = [make_scf(path=scf_folder)]
    process.ctx.potential = make_finished('calculations', 'hamlr.potential', 320, message='no potential')
    exit_code = process.inspect_potential()
    assert exit_code.status == CODES.ERROR_SUB_PROCESS_FAILED_POTENTIAL.status
    assert exit_code.message == 'The pp.x job failed: no potential. Look into its output, or leave `potential` out.'
    process.ctx.reconstruct = make_finished('calculations', 'hamlr.reconstruct', 210, message='hamlr: Al: ultrasoft')
    exit_code = process.inspect_reconstruct()
    assert exit_code.status == CODES.ERROR_SUB_PROCESS_FAILED_RECONSTRUCT.status
    assert 'hamlr: Al: ultrasoft' in exit_code.message
    assert process.node.process_state in (None, ProcessState.CREATED)


def test_properties_of_the_overrides(pw_code, hamlr_code, structure, pseudo_family, basis_node, instantiate):
    """They are those of the job, and do not decide whether a later study finds the Hamiltonian."""
    overrides = {'scf': {'pseudo_family': pseudo_family}, 'reconstruct': {'properties': {'outputs': ['dos']}}}
    make = ReferenceWorkChain.get_builder_from_protocol
    builder = make(pw_code, hamlr_code, structure, overrides=overrides, basis=basis_node)
    assert problem(builder) is None
    assert builder.reconstruct.properties['outputs'] == ['dos']
    plain = make(pw_code, hamlr_code, structure, overrides={'scf': overrides['scf']}, basis=basis_node)
    assert 'properties' not in plain.reconstruct
    assert hash_inputs(instantiate(builder).inputs) == hash_inputs(instantiate(plain).inputs)
    overrides['reconstruct']['properties'] = {'outputs': ['doss']}
    with pytest.raises(ValueError, match='outputs.0'):
        make(pw_code, hamlr_code, structure, overrides=overrides, basis=basis_node)


def test_properties_are_those_of_single_references(pw_code, hamlr_code, structure, pseudo_family):
    """A dataset may take a reference of another study, which has others or none."""
    overrides = {'reference': {'scf': {'pseudo_family': pseudo_family}, 'reconstruct': {'properties': {}}}}
    with pytest.raises(ValueError, match='overrides.reference.reconstruct.properties: only a'):
        DatasetWorkChain.get_builder_from_protocol(pw_code, hamlr_code, {'a': structure}, overrides=overrides)


def test_outputs_have_the_names_and_types_of_predictions():
    """What reads the properties of a prediction reads those of a reference."""
    ours, predicted = (process.spec().outputs for process in (ReferenceWorkChain, PredictBaseWorkChain))
    assert ours['band_structure'].valid_type is predicted['band_structure'].valid_type
    for namespace in ('dos', 'projwfc'):
        types = {name: port.valid_type for name, port in predicted[namespace].items()}
        assert types and {name: port.valid_type for name, port in ours[namespace].items()} == types
