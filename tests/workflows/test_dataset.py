"""Tests of the work chain that makes datasets."""

import hashlib
from pathlib import Path

import pytest
from aiida import orm
from aiida.manage.caching import get_use_cache
from aiida_fixtures import find_problem as problem
from aiida_quantumespresso.common.types import ElectronicType, SpinType

from aiida_hamlr import set_species_labels
from aiida_hamlr.calculations.storage import stash_options
from aiida_hamlr.cli.installation import create_pseudo_family
from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.workflows.dataset import DatasetWorkChain
from aiida_hamlr.workflows.reference import ReferenceWorkChain
from aiida_hamlr.workflows.reuse import INPUTS_HASH, find_reference, hash_inputs, known_hashes

OPTIONS = {'withmpi': False, 'max_wallclock_seconds': 600}
RATTLE = {'bulk': {'of': ['alas'], 'kind': 'rattle', 'count': 4}}


@pytest.fixture
def builder(pw_code, hamlr_code, pseudo_family, zincblende):
    """Return the inputs of a very small study: four structures, and one with an odd number of electrons."""
    odd = zincblende()
    odd += odd[0:1]
    odd.positions[2] = odd.cell.sum(axis=0) / 2
    return DatasetWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        {'alas': orm.StructureData(ase=zincblende()), 'odd': orm.StructureData(ase=odd)},
        recipes=RATTLE,
        group='study',
        protocol='fast',
        overrides={
            'max_concurrent': 2,
            'max_failures': 1,
            'split': {'validation': 0.25, 'test': 0.0},
            'reference': {
                'scf': {'pseudo_family': pseudo_family, 'kpoints_distance': 0.8},
                'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0, 'recipe': 'plain'}},
            },
        },
        options=OPTIONS,
    )


def test_references_do_not_depend_on_the_other_structures(pw_code, hamlr_code, pseudo_family, zincblende):
    """A study that gets larger structures finds its old references: their inputs stay the same."""
    overrides = {'reference': {'scf': {'pseudo_family': pseudo_family}}}

    def parameters(overrides, **structures):
        made = DatasetWorkChain.get_builder_from_protocol(
            pw_code, hamlr_code, structures, overrides=overrides, options=OPTIONS
        )
        return made.reference.scf.pw.parameters.get_dict()

    small, large = (orm.StructureData(ase=zincblende().repeat((1, 1, n))) for n in (1, 3))
    assert parameters(overrides, small=small) == parameters(overrides, large=large, small=small)
    # What the user asks for stays.
    overrides['reference']['scf']['pw'] = {'parameters': {'CONTROL': {'etot_conv_thr': 1e-6}}}
    assert parameters(overrides, small=small)['CONTROL']['etot_conv_thr'] == 1e-6


@pytest.mark.parametrize(
    ('recipes', 'words'),
    [
        ({'x': {'kind': 'rattle'}}, 'x needs the key `of`'),
        ({'x': {'of': ['gaas'], 'kind': 'rattle'}}, "x is made of 'gaas'"),
        ({'x': {'of': ['alas'], 'kind': 'rattle', 'cuont': 2}}, 'x: recipe for structures: cuont'),
        ({'x': {'of': [['alas']], 'kind': 'rattle'}}, 'x needs the key `of`'),
        ({'x-y': {'of': ['alas'], 'kind': 'rattle'}}, 'x-y: only alphanumeric'),
        ({'x__y': {'of': ['alas'], 'kind': 'rattle'}}, 'two underscores'),
    ],
)
def test_refused_recipes(builder, recipes, words):
    """A recipe that could only fail later is refused at the start."""
    assert problem(builder) is None
    if 'gaas' in str(recipes):
        builder.recipes = orm.Dict(recipes)
        assert words in problem(builder)
    else:
        with pytest.raises(ValueError, match=words):
            builder.recipes = orm.Dict(recipes)


@pytest.mark.parametrize(
    ('split', 'words'),
    [
        ({'valid': 0.1}, "unknown part 'valid'"),
        ({'validation': 0.5, 'test': 0.5}, 'leave something to train on'),
        ({'validation': 0.5, 'train': ['odd']}, 'fractions of `validation` and `test`, or a list'),
        ({'validation': ['odd'], 'train': ['odd']}, "'odd' occurs twice"),
    ],
)
def test_refused_splits(builder, split, words):
    """A split that fits no structures is refused at the start."""
    with pytest.raises(ValueError, match=words):
        builder.split = orm.Dict(split)


