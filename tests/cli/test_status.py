"""`aiida-hamlr status`."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.cli.status import MOST_CHILDREN, cmd_status
from aiida_hamlr.cli.undriven import advise, find_undriven, is_reachable


@pytest.fixture
def study(aiida_profile_clean, localhost, structure):
    """Return a dataset that runs: of nine references eight have ended, one of these failed."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:hamlr.dataset', label='alloys')
    chain.set_process_label('DatasetWorkChain')
    chain.set_process_state(ProcessState.WAITING)
    for index in range(9):
        node = orm.StructureData(ase=structure.get_ase()).store()
        chain.base.links.add_incoming(node, LinkType.INPUT_WORK, f'structures__s{index}')
    chain.store()
    for index in range(9):
        child = orm.WorkChainNode(process_type='aiida.workflows:hamlr.reference')
        child.set_process_label('ReferenceWorkChain')
        child.set_process_state(ProcessState.RUNNING if index == 8 else ProcessState.FINISHED)
        if index < 8:
            child.set_exit_status(401 if index == 3 else 0)
            child.set_exit_message('The scf failed.' if index == 3 else '')
        child.base.links.add_incoming(chain, LinkType.CALL_WORK, f'reference_{index}')
        child.store()
    return chain


def test_tree(invoke, study):
    """Progress and time left of the whole, what runs and what failed below; the rest is counted."""
    output = invoke(cmd_status).output
    lines = output[: output.index('Report: no daemon runs')].splitlines()
    assert lines[0].startswith(f'DatasetWorkChain<{study.pk}> · “alloys” · waiting · 8 of 9 references · about ')
    assert lines[0].endswith(' left')
    assert len(lines) == 1 + MOST_CHILDREN + 1
    assert any('failed [401]: The scf failed' in line for line in lines)
    assert any('running · 0 of 3 steps' in line for line in lines)
    assert lines[-1].startswith('└─ and 3 more')
    tree, _ = invoke(cmd_status, study.pk, '--full').output.split('Report: no daemon runs')
    assert len(tree.splitlines()) == 10


def test_nothing_runs(aiida_profile_clean, invoke):
    """An empty profile says how to see older runs."""
    assert '--past-days' in invoke(cmd_status).output


def test_runs_that_nothing_drives_are_named(invoke, study, monkeypatch):
    """Without a daemon what is open is named with the commands that continue or end it; below an ended run, too."""
    reference = next(child for child in study.called if not child.is_terminated)
    lines = invoke(cmd_status).output.splitlines()
    assert f'no daemon runs. Unless a terminal still drives it, this has stopped: DatasetWorkChain<{study.pk}>' in str(
        lines
    )
    assert any(line.endswith(f'tasks revive {study.pk} {reference.pk}') for line in lines)
    assert lines[-1].endswith(f'verdi process kill {study.pk}')
    study.set_process_state(ProcessState.KILLED)
    assert find_undriven([study]) == [reference]
    assert find_undriven([study], reachable=lambda node: node == reference) == []
    assert f'tasks revive {reference.pk}' in advise([study])
    reference.set_process_state(ProcessState.KILLED)
    assert advise([study]) == ''


def test_a_run_given_with_what_called_it_is_named_once(study):
    """The outermost of nested runs, whatever their order."""
    child = next(child for child in study.called if not child.is_terminated)
    assert [node.pk for node in find_undriven([child, study, child])] == [study.pk]
    assert [node.pk for node in find_undriven([child, child])] == [child.pk]


def test_a_process_without_broker_is_not_called_undriven(study):
    """Nothing is claimed where nobody can be asked."""
    assert is_reachable(study)
