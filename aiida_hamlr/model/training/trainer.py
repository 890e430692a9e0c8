"""Lightning's trainer for a model: device, processes, batches, and the checkpoint from which training resumes."""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from aiida_hamlr.electronic.resources import Device, choose_device
from aiida_hamlr.errors import NoGPU, WalltimeReached
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.training.batches import BatchSampler, ExampleDataset
from aiida_hamlr.model.training.cache import CachedExamples, n_edges
from aiida_hamlr.model.training.checkpoints import find_checkpoint, remove_results
from aiida_hamlr.model.training.identity import training_identity
from aiida_hamlr.model.training.loop import TrainingLoop
from aiida_hamlr.model.training.model_writer import ModelWriter
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.processes import Processes


def fit(
    model, settings: TrainingConfig, common, examples, keep: ModelWriter, started: float, accelerator: str
) -> TrainingModule:
    """Train a model until its budget, its patience or the walltime is used up.

    Parameters
    ----------
    model : HamiltonianModel
        With filled normalisation.
    settings : TrainingConfig
        Section ``training`` of the configuration.
    common : DataIdentity
        Of all files.
    examples : dict
        Examples to train on (``train``) and to validate on (``validation``).
    keep : ModelWriter
        Writes the model folder.
    started : float
        ``time.monotonic()`` from which the walltime counts.
    accelerator : str
        'cpu' or 'gpu'.

    Returns
    -------
    TrainingModule
        With the best model.

    Raises
    ------
    WalltimeReached
        If the time was over first; the checkpoint is written.
    """
    output = keep.output
    train_set, processes = examples['train'], Processes.of_environment()
    batch_size = min(settings.batch_size, len(train_set))
    sampler = BatchSampler(
        train_set.edges if isinstance(train_set, CachedExamples) else [n_edges(example) for example in train_set],
        settings.seed,
        batch_size,
        settings.max_edges_per_batch,
        processes,
        settings.checkpoints_per_epoch,
    )
    if settings.checkpoints_per_epoch > len(sampler.batches(0)):
        raise ValueError(
            f'training.checkpoints_per_epoch: {settings.checkpoints_per_epoch} parts of an epoch that has only '
            f'{len(sampler.batches(0))} batches; give fewer'
        )
    dataset = ExampleDataset(train_set, settings.seed, settings.loss.band_kpoints)
    loader = DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is)
    identity = training_identity(model, settings, common.content_hash, batch_size)
    if keep.parent is not None:
        identity['parent'] = keep.parent
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
            max_epochs=-1 if settings.max_steps is not None else settings.max_parts,
            gradient_clip_val=settings.optimizer.clip,
            callbacks=[loop],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            default_root_dir=output,
        )
        checkpoint = find_checkpoint(settings.resume, output)
        if processes.is_first:
            remove_results(output, is_new=checkpoint is None)
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
            f'run the same again to resume from {loop.checkpoint}'
        )
    return module


def choose_accelerator(device: Device, processes: Processes) -> str:
    """Return what Lightning calls the device, 'cpu' or 'gpu'; every process on a machine needs a different GPU.

    Raises
    ------
    NoGPU
        If a GPU is requested, but torch finds none, or fewer than processes.
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
        components.onsite.sum() + components.pairs.sum(),
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        allow_unused=True,
    )
    idle = any(gradient is None for gradient in gradients)
    # Buffers are tables that training does not change.
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=idle)


def _silence_lightning():
    """Silence its advice about worker processes and loggers: graphs are in memory, and metrics.csv is written here."""
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')
    warnings.filterwarnings('ignore', message='.*does not have many workers.*')