@pytest.mark.parametrize(
    ('split', 'words'),
    [
        ({'train': ['odd'], 'test': ['bulk_n0007']}, "names 'bulk_n0007'"),
        ({'train': [], 'test': ['bulk_n0003']}, 'nothing to train on'),
        ({'validation': 0.01, 'test': 0.95}, 'too few'),
    ],
)
def test_split_of_other_structures(builder, instantiate, split, words):
    """A split that does not fit these structures ends the work before the first reference."""
    builder.split = orm.Dict(split)
    exit_code = instantiate(builder).setup()
    assert exit_code.status == DatasetWorkChain.exit_codes.ERROR_STRUCTURES.status
    assert words in exit_code.message


def test_one_structure_twice(builder, instantiate, zincblende):
    """Equal structures would give equal Hamiltonians, which no dataset can have."""
    builder.structures = {**builder.structures, 'again': builder.structures['odd'].clone()}
    exit_code = instantiate(builder).setup()
    assert 'odd and again are the same structure' in exit_code.message


def test_one_label_twice(builder, instantiate, zincblende):
    """A structure is not replaced by one of a recipe that gets the same label."""
    builder.structures = {**builder.structures, 'bulk_n0000': orm.StructureData(ase=zincblende(a=6.0))}
    assert 'two structures have the same label' in instantiate(builder).setup().message


def test_highest_cutoffs(pw_code, hamlr_code, pseudo_family, basis_node, zincblende, tmp_path):
    """All references have the cutoffs that the hardest of all pseudopotentials needs."""
    family = create_pseudo_family(tmp_path / 'family', 'two cutoffs', 16)
    cutoffs = {element: {'cutoff_wfc': wfc, 'cutoff_rho': 4 * wfc} for element, wfc in (('Al', 16.0), ('As', 24.0))}
    family.set_cutoffs(cutoffs, 'elements', unit='Ry')
    family.set_default_stringency('elements')
    pure = {'Al': zincblende(), 'As': zincblende()}
    for element, atoms in pure.items():
        atoms.symbols[:] = element
    structures = {element: orm.StructureData(ase=atoms) for element, atoms in pure.items()}
    builder = DatasetWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structures,
        overrides={'reference': {'scf': {'pseudo_family': family.label}}},
        options=OPTIONS,
        basis=basis_node,
    )
    system = builder.reference.scf.pw.parameters.get_dict()['SYSTEM']
    assert (system['ecutwfc'], system['ecutrho']) == (24.0, 96.0)


def test_nothing_to_do(builder):
    """There must be structures."""
    builder.pop('recipes')
    builder.pop('structures')
    assert '`structures` or a `trajectory`' in problem(builder)


def test_spin(builder, pp_code):
    """References may have spin, as one of them may, unless pp.x is to make their potentials."""
    parameters = builder.reference.scf.pw.parameters.get_dict()
    parameters['SYSTEM'] |= {'nspin': 2, 'tot_magnetization': 2}
    builder.reference.scf.pw.parameters = orm.Dict(parameters)
    assert problem(builder) is None
    builder.reference.potential = {
        'code': pp_code,
        'metadata': {'options': OPTIONS | {'resources': {'num_machines': 1}}},
    }
    assert 'pp.x writes the potential of one spin only' in problem(builder)


def test_magnetic_orders(pw_code, hamlr_code, pseudo_family, zincblende, instantiate, monkeypatch):
    """One dataset may hold several orders: each reference has the starting moments of its own kinds."""
    ferro = zincblende().repeat((1, 1, 2))
    anti = ferro.copy()
    set_species_labels(anti, ['Al1', 'As', 'Al2', 'As'])
    structures = {'ferro': structure_from_atoms(ferro), 'anti': structure_from_atoms(anti)}
    builder = DatasetWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structures,
        overrides={
            'reference': {'scf': {'pseudo_family': pseudo_family}},
            'split': {'validation': ['anti'], 'test': [], 'train': ['ferro']},
        },
        options=OPTIONS,
        electronic_type=ElectronicType.METAL,
        spin_type=SpinType.COLLINEAR,
        initial_magnetic_moments={'Al': 1.5, 'Al2': -1.5},
    )
    assert problem(builder) is None and set(builder.pseudos) == {'Al', 'As'}
    process = instantiate(builder)
    process.setup()
    process.setup_references()
    launched = {}
    monkeypatch.setattr(process, 'launch', lambda _, inputs, name: launched.update({name: inputs}) or inputs.structure)
    for name, node in process.ctx.structures.items():
        process._submit_reference(name, node)
    starting = {name: inputs.scf.pw.parameters['SYSTEM']['starting_magnetization'] for name, inputs in launched.items()}
    assert starting == {
        'reference_ferro': pytest.approx({'Al': 0.5, 'As': 0.0}),
        'reference_anti': pytest.approx({'Al1': 0.5, 'Al2': -0.5, 'As': 0.0}),
    }


