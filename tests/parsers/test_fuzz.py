"""Damaged retrieved folders of every job: the parser ends with a documented exit code."""

import pytest
from fuzz_formats import retrieved_formats
from fuzzing import damage_file
from retrieved_folders import JOBS

#: Damaged folders for each file; what all jobs leave is damaged more often in one of them.
EXAMPLES, MORE = 2, 5


@pytest.mark.parametrize('job', JOBS)
def test_retrieved_folders(localhost, tmp_path, job):
    """Whatever is damaged, the process is never excepted; nodes of files with a digest are those of whole files."""
    for item in retrieved_formats(tmp_path, localhost, [job]):
        damage_file(item, MORE if job == 'reconstruct' else EXAMPLES)


def test_every_job_has_a_folder():
    """A new calculation needs an entry in `retrieved_folders`."""
    from aiida.plugins.entry_point import get_entry_point_names

    ours = {name for name in get_entry_point_names('aiida.calculations') if name.startswith('hamlr.')}
    assert ours == {entry_point for entry_point, _ in JOBS.values()}
