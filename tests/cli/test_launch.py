"""Tests of `aiida-hamlr launch`."""

import pytest
import yaml
from aiida import orm
from aiida.cmdline.utils.echo import ExitCode
from ase.build import bulk

from aiida_hamlr.cli import cmd_root, launch
from aiida_hamlr.cli.installation import create_pseudo_family
from aiida_hamlr.data.dataset import DatasetData


def test_launch_refuses(invoke, pw_code, hamlr_code, structure, pseudo_family, basis_node, tmp_path):
    """What is wrong with the inputs is one line, and nothing has run."""
    n_jobs = orm.QueryBuilder().append(orm.CalcJobNode).count()
    codes = ('-X', pw_code.pk, '-Z', hamlr_code.pk)
    result = invoke(cmd_root, 'launch', 'reference', structure.pk, *codes, '-F', 'no_such_family')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'no_such_family' in result.output
    overrides = tmp_path / 'overrides.yaml'
    overrides.write_text(yaml.safe_dump({'scf': {'pw': {'parameters': {'SYSTEM': {'nspin': 4}}}}}))
    arguments = (structure.pk, *codes, '-F', pseudo_family, '-B', basis_node.pk, '-O', overrides)
    result = invoke(cmd_root, 'launch', 'reference', *arguments)
    assert result.exit_code == ExitCode.CRITICAL
    assert 'or nspin = 1 or 2' in result.output
    overrides.write_text(yaml.safe_dump({'scf': {'kpoints_distanze': 0.2}}))
    result = invoke(cmd_root, 'launch', 'reference', *arguments)
    assert result.exit_code == ExitCode.CRITICAL
    assert "unknown key 'kpoints_distanze' in overrides.scf; did you mean 'kpoints_distance'?" in result.output
    assert orm.QueryBuilder().append(orm.CalcJobNode).count() == n_jobs


@pytest.mark.parametrize(('given', 'expected'), [((), (7, 3, True)), (('-s', 5, '-n', 2), (5, 2, True))])
def test_command_line_and_overrides(
    invoke, monkeypatch, pw_code, hamlr_code, structure, pseudo_family, basis_node, tmp_path, given, expected
):
    """What the command line does not give is that of the overrides."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    overrides = tmp_path / 'overrides.yaml'
    overrides.write_text(yaml.safe_dump({'seed': 7, 'max_concurrent': 3, 'clean_workdir': True}))
    arguments = ('-X', pw_code.pk, '-Z', hamlr_code.pk, '-F', pseudo_family, '-B', basis_node.pk, '-O', overrides)
    for command in (('dataset', structure.pk), ('pipeline', '--train', structure.pk)):
        result = invoke(cmd_root, 'launch', *command, *arguments, *(given if command[0] == 'dataset' else given[:2]))
        assert result.exit_code == 0, result.output
    dataset, pipeline = builders
    assert (dataset.seed.value, dataset.max_concurrent.value, dataset.clean_workdir.value) == expected
    assert (pipeline.seed.value, pipeline.max_concurrent.value, pipeline.clean_workdir.value) == (expected[0], 3, True)


def test_launch_train_on_gpus(invoke, monkeypatch, hamlr_code, make_hamiltonian_node):
    """One process for each GPU."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    result = invoke(cmd_root, 'launch', 'train', dataset.pk, '-Z', hamlr_code.pk, '--gpus', 2)
    assert result.exit_code == 0, result.output
    assert builders[0].train.processes.value == 2
    assert builders[0].train.parameters['training']['device'] == 'gpu'


def test_launch_screen(invoke, monkeypatch, hamlr_code, model_node, structure, tmp_path):
    """Several models, the size of batches and the window; a table cannot wait for the daemon."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    arguments = ('launch', 'screen', model_node.pk, structure.pk, '-Z', hamlr_code.pk, '-M', model_node.pk)
    result = invoke(cmd_root, *arguments, '-b', 7, '-n', 3, '--no-reuse', '-x')
    assert result.exit_code == 0, result.output
    (builder,) = builders
    assert sorted(builder.models) == ['model_0', 'model_1']
    assert (builder.batch_size.value, builder.max_concurrent.value, builder.reuse.value) == (7, 3, False)
    assert builder.predict.clean_workdir.value
    result = invoke(cmd_root, *arguments, '-d', '-o', tmp_path / 'gaps.csv')
    assert result.exit_code == 2
    assert 'screen export csv' in result.output


def test_committee(invoke, monkeypatch, hamlr_code, make_hamiltonian_node, model_node, structure):
    """`-N` starts a committee of trainings, and `-C` names the further models of a prediction or a screening."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    code, others = ('-Z', hamlr_code.pk), ('-C', model_node.pk, '-C', model_node.pk)
    for arguments in (
        ('train', dataset.pk, *code, '-N', 4, '-s', 7, '-M', model_node.pk),
        ('predict', model_node.pk, structure.pk, *code, *others),
        ('screen', model_node.pk, structure.pk, *code, *others),
    ):
        result = invoke(cmd_root, 'launch', *arguments)
        assert result.exit_code == 0, result.output
    train, predict, screen = builders
    assert train.process_class.__name__ == 'TrainCommitteeWorkChain'
    assert (train.n_models.value, train.train.seed.value) == (4, 7)
    assert train.train.parent_model.uuid == model_node.uuid
    for namespace in (predict.predict, screen.predict.predict):
        assert sorted(namespace.committee) == ['model_1', 'model_2']