def test_impossible_structures(builder, instantiate):
    """What the check of the inputs cannot see ends with an exit code, before anything runs."""
    builder.recipes = orm.Dict(
        {'x': {'of': ['alas'], 'kind': 'wave', 'element': 'Si', 'amplitudes': [0.1], 'cells': 2}}
    )
    exit_code = instantiate(builder).setup()
    assert exit_code.status == DatasetWorkChain.exit_codes.ERROR_STRUCTURES.status
    assert 'a wave of Si' in exit_code.message


def test_trajectory(builder, instantiate, zincblende):
    """All frames are computed, with their history."""
    frames = [orm.StructureData(ase=zincblende(a=5.6 + 0.01 * index)) for index in range(3)]
    builder.pop('recipes')
    builder.pop('structures')
    builder.trajectory = orm.TrajectoryData(structurelist=frames)
    process = instantiate(builder)
    assert process.setup() is None
    structures = process.get_reference_structures()
    assert list(structures) == ['frame_n0000', 'frame_n0001', 'frame_n0002']
    assert all(node.creator.process_label == 'extract_frames' for node in structures.values())


def most_at_once(nodes):
    """Return how many processes overlapped at most, by the times of their first and last change."""
    events = sorted([(node.ctime, 1) for node in nodes] + [(node.mtime, -1) for node in nodes])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


@pytest.mark.qe
@pytest.mark.daemon
@pytest.mark.slow
def test_dataset(reachable_daemon, submit_and_await, builder, al_as_pseudos):
    """Two at a time; one that fails is named; a second run finds everything there."""
    # References in the model orbitals of the other tests would be refused for their bands.
    potentials = (Pseudopotential.from_text(node.get_content(), node.filename) for node in al_as_pseudos.values())
    builder.basis = BasisData.from_basis(Basis({each.element: generate_basis(each, 'szp', 6.0) for each in potentials}))
    node = submit_and_await(builder, timeout=500)
    assert node.is_finished_ok, node.exit_message
    dataset = node.outputs.dataset
    assert [dataset.base.attributes.get(f'n_{part}') for part in ('train', 'validation', 'test')] == [3, 1, 0]
    failures = dataset.base.attributes.get('failures')
    assert list(failures) == ['odd']
    assert 'pw.x' in failures['odd']
    references = [called for called in node.called if called.process_label == 'ReferenceWorkChain']
    assert len(references) == 5
    assert most_at_once(references) == 2
    # Scratch is gone where there is a Hamiltonian, and there to be looked at where there is none.
    for reference in references:
        jobs = [job for job in reference.called_descendants if isinstance(job, orm.CalcJobNode)]
        assert all(job.outputs.remote_folder.is_cleaned == reference.is_finished_ok for job in jobs)
    group = orm.load_group('study')
    assert {entry.uuid for entry in group.nodes} == {
        dataset.uuid,
        *(entry.uuid for entry in dataset.get_hamiltonians('train')),
        *(entry.uuid for entry in dataset.get_hamiltonians('validation')),
    }

    structures = dict(builder.structures)
    del structures['odd']
    builder.structures = structures
    again = submit_and_await(builder, timeout=200)
    assert again.is_finished_ok, again.exit_message
    assert not [called for called in again.called if called.process_label == 'ReferenceWorkChain']
    assert again.outputs.dataset.base.attributes.get('fingerprint') == dataset.base.attributes.get('fingerprint')


def test_found_references(builder, instantiate, make_finished, make_hamiltonian_node):
    """A finished reference is found by its inputs until it is said to be of no use."""
    reference = make_finished(
        'workflows', 'hamlr.reference', outputs={'hamiltonian': make_hamiltonian_node().clone()}
    ).seal()
    inputs = {'structure': builder.structures['odd'].store(), 'band_tolerance': orm.Float(20.0).store()}
    reference.base.extras.set(INPUTS_HASH, hash_inputs(inputs))
    assert find_reference(hash_inputs({**inputs, 'clean_workdir': orm.Bool(True)})) == reference.outputs.hamiltonian
    for other in ({'structure': builder.structures['alas'].store()}, {'band_tolerance': orm.Float(10.0).store()}):
        assert find_reference(hash_inputs(inputs | other)) is None
    reference.base.caching.is_valid_cache = False
    assert find_reference(hash_inputs(inputs)) is None


