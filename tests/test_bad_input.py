"""Faulty configs, checkpoints, data and tensors, and the words for each.

What was wrong, where, and what to do, before the first step; no file is
changed. What a message must say stands beside each case. More of them are
with the tests of each part.
"""

import copy
import json
import math
import pickle
import time

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, DefaultScope

from mmdet_rankkd import losses as functions
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.datasets import CIFAR100
from mmdet_rankkd.datasets.check_coco import coco_problems
from mmdet_rankkd.engine.hooks import DataCheckHook
from mmdet_rankkd.engine.launch import DATA_ERRORS, explain_data
from mmdet_rankkd.experiments.result import read_result
from mmdet_rankkd.experiments.table import read_table

from .helpers import CLASSES, ROOT, build, write_coco_set

DIGITS = ROOT / 'configs/digits_cls'
TEACHER = dict(
    config=str(DIGITS / 'resnet14x2_digits-cls.py'),
    checkpoint=str(DIGITS / 'resnet14x2_digits-cls.pth'),
)
STUDENT = Config.fromfile(DIGITS / 'resnet8_digits-cls.py').model.to_dict()
KD = dict(type='mmdet_rankkd.KLDivLoss')


#: Seconds of the processor in which each must be said.
LONGEST = 15


@pytest.fixture(autouse=True)
def said_soon():
    """No one waits for a data set or a network to learn of a typo."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < LONGEST


def ready(**changes):
    """Build a distillation with changes, up to its first step."""
    MMLogger.get_instance('bad-input', log_level='ERROR')
    config = dict(
        type='mmdet_rankkd.DistillClassifier',
        student=STUDENT,
        teacher=TEACHER,
        logits=dict(type='mmdet_rankkd.ClsLogits'),
        losses=[KD],
    )
    config = copy.deepcopy({**config, **changes})
    model = build(Config(dict(model=config)).model)
    model.init_weights()
    return model


def teacher(**changes):
    return dict(teacher={**TEACHER, **changes})


def kd(**settings):
    return dict(losses=[dict(KD, **settings)])


def loss(name, **settings):
    kind = f'mmdet_rankkd.{name}'
    return dict(losses=[dict(type=kind, **settings)])


def logits(name, **settings):
    return dict(logits=dict(type=name, **settings))


WHOLE = 'with a type, got'
#: Changes of a distillation's config, and what the message has.
CONFIGS = {
    'student: none': (dict(student=None), 'student must be the model config'),
    'student: a name': (dict(student='x'), WHOLE),
    'student: no type': (dict(student=dict(a=1)), 'student=_base_.model'),
    'student: a list': (dict(student=[STUDENT]), 'student must be'),
    'student: unknown': (dict(student=dict(type='NoSuch')), 'NoSuch is not'),
    'student: argument': (
        dict(student={**STUDENT, 'nope': 1}),
        "argument 'nope'",
    ),
    'argument': (dict(backbone=1), "no argument 'backbone'.*_delete_=True"),
    'teacher: none': (dict(teacher=None), 'dict.config=..., checkpoint=...'),
    'teacher: a name': (dict(teacher='x.py'), "checkpoint=....*'x.py'"),
    'teacher: no checkpoint': (
        dict(teacher=dict(config='x')),
        'teacher must be dict',
    ),
    'teacher: no config': (
        dict(teacher=dict(checkpoint='x')),
        'teacher must be dict',
    ),
    'teacher: typo': (teacher(chekpoint=1), "did you mean 'checkpoint'"),
    'teacher: dtype': (teacher(dtype='fp8'), "one of .*bf16.*got 'fp8'"),
    'teacher: config': (
        teacher(config='none.py'),
        "teacher config 'none.py' does not exist .looked in",
    ),
    'teacher: checkpoint': (
        teacher(checkpoint='none.pth'),
        "teacher checkpoint 'none.pth' does not exist .looked in",
    ),
    'teacher: config none': (
        teacher(config=None),
        'teacher config must be the name of a file, got None',
    ),
    'teacher: checkpoint none': (
        teacher(checkpoint=None),
        'teacher checkpoint must be the name of a file, got None',
    ),
    'teacher: checkpoint 3': (teacher(checkpoint=3), 'of a file, got 3'),
    'teacher: a folder': (
        teacher(config=str(DIGITS)),
        'is a folder.*holds .*py',
    ),
    'teacher: package': (
        teacher(config='nopack::x.py'),
        "no package 'nopack'",
    ),
    'teacher: swapped': (
        teacher(config=TEACHER['config'], checkpoint=TEACHER['config']),
        'plain text, not a checkpoint',
    ),
    'teacher: input_size': (teacher(input_size=-3), 'positive number of pix'),
    'teacher: input_size str': (teacher(input_size='32'), "got '32'"),
    'teacher: classes': (teacher(classes='abc'), 'a list of names'),
    'teacher: another width': (
        teacher(config=str(DIGITS / 'resnet8_digits-cls.py')),
        '(another shape|missing).*(num_classes|one model)',
    ),
    'teacher: no model': (teacher(config=dict(a=1)), 'has no "model"'),
    'teacher: model': (teacher(config=dict(model='x')), "a type, got 'x'"),
    'logits: a name': (dict(logits='ClsLogits'), 'logits must be a dict'),
    'logits: unknown': (
        logits('mmdet_rankkd.ClsLogit'),
        "did you mean 'ClsLogits'",
    ),
    'logits: prefix': (logits('ClsLogits'), "type='mmdet_rankkd.ClsLogits'"),
    'logits: argument': (
        logits('mmdet_rankkd.ClsLogits', laer='x'),
        "no argument 'laer'.*did you mean 'layer'",
    ),
    'logits: of boxes': (
        logits('mmdet_rankkd.RoILogits'),
        'ImageClassifier, has no roi_head',
    ),
    'logits: dense': (
        logits('mmdet_rankkd.DenseLogits'),
        'ImageClassifier, has no bbox_head',
    ),
    'logits: queries': (
        logits('mmdet_rankkd.QueryLogits'),
        'needs a DETR.*is a ImageClassifier',
    ),
    'logits: a loss': (logits('mmdet_rankkd.KLDivLoss'), 'LogitRecorder'),
    'logits: layer': (
        logits('mmdet_rankkd.ClsLogits', layer='head.none'),
        "no layer 'head.none'.*head.fc",
    ),
    'losses: none': (dict(losses=None), 'losses must be a list'),
    'losses: a dict': (dict(losses=KD), 'losses must be a list'),
    'losses: empty': (dict(losses=[]), 'nothing to distil'),
    'losses: a name': (dict(losses=['x']), r'losses\[0\] must be a dict'),
    'losses: none in it': (dict(losses=[KD, None]), r'losses\[1\] must be'),
    'losses: no type': (dict(losses=[dict(a=1)]), r'losses\[0\] has no type'),
    'losses: typo': (loss('KendalRankLoss'), "mean 'KendallRankLoss'"),
    'losses: prefix': (
        dict(losses=[dict(type='KLDivLoss')]),
        "type='mmdet_rankkd.KLDivLoss' in place of 'KLDivLoss'",
    ),
    'losses: of MMDetection': (
        dict(losses=[dict(type='mmdet.FocalLoss')]),
        'derived from .*DistillLoss; FocalLoss is not',
    ),
    'losses: twice': (dict(losses=[KD, KD]), "two .*'loss_kd'; set loss_name"),
    'name: no loss': (kd(loss_name='kd'), '\'kd\' must contain "loss"'),
    'name: loss': (kd(loss_name='loss'), "choose another .*'loss_kd'"),
    'weight: negative': (kd(loss_weight=-1), 'at least 0, got -1'),
    'weight: nan': (kd(loss_weight=math.nan), 'finite .*got nan'),
    'weight: inf': (kd(loss_weight=math.inf), 'finite .*got inf'),
    'weight: str': (kd(loss_weight='1'), "losses.0.*a number, got '1'"),
    'weight: bool': (kd(loss_weight=True), 'a number, got True'),
    'weight: none': (kd(loss_weight=None), 'a number, got None'),
    'argument of a loss': (kd(temprature=2), "did you mean 'temperature'"),
    'schedule: typo': (kd(schedule=dict(start=1)), "no argument 'start'.*beg"),
    'schedule: order': (
        kd(schedule=dict(begin=3, end=2)),
        '0 <= begin < end',
    ),
    'schedule: str': (kd(schedule='x'), 'a dict of begin, end, warmup'),
    'schedule: value': (kd(schedule=dict(begin='1')), "number, got '1'"),
    'features: typo': (
        dict(features=dict(layr='neck'), **loss('FitNetLoss', levels=(0,))),
        "did you mean 'layer'",
    ),
    'features: layer': (
        dict(features=dict(layer='neck'), **loss('FitNetLoss', levels=(0,))),
        "no layer 'neck'; it has data_preprocessor, backbone, head",
    ),
    'temperature: 0': (kd(temperature=0), 'positive, got 0'),
    'temperature: nan': (kd(temperature=math.nan), 'positive, got nan'),
    'temperature: inf': (kd(temperature=math.inf), 'finite, got inf'),
    'temperature: str': (kd(temperature='4'), "number, got '4'"),
    'temperature: none': (kd(temperature=None), 'number, got None'),
    'reduction': (kd(reduction='avg'), "'none', 'mean', 'sum'.*got 'avg'"),
    'view': (kd(view='weakly'), "'weak', 'strong', 'both'.*'weakly'"),
    'rows': (kd(rows='some'), "'all', 'foreground'.*'some'"),
    'background': (kd(background='no'), "True, False or None, got 'no'"),
    'k: 0': (loss('KendallRankLoss', k=0), 'k must be positive, got 0'),
    'k: inf': (loss('KendallRankLoss', k=math.inf), 'k must be finite'),
    'k: str': (loss('KendallRankLoss', k='1'), 'k must be a number'),
    'form': (loss('KendallRankLoss', form=4), '1, 2 or 3, got 4'),
    'DKD: alpha': (loss('DKDLoss', alpha=-1), 'alpha and beta .*at least 0'),
    'DKD: beta': (loss('DKDLoss', beta='8'), "beta must be .*got '8'"),
    'NKD: temperature': (loss('NKDLoss', temperature=0), 'temperature pos'),
    'NKD: gamma': (loss('NKDLoss', gamma=math.nan), 'gamma must be'),
    'DIST: reduction': (loss('DISTLoss', reduction='sum'), "be 'mean'"),
    'DIST: rows': (loss('DISTLoss', rows='all'), 'no rows to choose'),
    'CTKD: length': (loss('CTKDLoss', length=0), 'length must be positive'),
    'CTKD: classes': (loss('CTKDLoss', num_classes=0), 'num_classes must be'),
    'MLKD: none': (loss('MLKDLoss', temperatures=()), 'positive numbers'),
    'MLKD: number': (loss('MLKDLoss', temperatures=4), 'be a list, got 4'),
    'FitNet: no level': (loss('FitNetLoss', levels=()), 'levels .. are not'),
    'FitNet: level': (loss('FitNetLoss', levels=(9,)), 'levels .9,. are not'),
    'FitNet: number': (loss('FitNetLoss', levels=2), 'be a list, got 2'),
    'FitNet: name': (loss('FitNetLoss', levels=('a',)), "number, got 'a'"),
    'AT: level': (loss('ATLoss', levels=(9,)), 'levels .9,. are not'),
    'CRD: nothing': (loss('CRDLoss'), 'CRDLoss needs num_data'),
    'CRD: no data': (loss('CRDLoss', num_data=0), 'num_data >= 2'),
    'CRD: momentum': (
        loss('CRDLoss', num_data=9, momentum=2),
        r'in \[0, 1\), got 2',
    ),
    'ReviewKD: mid': (loss('ReviewKDLoss', max_mid=0), 'max_mid >= 1'),
    'FGFI: levels': (loss('FGFILoss'), '4 feature maps; levels'),
    'CWD: temperature': (loss('CWDLoss', temperature=0), 'positive'),
    'MGD: ratio': (loss('MGDLoss', mask_ratio=2), 'below 1, got 2'),
    'PKD: level': (loss('PKDLoss', levels=(9,)), 'levels .9,. are not'),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_configs(name):
    changes, words = CONFIGS[name]
    with pytest.raises((KeyError, OSError, TypeError, ValueError)) as caught:
        ready(**changes)
    caught.match('(?s)' + words)


def write(text):
    return lambda folder: (folder / 'file').write_text(text)


#: Texts of a teacher's config by their suffix.
TEXTS = {
    'syntax.py': ('model = dict(', 'cannot be read: SyntaxError'),
    'empty.py': ('', 'the config has no "model"'),
    'base.py': ("_base_ = './nope.py'", r'names as _base_ .*nope\.py'),
    'raises.py': ('model = 1 / 0', 'cannot be read: ZeroDivisionError'),
    'import.py': ('import nothing_of_this_name', '(no "model"|cannot be)'),
    'cut.json': ('{', 'cannot be read: JSONDecodeError'),
    'list.json': ('[1]', 'cannot be read'),
    'cut.yaml': ('a: [1', 'cannot be read: ParserError'),
    'text.txt': ('hello', 'cannot be read.*py/yml/yaml/json'),
    'type.json': ('{"model": {}}', 'a dict with a type'),
}


@pytest.mark.parametrize('name', TEXTS)
def test_configs_of_a_teacher(name, tmp_path):
    text, words = TEXTS[name]
    (tmp_path / name).write_text(text)
    with pytest.raises((OSError, ValueError)) as caught:
        ready(**teacher(config=str(tmp_path / name)))
    caught.match('(?s)' + words)
    if 'no "model"' not in words:
        assert name in str(caught.value) or 'with a type' in words


WEIGHTS = read_checkpoint(TEACHER['checkpoint'])['state_dict']
FIRST = 'backbone.conv1.weight'


def weights(**changes):
    changes = {k.replace('__', '.'): v for k, v in changes.items()}
    return dict(state_dict={**WEIGHTS, **changes})


def first(value):
    return dict(state_dict={**WEIGHTS, FIRST: value})


#: What is saved as the teacher's checkpoint, or bytes of it.
CHECKPOINTS = {
    'empty': (dict(state_dict={}), '0 of 98 weights.*one model'),
    'one lacks': (
        dict(state_dict={k: v for k, v in WEIGHTS.items() if k != FIRST}),
        '97 of 98 .*1 missing .first: backbone.conv1.weight',
    ),
    'prefix': (
        dict(state_dict={f'net.{k}': v for k, v in WEIGHTS.items()}),
        'it has 98 others .first: net.backbone',
    ),
    'nan': (first(WEIGHTS[FIRST] * math.nan), 'non-finite .*1 weights'),
    'inf': (first(WEIGHTS[FIRST] / 0), 'non-finite .*diverged'),
    'classes': (
        weights(head__fc__weight=torch.ones(3, 128)),
        r'\(3, 128\) in the file, \(80, 128\).*num_classes',
    ),
    'a number': (first(3), 'no tensors .first: backbone.conv1'),
    'complex': (first(WEIGHTS[FIRST].cfloat()), 'complex64 in the file'),
    'integers': (first(WEIGHTS[FIRST].int()), 'int32 in the file.*Quantised'),
    'none': (None, 'holds a NoneType'),
    'a tensor': (torch.ones(3), 'holds a Tensor'),
    'a list': ([1], 'holds a list, not a state dict'),
    'a list inside': (dict(state_dict=[1]), 'list under "state_dict"'),
    'only an optimizer': (dict(optimizer={}), '1 others .first: optimizer'),
    'numbers as names': ({1: torch.ones(1)}, 'without a name .first: 1'),
    'cut': (b'cut', 'is cut off.*[Dd]ownload'),
    'empty file': (b'', 'is empty .0 bytes.*Download'),
    'a page': (b'<html><title>404</title>', "HTML page .*'404'"),
    'JSON': (b'{"message": "Not Found"}', 'JSON text'),
    'noise': (bytes(range(128, 228)), 'does not begin as torch.save'),
    'zeros inside': (b'zeros', 'damaged'),
}


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_checkpoints(name, tmp_path):
    content, words = CHECKPOINTS[name]
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=WEIGHTS), path)
    whole = path.read_bytes()
    if content == b'cut':
        path.write_bytes(whole[:-100])
    elif content == b'zeros':
        path.write_bytes(whole[:3000] + bytes(2000) + whole[5000:])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    before = path.read_bytes()
    with pytest.raises(ValueError) as caught:
        ready(**teacher(checkpoint=str(path)))
    caught.match('(?s)' + words)
    assert 'teacher.pth' in str(caught.value)
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ['teacher.pth']


@pytest.mark.parametrize(
    'meta',
    [
        'text',
        dict(dataset_meta=['a']),
        None,
        dict(dataset_meta=dict(classes=80)),
        dict(dataset_meta=dict(classes='person')),
        dict(CLASSES=[1, 2]),
    ],
)
def test_facts_of_another_form_are_no_harm(meta, tmp_path):
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=WEIGHTS, meta=meta), path)
    ready(**teacher(checkpoint=str(path)))


X = torch.arange(20.0).view(4, 5)
MAPS = torch.arange(96.0).view(2, 3, 4, 4)
LABELS = torch.tensor([0, 1, 2, 3])
LOGITS = ('kl_div_loss', 'kendall_rank_loss', 'dist_loss', 'kendall_tau')
ONE_SHAPE = ('fitnet_loss', 'cwd_loss', 'mgd_loss', 'hcl_loss')
#: Name of a function, its arguments, and what the message has.
TENSORS = [
    *((f, (X, X[:3]), r'\(4, 5\) and the teacher \(3, 5\)') for f in LOGITS),
    *((f, (X, X[:, :2]), 'columns the same classes') for f in LOGITS),
    *((f, (X[0], X[0]), r'one shape \(N, C\)') for f in LOGITS),
    *((f, (X.long(), X), 'floating point, got torch.int64') for f in LOGITS),
    *((f, (None, X), 'compares tensors .*NoneType') for f in LOGITS[:3]),
    *((f, (X, None), 'teacher logits must be a tensor') for f in LOGITS[:3]),
    ('kl_div_loss', ([1], [1]), 'got int of the student'),
    ('kl_div_loss', (X.numpy(), X), 'got ndarray of the student'),
    ('binary_kl_div_loss', (X, X[:1]), 'one shape'),
    ('dkd_loss', (X, X, None), 'needs labels'),
    ('dkd_loss', (X, X, LABELS + 2), r'in \[0, 5\), got 2 to 5'),
    ('dkd_loss', (X, X, LABELS - 1), 'got -1 to 2'),
    ('dkd_loss', (X, X, LABELS[:1]), 'one label per row'),
    ('dkd_loss', (X, X, LABELS.float()), 'whole numbers, got torch.float32'),
    ('dkd_loss', (X[:, :1], X[:, :1], LABELS * 0), 'at least 2 classes'),
    ('nkd_loss', (X, X, None), 'needs labels'),
    ('nkd_loss', (X, X, LABELS + 2), r'in \[0, 5\)'),
    ('nkd_loss', (X[:, :1], X[:, :1], LABELS * 0), 'at least 2 classes'),
    *((f, (MAPS, MAPS[:1]), 'one shape|same images') for f in ONE_SHAPE),
    *((f, (MAPS, MAPS[:, :2]), 'must have one shape') for f in ONE_SHAPE),
    *((f, (MAPS, MAPS[..., :2]), 'must have one shape') for f in ONE_SHAPE),
    ('pkd_loss', (MAPS, MAPS[:1]), 'same images'),
    ('pkd_loss', (MAPS, MAPS[:, :2]), 'same images and channels'),
    ('at_loss', (MAPS, MAPS[:1]), 'at_loss: maps must be of the same images'),
    *(
        (f, (X, X), r'maps of shape \(B, C, H, W\).*\(4, 5\)')
        for f in ('at_loss', 'cwd_loss', 'pkd_loss', 'hcl_loss')
    ),
    ('ofd_loss', (MAPS, MAPS, torch.ones(5)), 'a margin a channel'),
    ('fgd_global_loss', (MAPS, MAPS[:1]), 'one shape'),
]


@pytest.mark.parametrize('number', range(len(TENSORS)))
def test_tensors(number):
    name, arguments, words = TENSORS[number]
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(functions, name)(*arguments)
    caught.match('(?s)' + words)


IMAGES = np.zeros((3, 3072), np.uint8)
NAMES = dict(fine_label_names=[str(i) for i in range(100)])


def cifar(images=IMAGES, labels=(0, 1, 2), names=NAMES):
    return dict(data=images, fine_labels=list(labels)), names


#: Contents of CIFAR-100's ``train`` and ``meta``, or bytes of the former.
CIFAR = {
    'empty': ((b'', NAMES), 'train cannot be read .0 bytes.'),
    'cut': ((pickle.dumps([1, 2])[:-2], NAMES), 'cannot be read'),
    'a list': (([1], NAMES), 'no file of CIFAR-100.*fine_labels'),
    'a key': ((dict(data=1), NAMES), "has .'data'."),
    'shape': (cifar(IMAGES[:, :9]), r'bytes of shape \(N, 3072\)'),
    'floats': (cifar(IMAGES / 2), 'must be bytes.*float64'),
    'labels': (cifar(labels=[0]), '3 images and 1 labels'),
    'label 100': (cifar(labels=[0, 1, 100]), r'in \[0, 100\).*got 100'),
    'label -1': (cifar(labels=[0, 1, -1]), 'got -1'),
    'label text': (cifar(labels=['a', 'b', 'c']), "got 'a'"),
    'names': (cifar(names=dict(fine_label_names=['a'])), 'names 1 classes'),
    'other names': (cifar(names=dict(a=1)), 'fine_label_names'),
}


@pytest.mark.parametrize('name', CIFAR)
def test_cifar(name, tmp_path):
    (train, meta), words = CIFAR[name]
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    if not isinstance(train, bytes):
        train = pickle.dumps(train, 2)
    (folder / 'train').write_bytes(train)
    (folder / 'meta').write_bytes(pickle.dumps(meta, 2))
    with pytest.raises(ValueError) as caught:
        CIFAR100(data_root=str(tmp_path), md5=False)
    caught.match('(?s)' + words)


def each(**values):
    """Set something in each annotation; None takes it away."""

    def change(content):
        for annotation in content['annotations']:
            annotation.update(values)
            for key, value in values.items():
                if value is None:
                    del annotation[key]

    return change


def image(**values):
    """Set something in each image."""

    def change(content):
        for entry in content['images']:
            entry.update(values)

    return change


def fill(key, value):
    """Put something else in place of the entries of a list."""
    return lambda content: content.update({key: [value, value]})


def without(key):
    return lambda content: content.pop(key) and None


def emptied(key):
    return lambda content: content[key].clear()


#: What is changed in an annotation file, and what is said of it.
COCO = {
    'no images': (without('images'), 'no list of images'),
    'no annotations': (without('annotations'), 'no list of annotations'),
    'no categories': (without('categories'), 'no list of categories'),
    'empty images': (emptied('images'), 'it has no image'),
    'empty annotations': (emptied('annotations'), 'it has no annotation'),
    'category': (each(category_id=99), '12 annotations of categories that'),
    'category text': (each(category_id='1'), 'of categories that it does'),
    'image': (each(image_id=99), '12 annotations of images that it does'),
    'negative box': (each(bbox=[9, 9, -4, -4]), '12 .*no size, or a negative'),
    'zero box': (each(bbox=[9, 9, 0, 0]), '12 .*no size'),
    'outside': (each(bbox=[999, 9, 4, 4]), '12 boxes outside of their image'),
    'three numbers': (each(bbox=[1, 2, 3]), 'not four finite numbers'),
    'nan': (each(bbox=[1, 2, 3, math.nan]), 'not four finite numbers'),
    'no box': (each(bbox=None), 'entry 0 of its annotations has no bbox'),
    'no area': (each(area=None), 'has no area'),
    'text in a box': (each(bbox=['1', '2', '3', '4']), 'not four finite num'),
    'text as an area': (each(area='large'), '12 .*whose area is no number'),
    'text as a width': (image(width='96'), '6 images whose width, height or'),
    'number as a name': (image(file_name=3), '6 images whose .*file_name'),
    'images that are numbers': (fill('images', 3), 'entry 0 .*images is no'),
    'annotations that are text': (fill('annotations', 'a'), 'entry 0 of its'),
}


@pytest.fixture
def coco(tmp_path):
    """Function that writes a set with a change; returns its folder."""

    def make(change=None):
        folder = tmp_path / 'set'
        write_coco_set(folder)
        file = folder / 'train.json'
        content = json.loads(file.read_text())
        if change is not None:
            change(content)
        file.write_text(json.dumps(content))
        return folder

    return make


def dataset_of(folder, classes=CLASSES):
    return dict(
        type='CocoDataset',
        data_root=str(folder),
        ann_file='train.json',
        data_prefix=dict(img='img/'),
        metainfo=dict(classes=classes),
        pipeline=[],
    )


class Runner:
    """As much of a runner as the hook looks at."""

    def __init__(self, dataset):
        self.train_dataloader = self
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.dataset = DATASETS.build(dataset)


def train(dataset):
    """What ``tools/train.py`` does up to the first step."""
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    try:
        DataCheckHook().before_train(Runner(dataset))
    except DATA_ERRORS as error:
        explain_data(cfg, error)
        raise


@pytest.mark.parametrize('name', COCO)
@pytest.mark.parametrize('wrapped', [False, True])
def test_detection_sets(name, coco, wrapped):
    change, words = COCO[name]
    folder = coco(change)
    before = {x: x.read_bytes() for x in folder.rglob('*') if x.is_file()}
    dataset = dataset_of(folder)
    if wrapped:
        dataset = dict(type='RepeatDataset', times=2, dataset=dataset)
    with pytest.raises(ValueError) as caught:
        train(dataset)
    caught.match('(?s)train.json: .*' + words)
    after = {x: x.read_bytes() for x in folder.rglob('*') if x.is_file()}
    assert after == before


@pytest.mark.parametrize(
    'classes, words',
    [
        (('Bolt', 'Nut', 'Washer'), "3 of the 3 .*its own are 'bolt', 'nut'"),
        ('bolt', "classes must be a list of names, got 'bolt'"),
        (('screw',), r"'screw'; its own are .*metainfo=dict\(classes"),
    ],
)
def test_classes_of_a_detection_set(classes, words, coco):
    with pytest.raises(ValueError, match=words):
        train(dataset_of(coco(), classes))


@pytest.mark.parametrize(
    'text, words',
    [
        (None, 'cannot be opened: No such file'),
        ('', 'no JSON, or is cut off'),
        ('{"images": [', 'no JSON, or is cut off'),
        ('[1]', 'holds a list, not a dict'),
    ],
)
def test_annotation_files(text, words, coco):
    folder = coco()
    file = folder / 'train.json'
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(ValueError, match=words):
        train(dataset_of(folder))


def test_what_is_said_where_nothing_is_wrong(coco):
    folder = coco()
    train(dataset_of(folder))
    assert coco_problems(folder / 'train.json', CLASSES, folder / 'img') == []
    (folder / 'img/3.png').unlink()
    (found,) = coco_problems(folder / 'train.json', CLASSES, folder / 'img')
    assert found.startswith('1 images that are not in')
    assert "the first: '3.png'" in found


TABLE = "title='t'\ncells='digits_cls'\nrows=dict(a=dict(method='kd'))\n"
COLUMN = "columns=dict(c=dict(pair='resnet14x2_resnet8'))\n"
#: Texts of a table of trainings.
TABLES = {
    'a method': (TABLE.replace('kd', 'kdd') + COLUMN, "'kdd'"),
    'a pair': (TABLE + COLUMN.replace('_resnet8', '_x'), 'resnet14x2_x'),
    'no columns': (TABLE, 'columns'),
    'cells': (TABLE.replace('digits_cls', 'none') + COLUMN, 'none'),
    'an entry': (TABLE + COLUMN + 'sedes=[0]\n', 'sedes'),
    'a metric': (
        TABLE + COLUMN.replace("'))", "', metric=3))"),
        'metric',
    ),
}


@pytest.mark.parametrize('name', TABLES)
def test_tables(name, tmp_path):
    text, words = TABLES[name]
    (tmp_path / 'table.py').write_text(text)
    with pytest.raises((OSError, TypeError, ValueError), match=words):
        read_table(str(tmp_path / 'table.py'))


@pytest.mark.parametrize('text', ['', '{', '[]', '{"name": 1}', '3'])
def test_results(text, tmp_path):
    file = tmp_path / 'result.json'
    file.write_text(text)
    with pytest.raises(ValueError, match='result.json is not a result'):
        read_result(file)


def test_that_there_are_enough():
    tables = (CONFIGS, TEXTS, CHECKPOINTS, TENSORS, CIFAR, COCO, TABLES)
    assert sum(map(len, tables)) >= 200
