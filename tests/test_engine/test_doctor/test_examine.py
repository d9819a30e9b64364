"""The doctor's round of a user's distillation."""

import importlib
import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.engine.doctor import Finding, examine, to_json, to_text
from mmdet_rankkd.engine.doctor.sample import (
    judge,
    take_sample,
    teacher_facts,
    write_part,
)
from mmdet_rankkd.recorders import listening

from ...helpers import save_teacher

# The package has the function of its name.
rounds = importlib.import_module(examine.__module__)

LINES = [
    'learning rate',
    'length',
    'training set',
    'classes',
    'initial weights',
    'teacher',
    'losses',
    'weights 0',
    'compared',
    'background',
    'loss_kd',
    'loss_rank',
    'finite',
    'unused weights',
    'cost',
    'teacher on sample',
]


def found_of(findings, name):
    (found,) = [x for x in findings if x.name == name]
    return found


@pytest.fixture(scope='module')
def findings(project, tmp_path_factory):
    """Of the user's config; nothing may be written."""
    folder = tmp_path_factory.mktemp('empty')
    before = {p: p.stat().st_mtime_ns for p in project.rglob('*')}
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cfg = Config.fromfile(project / 'distill.py')
        cfg.work_dir = str(folder / 'work')
        found = examine(cfg, batches=1, say=said.append)
    assert not list(folder.iterdir())
    assert before == {p: p.stat().st_mtime_ns for p in project.rglob('*')}
    assert len(said) == 3
    return found


def test_every_line_is_there(findings):
    assert [x.name for x in findings] == LINES
    assert len(json.loads(to_json(findings))) == len(LINES)
    assert len(to_text(findings).splitlines()) > len(LINES)


@pytest.mark.parametrize(
    'name, state',
    [
        ('learning rate', 'problem'),  # 0.01 for 2 images in place of 16
        ('training set', 'note'),
        ('length', 'note'),
        ('classes', 'ok'),
        ('initial weights', 'note'),
        ('teacher', 'ok'),
        ('losses', 'ok'),
        ('weights 0', 'ok'),
        ('compared', 'ok'),
        ('background', 'ok'),
        ('finite', 'ok'),
        ('unused weights', 'ok'),
        ('cost', 'note'),  # FastRoIAlignHook
        ('teacher on sample', 'problem'),  # of random weights
    ],
)
def test_states(findings, name, state):
    assert found_of(findings, name).state == state


def test_figures(findings):
    assert found_of(findings, 'training set').facts['objects'] == 12
    assert found_of(findings, 'compared').facts == dict(rows=[64], columns=4)
    assert found_of(findings, 'cost').facts['iterations'] == 3
    assert found_of(findings, 'teacher on sample').facts['images'] == 6
    assert 'all 348 found' in found_of(findings, 'teacher').said
    assert 'the same in both' in found_of(findings, 'teacher').said


def examine_start(cfg):
    return examine(cfg, images=0, batches=1)


def test_a_teacher_that_is_not_there(distill_cfg):
    distill_cfg.model.teacher.checkpoint = 'none.pth'
    findings = examine_start(distill_cfg)
    assert [x.name for x in findings] == ['learning rate', 'first step']
    assert findings[1].state == 'problem'
    assert "'none.pth' does not exist" in findings[1].said


def test_a_teacher_of_other_classes(distill_cfg, project, tmp_path):
    path = str(tmp_path / 'teacher.pth')
    names = ('bolt', 'washer', 'nut')
    save_teacher(
        project / 'teacher.py', path, dataset_meta=dict(classes=names)
    )
    distill_cfg.model.teacher.checkpoint = path
    found = examine_start(distill_cfg)[-1]
    assert found.state == 'problem' and 'same names, other order' in found.said


def test_a_teacher_without_names_and_a_batch_of_two_gpus(
    distill_cfg, project, tmp_path
):
    saved = torch.load(project / 'teacher.pth')
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=saved['state_dict']), path)
    distill_cfg.model.teacher.checkpoint = path
    distill_cfg.auto_scale_lr.base_batch_size = 4
    found = examine(distill_cfg, images=0, batches=1, gpus=2)
    assert found_of(found, 'teacher').state == 'note'
    assert found_of(found, 'learning rate').state == 'ok'
    assert found[-1].name == 'cost'


