"""The files that the documentation says to write are accepted."""

import re
import shutil
from pathlib import Path

import pytest
from aiida import orm
from aiida.cmdline.commands.cmd_code import code_create
from aiida.cmdline.commands.cmd_computer import computer_setup
from aiida.common import AttributeDict
from aiida.engine import run
from aiida.manage import get_config, get_profile
from aiida.plugins import CalculationFactory
from click.testing import CliRunner

PAGE = Path(__file__).resolve().parents[1] / 'docs/howto/cluster.md'


@pytest.mark.usefixtures('aiida_profile_clean')
def test_cluster(al_as_pseudos, tmp_path, monkeypatch):
    """Computer and codes come from the YAML of the page; in a container, the shell of the job fills in the folder."""
    monkeypatch.chdir(tmp_path)
    for text in re.findall(r'```yaml\n(.*?)```', PAGE.read_text(), re.DOTALL):
        name = re.match(r'# (\S+)\n', text).group(1)
        Path(name).write_text(text)
        if name == 'cluster.yaml':
            command, arguments = computer_setup, []
        else:
            command, arguments = code_create, ['core.code.' + ('containerized' if 'container' in name else 'installed')]
        verdi = AttributeDict({'config': get_config(), 'profile': get_profile()})
        result = CliRunner().invoke(command, [*arguments, '--config', name, '-n'], obj=verdi)
        assert result.exit_code == 0, result.output
        if name == 'hamlr.yaml':
            code = orm.load_code('hamlr@cluster')
            assert code.with_mpi is False
            code.label = 'installed'
    script = dry_run(orm.load_code('hamlr@cluster'), al_as_pseudos, tmp_path)
    assert '"apptainer" "exec" "--nv" "--bind" "$PWD:$PWD" "/project/ab12/hamlr.sif"' in script
    assert '#SBATCH --gres=gpu:1' in script


def dry_run(code, pseudos, folder):
    """Return the job script of a calculation."""
    options = {
        'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 8},
        'custom_scheduler_commands': '#SBATCH --gres=gpu:1',
    }
    metadata = {'options': options, 'dry_run': True, 'store_provenance': False}
    run(CalculationFactory('hamlr.basis'), code=code, pseudos=pseudos, metadata=metadata)
    return next(folder.glob('submit_test/*/_aiidasubmit.sh')).read_text()


@pytest.mark.qe
def test_python_tutorial(rattled_alas_run, tmp_path, monkeypatch):
    """The blocks of the page run one after the other, beside the files of a run."""
    for path in (rattled_alas_run.xml, rattled_alas_run.charge_density, *rattled_alas_run.folder.glob('*.upf')):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (PAGE.parents[1] / 'tutorials/python.md').read_text()
    names = {}
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)  # noqa: S102 the page's own code
    assert names['predicted'].attributes.origin == 'predicted'
    assert (tmp_path / 'bands.png').is_file()
    assert names['reference'].attributes.verification['band_mae_occupied_meV'] > 0
    assert names['h0'].n_occupied == 4
