"""Write the parts of the reference that follow from the code: help texts, configuration keys, ports and exit codes."""

from __future__ import annotations

import inspect
import types
import typing
from pathlib import Path

import click
import yaml
from pydantic import BaseModel
from sphinx.pycode import ModuleAnalyzer

CONFIGS = {
    'reconstruct.yaml': ('aiida_hamlr.jobs.schemas', 'ReconstructConfig'),
    'train.yaml': ('aiida_hamlr.jobs.schemas', 'TrainConfig'),
    'predict.yaml': ('aiida_hamlr.jobs.schemas', 'PredictConfig'),
}

#: What to do about the codes of AiiDA and of aiida-quantumespresso, whose messages do not say so.
REMEDIES = {
    'ERROR_UNSPECIFIED': 'See `verdi process report`.',
    'ERROR_LEGACY_FAILURE': 'See `verdi process report`.',
    'ERROR_INVALID_OUTPUT': 'A fault of the plugin: report it, with `verdi process report`.',
    'ERROR_MISSING_OUTPUT': 'See `verdi process report` for the step that was left out.',
    'ERROR_NO_RETRIEVED_FOLDER': 'Nothing came back from the computer: run the job again.',
    'ERROR_SCHEDULER_OUT_OF_MEMORY': 'Ask for more memory (`max_memory_kb`), or give the job less at a time.',
    'ERROR_SCHEDULER_OUT_OF_WALLTIME': 'Raise `max_wallclock_seconds`.',
    'ERROR_SCHEDULER_INVALID_ACCOUNT': 'Set the option `account` to one that may submit to this queue.',
    'ERROR_SCHEDULER_NODE_FAILURE': 'Run the job again.',
    'STOPPED_BY_MONITOR': 'The monitor says why; its outputs are attached.',
    'ERROR_STASHING_FAILED': 'See whether the folder of `metadata.options.stash` can be written to and has room.',
    'ERROR_NO_RETRIEVED_TEMPORARY_FOLDER': 'Run the job again.',
    'ERROR_OUTPUT_STDOUT_MISSING': 'See the output of the scheduler: the executable did not start.',
    'ERROR_OUTPUT_XML_MISSING': 'The pw.x run was not finished, or its files were deleted: run it again.',
    'ERROR_OUTPUT_STDOUT_READ': 'Run the job again.',
    'ERROR_OUTPUT_STDOUT_PARSE': 'See the output: the version of Quantum ESPRESSO may not be known.',
    'ERROR_OUTPUT_STDOUT_INCOMPLETE': 'See the output of the scheduler for what ended the job.',
    'ERROR_OUT_OF_WALLTIME_INTERRUPTED': 'Raise `max_wallclock_seconds`.',
    'ERROR_UNEXPECTED_PARSER_EXCEPTION': 'A fault of the plugin: report it, with the output.',
    'ERROR_SUB_PROCESS_EXCEPTED': 'A fault of the plugin or the engine: see `verdi process report`, and start again.',
    'ERROR_SUB_PROCESS_KILLED': 'Somebody killed a job: start again.',
    'ERROR_MAXIMUM_ITERATIONS_EXCEEDED': 'See why the jobs ended; raise `max_iterations` or `max_wallclock_seconds`.',
    'ERROR_UNHANDLED_FAILURE': 'See the exit code of the last job.',
}

#: Ports that every process or every calculation has.
COMMON = {'input': {'metadata', 'monitors', 'remote_folder'}, 'output': {'remote_stash', 'retrieved'}}


def setup(app):
    """Register with Sphinx."""
    app.connect('builder-inited', write_all)
    return {'parallel_read_safe': True}


def write_all(app):
    """Write the generated pages beside the pages that include them."""
    from aiida_hamlr.cli import cmd_root
    from aiida_hamlr.cli.data import cmd_hamlr
    from aiida_hamlr.jobs.cli import main

    pages = {
        'hamlr': ''.join(_help(main, 'hamlr')),
        'aiida-hamlr': ''.join(_help(cmd_root, 'aiida-hamlr')),
        'verdi-data-hamlr': ''.join(_help(cmd_hamlr, 'verdi data hamlr')),
        'configuration': ''.join(_configuration()),
        'processes': ''.join(_processes(_ports)),
        'exit-codes': ''.join([*_common_codes(), *_processes(_exit_codes)]),
    }
    folder = Path(app.srcdir) / 'reference' / '_generated'
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / f'{name}.md'
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _help(command, name, parent=None):
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100)
    yield f'### `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n\n'
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _help(command.get_command(context, child), child, context)


