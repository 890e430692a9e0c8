"""The tutorial on training on a cluster, command by command, on the loopback cluster."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from aiida import orm
from aiida.cmdline.commands.cmd_verdi import verdi
from aiida.common.extendeddicts import AttributeDict
from aiida.manage import get_config, get_profile
from click.testing import CliRunner
from loopback_cluster import HOST_ALIAS, wait_until

from aiida_hamlr.cli import cmd_root
from aiida_hamlr.cli.installation import find_executable

TEXT = (Path(__file__).resolve().parents[2] / 'docs/tutorials/cluster.md').read_text()

#: Where the loopback cluster differs from that of the page.
REPLACEMENTS = {
    '--host cluster': f'--host {HOST_ALIAS}',
    '--safe-interval 15': '--safe-interval 0',
    'partition=gpu': 'partition=debug',
    r'\n#SBATCH --gres=gpu:1': '',
    '--cpus-per-task=8': '--cpus-per-task=1',
    'hamlr@cluster': 'hamlr@tutorial',
    'hamlr@localhost': 'hamlr@tutorial',
    ' cluster ': ' tutorial ',
}


def write_files(folder, work):
    """Write the files of the page with the folders of this machine."""
    for text in re.findall(r'```yaml\n(.*?)```', TEXT, re.DOTALL):
        content = yaml.safe_load(text)
        if 'transport' in content:
            content |= {'label': 'tutorial', 'work_dir': str(work), 'mpirun_command': 'mpirun -np {tot_num_mpiprocs}'}
        else:
            content |= {'computer': 'tutorial', 'filepath_executable': str(find_executable('hamlr'))}
        (folder / re.match(r'# (\S+)\n', text).group(1)).write_text(yaml.safe_dump(content))


def commands(values):
    """Yield the words of the commands of the page for verdi and aiida-hamlr, with values for its placeholders."""
    text = TEXT.replace('\\\n', ' ')
    for line in re.findall(r'^\$ ((?:verdi|aiida-hamlr) .*)$', text, re.MULTILINE):
        for old, new in REPLACEMENTS.items():
            line = f'{line} '.replace(old, new).rstrip()
        yield [str(values.get(word, word)) for word in shlex.split(line)]


def invoke(words, *more):
    """Run a command and return what it prints."""
    state = AttributeDict({'config': get_config(), 'profile': get_profile()})
    command, settings = (verdi, {'obj': state}) if words[0] == 'verdi' else (cmd_root, {})
    result = CliRunner().invoke(command, [*words[1:], *more], **settings)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


@pytest.mark.qe
def test_tutorial(cluster, study_of_three, zincblende, tmp_path, monkeypatch):
    """From the computer to the prediction, with a small network and few epochs."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, cluster.work / 'tutorial')
    Path('short.yaml').write_text(yaml.safe_dump({'train': {'parameters': {'training': {'max_epochs': 3}}}}))
    zincblende().write('large.extxyz')
    values, printed = {'DATASET': study_of_three.outputs.dataset.pk}, {}
    for words in commands(values):
        if words[:3] == ['verdi', 'daemon', 'start']:
            continue  # it runs
        if words[:2] == ['aiida-hamlr', 'report']:
            node = orm.load_node(values['PK'])
            wait_until(lambda node=node: node.is_terminated, 'the training ends', 600)
            assert node.is_finished_ok, node.exit_message
            values['MODEL'] = node.outputs.model.pk
        launched = words[2] if words[1] == 'launch' else None
        output = invoke(words, *(['-p', 'fast', '-O', 'short.yaml'] if launched == 'train' else []))
        printed[' '.join(words[1:3])] = output
        if launched == 'train':
            values['PK'] = int(re.search(r'<(\d+)>', output).group(1))
    (job,) = [each for each in orm.load_node(values['PK']).called_descendants if isinstance(each, orm.CalcJobNode)]
    script = job.base.repository.get_object_content('_aiidasubmit.sh')
    assert '#SBATCH --ntasks-per-node=1\n' in script
    assert '#SBATCH --partition=debug\n#SBATCH --cpus-per-task=1\n' in script
    assert job.computer.scheduler_type == 'core.slurm' and job.get_job_id()
    assert 'Success' in printed['computer test']
    assert str(values['PK']) in printed['status']
    assert str(values['MODEL']) in printed['model list']
    assert 'finished' in printed['launch predict']
