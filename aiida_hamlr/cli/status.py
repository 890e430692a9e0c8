"""`aiida-hamlr status`: which runs there are, how far they are, and the time left."""

from __future__ import annotations

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root
from aiida_hamlr.cli.undriven import advise
from aiida_hamlr.jobs.cli_options import FiniteRange

__all__ = ('cmd_status',)

#: Children of one process that are listed at most: those that run or failed first, then the newest.
MOST_CHILDREN = 6


@cmd_root.command('status')
@click.argument('processes', nargs=-1, type=types.ProcessType(), metavar='[PROCESS]...')
@click.option(
    '-d',
    '--past-days',
    type=FiniteRange(0),
    default=1.0,
    show_default=True,
    help='Also show runs that ended, if they are not older (days).',
)
@click.option(
    '-f',
    '--full',
    is_flag=True,
    help=f'Show everything below a run: what has finished, and all children, not only {MOST_CHILDREN}.',
)
@with_dbenv()
def cmd_status(processes, past_days, full):
    """Show runs of this package as trees: their state, how far they are, and about how long they will take.

    Without PROCESS all runs that have not ended are shown, and those that ended within a day. Of a training the
    progress is read from its working directory. The time left assumes that a run goes on as it did so far. Runs that
    have not ended and that nothing drives, as after a terminal was closed, are named at the end, with what to do.

    Examples: aiida-hamlr status, aiida-hamlr status 1234 --full, aiida-hamlr status -d 30
    """
    roots = list(processes) or _find_roots(past_days)
    if not roots:
        echo.echo_report('no run of aiida-hamlr is active; show ended ones with --past-days 30')
        return
    for root in roots:
        # What ended well is one line, unless it was asked for.
        lines = [_describe(root)] if root.is_finished_ok and not (processes or full) else _tree(root, full)
        for line in lines:
            echo.echo(line)
    advice = advise(roots)
    if advice:
        echo.echo_report(advice)


def _find_roots(past_days: float) -> list:
    """Return processes of this package that nobody called, those that have not ended and the newest that have."""
    from datetime import timedelta

    from aiida import orm
    from aiida.common import timezone

    ended = ['finished', 'excepted', 'killed']
    recent = {'ctime': {'>': timezone.now() - timedelta(days=past_days)}}
    filters = {'process_type': {'like': 'aiida.%:hamlr.%'}}
    state = {'attributes.process_state': {'!in': ended}}
    query = orm.QueryBuilder().append(
        orm.ProcessNode, filters={'and': [filters, {'or': [state, recent]}]}, tag='process'
    )
    nodes = query.order_by({'process': {'id': 'asc'}}).all(flat=True)
    return [node for node in nodes if node.caller is None]


def _tree(node, full: bool, prefix: str = '', last: bool | None = None):
    """Yield the lines of a process and of what it called."""
    joint = '' if last is None else ('└─ ' if last else '├─ ')
    yield f'{prefix}{joint}{_describe(node)}'
    if node.is_finished_ok and last is not None and not full:
        return
    children = sorted(getattr(node, 'called', ()), key=lambda child: child.pk)
    children = [child for child in children if _counts(child)]
    shown = children if full else _choose(children)
    below = prefix if last is None else prefix + ('   ' if last else '│  ')
    left_out = len(children) - len(shown)
    for index, child in enumerate(shown):
        yield from _tree(child, full, below, index == len(shown) - 1 and not left_out)
    if left_out:
        yield f'{below}└─ and {left_out} more that have finished; show them with --full'


def _counts(child) -> bool:
    """Whether a child is worth a line: functions that take no time are not."""
    return (child.process_type or '').startswith(('aiida.workflows:', 'aiida.calculations:hamlr.')) or hasattr(
        child, 'get_scheduler_state'
    )


def _choose(children: list) -> list:
    """Children to show: all that run or failed, then the newest."""
    urgent = [child for child in children if not child.is_finished_ok]
    others = [child for child in children if child.is_finished_ok]
    room = max(MOST_CHILDREN - len(urgent), 0)
    chosen = {child.pk for child in [*urgent, *others[len(others) - room :]]}
    return [child for child in children if child.pk in chosen]


def _describe(node) -> str:
    """One line: what, which, state, how far, time left."""
    from aiida_hamlr.workflows.progress import measure, seconds_left

    parts = [f'{node.process_label}<{node.pk}>']
    if node.label:
        parts.append(f'“{node.label}”')
    parts.append(_state(node))
    progress = None if node.is_terminated else measure(node)
    if progress is not None:
        parts.append(str(progress))
        left = seconds_left(node, progress)
        if left is not None:
            parts.append(f'about {_duration(left)} left')
    return ' · '.join(parts)


def _state(node) -> str:
    """Return the state in words, with what the scheduler says of a job and why a run failed."""
    from aiida_hamlr.workflows.steps import describe_failure

    if node.is_finished_ok:
        return f'finished after {_duration((node.mtime - node.ctime).total_seconds())}'
    if node.is_terminated:
        status = '' if node.exit_status is None else f' [{node.exit_status}]'
        return node.process_state.value if node.is_killed else f'failed{status}: {describe_failure(node)}'
    state = 'paused' if node.paused else node.process_state.value if node.process_state else 'created'
    scheduler = node.get_scheduler_state() if hasattr(node, 'get_scheduler_state') else None
    return f'{state} ({scheduler.value})' if scheduler is not None else state


def _duration(seconds: float) -> str:
    """A duration with two digits or so."""
    for limit, size, unit in ((100, 1, 's'), (6000, 60, 'min'), (172800, 3600, 'h')):
        if seconds < limit:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds / 86400:.0f} days'
