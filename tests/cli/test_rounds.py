"""Tests of `aiida-hamlr rounds`."""

from aiida import orm
from aiida.cmdline.utils.echo import ExitCode
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.calculations.functions.learning import record_round
from aiida_hamlr.cli import cmd_root
from aiida_hamlr.workflows.rounds import get_rounds


def test_rounds(invoke, aiida_profile, make_finished, tmp_path):
    """One line for each round, with the columns that have values, also while it runs."""
    learning = orm.WorkChainNode(process_type='aiida.workflows:hamlr.active_learning')
    learning.set_process_state(ProcessState.RUNNING)
    learning.base.links.add_incoming(orm.Float(0.5).store(), LinkType.INPUT_WORK, 'target')
    learning.store()
    result = invoke(cmd_root, 'rounds', learning.pk, '-o', tmp_path / 'early.svg')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'no round is done' in result.output
    for number, error in enumerate((1.25, 0.75)):
        numbers = {'round': number, 'n_train': 4 + number, 'error_meV': error, 'error_of': 'test', 'end': ''}
        _, node = record_round.run_get_node(orm.Dict(numbers), model_0=orm.Dict({'test_mae_onsite_meV': 9.0 * error}))
        copy = orm.CalcFunctionNode(process_type=node.process_type)
        copy.base.links.add_incoming(learning, LinkType.CALL_CALC, f'record_{number:02d}')
        copy.store()
        record = orm.Dict(node.outputs.result.get_dict())
        record.base.links.add_incoming(copy, LinkType.CREATE, 'result')
        record.store()
    assert [each['error_meV'] for each in get_rounds(learning)] == [1.25, 0.75]
    result = invoke(cmd_root, 'rounds', learning.pk)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split('  ')[0] == 'round' and 'error (meV)' in lines[0] and 'candidates' not in lines[0]
    assert lines[2].split() == ['0', '4', '1.250', 'test', '11.250']
    assert lines[3].split() == ['1', '5', '0.750', 'test', '6.750']
    assert lines[-1].endswith('is running')
    drawn = tmp_path / 'rounds.svg'
    assert invoke(cmd_root, 'rounds', learning.pk, '-o', drawn).exit_code == 0
    text = drawn.read_text()
    assert all(f'<!-- {part} -->' in text for part in ('test error', 'target', 'References to train on'))
    other = make_finished('workflows', 'hamlr.screen')
    result = invoke(cmd_root, 'rounds', other.pk)
    assert result.exit_code == ExitCode.CRITICAL
    assert 'is not a hamlr.active_learning' in result.output
