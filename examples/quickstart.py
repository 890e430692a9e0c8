"""Quickstart: learn the Hamiltonian of AlAs from small cells, predict a wave of 48 atoms, compare with DFT.

Run it with `make demo`, or with `python examples/quickstart.py` in an environment that has the package and pw.x.
It takes up to twelve minutes on two idle cores, needs no service, and keeps everything in the folder .demo.

Two cutoffs are lower than a real study would have them (plane waves 20 Ry, k-points 0.55 1/Å): this is a demonstration.
"""

from __future__ import annotations

import json

from _profile import RESULTS, run_main, running_daemon, set_up_codes, set_up_profile  # before AiiDA: it sets AIIDA_PATH
from _progress import Progress, part_of
from _results import PLANE_WAVE_SPACING, band_line, draw_figures, get_cpu_time, print_table
from aiida import orm
from aiida.engine import submit
from aiida.plugins import CalculationFactory, WorkflowFactory
from alas import rattled, wave

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.electronic.bands.kpoints import BandPath
from aiida_hamlr.plotting.provenance import plot_provenance

FAMILY = 'GTH-LDA'
CUTOFF = 20.0  # Ry
TRAINING_STEPS = 1800
JOB_OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
SEED = 0

#: Seconds on two cores; only their ratios matter for the time left.
STAGES = {'orbitals': 15.0, 'references': 270.0, 'training, and DFT of the wave': 160.0, 'prediction': 70.0}


# ---- 1. The structures: small ones to learn from, a large one to predict


def make_structures() -> dict[str, dict[str, orm.StructureData]]:
    """Return the structures by what they are for."""
    parts = {
        'train': {f'rattled_{n:02d}': rattled(n) for n in range(9)}
        | {'wave_16a': wave(4, 0.05), 'wave_16b': wave(4, 0.10), 'wave_24': wave(6, 0.06)},
        'validation': {'rattled_09': rattled(9)},
        'test': {'rattled_10': rattled(10), 'wave_16c': wave(4, 0.08)},
        'predict': {'wave_48': wave(12, 0.03)},
    }
    return {
        part: {label: orm.StructureData(ase=atoms) for label, atoms in structures.items()}
        for part, structures in parts.items()
    }


# ---- 2. The work chains

REFERENCE = {
    'conduction_bands': 4,
    'scf': {
        'pseudo_family': FAMILY,
        'kpoints_distance': 0.55,
        'pw': {
            'parameters': {
                'SYSTEM': {'ecutwfc': CUTOFF, 'ecutrho': 4 * CUTOFF},
                'ELECTRONS': {'conv_thr': 1e-8, 'mixing_mode': 'local-TF', 'mixing_beta': 0.7},
            }
        },
    },
}
PREDICTION = {'predict': {'parameters': {'outputs': ['hamiltonian']}}}


def submit_basis(codes):
    """Generate atomic orbitals of both elements from their pseudopotentials."""
    builder = CalculationFactory('hamlr.basis').get_builder()
    builder.code = codes['hamlr']
    builder.pseudos = orm.load_group(FAMILY).get_pseudos(elements=('Al', 'As'))
    builder.metadata.options = JOB_OPTIONS
    return submit(builder)


def submit_reference(codes, structure, basis):
    """Run DFT for one structure, and represent its Hamiltonian in the orbitals."""
    return submit(
        WorkflowFactory('hamlr.reference').get_builder_from_protocol(
            codes['pw'],
            codes['hamlr'],
            structure,
            overrides=REFERENCE,
            options=JOB_OPTIONS,
            basis=basis,
        )
    )


def submit_pipeline(codes, structures, basis):
    """Make references of the small structures, train on them with the long-range channel, predict the wave."""
    builder = WorkflowFactory('hamlr.pipeline').get_builder_from_protocol(
        codes['pw'],
        codes['hamlr'],
        structures,
        overrides={
            'reference': REFERENCE,
            'train': training_overrides('lr'),
            'predict': PREDICTION,
            'compare': False,  # The reference of the wave runs beside the pipeline, which does not know it.
            'max_concurrent': 3,
            'seed': SEED,
        },
        options=JOB_OPTIONS,
        basis=basis,
    )
    return submit(builder)


def training_overrides(variant: str) -> dict:
    """Return the inputs of a training: the variant `lr` has the long-range channel, `sr` does not."""
    training = {'max_steps': TRAINING_STEPS, 'device': 'cpu'}
    return {'train': {'parameters': {'model': {'variant': variant}, 'training': training}}}


