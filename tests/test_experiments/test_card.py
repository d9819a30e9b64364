"""The command that ships a student, and the card that tells of it."""

import json
from pathlib import Path

import mmengine
import pytest
import torch

from mmdet_rankkd.engine.cost import Cost
from mmdet_rankkd.experiments import card
from mmdet_rankkd.experiments.card import logged_metrics, read_metrics

from ..helpers import make_runner
from ..test_cli.test_main import rankkd
from ..test_deploy.conftest import coco_set, save  # noqa: F401


@pytest.fixture(scope='module')
def trained(project, tmp_path_factory):
    """A distillation of one epoch, with its log."""
    from mmengine.config import Config

    cfg = Config.fromfile(project / 'distill.py')
    cfg.work_dir = str(tmp_path_factory.mktemp('work'))
    cfg.train_dataloader.dataset.indices = 2
    cfg.val_evaluator = cfg.test_evaluator = dict(
        type='CocoMetric',
        metric='bbox',
        ann_file=f'{project}/data/train.json',
    )
    make_runner(cfg).train()
    return Path(cfg.work_dir) / 'epoch_1.pth'


def test_a_distilled_student(trained, project, tmp_path):
    pytest.importorskip('safetensors')
    out = [tmp_path / x for x in ('s.pth', 's.safetensors', 'card.md')]
    text = rankkd(
        'export',
        trained,
        out[0],
        *('--safetensors', out[1], '--card', out[2]),
        *('--teacher', project / 'teacher.py', project / 'teacher.pth'),
    )
    assert 'the same to the last bit' in text and 'model card' in text
    lines = out[2].read_text().splitlines()
    assert lines[0] == '# Model card: FasterRCNN'
    assert '3 classes: bolt, nut, washer.' in lines[2]
    rows = {
        cells[1].strip(): [x.strip() for x in cells[2:4]]
        for cells in (x.split('|') for x in lines if x.startswith('|'))
    }
    student = torch.load(out[0])['state_dict']
    teacher, own = (float(x.split()[0]) for x in rows['parameters'])
    assert own < teacher < 3
    assert own == pytest.approx(
        sum(
            v.numel()
            for k, v in student.items()
            if 'running' not in k and 'tracked' not in k
        )
        / 1e6,
        abs=0.005,
    )
    assert float(rows['operations, GFLOPs'][1]) > 0.01
    assert rows['latency, median (quartiles)'][1].endswith(' ms')
    logged = rows['coco/bbox_mAP']
    assert logged[0] == 'not known' and 0 <= float(logged[1]) < 1
    page = '\n'.join(lines)
    for part in (
        "dict(type='mmdet_rankkd.KLDivLoss', loss_weight=1.0)",
        "dict(type='mmdet_rankkd.RoILogits')",
        f'- Teacher: `{project}/teacher.py` with',
        '- Epochs: 1.',
        "dict(type='Resize', keep_ratio=True, scale=(96, 96))",
        'mmdet_rankkd is not needed',
        'SHA-256',
        f'torch {torch.__version__}',
        'threads of PyTorch: 1)',
        f'Trained with MMEngine {mmengine.__version__}.',
        '`s.safetensors`: ',
    ):
        assert part in page, part


def test_a_dense_student_as_onnx(save, tmp_path):  # noqa: F811
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    metrics = tmp_path / 'metrics.json'
    metrics.write_text(json.dumps({'coco/bbox_mAP': 0.25, 'time': 3.0}))
    text = rankkd(
        'export',
        save('gfl'),
        tmp_path / 's.pth',
        *('--onnx', tmp_path / 's.onnx', '--card', tmp_path / 'card.md'),
        *('--metrics', metrics, '--teacher-metrics', metrics),
    )
    assert 'scores differ by at most' in text and 'allowed: 0.05' in text
    page = (tmp_path / 'card.md').read_text()
    assert 'ONNX Runtime against PyTorch on 4 images' in page
    assert '| coco/bbox_mAP | 0.25 | 0.25 |' in page
    assert '| parameters | not measured |' in page
    assert 'Trained without a teacher' in page


def test_nothing_is_written_where_one_is_refused(trained, tmp_path):
    out = tmp_path / 's.pth'
    text = rankkd('export', trained, out, '--onnx', tmp_path / 'x', status=1)
    assert 'FasterRCNN is a two-stage detector' in text
    for flag in ('--safetensors', '--onnx', '--card'):
        there = tmp_path / 'there'
        there.write_text('mine')
        text = rankkd('export', trained, out, flag, there, status=1)
        assert 'there exists' in text and there.read_text() == 'mine'
    text = rankkd('export', trained, out, '--metrics', 'x', status=1)
    assert 'are for --card' in text
    text = rankkd('export', trained, out, '--images', 'x', status=1)
    assert 'are for --safetensors' in text
    assert not out.exists()


def test_metrics_of_the_right_validation(tmp_path):
    folder = tmp_path / '1/vis_data'
    folder.mkdir(parents=True)
    entries = [
        dict(lr=0.1, loss=1.0, step=10),
        {'coco/bbox_mAP': 0.1, 'step': 1},
        dict(lr=0.1, loss=1.0, step=20),
        {'coco/bbox_mAP': 0.2, 'step': 2},
    ]
    text = '\n'.join(map(json.dumps, entries))
    (folder / 'scalars.json').write_text(text)
    for meta, expected in (
        (dict(epoch=1, iter=10), 0.1),
        (dict(epoch=2, iter=20), 0.2),
        (dict(epoch=3, iter=30), None),
        ({}, None),
    ):
        found = logged_metrics(tmp_path, meta)
        assert found.get('coco/bbox_mAP') == expected


@pytest.mark.parametrize('content', ['[1]', '{"time": 2}', '{', '{}'])
def test_files_without_metrics(tmp_path, content):
    (tmp_path / 'x.json').write_text(content)
    with pytest.raises(ValueError, match='JSON|holds no metrics'):
        read_metrics(str(tmp_path / 'x.json'))


def test_other_metrics_of_coco_are_left_out():
    cost = Cost(10**6, 10**9, (4, 4), (1.0, 2.0, 3.0), 1, 'cpu')
    metrics = {'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_s': 0.1, 'top1': 70.0}
    sources = card.Sources({}, {}, metrics, {}, None)
    names = [x[0] for x in card.figures(dict(student=cost), sources)]
    assert names[4:] == ['coco/bbox_mAP', 'top1']