def _configuration():
    for filename, (module, name) in CONFIGS.items():
        yield f'## {filename}\n\n'
        yield from _keys(getattr(__import__(module, fromlist=[name]), name), '')


def _keys(model, prefix):
    """Yield a table of the keys of a configuration, then those of its sections."""
    documentation = ModuleAnalyzer.for_module(model.__module__).find_attr_docs()
    sections = []
    yield '| key | default | meaning |\n|---|---|---|\n'
    # Those that a model shares with others come last.
    for key, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in model.__annotations__):
        if field.exclude:
            continue
        section = _section(field.annotation)
        owner = next(base for base in model.__mro__ if key in base.__dict__.get('__annotations__', {}))
        text = ' '.join(documentation.get((owner.__name__, key), [])).strip()
        if section is not None:
            sections.append((f'{prefix}{key}', section))
            text = f'see below; {text}' if text else 'see below'
        yield f'| `{prefix}{key}` | {"" if section else _default(field)} | {_cell(text)} |\n'
    yield '\n'
    for name, section in sections:
        yield f'### {name}\n\n{inspect.cleandoc(section.__doc__)}\n\n'
        yield from _keys(section, f'{name}.')


def _section(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType):
        return next(filter(None, map(_section, typing.get_args(annotation))), None)
    return None


def _default(field):
    """Return a default as it stands in YAML, or that there is none."""
    if field.is_required():
        return '*required*'
    value = field.get_default(call_default_factory=True)
    return (
        f'`{yaml.safe_dump(str(value) if isinstance(value, Path) else value, default_flow_style=True).splitlines()[0]}`'
    )


def _cell(text):
    """Return a text as it can stand in a table."""
    return ' '.join(text.split()).replace('|', '\\|')


def _processes(write):
    """Yield what is written about each process of the package under its name."""
    from aiida.plugins import CalculationFactory, WorkflowFactory
    from aiida.plugins.entry_point import get_entry_point_names

    for group, factory in (('calculations', CalculationFactory), ('workflows', WorkflowFactory)):
        for name in get_entry_point_names(f'aiida.{group}'):
            if name.startswith('hamlr.'):
                process = factory(name)
                yield f'## {name}\n\n{process.__doc__.strip().splitlines()[0]}\n\n'
                yield from write(process)


def _ports(process):
    spec = process.spec()
    for title, ports in (('input', spec.inputs), ('output', spec.outputs)):
        yield f'| {title} | type | |\n|---|---|---|\n'
        for key, port in ports.items():
            if key not in COMMON[title]:
                yield f'| `{key}` | {_types(port)} | {_cell(port.help or "")} |\n'
        yield '\n'


def _common_codes():
    """Yield a table of the codes that every job of AiiDA has."""
    from aiida.engine import CalcJob

    yield '## All jobs\n\n'
    yield from _table(CalcJob.exit_codes.items())


def _exit_codes(process):
    yield from _table((label, code) for label, code in process.exit_codes.items() if code.status >= 200)
    handlers = [
        method.__doc__.strip().splitlines()[0]
        for _, method in inspect.getmembers(process, inspect.isfunction)
        if hasattr(method, 'decorator') and method.__module__.startswith('aiida_hamlr.')
    ]
    if handlers:
        yield 'What it does about failures by itself:\n\n'
        yield from (f'- {text}\n' for text in handlers)
        yield '\n'


def _table(codes):
    yield '| code | label | what it means and what to do |\n|---|---|---|\n'
    for label, code in sorted(codes, key=lambda item: item[1].status):
        # The message of a stop is that of what stopped it.
        meaning = '' if code.message == '{message}' else f'{code.message.rstrip(".")}. '
        yield f'| {code.status} | `{label}` | {_cell(meaning + _remedy(label, code))} |\n'
    yield '\n'


def _remedy(label, code):
    """Return what to do, for codes whose messages do not say so; those of this package do."""
    return '' if _is_ours(label, code) else REMEDIES[label]


def _is_ours(label, code):
    """Return whether a message comes from this package: it is of none of the processes that it builds on."""
    from aiida.engine import BaseRestartWorkChain, CalcJob
    from aiida_quantumespresso.calculations.pp import PpCalculation

    known = (process.exit_codes.get(label) for process in (CalcJob, BaseRestartWorkChain, PpCalculation))
    return all(other is None or other.message != code.message for other in known)


def _types(port):
    if not hasattr(port, 'valid_type') or port.valid_type is None or hasattr(port, 'ports'):
        return 'namespace' if hasattr(port, 'ports') else ''
    valid = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
    return ' or '.join(kind.__name__ for kind in valid if kind is not type(None))
