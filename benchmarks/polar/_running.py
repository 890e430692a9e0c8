"""Several processes at once in this interpreter, without a daemon; finished ones are taken from the cache."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching

#: Between two looks at the processes, s.
INTERVAL = 1.0


def run_all(builders: Mapping[str, ProcessBuilder]) -> dict[str, orm.ProcessNode]:
    """Run processes side by side and return them by name when all have finished.

    Raises
    ------
    RuntimeError
        If one fails; the others are finished first.
    """
    runner = get_manager().get_runner()
    start = time.perf_counter()
    with enable_caching():
        nodes = {name: runner.schedule(builder) for name, builder in builders.items()}
        runner.run_until_complete(_until_terminated(nodes.values()))
    for name, node in nodes.items():
        print(f'{name}: {node.process_label} <{node.pk}>', file=sys.stderr)
    print(f'{time.perf_counter() - start:.0f} s', file=sys.stderr, flush=True)
    for name, node in nodes.items():
        if not node.is_finished_ok:
            raise RuntimeError(
                f'{node.process_label} <{node.pk}> ({name}) failed: {node.exit_message or node.exception}'
            )
    return nodes


async def _until_terminated(nodes: Iterable[orm.ProcessNode]):
    while not all(node.is_terminated for node in nodes):
        await asyncio.sleep(INTERVAL)