def submit_short_range(codes, dataset):
    """Train on the same dataset without the long-range channel."""
    return submit(
        WorkflowFactory('hamlr.train.base').get_builder_from_protocol(
            codes['hamlr'], dataset, overrides=training_overrides('sr'), options=JOB_OPTIONS, seed=SEED
        )
    )


def submit_prediction(codes, model, structure):
    """Predict the wave with a model."""
    return submit(
        WorkflowFactory('hamlr.predict.base').get_builder_from_protocol(
            codes['hamlr'], model, {'wave_48': structure}, overrides=PREDICTION, options=JOB_OPTIONS
        )
    )


def submit_plane_wave_bands(scf: orm.CalcJobNode, path: BandPath):
    """Let pw.x compute bands along a path, in the density that it found for the wave."""
    builder = scf.get_builder_restart()
    parameters = scf.inputs.parameters.get_dict()
    parameters['CONTROL']['calculation'] = 'bands'
    parameters['ELECTRONS']['diago_thr_init'] = 1e-6  # Ry; the default takes twice the time.
    builder.parameters = orm.Dict(parameters)
    builder.kpoints = orm.KpointsData()
    builder.kpoints.set_kpoints(path.kpoints)
    builder.parent_folder = scf.outputs.remote_folder
    return submit(builder)


# ---- 3. The demo, from top to bottom


def main():
    """Run the demo."""
    set_up_profile()
    codes = set_up_codes(FAMILY, CUTOFF)
    progress = Progress(STAGES)
    with running_daemon():
        progress.say('profile, codes and pseudopotentials are ready; the daemon runs')
        try:
            run(codes, make_structures(), progress)
        finally:
            progress.close()


def run(codes, structures, progress):
    """Submit the work chains, wait for them, and show the results."""
    n_references = sum(len(structures[part]) for part in ('train', 'validation', 'test'))
    wave_node = structures['predict']['wave_48']
    basis = submit_basis(codes)
    progress.wait('orbitals', basis)
    reference = submit_reference(codes, wave_node, basis.outputs.basis)
    pipeline = submit_pipeline(codes, structures, basis.outputs.basis)
    progress.wait(
        'references',
        pipeline,
        until=lambda: 'dataset' in pipeline.outputs,
        fraction=lambda: part_of(pipeline, 'DatasetWorkChain'),
    )
    progress.say(f'{n_references} references are ready; training with and without the long-range channel')

    short_range = submit_short_range(codes, pipeline.outputs.dataset)
    progress.wait(
        'training, and DFT of the wave',
        pipeline,
        short_range,
        reference,
        fraction=lambda: min(part_of(process, 'TrainBaseWorkChain') for process in (pipeline, short_range)),
    )
    progress.say('both networks are trained; prediction without long range, and plane-wave bands of the wave')

    prediction = submit_prediction(codes, short_range.outputs.model, wave_node)
    scf = reference.outputs.remote_folder.creator
    plane_waves = submit_plane_wave_bands(scf, band_line(wave_node.get_ase(), PLANE_WAVE_SPACING))
    progress.wait('prediction', prediction, plane_waves)

    hamiltonians = {
        'with long range': pipeline.outputs.predict.hamiltonians.wave_48,
        'short range only': prediction.outputs.hamiltonians.wave_48,
    }
    trainings = {'with long range': pipeline.outputs.train, 'short range only': short_range.outputs}
    rows = {
        name: {
            'test_mae_meV': trainings[name].output_parameters['test_mae_meV'],
            **compare_hamiltonians(hamiltonians[name], reference.outputs.hamiltonian).get_dict(),
        }
        for name in hamiltonians
    }
    seconds = {'DFT (pw.x)': get_cpu_time(scf), 'prediction': prediction.outputs.output_parameters['cpu_s']}
    progress.close()
    print_table(rows, seconds)
    draw_figures(
        RESULTS,
        reference.outputs.hamiltonian.open(),
        {name: node.open() for name, node in hamiltonians.items()},
        {name: outputs.learning_curve for name, outputs in trainings.items()},
        plane_waves.outputs.output_band,
    )
    plot_provenance(hamiltonians['with long range'], RESULTS / 'provenance.png')
    summary = {'errors': rows, 'cpu_seconds': seconds, 'demo_s': round(progress.seconds)}
    (RESULTS / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    progress.say(f'figures and numbers are in {RESULTS}')


if __name__ == '__main__':
    run_main(main)
