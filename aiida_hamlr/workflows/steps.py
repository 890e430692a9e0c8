"""Methods for the steps of all work chains: launch a process, report why one failed, clean up at the end."""

from __future__ import annotations

import re

from aiida import orm

from aiida_hamlr.workflows.remote_folders import clean_called_folders

__all__ = ('StepsMixin', 'describe_failure')


def describe_failure(node: orm.ProcessNode) -> str:
    """Return the exit message of a failed process, followed by that of the job that caused it, if it called one.

    A work chain often says only that a job failed; the last failed job says why. Of a process that ended with an
    exception the last error is told. The text has no full stop at its end, so that it can stand within a sentence.
    """
    if node.is_excepted:
        reason = _last_error(node.exception or '') or 'it ended with an exception'
    else:
        state = node.process_state.value if node.exit_status is None else f'exit status {node.exit_status}'
        reason = node.exit_message or state
    reason = ' '.join(reason.split()).rstrip('.')
    failed = [child for child in getattr(node, 'called', ()) if child.exit_status or child.is_excepted]
    if not failed:
        return reason
    cause = max(failed, key=lambda child: child.pk)
    deeper = describe_failure(cause)
    status = 'excepted' if cause.exit_status is None else cause.exit_status
    return reason if deeper in reason else f'{reason}: {cause.process_label}<{cause.pk}> [{status}] {deeper}'


def _last_error(traceback: str) -> str:
    """Line of a traceback that names the last error; what SQLAlchemy and others print below it is left out."""
    errors = re.findall(r'^[\w.]*(?:Error|Exception)\b.*$', traceback, flags=re.MULTILINE)
    return errors[-1] if errors else next(reversed(traceback.strip().splitlines()), '')


class StepsMixin:
    """Methods for the steps of a work chain."""

    def launch(self, process_class, inputs, label: str) -> orm.ProcessNode:
        """Submit a process and report it.

        :param inputs: its inputs.
        :param label: label of the link from the work chain to the process.
        """
        inputs = {**inputs, 'metadata': {**inputs.get('metadata', {}), 'call_link_label': label}}
        node = self.submit(process_class, **inputs)
        self.report(f'launching {process_class.__name__}<{node.pk}> ({label})')
        return node

    def find_failure(self, node: orm.ProcessNode) -> str | None:
        """Return why a called process failed, which is also reported, or nothing."""
        if node.is_finished_ok:
            return None
        reason = describe_failure(node)
        self.report(f'{node.process_label}<{node.pk}> failed: {reason}')
        return reason

    def clean_folders(self, also_failed: bool = False):
        """Clean the remote folders of called jobs and report it; see `clean_called_folders`."""
        cleaned = clean_called_folders(self.node, also_failed)
        if cleaned:
            self.report(f'cleaned the remote folders of the jobs {", ".join(map(str, cleaned))}')