def test_losses_for_other_heads_and_no_class_of_the_data(distill_cfg):
    distill_cfg.model.losses = [dict(type='mmdet_rankkd.BinaryKLDivLoss')]
    found = examine_start(distill_cfg)
    assert found_of(found, 'losses').state == 'problem'
    assert 'softmax' in found_of(found, 'losses').said


def test_a_misspelled_class(distill_cfg):
    distill_cfg.model.losses = [dict(type='mmdet_rankkd.KLDivLoss')]
    distill_cfg.model.teacher.check_classes = False
    names = ('bolt', 'nut', 'wascher')
    distill_cfg.train_dataloader.dataset.metainfo.classes = names
    found = found_of(examine_start(distill_cfg), 'training set')
    assert found.state == 'problem' and 'none of wascher' in found.said


def test_weights_of_zero(distill_cfg):
    for loss in distill_cfg.model.losses:
        loss.loss_weight = 0
    found = examine_start(distill_cfg)[-1]
    assert found.name == 'losses' and found.state == 'note'


def test_a_plain_student(student_cfg):
    with pytest.raises(ValueError, match='no model.teacher.*rankkd distill'):
        examine(student_cfg)


@pytest.mark.parametrize(
    'metrics, state',
    [
        ({'coco/bbox_mAP': 0.41}, 'ok'),
        ({'coco/bbox_mAP': 0.01}, 'problem'),
        ({'accuracy/top1': 70.0}, 'ok'),
        ({'accuracy/top1': 1.0}, 'problem'),
        ({'pascal_voc/mAP': 0.5}, 'note'),
    ],
)
def test_what_is_too_low(metrics, state):
    assert judge(metrics, 20, 100).state == state


def test_a_part_of_an_annotation_file(project, tmp_path):
    """Images from all of it, with all of their objects and no other."""
    source = project / 'data/train.json'
    count = write_part(source, tmp_path / 'part.json', 3)
    part = json.loads((tmp_path / 'part.json').read_text())
    whole = json.loads(source.read_text())
    numbers = [x['id'] for x in part['images']]
    assert count == 3 and numbers == [1, 3, 5]
    assert part['annotations'] == [
        x for x in whole['annotations'] if x['image_id'] in numbers
    ]
    assert part['categories'] == whole['categories']
    assert write_part(source, tmp_path / 'part.json', 100) == 6


def test_a_sample_without_an_annotation_file(distill_cfg, tmp_path):
    distill_cfg.val_evaluator = dict(type='mmdet.VOCMetric')
    assert take_sample(distill_cfg, 4, tmp_path) == 4
    assert distill_cfg.test_dataloader.dataset.indices == 4
    assert not list(tmp_path.glob('*.json'))


def test_names_that_were_compared():
    lines = ['teacher: t.py, t.pth', 'weights: all found', 'classes: 3 names']
    assert teacher_facts(lines).state == 'ok'
    lines[-1] = "classes: the teacher's names NOT compared: none"
    assert teacher_facts(lines).state == 'note'


def test_patience(distill_cfg, tmp_path, monkeypatch):
    """Less is measured where it takes long, unless it was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rounds, 'PATIENCE', 1e-9)
    said = []
    found = examine(distill_cfg, say=said.append)
    assert said[-1] == f'the teacher on {rounds.LEAST_IMAGES} images'
    assert found_of(found, 'teacher on sample').facts['images'] == 4
    seconds = dict(teacher=1.0)
    cost = Finding('cost', 'ok', '', '', dict(seconds=seconds))
    loader = SimpleNamespace(batch_size=2)
    runner = SimpleNamespace(train_loop=SimpleNamespace(dataloader=loader))
    for patience, count in ((1e-9, 4), (3.1, 6), (100, 20)):
        monkeypatch.setattr(rounds, 'PATIENCE', patience)
        assert rounds.images_in_time([cost], runner) == count
    assert rounds.images_in_time([], runner) == 20


@pytest.mark.parametrize('asked, count', [(None, 1), (2, 2)])
def test_patience_of_batches(distill_cfg, tmp_path, monkeypatch, asked, count):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rounds, 'PATIENCE', 1e-9)
    measured = []
    with listening(rounds, 'measure', lambda *_: measured.append(1)):
        examine(distill_cfg, images=0, batches=asked)
    assert len(measured) == count
