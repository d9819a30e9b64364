"""A COCO-style set of three classes, small detectors, and what trains them."""

import json
import os
import pickle
from functools import cache, lru_cache
from pathlib import Path

import cv2
import mmengine.config.config
import mmengine.config.utils
import numpy as np
import torch
from click.testing import CliRunner
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from yapf.yapflib import yapf_api

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
COCO_SAMPLE = Path(
    os.environ.get('TINY_COCO', ROOT.parent / 'shared/data/tiny_coco')
)
CLASSES = ('bolt', 'nut', 'washer')
TINTS = ((60, 60, 230), (60, 220, 60), (230, 60, 60))
torch.set_num_threads(1)
# Programs that tests start have one thread too, since each processor has a
# worker already.
os.environ.setdefault('OMP_NUM_THREADS', '1')


def as_it_is(text, **style):
    """In place of yapf's FormatCode."""
    return text, True


# MMEngine formats the config of every run and reads MMDetection's model index
# for every `mmdet::`: half of the time of a short training.
yapf_api.FormatCode = mmengine.config.config.FormatCode = as_it_is
mmengine.config.utils.load = lru_cache(maxsize=None)(
    mmengine.config.utils.load
)

# It also parses every file of every config twice, once only to see whether it
# is of the new style.
is_new_style = Config._is_lazy_import


@cache
def is_new_style_since(changed, file):
    """Of a file as it was written at some time."""
    return is_new_style(file)


Config._is_lazy_import = staticmethod(
    lambda file: is_new_style_since(os.stat(file).st_mtime_ns, file)
)

# What a user has: a COCO-style set and two detectors of MMDetection.
USER_DATA = """
_base_ = [
    '{root}/configs/_base_/models/{model}.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
data = dict(
    data_root='{data}/', ann_file='train.json', data_prefix=dict(img='img/'),
    metainfo=dict(classes=('bolt', 'nut', 'washer')))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=train_pipeline, filter_cfg=None, **data))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/train.json')
test_evaluator = val_evaluator
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_epochs=1)
param_scheduler = []
randomness = dict(seed=0)
custom_hooks = []
default_hooks = dict(logger=dict(interval=1))
env_cfg = dict(dist_cfg=dict(backend='gloo'))
log_level = 'WARNING'
"""

USER_DISTILL = """
_base_ = './student.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(config='{folder}/teacher.py',
                 checkpoint='{folder}/teacher.pth'),
    logits=dict(type='mmdet_rankkd.RoILogits'),
    losses=[
        dict(type='mmdet_rankkd.KLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ])
"""


def write_coco_set(folder, count=6):
    """Images of 96 x 72 with bright rectangles, and their annotations."""
    rng = np.random.RandomState(0)
    (folder / 'img').mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        width, height = (96, 72) if number % 2 else (64, 96)
        pixels = rng.randint(0, 90, (height, width, 3)).astype(np.uint8)
        for label in rng.randint(0, 3, 2):
            w, h = rng.randint(16, 32, 2)
            x, y = rng.randint(0, width - w), rng.randint(0, height - h)
            pixels[y : y + h, x : x + w] = TINTS[label]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    iscrowd=0,
                    category_id=int(label) + 1,
                    area=int(w * h),
                    bbox=[int(v) for v in (x, y, w, h)],
                )
            )
        cv2.imwrite(str(folder / f'img/{number}.png'), pixels)
        images.append(
            dict(
                id=number,
                file_name=f'{number}.png',
                width=width,
                height=height,
            )
        )
    (folder / 'train.json').write_text(
        json.dumps(
            dict(
                images=images,
                annotations=annotations,
                categories=[
                    dict(id=i + 1, name=n) for i, n in enumerate(CLASSES)
                ],
            )
        )
    )


def save_teacher(config, path, **meta):
    """Random weights in the form of a checkpoint of MMDetection."""
    torch.manual_seed(1)
    model = build(load_config(str(config)).model)
    meta = meta or dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)


def build(model):
    """Build a model config under MMDetection's scope."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


def make_runner(cfg, **settings):
    """A runner with an experiment name of its own."""
    cfg = cfg.copy()
    cfg.merge_from_dict(settings)
    make_runner.count = getattr(make_runner, 'count', 0) + 1
    cfg.experiment_name = f'test-{os.getpid()}-{make_runner.count}'
    return Runner.from_cfg(cfg)


def raw_batch(count=2, seed=0, sizes=((72, 96), (96, 64))):
    """A collated batch of raw images with two objects each."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        inputs.append(
            torch.randint(
                0,
                256,
                (3, height, width),
                generator=generator,
                dtype=torch.uint8,
            )
        )
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 6, 40, 50], [30, 20, 60, 60]]),
            labels=torch.tensor([0, 2]),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def write_cifar(folder, train=12, test=8):
    """Files in the form of CIFAR-100's official Python version."""
    rng = np.random.RandomState(0)
    root = Path(folder) / 'cifar-100-python'
    root.mkdir(parents=True)
    names = [f'class {i:02d}' for i in range(100)]
    (root / 'meta').write_bytes(
        pickle.dumps(dict(fine_label_names=names), protocol=2)
    )
    for split, count in (('train', train), ('test', test)):
        content = dict(
            data=rng.randint(0, 256, (count, 3072)).astype(np.uint8),
            fine_labels=[int(x) for x in rng.randint(0, 100, count)],
            filenames=[f'{split}{i}.png' for i in range(count)],
        )
        (root / split).write_bytes(pickle.dumps(content, protocol=2))


def small_cls(cfg, data_root=None, batch_size=4):
    """Settings that make a classification config train two steps."""
    settings = dict(
        train_cfg=dict(max_epochs=1),
        default_hooks=dict(logger=dict(interval=1)),
        env_cfg=dict(dist_cfg=dict(backend='gloo'), cudnn_benchmark=False),
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    for name in ('train', 'val', 'test'):
        dataset = dict()
        if data_root is not None:
            dataset = dict(data_root=str(data_root), md5=dict())
        if name == 'train':
            dataset['indices'] = 2 * batch_size
        settings[f'{name}_dataloader'] = dict(
            batch_size=batch_size,
            num_workers=0,
            persistent_workers=False,
            dataset=dataset,
        )
    cfg.merge_from_dict(settings)
    return cfg


def allocations(function):
    """Bytes that torch's CPU allocator gives, and takes back (negative), in a
    call: the profiler's record, in order.
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        function()
    events = [
        e
        for e in profile.profiler.kineto_results.events()
        if e.name() == '[memory]'
    ]
    return [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]


def rankkd(*args, status=0):
    """What the command prints, of its arguments."""
    done = CliRunner().invoke(main, [str(x) for x in args])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.output
