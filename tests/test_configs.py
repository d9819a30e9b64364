"""Every config is read, dumped, read again, and built."""

from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.distillers import DistillDetector
from mmdet_rankkd.experiments.summary import figure_grid, to_markdown
from mmdet_rankkd.experiments.table import read_table
from mmdet_rankkd.structures import DistillBatch

from .helpers import ROOT, build, raw_batch

CONFIGS = sorted(
    p
    for p in (ROOT / 'configs').glob('*/*.py')
    if p.parent.name not in ('_base_', 'sweeps')
)
CLASSIFICATION = ('cifar100', 'digits_cls', 'imagenet')
COCO = [p for p in CONFIGS if p.parent.name == 'coco']
METHODS = {
    'kd': ['mmdet_rankkd.KLDivLoss'],
    'kd-pseudo': ['mmdet_rankkd.KLDivLoss'],
    'kd-unlabelled': ['mmdet_rankkd.KLDivLoss'],
    'rank': ['mmdet_rankkd.KendallRankLoss'],
    'fitnet': ['mmdet_rankkd.FitNetLoss'],
    'fgfi': ['mmdet_rankkd.FGFILoss'],
    'dkd': ['mmdet_rankkd.DKDLoss'],
    'ctkd': ['mmdet_rankkd.CTKDLoss'],
    'reviewkd': ['mmdet_rankkd.ReviewKDLoss'],
    'pkd': ['mmdet_rankkd.PKDLoss'],
    'pkd-kd': ['mmdet_rankkd.PKDLoss', 'mmdet_rankkd.KLDivLoss'],
    'cwd': ['mmdet_rankkd.CWDLoss'],
    'cwd-kd': ['mmdet_rankkd.CWDLoss', 'mmdet_rankkd.KLDivLoss'],
    'mgd': ['mmdet_rankkd.MGDLoss'],
    'fgd': ['mmdet_rankkd.FGDLoss'],
    'ld': ['mmdet_rankkd.LDLoss'],
    'bckd': ['mmdet_rankkd.KLDivLoss'],
    'crosskd': ['mmdet_rankkd.CrossKDLoss'],
    'crosskd-pkd': ['mmdet_rankkd.CrossKDLoss', 'mmdet_rankkd.PKDLoss'],
    'maskkd': ['mmdet_rankkd.KLDivLoss', 'mmdet_rankkd.MaskKDLoss'],
    'rankkd': ['mmdet_rankkd.KLDivLoss', 'mmdet_rankkd.KendallRankLoss'],
}
DENSE = [p for p in CONFIGS if p.parent.name == 'coco_dense']
OTHERS = [
    p
    for p in CONFIGS
    if p.parent.name in ('coco_detection_kd', 'coco_resolution')
]
DETECTORS = {
    'retinanet': 'RetinaNet',
    'gfl': 'GFL',
    'atss': 'ATSS',
    'fcos': 'FCOS',
    'rtmdet': 'RTMDet',
    'faster-rcnn': 'FasterRCNN',
    'mask-rcnn': 'MaskRCNN',
}


def name_of(path):
    return path.stem


@pytest.mark.usefixtures('no_random_weights')
@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_round_trip_and_build(path, tmp_path):
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.to_dict() == cfg.to_dict()
    model = build(cfg.model)
    method = path.stem.split('_')[0]
    if method in METHODS:
        assert isinstance(model, DistillDetector)
        types = [x['type'] for x in cfg.model.losses]
        if path.parent.name == 'new_style':
            types = [f'mmdet_rankkd.{x.__name__}' for x in types]
        if path in DENSE + OTHERS:
            types = [x.replace('.BinaryKL', '.KL') for x in types]
            name = DETECTORS[path.stem.split('_')[1]]
            assert type(model.student).__name__ == name
        else:
            assert type(model.student.backbone).__name__ == 'MobileNetV2'
        assert types == METHODS[method]
        assert model.teacher.model is None
    elif path.parent.name in CLASSIFICATION or '_cls_' in path.stem:
        assert type(model).__name__ == 'ImageClassifier'
    else:
        stem = path.stem.replace('faster_rcnn', 'faster-rcnn')
        names = [DETECTORS.get(x) for x in stem.split('_')]
        assert type(model).__name__ in names
    assert 'base_batch_size' in cfg.auto_scale_lr


@pytest.mark.parametrize(
    'path',
    [p for p in CONFIGS if p.stem.split('_')[0] in METHODS],
    ids=name_of,
)
def test_fifteen_lines_beyond_base(path):
    lines = path.read_text().splitlines()
    first = ('model', 'labelled')
    end = next(i for i, x in enumerate(lines) if x.startswith(first))
    assert len([x for x in lines[end:] if x.strip()]) <= 15


def test_basenames_are_unique():
    # mim looks configs up by basename.
    names = [p.name for p in (ROOT / 'configs').rglob('*.py')]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize('path', COCO, ids=name_of)
