"""One small student, teacher and batch for every kind of recorder.

Everything is given by configs, so that it can be built by any version of the
package; `trajectory.py` compares two of them.
"""

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Dict

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

ROOT = Path(__file__).resolve().parents[1]
DENSE = ('retinanet', 'fcos', 'atss', 'gfl', 'rtmdet')
QUERIES = {
    'detr': 'detr/detr_r50_8xb2-150e_coco',
    'dino': 'dino/dino-4scale_r50_8xb2-12e_coco',
}
SMALL_QUERIES = {
    'model.backbone.depth': 18,
    'model.backbone.init_cfg': None,
    'model.encoder.num_layers': 1,
    'model.decoder.num_layers': 2,
    'model.num_queries': 12,
    'model.bbox_head.num_classes': 3,
    'model.test_cfg.max_per_img': 10,
}
#: Settings of every registered loss; beside the type.
LOSSES: Dict[str, Dict[str, Any]] = {
    'ATLoss': dict(levels=(0, 1)),
    'BinaryKLDivLoss': {},
    'CRDLoss': dict(num_data=20, width=8),
    'CTKDLoss': {},
    'CWDLoss': {},
    'CrossKDLoss': {},
    'DISTLoss': {},
    'DKDLoss': {},
    'FGDLoss': dict(levels=(0, 1, 2, 3)),
    'FGFILoss': dict(levels=(0, 1, 2, 3)),
    'FitNetLoss': dict(levels=(0, 1), loss_weight=1.0),
    'KLDivLoss': {},
    'KendallRankLoss': {},
    'LDLoss': {},
    'MGDLoss': dict(levels=(0, 1, 2, 3)),
    'MLKDLoss': {},
    'MaskKDLoss': {},
    'NKDLoss': {},
    'OFDLoss': {},
    'PKDLoss': dict(levels=(0, 1, 2, 3)),
    'ReviewKDLoss': dict(max_mid=16),
}
FOR_CLASSIFIERS = ('CRDLoss', 'DISTLoss', 'MLKDLoss', 'OFDLoss')
NEEDS_BOXES = ('FGDLoss',)
NEEDS_ANCHORS = ('FGFILoss',)
#: Losses of the distributions that some heads have of boxes.
NEEDS_BINS = ('LDLoss',)
#: Losses of the masks of instances.
NEEDS_MASKS = ('MaskKDLoss',)
#: Losses that go through the towers of a dense head.
NEEDS_TOWERS = ('CrossKDLoss',)
#: Losses that need each row's class to be a column; a sigmoid head has none
#: for the background.
NEEDS_TARGETS = ('DKDLoss', 'NKDLoss')


@dataclass
class Setup:
    """Configs of a student and a teacher, and how they are compared."""

    student: dict
    teacher: dict
    logits: dict
    distiller: str = 'mmdet_rankkd.DistillDetector'
    anchors: bool = False
    targets: bool = False
    bins: bool = False
    masks: bool = False
    levels: int = 4

    @property
    def classifies(self) -> bool:
        """Whether it is of images and not of boxes."""
        return self.distiller.endswith('Classifier')

    @property
    def is_dense(self) -> bool:
        """Whether it is a single-stage detector with a dense head."""
        return self.logits['type'].endswith('DenseLogits')

    def losses(self):
        """Names of the losses that are for it."""
        for name in LOSSES:
            if not self.classifies and name in FOR_CLASSIFIERS:
                continue
            if self.classifies and name in NEEDS_BOXES:
                continue
            if name in NEEDS_ANCHORS and not self.anchors:
                continue
            if name in NEEDS_BINS and not self.bins:
                continue
            if name in NEEDS_MASKS and not self.masks:
                continue
            if name in NEEDS_TOWERS and not self.is_dense:
                continue
            if name in NEEDS_TARGETS and not self.targets:
                continue
            yield name

    def loss(self, name, **settings):
        """Config of a loss with settings that fit."""
        config = dict(type=f'mmdet_rankkd.{name}', **LOSSES[name])
        if name == 'ReviewKDLoss' and not self.classifies:
            config.update(first=0, pooled=False)
        if 'levels' in config:
            config['levels'] = config['levels'][: self.levels]
        return {**config, **settings}


def model_config(name, **settings):
    """Model of a config of this project."""
    config = Config(dict(model=read_model(ROOT / 'configs' / f'{name}.py')))
    config.merge_from_dict({f'model.{k}': v for k, v in settings.items()})
    return config.model.to_dict()


@cache
def read_model(path):
    """Model of a config file; not to be changed."""
    return Config.fromfile(path).model.to_dict()


def two_stage(cascade=False):
    """Faster R-CNN, or a Cascade R-CNN of two stages."""
    models = []
    for name in ('mobilenet-v2-half', 'r50-quarter'):
        model = model_config(
            f'_base_/models/faster-rcnn_{name}_fpn',
            **{'roi_head.bbox_head.num_classes': 3},
        )
        models.append(as_cascade(model) if cascade else model)
    logits = dict(type='mmdet_rankkd.RoILogits')
    return Setup(*models, logits, anchors=True, targets=True)


def as_cascade(model, stages=2):
    """A Faster R-CNN as a Cascade R-CNN."""
    model = copy.deepcopy(model)
    head = model['roi_head']
    model['type'] = 'CascadeRCNN'
    box_head = dict(head['bbox_head'], reg_class_agnostic=True)
    model['roi_head'] = dict(
        type='CascadeRoIHead',
        num_stages=stages,
        stage_loss_weights=[1, 0.5, 0.25][:stages],
        bbox_roi_extractor=head['bbox_roi_extractor'],
        bbox_head=[box_head] * stages,
    )
    train_cfg = model['train_cfg']
    train_cfg['rcnn'] = [copy.deepcopy(train_cfg['rcnn'])] * stages
    return model


