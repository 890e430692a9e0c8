"""DeePTB's short-range network (SLEM) on the references of a study, trained for some CPU seconds.

The network is that of `_deeptb`, with the loss of DeePTB's examples, Adam from 0.005, and a rate that falls as a cosine
of the time. It learns the matrix as it is or, as our networks do, less H0.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _deeptb import install, run_there

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.deeptb import BASIS, HAMILTONIANS, PREFIX, read_deeptb, write_deeptb

#: What is learned, by the name in the table.
PEERS = {'DeePTB': 'delta', 'DeePTB on H': 'hamiltonian'}

SCRIPT = Path(__file__).with_name('_deeptb_job.py')


@dataclass(frozen=True)
class Peer:
    """DeePTB on one target.

    Parameters
    ----------
    folder : path
        Of data, environment and results.
    target : str
        'delta' (H less H0) or 'hamiltonian'.
    cpu_seconds : float
        Of the training.
    seed : int
    """

    folder: Path
    target: str
    cpu_seconds: float
    seed: int = 0

    def predict(
        self, learned: Mapping[str, Hamiltonian], tested: Mapping[str, Hamiltonian]
    ) -> tuple[dict[str, Hamiltonian], dict]:
        """Train on some Hamiltonians, and predict those of other structures.

        Returns
        -------
        predicted : dict of str to Hamiltonian
            By label.
        summary : dict
            ``steps``, ``cpu_s`` and ``n_parameters``.

        Raises
        ------
        RuntimeError
            If DeePTB cannot be installed, or fails.
        ValueError
            If a structure cannot be written in its format, or it predicts other pairs of atoms.
        """
        root = self.folder.resolve()
        python = install(root)
        work = root / self.target
        shutil.rmtree(work, ignore_errors=True)
        train = self._write(learned, work / 'train')
        test = self._write(tested, work / 'test')
        output = work / 'predicted'
        output.mkdir()
        job = {'input': self._input(train, learned), 'cpu_seconds': self.cpu_seconds, 'output': str(output)}
        (work / 'job.json').write_text(json.dumps(job | {'structures': list(map(str, test))}))
        run_there([python, SCRIPT, work / 'job.json'], work)
        predicted = {
            label: self._read(folder, output / folder.name, one)
            for folder, (label, one) in zip(test, tested.items(), strict=True)
        }
        return predicted, json.loads((output / 'summary.json').read_text())

    def _write(self, hamiltonians: Mapping[str, Hamiltonian], folder: Path) -> list[Path]:
        folders = [folder / f'{PREFIX}.{index}' for index in range(len(hamiltonians))]
        for target, one in zip(folders, hamiltonians.values(), strict=True):
            learned = one.hamiltonian - self._offset(one)
            write_deeptb(replace(one, matrices={'hamiltonian': learned, 'overlap': one.overlap}), target)
        return folders

    def _offset(self, hamiltonian: Hamiltonian) -> np.ndarray | float:
        return hamiltonian.h0 if self.target == 'delta' else 0.0

    def _read(self, exported: Path, predicted: Path, reference: Hamiltonian) -> Hamiltonian:
        shutil.copy(predicted / HAMILTONIANS, exported / HAMILTONIANS)
        found = read_deeptb(exported).to_hamiltonian(reference.basis)
        if not np.array_equal(found.pattern.atom_pairs, reference.pattern.atom_pairs):
            raise ValueError(f'{exported}: DeePTB predicts {len(found.pattern)} blocks, not {len(reference.pattern)}')
        matrices = dict(reference.matrices) | {'hamiltonian': found.hamiltonian + self._offset(reference)}
        return replace(reference, matrices=matrices)

    def _input(self, train: list[Path], learned: Mapping[str, Hamiltonian]) -> dict:
        bases = [json.loads((folder / BASIS).read_text())['basis'] for folder in train]
        # Where the orbitals of any two atoms cease to overlap; all have the same radius.
        radius = max(species.cutoff_radius for h in learned.values() for species in h.basis.for_labels(h.species))
        pairs, atoms = (sum(len(getattr(h, name)) for h in learned.values()) for name in ('pattern', 'atoms'))
        embedding = {
            'method': 'slem',
            'r_max': 2 * radius * BOHR,
            'n_layers': 3,
            'avg_num_neighbors': pairs / atoms - 1,
            'irreps_hidden': '64x0e+32x1o+16x2e+8x3o+8x4e+8x1e+8x2o+4x3e',
        }
        options = {
            'num_epoch': 1,
            'batch_size': 1,
            'optimizer': {'type': 'Adam', 'lr': 0.005},
            'lr_scheduler': {'type': 'exp', 'gamma': 1.0},
            'loss_options': {'train': {'method': 'hamil_abs', 'onsite_shift': False}},
        }
        data = {'root': str(train[0].parent), 'prefix': PREFIX, 'type': 'DefaultDataset', 'get_Hamiltonian': True}
        return {
            'common_options': {
                'basis': {symbol: shells for each in bases for symbol, shells in each.items()},
                'device': 'cpu',
                'dtype': 'float32',
                'overlap': False,
                'seed': self.seed,
            },
            'model_options': {'embedding': embedding, 'prediction': {'method': 'e3tb'}},
            'train_options': options,
            'data_options': {'train': data},
        }
