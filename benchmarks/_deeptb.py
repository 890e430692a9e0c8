"""Time and memory of DeePTB's strictly local network (SLEM) beside ours, on the dense graph of the part "cost".

DeePTB (PyPI, LGPL) is an external program here: it is installed into a virtual environment of its own inside the folder
of the benchmark, started as a process, and never imported by this package. Its requirement of torch 2.5 or older is not
followed, so that both programs run on the same torch; torch-scatter, which it imports, is compiled from its source
distribution in some minutes.

Its network for 2s2p1d has three layers and the hidden irreps 64x0e + 32x1o + 16x2e + 8x3o + 8x4e + 8x1e + 8x2o + 4x3e,
those of DeepH-E3 and the parities that p and d orbitals need beside them; all else is as its input file has it by
default. It stops at reduced matrix elements: no blocks of the Hamiltonian are assembled, and there is no long range.
Our time holds both.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import ase.io
import torch
from _model_cost import DENSE_CUTOFF, dense_cost, dense_network, dense_peak, in_own_process, matrix_product

DEEPTB = 'dptb==2.2.1'

#: What it imports, but for torch and what only its tests need.
REQUIREMENTS = (
    'numpy<2',
    'scipy<1.13',
    'spglib',
    'matplotlib',
    'ase',
    'pyyaml',
    'dargs==0.4.4',
    'e3nn>=0.5.1',
    'torch-runstats==0.2.0',
    'torch-geometric>=2.4',
    'opt-einsum==3.3.0',
    'h5py<3.12',
    'lmdb==1.4.1',
    'pyfiglet==1.0.2',
    'tensorboard',
    'seekpath',
    'rich',
)

#: Our times are at most this fraction of DeePTB's.
FRACTION = 0.2

SCRIPT = """
import json, sys, time
import ase.io, numpy as np, torch
from dptb.data import AtomicData, AtomicDataDict
from dptb.nn.build import build_model

settings = json.load(open('deeptb.json'))
torch.set_num_threads(1)
torch.manual_seed(0)
atoms = ase.io.read('atoms.extxyz')
basis = {element: '2s2p1d' for element in set(atoms.symbols)}
cutoff = settings['cutoff']
common = {'basis': basis, 'device': 'cpu', 'dtype': 'float32', 'overlap': False}
embedding = {
    'method': 'slem', 'r_max': cutoff, 'n_layers': 3, 'avg_num_neighbors': settings['n_edges'] / len(atoms),
    'irreps_hidden': '64x0e+32x1o+16x2e+8x3o+8x4e+8x1e+8x2o+4x3e',
    # the defaults of its input file, which are not those of its class
    'n_radial_basis': 10, 'env_embed_multiplicity': 10, 'latent_channels': [32], 'latent_dim': 64,
}
model = build_model(model_options={'embedding': embedding, 'prediction': {'method': 'e3tb'}}, common_options=common)
model.transform = False
data = AtomicData.from_ase(atoms, r_max=cutoff)
data = AtomicData.to_AtomicDataDict(data)
data = model.idp(data)
fields = (AtomicDataDict.EDGE_FEATURES_KEY, AtomicDataDict.NODE_FEATURES_KEY)

def forward():
    out = model(dict(data))
    return [out[field] for field in fields]

def plain():
    with torch.no_grad():
        forward()

optimizer = torch.optim.Adam(model.parameters(), fused=True)
targets = [torch.randn_like(x) for x in forward()]

def step():
    loss = sum((x - y).abs().mean() for x, y in zip(forward(), targets))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

def timed(function, repetitions):
    function(), function()
    cpu, wall = [], []
    for _ in range(repetitions):
        start = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return {'cpu_s': float(np.median(cpu)), 'least_cpu_s': min(cpu), 'wall_s': float(np.median(wall))}

matrix = torch.ones(600, 600)
result = {'directed_edges': int(data[AtomicDataDict.EDGE_INDEX_KEY].shape[1]), 'numbers_per_edge': targets[0].shape[1]}
result['parameters'] = sum(parameter.numel() for parameter in model.parameters())
result['matrix_product_600_float32'] = timed(lambda: matrix @ matrix, 50)
result['forward'], result['step'] = timed(plain, 8), timed(step, 5)
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
result['peak_memory_GB'] = int(peak.split()[1]) / 1e6
json.dump(result, open('deeptb_result.json', 'w'))
"""


def compare(folder: str | Path) -> dict:
    """Run both networks, one after the other, on the same graph and one thread.

    Returns
    -------
    dict
        ``ours`` and ``deeptb``, with CPU and wall seconds and the largest memory; ``limits``: our CPU seconds over
        theirs, of a prediction (positions and neighbours given; assembled and with long range) and of a step with all
        directed pairs, and how large they may be; ``memory_ratio``.

    Raises
    ------
    RuntimeError
        If the other program cannot be installed, fails, or makes another number of edges.
    """
    folder = Path(folder).resolve()
    python = install(folder)
    torch.set_num_threads(1)
    _, reference, _ = dense_network('lr')
    ours = {'matrix_product_600_float32': matrix_product(), **dense_cost('lr')}
    ours['peak_memory_GB'] = in_own_process(dense_peak, 'lr')
    ase.io.write(folder / 'atoms.extxyz', reference.atoms)
    settings = {'cutoff': DENSE_CUTOFF, 'n_edges': ours['message_edges']}
    (folder / 'deeptb.json').write_text(json.dumps(settings))
    result = folder / 'deeptb_result.json'
    result.unlink(missing_ok=True)
    run_there([python, '-c', SCRIPT], folder)
    theirs = json.loads(result.read_text())
    if theirs['directed_edges'] != ours['message_edges']:
        raise RuntimeError(f'DeePTB has {theirs["directed_edges"]} edges, not {ours["message_edges"]}')
    prediction = ours['prediction']['cpu_s'] - ours['graph_of_prediction']['cpu_s']
    limits = {
        'prediction_by_deeptb_forward': (prediction / theirs['forward']['cpu_s'], FRACTION),
        'step_by_deeptb_step': (ours['step_all_directed_pairs']['cpu_s'] / theirs['step']['cpu_s'], FRACTION),
    }
    memory = ours['peak_memory_GB'] / theirs['peak_memory_GB']
    return {'ours': ours, 'deeptb': theirs, 'memory_ratio': memory, 'limits': limits}


def install(folder: Path) -> Path:
    """The interpreter of an environment that has DeePTB."""
    environment = folder / 'environment'
    python, done = environment / 'bin/python', environment / 'installed'
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        venv.create(environment, with_pip=True, clear=True)
        version = torch.__version__.partition('+')[0]
        for packages in (
            [f'torch=={version}', 'setuptools<81', 'wheel', 'numpy<2'],
            ['--no-build-isolation', 'torch-scatter==2.1.2'],
            REQUIREMENTS,
            ['--no-deps', DEEPTB],
        ):
            run_there([python, '-m', 'pip', 'install', '--quiet', *packages], folder)
        done.touch()
    return python


def run_there(command, folder: Path):
    hidden = ('PYTHONPATH', 'PYTHONHOME')
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'{command[:5]} failed with exit status {done.returncode}: {done.stderr[-800:]}')
