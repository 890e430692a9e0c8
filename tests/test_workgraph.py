"""Our work chains are tasks of aiida-workgraph as they are."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / 'docs/howto/workgraph.md'


@pytest.mark.usefixtures('aiida_profile')
def test_page(pw_code, hamlr_code, structure, pseudo_family):
    """The blocks of the page link the three steps; inputs come from a builder."""
    pytest.importorskip('aiida_workgraph')
    names = {'structures': {'bp': structure}}
    for block in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL):
        block = block.replace("'pw@localhost'", repr(pw_code.full_label)).replace('GTH-LDA', pseudo_family)
        exec(block.replace("'hamlr@localhost'", repr(hamlr_code.full_label)), names)  # noqa: S102 the page's own code
    graph = names['graph']
    links = {(link.from_task.name, link.to_task.name) for link in graph.links}
    assert links == {('dataset', 'training'), ('training', 'prediction')}
    assert names['dataset'].inputs.structures.bp.value.uuid == structure.uuid
    assert names['dataset'].inputs.max_concurrent.value == names['builder'].max_concurrent
