"""Training from files of Hamiltonians to a model folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import lightning

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.resources import set_threads
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.training.cache import CachedExamples
from aiida_hamlr.model.training.data_identity import DataIdentity, identify
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.model_writer import ModelWriter
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.new_model import check_seen, check_spin, enable_response, new_model
from aiida_hamlr.model.training.parent import Parent, freeze
from aiida_hamlr.model.training.processes import Processes
from aiida_hamlr.model.training.references import Reference, Survey
from aiida_hamlr.model.training.requirements import check_channel, check_labels, check_split, check_validation
from aiida_hamlr.model.training.start_values import FirstSources, prepare, representative
from aiida_hamlr.model.training.trainer import choose_accelerator, fit
from aiida_hamlr.model.uncertainty import fit_rigidity


def train(config: Mapping, output: str | Path, started: float | None = None) -> dict:
    """Train a model and write its folder.

    Parameters
    ----------
    config : mapping
        ``data``: lists of Hamiltonian files ``train``, ``validation`` and ``test``; ``model`` and ``training``: see
        :class:`ModelConfig` and :class:`TrainingConfig`, as objects or as mappings; ``parent``: a model folder from
        which the training starts, whose network and elements it keeps. Lengths are in Å, errors in meV.
    output : path
        Folder that gets ``model/``, ``metrics.csv``, ``summary.json`` and in ``checkpoints/`` the last epoch and the
        one with the best validation. If a last checkpoint exists, training resumes from it.
    started : float, optional
        ``time.monotonic()`` from which the walltime counts, s; by default the time of the call.

    Returns
    -------
    dict
        The content of ``summary.json``; empty in all processes but the first.

    Notes
    -----
    Processes that torchrun started train together; the first of them writes the files.

    Raises
    ------
    ValueError
        If the data cannot be learned from, they or the settings do not fit the parent, or the checkpoint belongs to
        another training.
    NoGPU
        If a GPU is requested, but torch finds none, or fewer than processes.
    WalltimeReached
        If the time was over first; the checkpoint is written.
    NumericalError
        If the training diverged.
    """
    started = time.monotonic() if started is None else started
    model_config, settings = _parsed(config.get('model'), ModelConfig), _parsed(config.get('training'), TrainingConfig)
    output = Path(output)
    parent = None if config.get('parent') is None else Parent.read(config['parent'])
    if parent is not None:
        model_config = parent.adopt(model_config, settings)
    elif settings.freeze:
        raise ValueError('training.freeze: only parts of a parent model can be frozen; give parent, or leave it out')
    files = {name: [str(path) for path in config['data'].get(name) or ()] for name in ('train', 'validation', 'test')}
    check_split(files)
    check_validation(settings, files)
    check_channel(settings, model_config)
    processes = Processes.of_environment()
    accelerator = choose_accelerator(settings.device, processes)
    set_threads(settings.threads)
    # With a cache the matrices of one file after the other are in memory, without it those of all to train on.
    kept: dict[str, Reference] = {}
    surveys = {
        name: [_survey(path, None if settings.cache or name == 'test' else kept) for path in paths]
        for name, paths in files.items()
    }
    common = identify([survey for group in surveys.values() for survey in group])
    check_labels(settings, model_config, surveys['train'])
    check_seen(common.basis, surveys['train'], () if parent is None else parent.predictor.species)
    if parent is not None:
        common = parent.extend(common)
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    model, response = _start(model_config, settings, common, surveys['train'], parent)
    check_spin(model, [*surveys['train'], *surveys['validation']])
    tables = TwoCentreTables(common.basis)
    examples = {}
    for name in ('train', 'validation'):
        if settings.cache:
            examples[name] = CachedExamples(settings.cache, model, files[name], tables, processes)
        else:
            loss = settings.loss if name == 'train' else None
            examples[name] = [make_example(model, kept[path], tables, loss) for path in files[name]]
    kept.clear()
    prepare(model, representative(examples['train']), FirstSources.of(model, settings, surveys['train']), parent)
    if not settings.cache:
        for example in examples['train'] + examples['validation']:
            model.normalise(example.graph)
    keep = ModelWriter(output, common, files, response, parent.record if parent is not None else None)
    if parent is not None:
        precision = str(model.dtype).removeprefix('torch.')
        settings = settings.model_copy(update={'precision': precision})
    module = fit(model, settings, common, examples, keep, started, accelerator)
    return _finish(module, keep, started, examples)


def _start(config: ModelConfig, settings: TrainingConfig, common: DataIdentity, surveys, parent: Parent | None):
    """The network that the training starts with, and what the summary says of its response."""
    if parent is None:
        model = new_model(config, settings, common, surveys)
        return model, enable_response(model, settings, surveys)
    model = parent.child(common.shells)
    new_elements = parent.new_elements(model)
    response = enable_response(model, settings, surveys) if new_elements else parent.response
    freeze(model, settings.freeze, new_elements)
    return model, response


def _survey(path: str, kept: dict[str, Reference] | None) -> Survey:
    reference = Reference.read(path)
    if kept is not None:
        kept[path] = reference
    return reference.survey()


def _parsed(values, kind):
    if isinstance(values, kind):
        return values
    if hasattr(values, 'model_dump'):
        values = values.model_dump()
    return kind(**(values or {}))


def _finish(module: TrainingModule, keep: ModelWriter, started: float, examples: dict) -> dict:
    """Write the model folder and the summary."""
    if not module.processes.is_first:
        return {}
    rigidity = fit_rigidity(module.best_model().cpu().eval(), examples['train'], examples['validation'])
    summary = keep.write(module, rigidity.to_dict())
    summary['wall_s'] = round(time.monotonic() - started, 3)
    with atomic_path(keep.output / 'summary.json') as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    return summary
