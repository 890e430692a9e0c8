"""Train DeePTB for some CPU seconds and write what it predicts; runs in DeePTB's environment, without this package.

    python _deeptb_job.py JOB.json

The job has ``input``, DeePTB's own input; ``cpu_seconds`` of the training; ``structures``, all folders of a data set of
DeePTB; and ``output``, a folder that gets ``hamiltonians.h5`` for each, and ``summary.json``.
"""

import json
import math
import sys
import time
from pathlib import Path

import h5py
import torch
from dptb.data import AtomicData, build_dataset
from dptb.data.interfaces.ham_to_feature import feature_to_block
from dptb.nn.build import build_model
from dptb.nnops.trainer import Trainer
from dptb.utils.argcheck import collect_cutoffs, normalize
from dptb.utils.tools import setup_seed


def train(settings: dict, seconds: float) -> tuple[torch.nn.Module, dict]:
    """Network after some CPU seconds of steps, the rate falling as a cosine of the time."""
    common, options = settings['common_options'], settings['train_options']
    data = build_dataset(**collect_cutoffs(settings), **settings['data_options']['train'], **common)
    model = build_model(None, settings['model_options'], common)
    data.E3statistics(model=model)
    trainer = Trainer(options, common, model, data)
    rate, start, steps = options['optimizer']['lr'], time.process_time(), 0
    while True:
        for batch in trainer.train_loader:
            elapsed = (time.process_time() - start) / seconds
            if elapsed >= 1:
                found = {'steps': steps, 'cpu_s': time.process_time() - start}
                return model, found | {'n_parameters': sum(each.numel() for each in model.parameters())}
            for group in trainer.optimizer.param_groups:
                group['lr'] = rate * (0.01 + 0.99 * (1 + math.cos(math.pi * elapsed)) / 2)
            trainer.iteration(batch)
            steps += 1


def predict(model: torch.nn.Module, settings: dict, folders: list[Path], output: Path):
    """Write the blocks of some structures, all those of one data set, as DeePTB names them."""
    root, prefix = folders[0].parent, folders[0].name.split('.')[0]
    chosen = settings['data_options']['train'] | {'root': str(root), 'prefix': prefix}
    data = build_dataset(**collect_cutoffs(settings), **chosen, **settings['common_options'])
    model.eval()
    # The frames of a data set are in the sequence of the sorted names.
    for frame, folder in enumerate(sorted(folders, key=lambda each: each.name)):
        with torch.no_grad():
            batch = model(model.idp(AtomicData.to_AtomicDataDict(data[frame])))
        target = output / folder.name
        target.mkdir(parents=True, exist_ok=True)
        with h5py.File(target / 'hamiltonians.h5', 'w') as file:
            group = file.create_group('0')
            for name, block in feature_to_block(batch, model.idp).items():
                group[name] = block.numpy()


def main():
    """Read the job, train, and predict."""
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    settings = normalize(job['input'])
    setup_seed(settings['common_options']['seed'])
    model, summary = train(settings, job['cpu_seconds'])
    output = Path(job['output'])
    predict(model, settings, list(map(Path, job['structures'])), output)
    (output / 'summary.json').write_text(json.dumps(summary))


if __name__ == '__main__':
    main()
