"""Lists of a copy of Tiny-ImageNet, here of four classes made up."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from pycocotools.coco import COCO

from mmdet_rankkd.engine.launch import parse_options
from mmdet_rankkd.engine.tiny_imagenet import annotate_tiny_imagenet
from mmdet_rankkd.registry import DATASETS

from ..helpers import ROOT, rankkd

NAMES = {'n01': 'fish, goldfish', 'n02': 'crab', 'n03': 'cat', 'n04': 'dog'}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'tiny-imagenet-200'
    val = root / 'val/images'
    val.mkdir(parents=True)
    # Not in the order of their names.
    (root / 'wnids.txt').write_text('n03\nn01\nn04\nn02\n')
    (root / 'words.txt').write_text(
        ''.join(f'{wnid}\t{name}\n' for wnid, name in NAMES.items())
        + 'n05\tunused\n'
    )
    lines = []
    for number, wnid in enumerate(NAMES):
        folder = root / 'train' / wnid / 'images'
        folder.mkdir(parents=True)
        boxes = ''
        for i in range(3):
            file = f'{wnid}_{i}.JPEG'
            boxes += f'{file}\t{i}\t{2 * i}\t{40 + i}\t63\n'
            image = np.full((64, 64, 3), 50 * number, np.uint8)
            cv2.imwrite(str(folder / file), image)
        (folder.parent / f'{wnid}_boxes.txt').write_text(boxes)
        file = f'val_{number}.JPEG'
        cv2.imwrite(str(val / file), image)
        lines.append(f'{file}\t{wnid}\t5\t6\t5\t7\n')
    (root / 'val/val_annotations.txt').write_text(''.join(lines))
    return root


def test_boxes_and_classes(root):
    counts = annotate_tiny_imagenet(root, classes=2, per_class=2)
    assert counts == {
        'boxes_2_train.json': 4,
        'boxes_2_val.json': 2,
        'other_2_train.txt': 6,
        'other_2_val.txt': 2,
    }
    coco = COCO(str(root / 'annotations/boxes_2_train.json'))
    # Spread over the sorted ids; the first of the words.
    assert [c['name'] for c in coco.cats.values()] == ['fish', 'cat']
    files = [x['file_name'] for x in coco.imgs.values()]
    assert files == [
        'train/n01/images/n01_0.JPEG',
        'train/n01/images/n01_1.JPEG',
        'train/n03/images/n03_0.JPEG',
        'train/n03/images/n03_1.JPEG',
    ]
    # The last pixel belongs to the box.
    assert coco.anns[2]['bbox'] == [1, 2, 41, 62]
    assert coco.anns[2]['area'] == 41 * 62
    val = json.loads((root / 'annotations/boxes_2_val.json').read_text())
    assert [x['category_id'] for x in val['annotations']] == [1, 2]
    assert val['annotations'][0]['bbox'] == [5, 6, 1, 2]
    lines = (root / 'annotations/other_2_val.txt').read_text().splitlines()
    assert lines == ['val/images/val_1.JPEG 0', 'val/images/val_3.JPEG 1']


def test_datasets_read_the_lists(root):
    register_all_modules()
    annotate_tiny_imagenet(root, classes=2)
    boxes = DATASETS.build(
        dict(
            type='mmdet.CocoDataset',
            data_root=str(root),
            ann_file='annotations/boxes_2_train.json',
            data_prefix=dict(img=''),
            metainfo=dict(classes=('fish', 'cat')),
            pipeline=[dict(type='LoadImageFromFile')],
        )
    )
    assert len(boxes) == 6
    assert {int(x['img'].mean()) for x in boxes} == {0, 100}
    others = DATASETS.build(
        dict(
            type='mmdet_rankkd.ImageNet',
            data_root=str(root),
            data_prefix=dict(img=''),
            ann_file='annotations/other_2_train.txt',
            pipeline=[dict(type='LoadImageFromFile')],
        )
    )
    seen = {(int(x['img'].mean()), x['gt_label']) for x in others}
    assert seen == {(50, 0), (150, 1)}


def test_all_classes_with_boxes(root):
    counts = annotate_tiny_imagenet(root, classes=4)
    assert counts == {'boxes_4_train.json': 12, 'boxes_4_val.json': 4}


def test_again_and_otherwise(root):
    annotate_tiny_imagenet(root, classes=2)
    file = root / 'annotations/boxes_2_train.json'
    before = file.read_text()
    annotate_tiny_imagenet(root, classes=2)
    with pytest.raises(FileExistsError, match='boxes_2_train.json is there'):
        annotate_tiny_imagenet(root, classes=2, per_class=1)
    assert file.read_text() == before


@pytest.mark.parametrize('words', ['--classes 5', '--classes 0'])
def test_too_many_classes(root, words):
    said = rankkd('tiny-imagenet', root, *words.split(), status=1)
    assert 'classes is a number from 1 to 4' in said
    assert not (root / 'annotations').exists()


@pytest.mark.parametrize(
    'file, text',
    [
        ('wnids.txt', None),
        ('words.txt', 'n01\tfish\n'),
        ('words.txt', 'n01 fish\n'),
        ('val/val_annotations.txt', 'val_0.JPEG\tn01\t5\t6\t5\n'),
        ('train/n02/n02_boxes.txt', 'n02_0.JPEG\tx\t6\t5\t7\n'),
    ],
)
def test_another_folder(root, file, text):
    if text is None:
        (root / file).unlink()
    else:
        (root / file).write_text(text)
    with pytest.raises(ValueError, match='is not the folder tiny-imagenet'):
        annotate_tiny_imagenet(root, classes=2)
    assert not (root / 'annotations').exists()


def test_images_that_are_not_there(root):
    """Said before a list names them, not in the middle of a training."""
    (root / 'val/images/val_3.JPEG').unlink()
    (root / 'train/n04/images/n04_2.JPEG').unlink()
    with pytest.raises(ValueError, match='lacks 2 of 16 images, such as tra'):
        annotate_tiny_imagenet(root, classes=2)
    assert not (root / 'annotations').exists()


def test_per_class(root):
    with pytest.raises(ValueError, match='per_class is at least 1, got 0'):
        annotate_tiny_imagenet(root, classes=2, per_class=0)


def test_the_command(root):
    said = rankkd('tiny-imagenet', root, '--classes', 2, '--per-class', 2)
    assert f'{root}/annotations/other_2_train.txt: 6 images' in said


def options(root, *lists):
    """Options that put the made-up set in place of the real one."""
    found = []
    for loader, file in zip(('train', 'val'), lists):
        place = f'{loader}_dataloader.dataset'
        found += [f'{place}.data_root={root}/', f'{place}.ann_file={file}']
    return [*found, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']


def test_from_photographs_of_other_classes_to_a_detector(
    root, tmp_path, monkeypatch
):
    """The commands of configs/tiny_imagenet_det, one epoch each."""
    monkeypatch.chdir(tmp_path)
    annotate_tiny_imagenet(root, classes=2)
    work = tmp_path / 'work_dirs'
    room = 'mmdet_rankkd::tiny_imagenet_det/'
    name = 'mobilenet-v2-half_cls_tiny-imagenet'
    backbone = 'checkpoints/tiny_imagenet_det/mobilenet-v2-half.pth'
    lists = ('annotations/other_2_train.txt', 'annotations/other_2_val.txt')
    rankkd(
        'train', f'{room}{name}.py', '--cfg-options', *options(root, *lists)
    )
    rankkd('export', work / name / 'epoch_1.pth', backbone)
    name = 'faster-rcnn_mobilenet-v2-half_fpn_tiny-imagenet'
    lists = ('annotations/boxes_2_train.json', 'annotations/boxes_2_val.json')
    cfg = Config.fromfile(ROOT / f'configs/tiny_imagenet_det/{name}.py')
    cfg.merge_from_dict(parse_options(options(root, *lists)))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = ('fish', 'cat')
    cfg.val_evaluator.ann_file = f'{root}/annotations/boxes_2_val.json'
    cfg.model.roi_head.bbox_head.num_classes = 2
    cfg.work_dir = str(work / name)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    known = torch.load(backbone)['state_dict']
    for key, value in runner.model.backbone.state_dict().items():
        assert torch.equal(value, known[f'backbone.{key}']), key
    runner.train()
    assert (work / name / 'epoch_1.pth').is_file()
