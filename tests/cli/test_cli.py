"""Tests of the command line."""

import click
import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.cmdline.commands.cmd_verdi import verdi
from aiida.cmdline.utils.echo import ExitCode
from click.testing import CliRunner

from aiida_hamlr.cli import cmd_root, launch
from aiida_hamlr.cli.options import job_options, load_structures
from aiida_hamlr.data.dataset import DatasetData


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs a command and returns its result."""

    def run(command, *arguments):
        result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


LAUNCH = ('reference', 'dataset', 'train', 'predict', 'pipeline')


@pytest.mark.parametrize('command', [(), ('launch',), ('setup', 'codes'), *(('launch', name) for name in LAUNCH)])
def test_help(invoke, command):
    """Every command explains itself."""
    result = invoke(cmd_root, *command, '--help')
    assert result.exit_code == 0
    assert 'Usage' in result.output


def test_setup_codes(aiida_profile_clean, invoke, tmp_path):
    """Codes are made once, on a computer that is made if there is none; a missing executable is named."""
    paths = {}
    for name in ('pw', 'pp', 'hamlr'):
        paths[name] = tmp_path / name
        paths[name].touch()
    arguments = ('setup', 'codes', *(f'--{name}={path}' for name, path in paths.items()))
    for _ in range(2):
        result = invoke(cmd_root, *arguments)
        assert result.exit_code == 0, result.output
    assert orm.QueryBuilder().append(orm.InstalledCode).count() == 3
    assert str(orm.load_code('pp@localhost').filepath_executable) == str(paths['pp'])
    assert orm.load_computer('localhost').is_configured
    result = invoke(cmd_root, 'setup', 'codes', 'nowhere')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'nowhere' in result.output


def test_executable_not_found(monkeypatch, tmp_path):
    """The message says how to install what is missing."""
    from aiida_hamlr.cli import installation as setup

    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(setup.sys, 'executable', str(tmp_path / 'python'))
    with pytest.raises(ValueError, match='pw.x was not found; install Quantum ESPRESSO: apt-get install'):
        setup.find_executable('pw.x')


def test_structures(aiida_profile_clean, zincblende, structure, tmp_path):
    """Structures come from files with all their frames, from nodes and from groups."""
    import ase.io
    import click

    path = tmp_path / 'frames.extxyz'
    ase.io.write(path, [zincblende(), zincblende(cubic=True)])
    group = orm.Group(label='study').store()
    group.add_nodes(structure)
    found = load_structures([str(path), str(structure.pk), 'study'])
    assert list(found) == ['s0', 's1', 's2', 's3']
    assert [len(node.sites) for node in found.values()] == [2, 8, 2, 2]
    with pytest.raises(click.BadParameter, match='nothing_here'):
        load_structures(['nothing_here'])
    with pytest.raises(click.BadParameter, match='not a structure'):
        load_structures([str(orm.Int(1).store().pk)])
    orm.Group(label='nothing').store()
    with pytest.raises(click.BadParameter, match='nothing: an empty group'):
        load_structures(['nothing'])
    for content, reason in (('2\n\nAl 0 0 0\n', 'cannot be read as a structure'), ('1\n\nAl 0 0 0\n', 'cell')):
        (tmp_path / 'bad.xyz').write_text(content)
        with pytest.raises(click.BadParameter, match=reason):
            load_structures([str(tmp_path / 'bad.xyz')])


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
    assert 'neither 1 nor 2' in result.output
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


@pytest.mark.parametrize(
    ('with_mpi', 'given', 'option'), [(None, False, False), (None, True, True), (True, False, None)]
)
def test_mpi_is_that_of_the_code(localhost, with_mpi, given, option):
    """An option that is not given does not contradict the code."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=with_mpi)
    assert job_options(code, 60, 1, given or None, None).get('withmpi') == option


def test_mpi_against_the_code(localhost):
    """One that is given and contradicts it is named."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=False, label='pw')
    with pytest.raises(click.BadParameter, match='code pw is set up with `with_mpi` False'):
        job_options(code, 60, 1, True, None)


def test_launch_train_on_gpus(invoke, monkeypatch, hamlr_code, make_hamiltonian_node):
    """One process for each GPU."""
    builders = []
    monkeypatch.setattr(launch, '_launch', lambda builder, _: builders.append(builder))
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    result = invoke(cmd_root, 'launch', 'train', dataset.pk, '-Z', hamlr_code.pk, '--gpus', 2)
    assert result.exit_code == 0, result.output
    assert builders[0].train.processes.value == 2
    assert builders[0].train.parameters['training']['device'] == 'gpu'


def test_curve(invoke, make_finished, make_hamiltonian_node, localhost, tmp_path):
    """The learning curve of the last job that has one: of a finished one its node, of a running one its file."""
    curve = orm.ArrayData({'epoch': np.array([1.0, 2.0]), 'train_mae_meV': np.array([9.5, 8.25])})
    job = make_finished('calculations', 'hamlr.train', 400, {'learning_curve': curve})
    result = invoke(verdi, 'data', 'hamlr', 'curve', job.pk, '-o', tmp_path / 'curve.png')
    assert result.exit_code == 0, result.output
    assert '8.25' in result.output and (tmp_path / 'curve.png').stat().st_size > 1000
    running = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.train').store()
    result = invoke(verdi, 'data', 'hamlr', 'curve', running.pk)
    assert result.exit_code == ExitCode.CRITICAL and 'is written yet' in result.output
    running.set_remote_workdir(str(tmp_path))
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/metrics.csv').write_text('epoch,train_mae_meV\n1,7.5\n')
    assert '7.5' in invoke(verdi, 'data', 'hamlr', 'curve', running.pk).output


@pytest.mark.parametrize('kind', ['hamiltonian', 'basis', 'dataset', 'model'])
def test_list_and_show(request, invoke, kind, make_hamiltonian_node):
    """Nodes of each kind can be listed and shown."""
    if kind == 'hamiltonian':
        node = make_hamiltonian_node(gap=1.25)
    elif kind == 'dataset':
        from aiida_hamlr.data.dataset import DatasetData

        node = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    else:
        node = request.getfixturevalue(f'{kind}_node')
    result = invoke(verdi, 'data', 'hamlr', 'list', kind)
    assert result.exit_code == 0, result.output
    assert str(node.pk) in [line.split()[0] for line in result.output.splitlines()]
    result = invoke(verdi, 'data', 'hamlr', 'show', node.pk)
    assert result.exit_code == 0, result.output
    assert node.uuid in result.output
    assert 'Al' in result.output


def test_figure_of_a_basis_that_nobody_calculated(invoke, basis_node, tmp_path):
    """Without pseudopotentials there are no bands to draw."""
    result = invoke(verdi, 'data', 'hamlr', 'plot-basis', basis_node.pk, '-o', tmp_path / 'bands.png')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'no pseudopotential of Al, As' in result.output
    assert not (tmp_path / 'bands.png').exists()


def test_empty_list(aiida_profile_clean, invoke):
    """An empty profile has nothing to list."""
    assert 'there are no model nodes' in invoke(verdi, 'data', 'hamlr', 'list', 'model').output
