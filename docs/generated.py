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

#: Ports that every process or every calculation has.
COMMON = {'input': {'metadata', 'monitors', 'remote_folder'}, 'output': {'remote_stash', 'retrieved'}}


def setup(app):
    """Register with Sphinx."""
    app.connect('builder-inited', write_all)
    return {'parallel_read_safe': True}


def write_all(app):
    """Write the generated pages beside the pages that include them."""
    from aiida_hamlr.cli import cmd_root
    from aiida_hamlr.jobs.cli import main

    pages = {
        'hamlr': ''.join(_help(main, 'hamlr')),
        'aiida-hamlr': ''.join(_help(cmd_root, 'aiida-hamlr')),
        'configuration': ''.join(_configuration()),
        'processes': ''.join(_processes()),
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
    for key, field in model.model_fields.items():
        if field.exclude:
            continue
        section = _section(field.annotation)
        text = ' '.join(documentation.get((model.__name__, key), [])).strip()
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


def _processes():
    from aiida.plugins import CalculationFactory, WorkflowFactory
    from aiida.plugins.entry_point import get_entry_point_names

    for group, factory in (('calculations', CalculationFactory), ('workflows', WorkflowFactory)):
        for name in get_entry_point_names(f'aiida.{group}'):
            if name.startswith('hamlr.'):
                yield from _process(name, factory(name))


def _process(name, process):
    spec = process.spec()
    yield f'## {name}\n\n{process.__doc__.strip().splitlines()[0]}\n\n'
    for title, ports in (('input', spec.inputs), ('output', spec.outputs)):
        yield f'| {title} | type | |\n|---|---|---|\n'
        for key, port in ports.items():
            if key not in COMMON[title]:
                yield f'| `{key}` | {_types(port)} | {_cell(port.help or "")} |\n'
        yield '\n'
    yield '| exit code | label | message |\n|---|---|---|\n'
    for label, code in sorted(spec.exit_codes.items(), key=lambda item: item[1].status):
        if code.status >= 200:
            yield f'| {code.status} | `{label}` | {_cell(code.message)} |\n'
    yield '\n'


def _types(port):
    if not hasattr(port, 'valid_type') or port.valid_type is None or hasattr(port, 'ports'):
        return 'namespace' if hasattr(port, 'ports') else ''
    valid = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
    return ' or '.join(kind.__name__ for kind in valid if kind is not type(None))
