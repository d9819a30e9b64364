"""Test sets, detections, and what is kept of them."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.experiments.explore import predict
from mmdet_rankkd.experiments.explore.precision import average_precision
from mmdet_rankkd.experiments.explore.predict import (
    open_test_set,
    predictions_of,
)
from mmdet_rankkd.experiments.explore.runs import find_runs

from ...helpers import CLASSES, make_runner


@pytest.fixture(scope='module')
def run(work_dirs):
    (run,) = find_runs([str(work_dirs / 'alone/seed0')])
    return run


@pytest.fixture(scope='module')
def config(run):
    return load_config(str(run.config))


def test_the_test_set(config):
    every = open_test_set(config)
    assert every.total == 6 and every.indices == [0, 1, 2, 3, 4, 5]
    assert every.classes == list(CLASSES)
    content = json.loads(Path(config.test_evaluator.ann_file).read_text())
    boxes = sorted(x['bbox'] for x in content['annotations'])
    assert sorted(x['bbox'] for x in every.truth['annotations']) == boxes
    names = {x['id']: x['name'] for x in every.truth['categories']}
    assert names == dict(enumerate(CLASSES))
    part = open_test_set(config, limit=3)
    assert part.indices == [0, 2, 4] and part.total == 6
    assert [x['id'] for x in part.truth['images']] == [0, 2, 4]


def test_what_cannot_be_a_test_set(config):
    with pytest.raises(ValueError, match='no test_dataloader'):
        open_test_set(Config(dict(model=dict())))
    without = copy.deepcopy(config)
    without.test_dataloader.dataset.metainfo = dict(classes=())
    with pytest.raises(ValueError, match='no images, or no names'):
        open_test_set(without)


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('name', ['../secret.png', 'link.png', 'absolute'])
def test_pictures_of_elsewhere_stay_there(config, tmp_path, name, wrapped):
    """A stranger's annotation file cannot put them into a page."""
    config = copy.deepcopy(config)
    dataset = config.test_dataloader.dataset
    folder = tmp_path / 'set'
    shutil.copytree(dataset.data_root, folder)
    secret = shutil.copy(folder / 'img/1.png', tmp_path / 'secret.png')
    (folder / 'img/link.png').symlink_to(secret)
    content = json.loads((folder / 'train.json').read_text())
    names = {'../secret.png': '../../secret.png', 'absolute': str(secret)}
    content['images'][2]['file_name'] = names.get(name, name)
    (folder / 'train.json').write_text(json.dumps(content))
    dataset.data_root = str(folder)
    if wrapped:
        config.test_dataloader.dataset = dict(
            type='ConcatDataset', datasets=[dataset]
        )
    with pytest.raises(ValueError, match='png., which is not inside of .*set'):
        open_test_set(config)
    (tmp_path / 'linked').symlink_to(folder)
    content['images'][2]['file_name'] = '3.png'
    (folder / 'train.json').write_text(json.dumps(content))
    dataset.data_root = str(tmp_path / 'linked')
    assert open_test_set(config).total == 6


def test_they_are_those_of_the_runner(run, config, tmp_path):
    """The same AP as MMDetection's own test."""
    config = copy.deepcopy(config)
    config.load_from, config.work_dir = str(run.checkpoint), str(tmp_path)
    metrics = make_runner(config).test()
    test_set = open_test_set(config)
    found = predictions_of(run, test_set)
    assert len(found) > 6
    ours = average_precision(test_set.truth, found).overall
    for name, key in (('AP', 'mAP'), ('AP50', 'mAP_50'), ('AP75', 'mAP_75')):
        theirs = metrics.get(f'coco/bbox_{key}', 0)
        assert ours[name] == pytest.approx(100 * theirs, abs=0.051)


def test_they_are_kept_until_something_changes(run, config, monkeypatch):
    few, fewer = open_test_set(config, 2), open_test_set(config, 1)
    first = predictions_of(run, few)
    assert {x['image_id'] for x in first} <= {0, 3}
    calls = []
    monkeypatch.setattr(
        predict, 'predict', lambda *x: calls.append(x) or [dict(new=1)]
    )
    assert predictions_of(run, few) == first and not calls
    assert predictions_of(run, fewer) == [dict(new=1)] and len(calls) == 1
    assert predictions_of(run, few) == first
    notes = [
        json.loads(x.read_text())
        for x in (run.folder / 'predictions').glob('*.note.json')
    ]
    assert {1, 2} <= {x['images'] for x in notes}
    assert {x['checkpoint'] for x in notes} == {str(run.checkpoint)}


def test_other_weights_are_tested_anew(run, config, monkeypatch, tmp_path):
    few = open_test_set(config, 2)
    predictions_of(run, few)
    other = tmp_path / 'epoch_1.pth'
    other.write_bytes(run.checkpoint.read_bytes() + b' ')
    monkeypatch.setattr(predict, 'predict', lambda *_: [])
    changed = type(run)('a', 0, run.folder, run.config, other)
    assert predictions_of(changed, few) == []
