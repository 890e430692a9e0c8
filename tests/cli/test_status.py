"""`aiida-hamlr status`."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.cli.status import MOST_CHILDREN, cmd_status


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
    lines = invoke(cmd_status).output.splitlines()
    assert lines[0].startswith(f'DatasetWorkChain<{study.pk}> · “alloys” · waiting · 8 of 9 references · about ')
    assert lines[0].endswith(' left')
    assert len(lines) == 1 + MOST_CHILDREN + 1
    assert any('failed [401]: The scf failed' in line for line in lines)
    assert any('running · 0 of 3 steps' in line for line in lines)
    assert lines[-1].startswith('└─ and 3 more')
    assert len(invoke(cmd_status, study.pk, '--full').output.splitlines()) == 10


def test_nothing_runs(aiida_profile_clean, invoke):
    """An empty profile says how to see older runs."""
    assert '--past-days' in invoke(cmd_status).output
