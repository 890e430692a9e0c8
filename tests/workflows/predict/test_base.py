"""Tests of the prediction work chain without running anything."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.predict import PredictCalculation
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_protocols(hamlr_code, model_node, structure, instantiate, protocol):
    """Every protocol gives valid inputs, for structures and for a trajectory."""
    for structures in ({'bulk': structure}, orm.TrajectoryData(structurelist=[structure])):
        builder = PredictBaseWorkChain.get_builder_from_protocol(hamlr_code, model_node, structures, protocol=protocol)
        process = instantiate(builder)
        assert 'bands' in process.inputs.predict.parameters['outputs']


@pytest.mark.parametrize('label', ['ERROR_SCHEDULER_NODE_FAILURE', 'ERROR_KILLED'])
def test_interrupted(hamlr_code, model_node, structure, instantiate, make_finished, label):
    """After a failure of the compute node, or of whoever killed the process, the job runs again; after others not."""
    builder = PredictBaseWorkChain.get_builder_from_protocol(hamlr_code, model_node, {'bulk': structure})
    process = instantiate(builder)
    process.setup()
    process.ctx.iteration = 1
    codes = PredictCalculation.exit_codes
    process.ctx.children = [make_finished('calculations', 'hamlr.predict', codes[label].status)]
    assert process.inspect_process().status == 0
    process.ctx.children = [make_finished('calculations', 'hamlr.predict', codes.ERROR_BAD_INPUT.status)]
    assert process.inspect_process() == PredictBaseWorkChain.exit_codes.ERROR_UNHANDLED_FAILURE