def test_references_of_earlier_versions_are_found(localhost):
    """Neither a new version of the Hamiltonian file nor an environment that was moved makes references anew."""
    assert hash_inputs({}) == hashlib.sha256(b'hamlr-hamiltonian 7;').hexdigest()
    paths = {'here': '/old/bin/hamlr', 'moved': '/new/bin/hamlr', 'pw': '/usr/bin/pw.x'}
    codes = {
        name: orm.InstalledCode(computer=localhost, filepath_executable=path, label=f'code-{name}').store()
        for name, path in paths.items()
    }
    here, moved, other = ({'reconstruct': {'code': code}} for code in codes.values())
    assert hash_inputs(here) == hash_inputs(moved) == hash_inputs({}) != hash_inputs(other)
    # For earlier versions the place counted; what they made is found with the code that made it.
    old = f'hamlr-hamiltonian 7;reconstruct.code={codes["here"].base.caching.compute_hash()};'
    assert hashlib.sha256(old.encode()).hexdigest() in known_hashes(here)
    assert hashlib.sha256(old.encode()).hexdigest() not in known_hashes(moved)


def test_references_of_their_own_are_found(builder, instantiate, basis_node, monkeypatch):
    """A reference finds out by itself the hash by which a dataset looks for it, wherever its file goes."""
    builder.basis = basis_node
    process = instantiate(builder)
    process.setup()
    process.setup_references()
    submitted = []

    def submit(process_class, **inputs):
        submitted.append(inputs)
        return orm.WorkChainNode().store()

    monkeypatch.setattr(process, 'submit', submit)
    process._submit_reference('odd', builder.structures['odd'])
    looked_for = hash_inputs(submitted[0])
    submitted[0]['reconstruct']['storage'] = orm.Str('remote')
    submitted[0]['reconstruct']['metadata']['options'] |= stash_options('remote', '/kept', ['hamiltonian.h5'])
    reference_builder = ReferenceWorkChain.get_builder()
    reference_builder._update(**submitted[0])
    reference = instantiate(reference_builder)
    reference.setup()
    assert reference._hash_inputs() == looked_for


def test_found_remote(builder, make_finished, make_remote_hamiltonian):
    """A reference whose file was deleted on the computer is computed again."""
    hamiltonian = make_remote_hamiltonian(20)
    reference = make_finished('workflows', 'hamlr.reference', outputs={'hamiltonian': hamiltonian}).seal()
    reference.base.extras.set(INPUTS_HASH, 'known')
    assert find_reference('known') == hamiltonian
    Path(hamiltonian.base.attributes.get('remote_path')).unlink()
    assert find_reference('known') is None


def test_generated_basis_is_not_generated_twice(builder, instantiate, monkeypatch):
    """After a kill the orbitals come from the cache, also where caching is off; not if nothing is to be reused."""
    seen = []

    def submit(process_class, **inputs):
        seen.append(get_use_cache(identifier='aiida.calculations:hamlr.basis'))
        return orm.CalcJobNode().store()

    for reuse in (True, False):
        builder.reuse = orm.Bool(reuse)
        process = instantiate(builder)
        process.setup()
        monkeypatch.setattr(process, 'submit', submit)
        process.run_basis()
    assert seen == [True, False]


def test_excluded(builder, instantiate, zincblende, monkeypatch, make_hamiltonian_node):
    """An excluded structure has a reference, the last to be computed, and is not in the dataset."""
    builder.pop('recipes')
    builder.structures = {label: orm.StructureData(ase=zincblende(a=5.6 + 0.01 * i)) for i, label in enumerate('abcd')}
    builder.excluded = orm.List(['a'])
    builder.split = orm.Dict({'validation': 0.3})
    process = instantiate(builder)
    assert process.setup() is None
    assert list(process.get_reference_structures()) == ['b', 'c', 'd', 'a']
    process.setup_references()
    process.ctx.references = {label: make_hamiltonian_node(seed=60 + i) for i, label in enumerate('abcd')}
    assert process.make_dataset() is None
    dataset = process.outputs['dataset']
    members = set(dataset.get_uuids('train') + dataset.get_uuids('validation'))
    assert members == {process.ctx.references[label].uuid for label in 'bcd'}
    assert set(dataset.creator.inputs) == {'split', 'seed', 'failures', 'b', 'c', 'd'}


@pytest.mark.parametrize(
    ('split', 'excluded', 'words'),
    [
        ({'validation': 0.1}, ['gaas'], "`excluded` names 'gaas'"),
        ({'train': ['odd']}, ['odd'], "'odd' is in `excluded` and in the part `train`"),
        ({'validation': 0.2}, ['odd', 'bulk_n0000', 'bulk_n0001', 'bulk_n0002'], 'too few'),
    ],
)
def test_senseless_exclusion(builder, instantiate, split, excluded, words):
    """Unknown labels, labels that the split has, and exclusions that leave no dataset end the work at the start."""
    builder.split = orm.Dict(split)
    builder.excluded = orm.List(excluded)
    exit_code = instantiate(builder).setup()
    assert exit_code.status == DatasetWorkChain.exit_codes.ERROR_STRUCTURES.status
    assert words in exit_code.message
