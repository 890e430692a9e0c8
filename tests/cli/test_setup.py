"""Tests of `aiida-hamlr setup`."""

import shutil

import pytest
from aiida import orm
from aiida.cmdline.utils.echo import ExitCode
from qe_fixtures import DEBIAN_PSEUDOS

from aiida_hamlr.cli import cmd_root
from aiida_hamlr.cli.installation import create_codes, find_executable


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
    # An environment that was moved: the codes follow, and the former one stays for its runs.
    former, moved = orm.load_code('hamlr@localhost'), tmp_path / 'moved'
    moved.touch()
    result = invoke(cmd_root, *arguments, '--hamlr', str(moved))
    assert result.exit_code == 0 and f'is hamlr-{former.pk}@localhost now' in result.output
    assert str(orm.load_code('hamlr@localhost').filepath_executable) == str(moved)
    assert former.is_hidden and orm.QueryBuilder().append(orm.InstalledCode).count() == 4
    moved.unlink()
    codes = create_codes(orm.load_computer('localhost'))
    assert codes['hamlr'].filepath_executable == find_executable('hamlr') and codes['pw'].full_label == 'pw@localhost'
    assert orm.QueryBuilder().append(orm.InstalledCode).count() == 5
    result = invoke(cmd_root, 'setup', 'codes', 'nowhere')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'nowhere' in result.output


def test_setup_pseudos(aiida_profile_clean, invoke, tmp_path):
    """A family of the UPF files among others, with measured cutoffs; what cannot be one leaves nothing behind."""
    if not DEBIAN_PSEUDOS.exists():
        pytest.skip('Debian pseudopotentials are not installed')
    arguments = ('setup', 'pseudos', str(tmp_path), 'mine')
    result = invoke(cmd_root, *arguments)
    assert result.exit_code == ExitCode.CRITICAL and 'no UPF files' in result.output
    for name in ('Al.pz-vbc.UPF', 'As.pz-bhs.UPF'):
        shutil.copy(DEBIAN_PSEUDOS / name, tmp_path)
    (tmp_path / 'summary.json').write_text('{}')
    shutil.copy(DEBIAN_PSEUDOS / 'Al.pz-vbc.UPF', tmp_path / 'second.upf')
    result = invoke(cmd_root, *arguments)
    assert 'a second pseudopotential of Al, besides Al.pz-vbc.UPF' in result.output
    assert orm.QueryBuilder().append(orm.Group, filters={'label': 'mine'}).count() == 0
    (tmp_path / 'second.upf').unlink()
    result = invoke(cmd_root, *arguments)
    assert result.exit_code == 0, result.output
    family = orm.load_group('mine')
    assert sorted(family.elements) == ['Al', 'As']
    wfc, rho = family.get_recommended_cutoffs(elements=('Al', 'As'), unit='Ry')
    assert 10 <= wfc <= 40 and rho == 4 * wfc
    assert 'choose another label' in invoke(cmd_root, *arguments).output