def test_spin_orbit_coupling(invoke, monkeypatch, hamlr_code, silicon, pseudo_family, tmp_path):
    """Predictions of a scalar-relativistic model get the siblings of a family; one that has none is refused."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    model, sibling = silicon
    (tmp_path / 'FR').mkdir()
    (tmp_path / 'FR/Si.upf').write_text(sibling.get_content())
    create_pseudo_family(tmp_path / 'FR', 'FR', 30)
    structure = orm.StructureData(ase=bulk('Si', 'diamond', a=5.43)).store()
    code = ('-Z', hamlr_code.pk)
    for command in ('predict', 'screen'):
        for given in (('--spin-orbit',), ('--spin-orbit-family', 'FR')):
            result = invoke(cmd_root, 'launch', command, model.pk, structure.pk, *code, *given)
            assert result.exit_code == 0, result.output
    predict, predict_with_family, screen, screen_with_family = (
        builder.predict if 'model' in builder.predict else builder.predict.predict for builder in builders
    )
    for inputs in (predict, screen):
        assert inputs.parameters['spin_orbit'] is True and not inputs.spin_orbit_pseudos
    for inputs in (predict_with_family, screen_with_family):
        assert inputs.parameters['spin_orbit'] is True
        assert {label: node.md5 for label, node in inputs.spin_orbit_pseudos.items()} == {'Si': sibling.md5}
    for family, words in (
        (pseudo_family, 'does not contain pseudo for element `Si`'),
        ('nowhere', 'no family nowhere'),
    ):
        result = invoke(cmd_root, 'launch', 'predict', model.pk, structure.pk, *code, '--spin-orbit-family', family)
        assert result.exit_code == 2 and words in ' '.join(result.output.split()), result.output


@pytest.mark.parametrize('command', ['predict', 'screen'])
def test_starting_moments(invoke, monkeypatch, hamlr_code, model_node, structure, command):
    """`--spin` gives the moments of kinds or elements to predictions."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    given = ('-Z', hamlr_code.pk, '--spin', 'Al=1.5', '--spin', 'As=-0.5')
    axis = ('--magnetization-axis', 1, 0, -1)
    result = invoke(cmd_root, 'launch', command, model_node.pk, structure.pk, *given, '--spin-orbit', *axis)
    assert result.exit_code == 0, result.output
    inputs = builders[0].predict if command == 'predict' else builders[0].predict.predict
    assert inputs.parameters['magnetic_moments'] == {'Al': 1.5, 'As': -0.5}
    assert inputs.parameters['magnetization_axis'] == [1.0, 0.0, -1.0]
    result = invoke(cmd_root, 'launch', command, model_node.pk, structure.pk, *given, *axis)
    assert result.exit_code != 0 and 'spin_orbit' in result.output


def test_siblings_must_be_fully_relativistic(invoke, hamlr_code, model_node, structure, pseudo_family):
    """A scalar-relativistic family is refused before anything starts."""
    arguments = (model_node.pk, structure.pk, '-Z', hamlr_code.pk, '--spin-orbit-family', pseudo_family)
    result = invoke(cmd_root, 'launch', 'predict', *arguments)
    assert result.exit_code == 2
    assert 'of Al, As in nc are scalar-relativistic' in ' '.join(result.output.split())


def test_launch_active_learning(invoke, monkeypatch, pw_code, hamlr_code, structure, pseudo_family, basis_node):
    """Numbers, budget and target come from the command line; a group is the source of the candidates."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    arguments = ('-X', pw_code.pk, '-Z', hamlr_code.pk, '-F', pseudo_family, '-B', basis_node.pk, '-p', 'fast')
    numbers = ('--n-initial', 3, '--n-test', 2, '-n', 5, '-r', 4, '--max-references', 30, '-t', 0.5, '-N', 2, '-s', 9)
    result = invoke(
        cmd_root, 'launch', 'active-learning', structure.pk, '-G', 'learn', *arguments, *numbers, '--fine-tune'
    )
    assert result.exit_code == 0, result.output
    (builder,) = builders
    found = {name: builder[name].value for name in ('n_initial', 'n_validation', 'n_test', 'n_per_round', 'max_rounds')}
    assert found == {'n_initial': 3, 'n_validation': 8, 'n_test': 2, 'n_per_round': 5, 'max_rounds': 4}
    assert (builder.max_references.value, builder.target.value, builder.seed.value) == (30, 0.5, 9)
    assert (builder.train.n_models.value, builder.fine_tune.value) == (2, True)
    assert orm.load_group(builder.group.value).label == 'learn'


def test_outputs(invoke, monkeypatch, pw_code, hamlr_code, structure, pseudo_family, basis_node, model_node):
    """The names on the command line are those of the jobs; a wrong one is one line."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    codes = ('-X', pw_code.pk, '-Z', hamlr_code.pk, '-F', pseudo_family, '-B', basis_node.pk)
    reference = ('launch', 'reference', structure.pk, *codes)
    predict = ('launch', 'predict', model_node.pk, structure.pk, '-Z', hamlr_code.pk)
    for command in (reference, predict):
        result = invoke(cmd_root, *command, '--outputs', 'bands, dos')
        assert result.exit_code == 0, result.output
        result = invoke(cmd_root, *command, '--outputs', 'band')
        assert result.exit_code == ExitCode.CRITICAL and 'outputs.0' in result.output
    first, second = builders
    assert first.reconstruct.properties.get_dict() == {'outputs': ['bands', 'dos']}
    assert second.predict.parameters['outputs'] == ['bands', 'dos']
    assert second.predict.parameters['spacing'] == 0.04
    assert invoke(cmd_root, *reference).exit_code == 0
    assert 'properties' not in builders[-1].reconstruct
