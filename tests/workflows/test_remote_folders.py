"""Tests of looking into remote folders and cleaning them."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.workflows.remote_folders import clean_called_folders, is_usable


@pytest.fixture
def make_job(localhost, tmp_path):
    """Return a factory of finished jobs that a work chain called, with a file in their folder."""

    def make(caller, name, entry_point, exit_status=0):
        job = orm.CalcJobNode(computer=localhost, process_type=f'aiida.calculations:{entry_point}')
        job.base.links.add_incoming(caller, link_type=LinkType.CALL_CALC, link_label=name)
        job.set_process_state(ProcessState.FINISHED)
        job.set_exit_status(exit_status)
        job.store()
        (tmp_path / name / 'out').mkdir(parents=True)
        (tmp_path / name / 'out/file').write_text('content')
        folder = orm.RemoteData(computer=localhost, remote_path=str(tmp_path / name))
        folder.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label='remote_folder')
        folder.store()
        return job

    return make


def make_caller(caller=None, exit_status=0):
    """Return a work chain that ended, called by another one."""
    node = orm.WorkChainNode()
    if caller is not None:
        node.base.links.add_incoming(caller, link_type=LinkType.CALL_WORK, link_label=f'called_{exit_status}')
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(exit_status)
    return node.store()


def test_clean_called_folders(make_job, tmp_path):
    """The folders of a work chain are emptied, but not those that the cache took from earlier runs."""
    work_chain = make_caller()
    jobs = {
        name: make_job(work_chain, name, entry_point)
        for name, entry_point in (
            ('own', 'quantumespresso.pw'),
            ('basis', 'hamlr.basis'),
            ('cached', 'quantumespresso.pw'),
        )
    }
    jobs['cached'].base.extras.set(jobs['cached'].base.caching.CACHED_FROM_KEY, jobs['own'].uuid)
    assert sorted(clean_called_folders(work_chain)) == sorted([jobs['own'].pk, jobs['basis'].pk])
    assert [path.parent.parent.name for path in tmp_path.glob('*/out/file')] == ['cached']
    # A run whose folder is its product cannot stand in for another one any more.
    extras = {name: job.base.extras.all.get('_aiida_valid_cache', True) for name, job in jobs.items()}
    assert extras == {'own': False, 'basis': True, 'cached': True}
    assert clean_called_folders(work_chain) == []


def test_what_failed_is_not_cleaned(make_job, tmp_path):
    """The folders of a failed reference or training stay; those of tries that a finished one made on the way do not."""
    work_chain = make_caller()
    finished, failed = make_caller(work_chain), make_caller(work_chain, 404)
    make_job(finished, 'first_try', 'quantumespresso.pw', 400)
    make_job(finished, 'second_try', 'quantumespresso.pw')
    make_job(failed, 'pw', 'quantumespresso.pw')
    make_job(failed, 'reconstruct', 'hamlr.reconstruct', 420)
    make_job(work_chain, 'train', 'hamlr.train', 340)
    assert len(clean_called_folders(work_chain)) == 2
    assert sorted(path.parent.parent.name for path in tmp_path.glob('*/out/file')) == ['pw', 'reconstruct', 'train']
    # Unless another one did their work.
    assert len(clean_called_folders(work_chain, also_failed=True)) == 3
    assert not list(tmp_path.glob('*/out/file'))


def test_usable(make_job, tmp_path, monkeypatch):
    """A folder that the cache gave back needs the files that the next step reads, whoever deleted them."""
    job = make_job(make_caller(), 'pw', 'quantumespresso.pw')
    folder, files = job.outputs.remote_folder, ('out/f*',)
    job.base.extras.set(job.base.caching.CACHED_FROM_KEY, job.uuid)
    folder.computer.configure(safe_interval=0, use_login_shell=False)
    assert is_usable(folder, files)
    (tmp_path / 'pw/out/file').unlink()
    assert not is_usable(folder, files)
    # Only what the cache gave back is looked at.
    job.base.extras.delete(job.base.caching.CACHED_FROM_KEY)
    assert is_usable(folder, files)
    folder._clean()
    assert not is_usable(folder, files)
