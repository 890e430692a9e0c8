"""`aiida-hamlr model`."""

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.cli.model import cmd_model
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.folder import check_folder


def test_list_show_compare_and_plot(invoke, localhost, model_node, model_folder, tmp_path):
    """Models stand side by side; differences and what to quote can be seen, learning curves are drawn."""
    job = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.train')
    job.set_process_state(ProcessState.FINISHED)
    job.store()
    epochs = np.arange(1.0, 9.0)
    trained = ModelData.from_folder(model_folder)
    more = {f'test_mae_of_part_{number}_meV': number / 4 for number in range(9)}
    trained.base.attributes.set('metrics', {'test_mae_onsite_meV': 1.25, 'test_mae_meV': 0.5, **more})
    outputs = {'model': trained, 'learning_curve': orm.ArrayData({'epoch': epochs, 'train_mae_meV': 1 / epochs})}
    for label, node in outputs.items():
        node.base.links.add_incoming(job, LinkType.CREATE, label)
        node.store()
    assert str(trained.pk) in invoke(cmd_model, 'list').output
    output = invoke(cmd_model, 'show', trained.pk).output
    # All errors can be read, also where they do not fit into a line.
    assert trained.uuid in output and 'test_mae_of_part_8_meV 2' in output and '…' not in output
    # Settings have the names that users write.
    shown = dict(line.split()[-2:] for line in output.splitlines() if '_range.' in line)
    assert ModelConfig.from_flat(trained.base.attributes.get('hyperparameters')).short_range.layers == int(
        shown['short_range.layers']
    )
    result = invoke(cmd_model, 'compare', trained.pk, model_node.pk)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if '_meV' in line]
    assert lines[0].split()[:2] == ['test_mae_onsite_meV', '1.25'] and 'quote' in lines[0]
    assert 'do not quote' in lines[1]
    result = invoke(cmd_model, 'plot', trained.pk, '-o', tmp_path / 'curve.pdf')
    assert result.exit_code == 0 and (tmp_path / 'curve.pdf').stat().st_size > 1000
    result = invoke(cmd_model, 'plot', model_node.pk, '-o', tmp_path / 'none.pdf')
    assert 'no learning curve' in ' '.join(result.output.split())


def test_export_and_import(invoke, model_node, tmp_path):
    """A model goes from one profile to another as a folder; what is no model is refused, nothing is overwritten."""
    result = invoke(cmd_model, 'export', model_node.pk, '-o', tmp_path / 'exported')
    assert result.exit_code == 0, result.output
    assert sorted(check_folder(tmp_path / 'exported')['species']) == model_node.species
    result = invoke(cmd_model, 'import', tmp_path / 'exported', '--label', 'from elsewhere')
    assert result.exit_code == 0, result.output
    stored = orm.load_node(int(result.output.split('ModelData<')[1].split('>')[0]))
    assert stored.label == 'from elsewhere' and stored.base.repository.hash() == model_node.base.repository.hash()
    again = invoke(cmd_model, 'export', model_node.pk, '-o', tmp_path / 'exported')
    assert again.exit_code != 0 and 'there are files in it' in ' '.join(again.output.split())
    (tmp_path / 'empty').mkdir()
    wrong = invoke(cmd_model, 'import', tmp_path / 'empty')
    assert wrong.exit_code != 0 and 'not a model folder' in ' '.join(wrong.output.split())