def test_coco_recipe(path):
    cfg = Config.fromfile(path)
    assert cfg.val_evaluator.classwise
    if path.stem.startswith('teacher'):
        return
    student = cfg.model.get('student', cfg.model)
    assert student.backbone.out_indices == (1, 2, 4, 6)
    assert student.backbone.norm_eval
    assert not student.backbone.norm_cfg.requires_grad
    assert student.neck.in_channels == [24, 32, 96, 320]
    if '180k' in path.stem:
        assert cfg.train_cfg.max_iters == 180000
        assert cfg.optim_wrapper.optimizer.lr == 0.01
        assert cfg.auto_scale_lr.base_batch_size == 8
        assert cfg.param_scheduler[1].milestones == [120000, 160000]
    else:
        assert cfg.train_cfg.max_epochs == 12


@pytest.mark.parametrize(
    'path', [p for p in DENSE if p.stem.startswith('kd_')], ids=name_of
)
def test_dense_pairs_match(path):
    """Locations, anchors and classes; a step with random weights."""
    cfg = Config.fromfile(path)
    teacher = build_model(load_config(cfg.model.teacher.config))
    cfg.model.student.backbone.init_cfg = None
    # SyncBN has no form for the CPU.
    model = revert_sync_batchnorm(build(cfg.model)).train()
    model.logits.check(model.student, teacher)
    teacher = revert_sync_batchnorm(teacher)
    teacher.eval().requires_grad_(False)
    data = model.student.data_preprocessor(raw_batch(), True)
    with model.logits.record(model.student) as record:
        losses = model.student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    pair = model.logits.replay(teacher, features, record)
    assert pair.student.shape[1] == 80
    losses = model.add_losses(losses, DistillBatch(pair, model.student))
    total, _ = model.parse_losses(losses)
    assert total.isfinite() and losses['loss_binary_kd'] > 0
    total.backward()


def test_student_channels_and_frozen_norm():
    cfg = Config.fromfile(
        ROOT / 'configs/coco/faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
    )
    cfg.model.backbone.init_cfg = None
    backbone = build(cfg.model).backbone
    backbone.train()
    outs = backbone(torch.zeros(1, 3, 64, 64))
    assert [(x.shape[1], 64 // x.shape[2]) for x in outs] == [
        (24, 4),
        (32, 8),
        (96, 16),
        (320, 32),
    ]
    norms = [
        m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    assert not any(m.training for m in norms)
    assert not any(p.requires_grad for m in norms for p in m.parameters())


def test_teacher_of_the_coco_configs():
    cfg = Config.fromfile(
        ROOT / 'configs/coco/'
        'kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
    )
    teacher = build_model(load_config(cfg.model.teacher.config))
    assert teacher.backbone.depth == 50
    mean = teacher.data_preprocessor.mean.flatten().tolist()
    assert mean == pytest.approx([103.53, 116.28, 123.675])
    assert cfg.model.teacher.checkpoint.startswith('https://')


def test_model_index_and_metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    names = set()
    for metafile in index['Import']:
        content = yaml.safe_load((ROOT / metafile).read_text())
        collections = {c['Name'] for c in content['Collections']}
        for model in content['Models']:
            config = ROOT / model['Config']
            assert config.is_file()
            assert model['Name'] == config.stem
            assert model['In Collection'] in collections
            names.add(config)
    assert names == set(CONFIGS)


def test_readmes_name_every_config():
    for path in CONFIGS:
        readme = (path.parent / 'README.md').read_text()
        assert path.stem in readme, path.stem
    assert Path(ROOT / 'mmdet_rankkd/.mim/configs').resolve() == (
        ROOT / 'configs'
    )


def test_readmes_have_the_tables_of_the_sweeps():
    """The numbers are typed in the sweeps alone; READMEs show them."""
    text = ''.join(
        (ROOT / f'configs/{name}/README.md').read_text()
        for name in ('cifar100', 'coco', 'imagenet')
    )
    for path in sorted((ROOT / 'configs/sweeps').glob('table*.py')):
        table = read_table(path.stem)
        assert f'### {table.title}' in text
        assert to_markdown(figure_grid(table, {})) in text


def test_sweeps_have_the_papers_numbers():
    """A few, typed again."""
    for name, row, column, number in (
        ('table1', 'KD + ranking', 2, 70.45),
        ('table2', 'MLKD + ranking', 0, 77.25),
        ('table3', 'KD + ranking', 0, 71.54),
        ('table4', 'KD + ranking', 0, 73.25),
        ('table5', 'KD + ranking', 2, 33.37),
        ('table6', 'gamma=4', 2, 77.05),
        ('table7', 'k=6', 0, 75.74),
        ('table8', 'KD + ranking', 0, 73.56),
        ('table9', 'Only Ranking Loss', 1, 78.04),
        ('table10', 'KD + ranking w/o Norm', 0, 76.38),
        ('table11', 'KD + form 3', 1, 73.05),
        ('table12', 'DIST + ranking', 0, 75.85),
        ('table13', 'NKD + ranking', 1, 90.49),
    ):
        assert read_table(name).paper[row][column] == number
