"""Tests of `aiida-hamlr setup`."""

from aiida import orm
from aiida.cmdline.utils.echo import ExitCode

from aiida_hamlr.cli import cmd_root


def test_setup_codes(aiida_profile_clean, invoke, tmp_path):
    """Codes are made once, on a computer that is made if it is missing; a missing executable is named."""
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
