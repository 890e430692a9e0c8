"""Train and predict through AiiDA, then ask the provenance graph where a prediction comes from.

    python examples/query_provenance.py

Takes about a minute. The AiiDA profile is temporary, in memory, and runs the jobs without a daemon.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiida import load_profile, orm
from aiida.engine import run
from aiida.plugins import CalculationFactory, DataFactory
from aiida.storage.sqlite_temp import SqliteTempBackend
from ase.build import bulk
from shipped import write_references

from aiida_hamlr.calculations.functions.dataset import create_dataset
from aiida_hamlr.cli.installation import create_localhost, find_executable
from aiida_hamlr.plotting.provenance import plot_provenance

DatasetData, HamiltonianData, ModelData = (DataFactory(f'hamlr.{name}') for name in ('dataset', 'hamiltonian', 'model'))
OPTIONS = {'resources': {'num_machines': 1}, 'prepend_text': 'export OMP_NUM_THREADS=1'}
TRAINING = {'model': {'variant': 'lr'}, 'training': {'max_steps': 40, 'device': 'cpu'}}


def train_and_predict(folder: Path) -> HamiltonianData:
    """Make a dataset of small cells, train on it, and predict the Hamiltonian of the crystal."""
    files = write_references(folder / 'references', 'train_')['train']
    references = {path.stem: HamiltonianData.from_file(path, label=path.stem).store() for path in files}
    labels = list(references)
    split = orm.Dict({'train': labels[:-1], 'validation': labels[-1:]})
    dataset = create_dataset(split, orm.Int(0), **references)

    computer = create_localhost(workdir=folder / 'jobs')
    code = orm.InstalledCode(computer, str(find_executable('hamlr')), label='hamlr', with_mpi=False).store()
    common = {'code': code, 'metadata': {'options': OPTIONS}}
    model = run(CalculationFactory('hamlr.train'), dataset=dataset, parameters=orm.Dict(TRAINING), **common)['model']
    crystal = orm.StructureData(ase=bulk('AlAs', 'zincblende', a=5.66))
    results = run(CalculationFactory('hamlr.predict'), model=model, structures={'crystal': crystal}, **common)
    return results['hamiltonians']['crystal']


def find_references(prediction: HamiltonianData) -> list[str]:
    """Labels of all reference Hamiltonians that a prediction rests on."""
    query = orm.QueryBuilder().append(HamiltonianData, filters={'uuid': prediction.uuid}, tag='prediction')
    fields = HamiltonianData.fields
    query.append(HamiltonianData, filters=fields.origin == 'reference', with_descendants='prediction', project='label')
    return sorted(query.distinct().all(flat=True))


def find_predictions(reference_label: str) -> list[int]:
    """The other way: predictions that would change if this reference were wrong."""
    query = orm.QueryBuilder().append(HamiltonianData, filters={'label': reference_label}, tag='reference')
    fields = HamiltonianData.fields
    query.append(HamiltonianData, filters=fields.origin == 'predicted', with_ancestors='reference', project='id')
    return query.distinct().all(flat=True)


def main(folder: Path):
    """Run the example; the picture of the graph is written to `folder`."""
    load_profile(SqliteTempBackend.create_profile('example'))
    prediction = train_and_predict(folder.absolute())
    references = find_references(prediction)
    print(f'The prediction rests on {len(references)} references: {", ".join(references)}')
    print(f'{references[0]} is behind {len(find_predictions(references[0]))} prediction')

    query = orm.QueryBuilder().append(
        ModelData, project=['attributes.variant', 'attributes.metrics.validation_mae_meV']
    )
    for variant, error in query.all():
        print(f'Model {variant}: validation error {error:.2f} meV')
    print(f'How it came about is drawn in {plot_provenance(prediction, folder / "provenance.png")}')


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
