"""Runs that nothing drives any more: of a terminal that was closed, or below a run that was killed."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ('advise', 'find_undriven')

#: Time in which a process answers that is driven, s; a busy one that does not is taken to be.
PATIENCE = 3.0


def advise(roots: Iterable) -> str:
    """Return what to do about runs among these that nothing drives, and below them; empty if there are none."""
    from aiida.engine.daemon.client import get_daemon_client

    running = bool(get_daemon_client().is_daemon_running)
    undriven = find_undriven(roots, reachable=is_reachable if running else None)
    if not undriven:
        return ''
    names = ', '.join(f'{node.process_label}<{node.pk}>' for node in undriven)
    every = ' '.join(str(node.pk) for head in undriven for node in _open_below(head))
    if running:
        what = f'no answer from {names}. If that stays so for some minutes, nothing drives it any more.'
    else:
        what = f'no daemon runs. Unless a terminal still drives it, this has stopped: {names}'
    heads = ' '.join(str(node.pk) for node in undriven)
    start = '' if running else 'verdi daemon start; '
    return (
        f'{what}\n'
        f'  to continue: {start}verdi devel rabbitmq tasks revive {every}\n'
        f'  to end it:   the same, then verdi process kill {heads}'
    )


def find_undriven(roots: Iterable, reachable=None) -> list:
    """Return processes that have not ended, whose caller has or that nobody called, and that cannot be reached.

    Each is returned once, also if it is given together with what called it.

    Parameters
    ----------
    roots : iterable of ProcessNode
        Runs, which are looked through to the bottom.
    reachable : callable, optional
        Whether a process answers. Without it none is taken to.
    """
    found = []
    for root in roots:
        if not root.is_terminated:
            found.append(root)
            continue
        if not root.is_finished_ok:
            found += [
                node
                for node in root.called_descendants
                if not node.is_terminated and (node.caller is None or node.caller.is_terminated)
            ]
    below = {one.pk for node in found for one in node.called_descendants}
    outermost = {node.pk: node for node in found if node.pk not in below}
    return [node for _, node in sorted(outermost.items()) if reachable is None or not reachable(node)]


def _open_below(node) -> list:
    """Return a process and what it called, as far as it has not ended."""
    return [node, *sorted((one for one in node.called_descendants if not one.is_terminated), key=lambda one: one.pk)]


def is_reachable(node) -> bool:
    """Whether a process answers the broker. Without a broker there is nobody to ask, and nothing is claimed."""
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage.manager import get_manager
    from kiwipy.communications import UnroutableError
    from plumpy.futures import unwrap_kiwi_future

    try:
        controller = get_manager().get_process_controller()
        error = unwrap_kiwi_future(controller.get_status(node.pk)).exception(timeout=PATIENCE)
    except UnroutableError:
        return False
    except (AssertionError, ConfigurationError, ConnectionError, TimeoutError):
        return True
    # The broker that comes with AiiDA raises a plain exception.
    return not (isinstance(error, UnroutableError) or str(error).startswith(('Recipient not found', 'No handler')))
