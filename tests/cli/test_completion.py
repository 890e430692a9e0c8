"""What the shell offers is what AiiDA knows, within a fraction of a second."""

import os
import resource
import subprocess
import sys

import pytest
from aiida import orm
from aiida.manage import get_manager
from aiida.manage.configuration import get_config

from aiida_hamlr.cli import completion

#: CPU time of one completion, s; loading the storage takes ten times as long.
LONGEST = 0.4


@pytest.fixture
def complete(aiida_profile):
    """Return a function that completes a command line in a process of its own, as the shell does."""

    def run(*words: str) -> tuple[list[str], float]:
        environment = os.environ | {
            '_AIIDA_HAMLR_COMPLETE': 'bash_complete',
            'COMP_WORDS': ' '.join(['aiida-hamlr', '-p', aiida_profile.name, *words]),
            'COMP_CWORD': str(len(words) + 2),
        }
        code = "from aiida_hamlr.cli import cmd_root; cmd_root(prog_name='aiida-hamlr')"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert not result.stderr
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return [line.partition(',')[2] for line in result.stdout.splitlines()], seconds

    return run


def test_codes_families_and_nodes(complete, pseudo_family, hamlr_code, model_node):
    """Options and arguments complete with what the profile holds."""
    codes, seconds = complete('launch', 'train', '-Z', '')
    assert hamlr_code.full_label in codes
    assert seconds < LONGEST
    families, seconds = complete('launch', 'reference', '-F', '')
    assert pseudo_family in families and seconds < LONGEST
    models, seconds = complete('launch', 'predict', '')
    assert models[0] == str(model_node.pk) and seconds < LONGEST
    assert complete('launch', 'tr')[0] == ['train']


def test_same_as_the_query_builder(aiida_profile, pseudo_family, hamlr_code, basis_node, model_node):
    """The plain SQL finds what AiiDA's own queries find."""
    name = aiida_profile.name
    query = orm.QueryBuilder().append((orm.InstalledCode, orm.PortableCode))
    codes = {code.full_label for code in query.all(flat=True)}
    assert {label for label, _ in completion.find_codes(name)} == codes
    families = orm.QueryBuilder().append(orm.Group, filters={'type_string': {'like': 'pseudo.family%'}}).all(flat=True)
    assert [label for label, _ in completion.find_families(name)] == sorted(family.label for family in families)
    nodes = orm.QueryBuilder().append((type(basis_node), type(model_node)), project='id').all(flat=True)
    found = completion.find_nodes(['data.hamlr.basis.', 'data.hamlr.model.'], name)
    assert [int(pk) for pk, _ in found] == sorted(nodes, reverse=True)[: completion.MOST_NODES]
    assert name in completion.find_profiles()


def test_nothing_without_a_profile(monkeypatch, tmp_path):
    """A folder without configuration, or a damaged one, has nothing to offer and is no error."""
    monkeypatch.setenv('AIIDA_PATH', str(tmp_path))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert completion.find_codes() == [] and completion.find_profiles() == []
    (tmp_path / '.aiida').mkdir()
    (tmp_path / '.aiida/config.json').write_text('{')
    assert completion.find_families() == []


def test_where_the_configuration_is(aiida_profile):
    """The folder is that of AiiDA itself."""
    assert completion._read_config()['profiles'].keys() == {*get_config().profile_names}
    assert get_manager().get_profile().name in completion.find_profiles()


def test_help_is_fast(aiida_profile):
    """`--help` loads neither AiiDA's command line nor numerical libraries."""
    code = (
        'import sys; from aiida_hamlr.cli import cmd_root\n'
        "try:\n    cmd_root(['--help'], prog_name='aiida-hamlr')\n"
        "finally:\n    print([name for name in ('aiida.cmdline', 'numpy', 'torch') if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.stdout.splitlines()[-1] == '[]'
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < LONGEST