def with_masks(cascade=False):
    """Mask R-CNN, or a Cascade Mask R-CNN of two stages."""
    setup = two_stage(cascade)
    for model in (setup.student, setup.teacher):
        head = model['roi_head']
        model['type'] = 'CascadeRCNN' if cascade else 'MaskRCNN'
        model['data_preprocessor']['pad_mask'] = True
        extractor = copy.deepcopy(head['bbox_roi_extractor'])
        extractor['roi_layer']['output_size'] = 7
        head['mask_roi_extractor'] = extractor
        head['mask_head'] = dict(
            type='FCNMaskHead',
            num_convs=1,
            in_channels=extractor['out_channels'],
            conv_out_channels=16,
            num_classes=3,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True),
        )
        train_cfg = model['train_cfg']['rcnn']
        for stage in train_cfg if cascade else [train_cfg]:
            stage['mask_size'] = 14
        model['test_cfg']['rcnn']['mask_thr_binary'] = 0.5
    return replace(setup, masks=True)


def dense(head):
    """One of the dense detectors, 80 classes."""
    models = [
        model_config(f'_base_/models/{head}_{name}_fpn')
        for name in ('mobilenet-v2-half', 'r50-quarter')
    ]
    logits = dict(type='mmdet_rankkd.DenseLogits')
    anchors = head not in ('fcos', 'rtmdet')
    return Setup(*models, logits, anchors=anchors, bins=head == 'gfl')


def seed_weights(model, seed):
    """Fill all parameters with numbers that depend on nothing else.

    Those of the last layers for boxes are small, as some heads give the
    logarithms of sides.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            small = '_reg.' in name and 'gfl' not in name
            scale = 0.1 if small else 1.0
            parameter.data = scale * noise * (2 / parameter[0].numel()) ** 0.5
        else:
            mean = 0 if name.endswith('bias') else 1
            parameter.data = mean + 0.1 * noise


def queries(kind):
    """A detector with queries."""
    config = Config.fromstring(f"_base_ = 'mmdet::{QUERIES[kind]}.py'", '.py')
    channels = [x // 4 for x in config.model.neck.in_channels]
    config.merge_from_dict(
        {**SMALL_QUERIES, 'model.neck.in_channels': channels}
    )
    model = config.model.to_dict()
    logits = dict(type='mmdet_rankkd.QueryLogits', queries=5)
    return Setup(model, copy.deepcopy(model), logits, levels=len(channels))


def classifier():
    """ResNets of CIFAR-100."""
    student = model_config('cifar100/resnet8x4_cifar100')
    teacher = model_config('cifar100/resnet20_cifar100')
    return Setup(
        student,
        teacher,
        dict(type='mmdet_rankkd.ClsLogits'),
        'mmdet_rankkd.DistillClassifier',
        targets=True,
    )


SETUPS = {
    'faster-rcnn': two_stage,
    'cascade-rcnn': lambda: two_stage(cascade=True),
    'mask-rcnn': with_masks,
    **{head: lambda head=head: dense(head) for head in DENSE},
    **{kind: lambda kind=kind: queries(kind) for kind in QUERIES},
    'classifier': classifier,
}


def build_model(config):
    """Build a model config under MMDetection's scope."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(copy.deepcopy(config)))


def save_teacher(setup, path):
    """Random weights of the teacher, with some spread in its logits."""
    torch.manual_seed(1)
    model = build_model(setup.teacher)
    model.init_weights()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if 'cls' in name or name.startswith('head.'):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.05 * noise
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


def distiller_config(setup, checkpoint, losses, **settings):
    """Model config of a distillation."""
    return dict(
        type=setup.distiller,
        student=copy.deepcopy(setup.student),
        teacher=dict(
            config=dict(model=setup.teacher), checkpoint=str(checkpoint)
        ),
        logits=dict(setup.logits),
        losses=losses,
        **settings,
    )


def cls_batch(count=8, seed=0):
    """Raw images of 32 x 32 in two views, labels, numbers of others."""
    from mmdet_rankkd.models import ClsDataSample

    generator = torch.Generator().manual_seed(seed)
    size = (2, count, 3, 32, 32)
    weak, strong = torch.randint(0, 256, size, generator=generator)
    samples = []
    for index in range(count):
        label = int(torch.randint(0, 100, (1,), generator=generator))
        sample = ClsDataSample().set_gt_label(label)
        others = torch.randint(0, 20, (6,), generator=generator)
        others[0] = index
        sample.set_field(others.int(), 'contrast_index')
        samples.append(sample)
    return dict(
        inputs=list(weak.byte()),
        strong_inputs=list(strong.byte()),
        data_samples=samples,
    )


def batch_of(setup, seed=0):
    """A raw batch for the model of a set-up."""
    from .helpers import raw_batch

    if setup.classifies:
        return cls_batch(seed=seed)
    data = raw_batch(seed=seed)
    if setup.masks:
        add_masks(data)
    return data


def add_masks(data):
    """Give each object of a raw batch the left half of its box as mask."""
    from mmdet.structures.mask import BitmapMasks

    for sample in data['data_samples']:
        height, width = sample.img_shape
        boxes = sample.gt_instances.bboxes.long().tolist()
        masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes):
            mask[y1:y2, x1 : (x1 + x2) // 2] = 1
        sample.gt_instances.masks = BitmapMasks(masks.numpy(), height, width)
