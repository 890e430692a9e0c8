"""Device, threads and memory limits."""

import pytest
import torch

from aiida_hamlr.electronic.resources import check_memory, choose_device, items_at_once, set_threads


def test_auto_takes_a_gpu_only_where_there_is_one():
    assert choose_device('auto') == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert choose_device('cpu') == 'cpu'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('name', ['gpu', 'cuda'])
def test_a_missing_gpu_is_refused(name):
    with pytest.raises(ValueError, match=f'device is {name}, but torch finds no GPU'):
        choose_device(name)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        choose_device('tpu')


def test_threads_of_the_configuration():
    before = torch.get_num_threads()
    try:
        set_threads(before + 1)
        assert torch.get_num_threads() == before + 1
        set_threads(None)
        assert torch.get_num_threads() == before + 1
    finally:
        set_threads(before)


def test_items_at_once_fit_in_a_tenth_of_the_limit():
    assert items_at_once(1e6, None, 500) == 500
    assert items_at_once(1e6, 1.0, 500) == 100
    assert items_at_once(1e6, 10.0, 500) == 500
    assert items_at_once(1e9, 0.001, 500) == 1


def test_what_does_not_fit_is_refused():
    check_memory(2e9, None, 'H')
    check_memory(2e9, 2.0, 'H')
    with pytest.raises(ValueError, match='H takes 3 GB, memory_limit is 2 GB; raise it'):
        check_memory(3e9, 2.0, 'H')
