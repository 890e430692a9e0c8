"""Tests of what the work chains have in common."""

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.workflows.utils import clean_called_folders


def test_clean_called_folders(localhost, tmp_path):
    """The folders of a work chain are emptied, but not those that the cache took from earlier runs."""
    work_chain = orm.WorkChainNode().store()
    jobs = {}
    for name, entry_point in (
        ('own', 'quantumespresso.pw'),
        ('basis', 'hamlr.basis'),
        ('cached', 'quantumespresso.pw'),
    ):
        job = orm.CalcJobNode(computer=localhost, process_type=f'aiida.calculations:{entry_point}')
        job.base.links.add_incoming(work_chain, link_type=LinkType.CALL_CALC, link_label=name)
        jobs[name] = job.store()
        (tmp_path / name).mkdir()
        (tmp_path / name / 'file').write_text('content')
        folder = orm.RemoteData(computer=localhost, remote_path=str(tmp_path / name))
        folder.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label='remote_folder')
        folder.store()
    jobs['cached'].base.extras.set(jobs['cached'].base.caching.CACHED_FROM_KEY, jobs['own'].uuid)
    assert sorted(clean_called_folders(work_chain)) == sorted([jobs['own'].pk, jobs['basis'].pk])
    assert [path.parent.name for path in tmp_path.glob('*/file')] == ['cached']
    # A run whose folder is its product cannot stand in for another one any more.
    extras = {name: job.base.extras.all.get('_aiida_valid_cache', True) for name, job in jobs.items()}
    assert extras == {'own': False, 'basis': True, 'cached': True}
