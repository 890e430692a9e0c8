"""The job scripts of every protocol on a cluster with SLURM and GPUs."""

import pytest
from aiida import orm
from aiida.plugins import CalculationFactory

from aiida_hamlr.calculations.predict import PredictCalculation
from aiida_hamlr.calculations.reconstruct import ReconstructCalculation
from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.reference import ReferenceWorkChain
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

PROTOCOLS = ('fast', 'balanced', 'stringent')


@pytest.fixture
def cluster(slurm_computer):
    """Return the codes pw and hamlr of a cluster."""
    return {
        name: orm.InstalledCode(
            computer=slurm_computer, filepath_executable=f'/opt/{name}', label=name, with_mpi=name == 'pw'
        ).store()
        for name in ('pw', 'hamlr')
    }


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_train(cluster, write_job_script, make_hamiltonian_node, protocol, file_regression):
    """Four GPUs on one machine, and on each of two."""
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    scripts = []
    for n_machines in (1, 2):
        resources = {'num_machines': n_machines, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 32}
        builder = TrainBaseWorkChain.get_builder_from_protocol(
            cluster['hamlr'],
            dataset,
            protocol=protocol,
            options={'resources': resources, 'max_wallclock_seconds': 86400, 'queue_name': 'gpu', 'withmpi': True},
            gpus=4,
        )
        assert builder.train.parameters['training']['device'] == 'gpu'
        scripts.append(write_job_script(TrainCalculation, builder.train._inputs(prune=True)))
    file_regression.check('\n'.join(scripts), extension='.sh')


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_predict(cluster, write_job_script, model_node, structure, protocol, file_regression):
    """One GPU, by a line of the user's own."""
    builder = PredictBaseWorkChain.get_builder_from_protocol(
        cluster['hamlr'],
        model_node,
        {'bulk': structure},
        protocol=protocol,
        options={
            'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 8},
            'max_wallclock_seconds': 3600,
            'custom_scheduler_commands': '#SBATCH --gres=gpu:a100:1\n#SBATCH --constraint=a100',
        },
    )
    file_regression.check(write_job_script(PredictCalculation, builder.predict._inputs(prune=True)), extension='.sh')


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_reference(
    cluster, write_job_script, structure, pseudo_family, basis_node, make_remote, protocol, file_regression
):
    """pw.x with MPI, as its code says, and the reconstruction without, whatever the options for both."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        cluster['pw'],
        cluster['hamlr'],
        structure,
        protocol=protocol,
        overrides={'scf': {'pseudo_family': pseudo_family}},
        options={
            'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 16},
            'max_wallclock_seconds': 7200,
            'custom_scheduler_commands': '#SBATCH --gres=gpu:1',
            'withmpi': True,
        },
        basis=basis_node,
    )
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([2, 2, 2])
    pw = {**builder.scf.pw._inputs(prune=True), 'structure': structure, 'pseudos': dict(builder.pseudos)}
    scripts = [write_job_script(CalculationFactory('quantumespresso.pw'), {**pw, 'kpoints': kpoints})]
    parent = make_remote(cluster['hamlr'].computer, '/scratch/pw')
    more = {'parent_folder': parent, 'basis': basis_node, 'pseudos': dict(builder.pseudos), 'kpoints': kpoints}
    inputs = builder.reconstruct._inputs(prune=True)
    scripts.append(write_job_script(ReconstructCalculation, {**inputs, **more}))
    file_regression.check('\n'.join(scripts), extension='.sh')
