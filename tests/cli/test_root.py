"""Tests of the commands as a whole."""

import os
import subprocess
import sys

import click
import pytest

from aiida_hamlr.cli import cmd_root

LAUNCH = ('reference', 'dataset', 'train', 'predict', 'screen', 'pipeline')
SCREEN = (('show',), ('export', 'csv'), ('plot',))


def test_every_command_has_an_example():
    """`--help` of each command, and of those of verdi, shows how to call it."""
    from aiida_hamlr.cli.data import cmd_hamlr

    def leaves(command, name):
        if not isinstance(command, click.Group):
            yield name, command
            return
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            yield from leaves(command.get_command(context, child), f'{name} {child}')

    found = [*leaves(cmd_root, 'aiida-hamlr'), *leaves(cmd_hamlr, 'verdi data hamlr')]
    assert len(found) > 30
    for name, command in found:
        example = ' '.join(f'{command.help} {command.epilog}'.split()).partition('Example')[2]
        # `export` and `import` are commands of both programs, with one example.
        assert name in example or f'verdi data hamlr {command.name} ' in example, name


def test_readers_may_end_early(tmp_path):
    """`aiida-hamlr status | head -1` prints a line and no traceback."""
    code = (
        'import sys\n'
        'from aiida.cmdline.utils import echo\n'
        'from aiida_hamlr.cli import cmd_root\n'
        "@cmd_root.command('lines')\n"
        'def lines():\n'
        '    for number in range(20_000):\n'
        "        echo.echo(f'line {number}')\n"
        "    print('end', file=sys.stderr)\n"
        "cmd_root(['lines'])\n"
    )
    environment = os.environ | {'AIIDA_PATH': str(tmp_path), 'PYTHONWARNINGS': 'ignore'}
    with subprocess.Popen(
        [sys.executable, '-c', code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == 'line 0\n'
        process.stdout.close()
        assert process.stderr.read() == 'end\n'
        assert process.wait() == 0


@pytest.mark.parametrize('options', [[], ['-v', 'warning']])
def test_reports_are_stored(tmp_path, options):
    """A run in the foreground writes its report to the database, where `verdi process report` finds it."""
    code = (
        'import logging, sys\n'
        'from aiida import load_profile\n'
        'from aiida.storage.sqlite_temp import SqliteTempBackend\n'
        'from aiida_hamlr.cli import cmd_root\n'
        'load_profile(SqliteTempBackend.create_profile(debug=False))\n'
        "try:\n    cmd_root(['hamiltonian', 'show', '1', *sys.argv[1:]])\n"
        "finally:\n    print([type(handler).__name__ for handler in logging.getLogger('aiida').handlers])"
    )
    environment = os.environ | {'AIIDA_PATH': str(tmp_path)}
    result = subprocess.run(
        [sys.executable, '-c', code, *options], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    handlers = result.stdout.splitlines()[-1]
    assert 'DBLogHandler' in handlers and 'CliHandler' in handlers, result.stderr


@pytest.mark.parametrize(
    'command',
    [
        (),
        ('launch',),
        ('setup', 'codes'),
        *(('launch', name) for name in LAUNCH),
        *(('screen', *name) for name in SCREEN),
    ],
)
def test_help(invoke, command):
    """Every command explains itself."""
    result = invoke(cmd_root, *command, '--help')
    assert result.exit_code == 0
    assert 'Usage' in result.output


def test_interruption(invoke, monkeypatch):
    """Ctrl-C ends a command with one line and status 130."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cmd_root.get_command(click.Context(cmd_root), 'screen'), 'invoke', interrupt)
    result = invoke(cmd_root, 'screen', 'show', '1')
    assert result.exit_code == 130
    assert result.output == 'aiida-hamlr: interrupted\n'
