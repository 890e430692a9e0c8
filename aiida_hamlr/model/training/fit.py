"""Training from files of Hamiltonians to a model folder."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.resources import Device, choose_device, set_threads
from aiida_hamlr.errors import NoGPU, WalltimeReached
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.files import describe
from aiida_hamlr.model.graph_builder import message_edges
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.irreps.normalisation import pair_cutoff_from_data
from aiida_hamlr.model.training.batches import BatchSampler, ExampleDataset
from aiida_hamlr.model.training.cache import CachedExamples, n_edges
from aiida_hamlr.model.training.checkpoints import find_checkpoint
from aiida_hamlr.model.training.data import (
    DataIdentity,
    Reference,
    Survey,
    identify,
    make_example,
    prepare,
    representative,
)
from aiida_hamlr.model.training.identifiability import identify_response
from aiida_hamlr.model.training.labels import FirstSources, check_labels, with_dielectric_tensor
from aiida_hamlr.model.training.loop import TrainingLoop
from aiida_hamlr.model.training.model_writer import ModelWriter
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.processes import Processes

#: Width of the kernel, in nearest-neighbour distances, below which the response of a crystal saturates.
LEAST_WIDTH = 0.6


def train(config: Mapping, output: str | Path, started: float | None = None) -> dict:
    """Train a model and write its folder.

    Parameters
    ----------
    config : mapping
        ``data``: lists of files ``train``, ``validation`` and ``test``; ``model`` and ``training``: see
        :class:`ModelConfig` and :class:`TrainingConfig`, as objects or as mappings.
    output : path
        Folder that gets ``model/``, ``metrics.csv``, ``summary.json`` and in ``checkpoints/`` the last epoch and that
        with the best validation. The last one is gone on from where there is one.
    started : float, optional
        ``time.monotonic()`` from which the walltime counts; now by default.

    Returns
    -------
    dict
        What ``summary.json`` holds; only the first process has it.

    Notes
    -----
    Started by torchrun, all processes train together; the first of them writes the files.

    Raises
    ------
    ValueError
        If the data cannot be learned from, or the checkpoint belongs to another training.
    NoGPU
        If a GPU is asked for and there is none, or fewer than processes.
    WalltimeReached
        If the time was over first; the checkpoint is written.
    NumericalError
        If the training diverged.
    """
    started = time.monotonic() if started is None else started
    model_config, settings = _parsed(config.get('model'), ModelConfig), _parsed(config.get('training'), TrainingConfig)
    output = Path(output)
    files = {name: [str(path) for path in config['data'].get(name) or ()] for name in ('train', 'validation', 'test')}
    _check_split(files)
    _check_validation(settings, files)
    _check_channel(settings, model_config)
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
    if processes.is_first:
        for text in common.warnings:
            print(f'warning: {text}', flush=True)
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    model = _new_model(model_config, settings, common, surveys['train'])
    response = _identify_response(model, settings, surveys['train'])
    tables = TwoCentreTables(common.basis)
    examples = {}
    for name in ('train', 'validation'):
        if settings.cache:
            examples[name] = CachedExamples(settings.cache, model, files[name], tables, processes.rank, processes.size)
        else:
            bands = settings if name == 'train' else None
            examples[name] = [make_example(model, kept[path], tables, bands) for path in files[name]]
    kept.clear()
    prepare(model, representative(examples['train']), FirstSources.of(model, settings, surveys['train']))
    if not settings.cache:
        for example in examples['train'] + examples['validation']:
            model.normalise_pairs(example.graph)
    keep = ModelWriter(output, common, files, response)
    module = _fit(model, settings, common, examples, keep, started, accelerator)
    return _finish(module, keep, started)


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


def _check_split(files: Mapping[str, Sequence[str]]):
    if not files['train']:
        raise ValueError('data.train: no files to train on')
    seen: dict[Path, str] = {}
    for name, paths in files.items():
        for path in paths:
            other = seen.setdefault(Path(path).resolve(), name)
            if other != name:
                raise ValueError(f'{path}: in data.{other} and in data.{name}; the splits must not share files')


def _check_validation(settings: TrainingConfig, files: Mapping[str, Sequence[str]]):
    needs = {
        'schedule: plateau': settings.schedule == 'plateau',
        'early_stopping_patience': settings.early_stopping_patience,
    }
    for what, is_set in needs.items():
        if is_set and not files['validation']:
            raise ValueError(f'training.{what} needs files in data.validation')


def _check_channel(settings: TrainingConfig, config: ModelConfig):
    if settings.charge_weight and not config.has_long_range:
        raise ValueError(f'training.charge_weight: variant {config.variant} has no charges; set model.variant: lr')
    if settings.dipole_weight and not config.response:
        raise ValueError('training.dipole_weight needs model.response: true; fixed charges have no dipoles')
    if settings.born_weight and not config.has_long_range:
        raise ValueError(f'training.born_weight: variant {config.variant} has no charges; set model.variant: lr')
    if settings.dielectric_weight and not config.response:
        raise ValueError('training.dielectric_weight needs model.response: true; fixed charges do not respond')


def _new_model(config, settings, common: DataIdentity, surveys: Sequence[Survey]) -> HamiltonianModel:
    unseen = sorted(
        set(common.basis) - {element for survey in surveys for element in survey.atoms.get_chemical_symbols()}
    )
    if unseen:
        raise ValueError(f'{", ".join(unseen)}: in data.validation or data.test, but in no file of data.train')
    cutoff = config.pair_cutoff
    if cutoff is None:
        lengths, means = zip(*(survey.block_means for survey in surveys), strict=True)
        cutoff = pair_cutoff_from_data(np.concatenate(lengths), np.concatenate(means))
    counts = [len(message_edges(survey.atoms, config.message_cutoff)[1]) / len(survey.atoms) for survey in surveys]
    model = HamiltonianModel(common.shells, config, cutoff, max(1.0, float(np.mean(counts))))
    return model.double() if settings.precision == 'float64' else model


def _identify_response(model, settings: TrainingConfig, references: Sequence[Survey]) -> dict:
    """Let the elements respond whose polarisability the data tell; entries of the summary that say which."""
    if not model.config.response:
        return {}
    distance = np.mean([_nearest_distance(reference.atoms, model.config.message_cutoff) for reference in references])
    if model.config.kernel_width < LEAST_WIDTH * distance:
        warnings.warn(
            f'kernel_width {model.config.kernel_width:g} Å is small for nearest neighbours at {distance:.2f} Å and '
            f'bounds the dielectric constant; take {LEAST_WIDTH * distance:.1f} Å or more',
            stacklevel=3,
        )
    every, labelled = (
        [(Path(one.path).name, one.atoms) for one in group]
        for group in (references, with_dielectric_tensor(settings, references))
    )
    found = identify_response(every, labelled)
    if settings.born_weight and not found.elements:
        raise ValueError(
            'training.born_weight: no training file tells polarisabilities from charges, and unscreened charges would '
            'have to be the Born charges; set dielectric_weight, too, or model.response: false'
        )
    if not found.elements:
        warnings.warn(
            f'response: unidentified: {found.reason}; polarisabilities stay 0, the charges do not respond',
            stacklevel=3,
        )
    model.long_range.identified.copy_(torch.tensor([element in found.elements for element in model.slots.species]))
    return {'response': found.verdict, 'response_elements': list(found.elements), 'response_reason': found.reason}


def _nearest_distance(atoms, cutoff: float) -> float:
    """Mean distance of an atom to its nearest neighbour, Å."""
    (receiver, _), vectors = message_edges(atoms, cutoff)
    nearest = np.full(len(atoms), cutoff)
    np.minimum.at(nearest, receiver, np.linalg.norm(vectors, axis=1))
    return float(nearest.mean())


def _fit(
    model, settings: TrainingConfig, common, examples, keep: ModelWriter, started: float, accelerator: str
) -> TrainingModule:
    output = keep.output
    train_set, processes = examples['train'], Processes.of_environment()
    batch_size = min(settings.batch_size, len(train_set))
    sampler = BatchSampler(
        train_set.edges if isinstance(train_set, CachedExamples) else [n_edges(example) for example in train_set],
        settings.seed,
        batch_size,
        settings.max_edges_per_batch,
        processes.rank,
        processes.size,
        settings.checkpoints_per_epoch,
    )
    if settings.checkpoints_per_epoch > len(sampler.batches(0)):
        raise ValueError(
            f'training.checkpoints_per_epoch: {settings.checkpoints_per_epoch} parts of an epoch that has only '
            f'{len(sampler.batches(0))} batches; give fewer'
        )
    dataset = ExampleDataset(train_set, settings.seed, settings.band_kpoints)
    loader = DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is)
    identity = {
        'data': common.content_hash,
        'model': json.dumps(describe(model), sort_keys=True),
        'seed': settings.seed,
        # One batch of a step, or several of them, are the same training.
        'batch_size': batch_size * settings.accumulate,
    }
    # Only where they are not as they always were: older checkpoints do not know them.
    usual = TrainingConfig()
    if settings.max_edges_per_batch is not None:
        identity['max_edges_per_batch'] = settings.max_edges_per_batch * settings.accumulate
    if settings.checkpoints_per_epoch != usual.checkpoints_per_epoch:
        identity['checkpoints_per_epoch'] = settings.checkpoints_per_epoch
    module = TrainingModule(model, settings, sampler, identity, processes)
    loop = TrainingLoop(output, settings, examples['validation'], started, keep, processes)
    with warnings.catch_warnings():
        _silence_lightning()
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=processes.local_size,
            num_nodes=processes.n_nodes,
            strategy=_strategy(processes, model, dataset),
            # Several processes are those of torchrun, whatever SLURM says of its tasks.
            plugins=[LightningEnvironment()] if processes.size == 1 else None,
            accumulate_grad_batches=settings.accumulate,
            max_epochs=settings.max_parts,
            gradient_clip_val=settings.clip,
            callbacks=[loop],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            default_root_dir=output,
        )
        checkpoint = _checkpoint_to_resume(settings, output)
        try:
            trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as error:
            # How Lightning ends after an interrupt from the keyboard.
            raise KeyboardInterrupt from error
        finally:
            loop.close()
    if loop.out_of_time:
        raise WalltimeReached(
            f'walltime of {settings.walltime:.0f} s reached after epoch {module.finished_epochs}; '
            f'run the same again to go on from {loop.checkpoint}'
        )
    return module


def choose_accelerator(device: Device, processes: Processes) -> str:
    """What Lightning calls the device, 'cpu' or 'gpu'; every process on a machine needs a GPU of its own.

    Raises
    ------
    NoGPU
        If a GPU is asked for and there is none, or there are fewer than processes.
    """
    if choose_device(device) == 'cpu':
        return 'cpu'
    n_gpus = torch.cuda.device_count()
    if processes.local_size > n_gpus:
        raise NoGPU(
            f'{processes.local_size} processes on this machine, but torch finds {n_gpus} GPUs; ask the scheduler for '
            'as many (#SBATCH --gres=gpu:N), or start fewer processes'
        )
    return 'gpu'


def _as_it_is(batch):
    return batch


def _strategy(processes: Processes, model: HamiltonianModel, dataset: ExampleDataset):
    if processes.size == 1:
        return 'auto'
    # Some settings leave parameters without effect; looking for them in every step would cost time.
    batch = dataset[[(0, 0)]]
    components = model(batch.graph)
    gradients = torch.autograd.grad(
        components.onsite.sum() + components.pairs.sum(), list(model.parameters()), allow_unused=True
    )
    idle = any(gradient is None for gradient in gradients)
    # Buffers are tables that training does not change.
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=idle)


def _silence_lightning():
    """Its advice about worker processes and loggers does not apply: graphs lie in memory, metrics are ours."""
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')
    warnings.filterwarnings('ignore', message='.*does not have many workers.*')


def _checkpoint_to_resume(settings: TrainingConfig, output: Path) -> Path | None:
    return find_checkpoint(settings.resume, output)


def _finish(module: TrainingModule, keep: ModelWriter, started: float) -> dict:
    """Write the model folder and the summary."""
    if not module.processes.is_first:
        return {}
    summary = keep.write(module)
    summary['wall_s'] = round(time.monotonic() - started, 3)
    with atomic_path(keep.output / 'summary.json') as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    return summary
