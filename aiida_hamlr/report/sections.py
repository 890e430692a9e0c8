"""Sections that every report has: how the run ended, where the numbers come from, versions, and how to repeat it."""

from __future__ import annotations

from aiida import orm
from aiida.common import timezone
from aiida.common.links import LinkType

from aiida_hamlr import __version__
from aiida_hamlr.plotting.provenance import LEGEND, ProvenanceGraph
from aiida_hamlr.report.page import Code, Graph, Note, Rows, Section, Table
from aiida_hamlr.workflows.steps import describe_failure

__all__ = ('name_of', 'outcome', 'provenance', 'reproduction', 'subtitle', 'versions')

#: Lines of a process report that are shown at most, the last ones.
MOST_LINES = 60


def name_of(node: orm.Node) -> str:
    """Class or process label with the primary key, and the label that a user gave."""
    kind = node.process_label if isinstance(node, orm.ProcessNode) else type(node).__name__
    return f'{kind}<{node.pk}>' + (f' “{node.label}”' if node.label else '')


def subtitle(node: orm.Node) -> str:
    """When a node was made, and its UUID."""
    made = timezone.localtime(node.ctime).strftime('%Y-%m-%d %H:%M')
    return f'{made} · UUID {node.uuid}' + (f' · {node.description}' if node.description else '')


def outcome(process: orm.ProcessNode) -> Section:
    """How a process ended, how long it took, and what it reported."""
    state = process.process_state.value if process.process_state else 'unknown'
    blocks = []
    if process.is_finished_ok:
        blocks.append(Note(f'Finished without error after {_duration(process)}.'))
    elif process.is_terminated:
        status = f' with exit status {process.exit_status}' if process.exit_status is not None else ''
        blocks.append(Note(f'The run {state}{status}: {describe_failure(process)}', 'error'))
        blocks.append(
            Note(f'What each exit status means: verdi process report {process.pk}, and the page “Exit codes”.')
        )
    else:
        blocks.append(Note(f'The run is {state}; the numbers below are those of this moment.', 'warning'))
    return Section('Outcome', blocks)


def _duration(process: orm.ProcessNode) -> str:
    seconds = (process.mtime - process.ctime).total_seconds()
    return (
        f'{seconds:.0f}\u00a0s'
        if seconds < 300
        else f'{seconds / 60:.0f}\u00a0min'
        if seconds < 18000
        else f'{seconds / 3600:.1f}\u00a0h'
    )


def steps(process: orm.ProcessNode) -> Section:
    """Processes that a work chain called, with how they ended."""
    called = sorted(getattr(process, 'called_descendants', ()), key=lambda node: node.pk)
    jobs = [node for node in called if isinstance(node, orm.CalcJobNode)]
    rows = [
        [
            str(node.pk),
            node.process_label or '',
            'finished' if node.is_finished_ok else f'{node.process_state.value} [{node.exit_status}]',
            _duration(node),
            node.computer.label if node.computer else '',
        ]
        for node in jobs[:MOST_LINES]
    ]
    caption = f'{len(jobs)} jobs; the first {MOST_LINES} are listed.' if len(jobs) > MOST_LINES else ''
    return Section('Jobs', [Table(['PK', 'job', 'state', 'time', 'computer'], rows, caption)] if rows else [])


def provenance(node: orm.Node | None) -> Section:
    """The ancestors of a node as a drawing with a legend, or as text if graphviz is not installed."""
    title = 'Provenance'
    if node is None:
        return Section(title)
    try:
        graph = ProvenanceGraph.of(node)
    except ValueError as error:
        return Section(title, [Note(f'{error}: not drawn.')])
    picture = graph.draw('svg')
    if picture is None:
        return Section(title, [Code(graph.to_text()), Note('With the program dot of graphviz this is a drawing.')])
    text = picture.decode()
    caption = (
        f'What {name_of(node)} rests on, from top to bottom; nodes of one kind and origin are taken together. '
        'Codes and plain parameters are left out.'
    )
    return Section(title, [Graph(text[text.index('<svg') :], caption, LEGEND)])


def versions(node: orm.Node) -> Section:
    """Versions of all programs that took part, as the nodes recorded them."""
    jobs = [node] if isinstance(node, orm.CalcJobNode) else list(getattr(node, 'called_descendants', ()))
    if isinstance(node, orm.Data):
        jobs = [node.creator] if node.creator is not None else []
    found: dict[str, set[str]] = {'aiida-hamlr (this report)': {__version__}}
    codes: dict[str, str] = {}
    for job in jobs:
        recorded = job.base.attributes.get('version', {})
        plugin = (job.process_type or '').partition(':')[2].partition('.')[0]
        found.setdefault('aiida-core', set()).add(str(recorded.get('core', '')))
        if plugin and not plugin.startswith('core'):
            names = {'hamlr': 'aiida-hamlr', 'quantumespresso': 'aiida-quantumespresso'}
            found.setdefault(names.get(plugin, plugin), set()).add(str(recorded.get('plugin', '')))
        for entry in job.base.links.get_incoming(orm.AbstractCode, LinkType.INPUT_CALC).all():
            code, computer = entry.node, entry.node.computer
            label = f'{code.label}@{computer.label}' if computer else code.label
            codes[label] = str(code.base.attributes.get('filepath_executable', ''))
        numbers = _numbers(job)
        for name, version in dict(numbers.get('versions') or {}).items():
            found.setdefault(str(name), set()).add(str(version))
        if numbers.get('creator_name') and numbers.get('creator_version'):
            found.setdefault(f'Quantum ESPRESSO ({numbers["creator_name"]})', set()).add(
                str(numbers['creator_version'])
            )
    rows = [(name, ', '.join(sorted(filter(None, values))), '') for name, values in found.items()]
    rows += [(label, path, 'code') for label, path in sorted(codes.items())]
    return Section('Versions', [Rows([row for row in rows if row[1]])])


def _numbers(job: orm.ProcessNode) -> dict:
    try:
        return job.outputs.output_parameters.get_dict()
    except (AttributeError, KeyError):
        return {}


def reproduction(node: orm.Node) -> Section:
    """Commands that repeat a run and take the results along."""
    process = node if isinstance(node, orm.ProcessNode) else node.creator
    blocks = [
        Note(
            'Take it to another profile with all that it rests on: create the archive here, and import it there with '
            'verdi archive import.'
        ),
        Code(f'verdi archive create report.aiida -N {node.uuid}'),
    ]
    if process is not None and process.process_type and not isinstance(process, orm.CalcFunctionNode):
        script = (
            'verdi shell\n'
            '>>> from aiida.engine import submit\n'
            f">>> builder = load_node('{process.uuid}').get_builder_restart()\n"
            '>>> submit(builder)'
        )
        blocks += [Note('Run it again with the same inputs; change the builder to vary one of them:'), Code(script)]
        blocks.append(Note('Look at the files of each job as plain folders:'))
        blocks.append(Code(f'verdi process dump {process.pk}'))
    return Section('How to repeat it', blocks)
