import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from mmdet_rankkd.engine.checkpoint import (
    _history_statistic,
    checkpoint_classes,
    load_weights,
    read_checkpoint,
)


def test_mmengine_types_are_read_without_pickled_code(tmp_path):
    path = tmp_path / 'a.pth'
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(
        dict(
            state_dict={},
            message_hub=dict(loss=buffer),
            score=np.float64(0.5),
            counts=np.arange(3),
        ),
        path,
    )
    loaded = read_checkpoint(str(path))
    assert loaded['message_hub']['loss'].mean() == 1.5
    assert loaded['score'] == 0.5
    # What mmengine 0.10.7 calls on --resume.
    assert torch.load(path)['counts'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('core', [b'numpy.core', b'numpy._core'])
def test_files_written_with_numpy_1_and_2(tmp_path, core):
    torch.save(dict(x=np.arange(3), y=np.float64(2)), tmp_path / 'a.pth')
    with (
        zipfile.ZipFile(tmp_path / 'a.pth') as old,
        zipfile.ZipFile(tmp_path / 'b.pth', 'w') as new,
    ):
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith('data.pkl'):
                assert b'multiarray' in data
                data = data.replace(b'numpy._core', b'numpy.core')
                data = data.replace(b'numpy.core', core)
            new.writestr(info, data)
    loaded = read_checkpoint(str(tmp_path / 'b.pth'))['state_dict']
    assert loaded['x'].tolist() == [0, 1, 2] and loaded['y'] == 2


def test_only_statistics_of_the_history_are_looked_up():
    assert _history_statistic(HistoryBuffer, 'mean') is HistoryBuffer.mean
    with pytest.raises(Exception, match='refused'):
        _history_statistic(HistoryBuffer, '__init__')
    with pytest.raises(Exception, match='refused'):
        _history_statistic(dict, 'mean')


def test_bare_state_dict_and_errors(tmp_path):
    torch.save({'a': torch.ones(1)}, tmp_path / 'bare.pth')
    assert set(read_checkpoint(str(tmp_path / 'bare.pth'))) == {'state_dict'}
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(str(tmp_path / 'list.pth'))
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_checkpoint(str(tmp_path / 'none.pth'))
    (tmp_path / 'cut.pth').write_bytes(
        (tmp_path / 'bare.pth').read_bytes()[:200]
    )
    with pytest.raises(ValueError, match='damaged'):
        read_checkpoint(str(tmp_path / 'cut.pth'))
    with pytest.raises(ValueError, match='only files and http'):
        read_checkpoint('open-mmlab://resnet50')


def test_classes_of_old_and_new_checkpoints():
    for meta in (
        dict(dataset_meta=dict(classes=('a', 'b'))),
        dict(dataset_meta=dict(CLASSES=('a', 'b'))),
        dict(CLASSES=('a', 'b')),
    ):
        assert checkpoint_classes(dict(meta=meta)) == ['a', 'b']
    assert checkpoint_classes({}) is None


def test_load_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    weights.pop('1.num_batches_tracked')  # not in files of torch < 0.4.1
    prefixed = {f'module.{k}': v for k, v in weights.items()}
    assert load_weights(model, prefixed, 'x') == []
    assert load_weights(model, dict(weights, extra=torch.ones(1)), 'x') == [
        'extra'
    ]
    short = dict(weights)
    short.pop('0.bias')
    with pytest.raises(ValueError, match='1 missing .first: 0.bias'):
        load_weights(model, short, 'x')
    with pytest.raises(ValueError, match=r'\(3, 2\) in the file'):
        load_weights(model, {**weights, '0.weight': torch.ones(3, 2)}, 'x')
    bad = torch.tensor([1.0, float('inf')])
    with pytest.raises(ValueError, match='non-finite.*0.bias'):
        load_weights(model, {**weights, '0.bias': bad}, 'x')
