import copy
import runpy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook

from mmdet_rankkd.checkpoint.export import (
    export_student,
    package_types,
    student_config,
    student_weights,
)
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.distillers import DistillDetector
from mmdet_rankkd.engine import TauHook
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.losses import KendallRankLoss
from mmdet_rankkd.recorders import RoILogits

from ..helpers import CLASSES, ROOT, build, make_runner


@pytest.fixture
def training_checkpoint(distill_cfg, tmp_path):
    """What a runner saves, and the plain student's weights."""
    torch.manual_seed(3)
    model = build(distill_cfg.model)
    path = tmp_path / 'epoch_1.pth'
    state_dict = model.state_dict()
    state_dict['distiller.loss_x.scale'] = torch.ones(1)
    torch.save(
        dict(
            state_dict=state_dict,
            optimizer=dict(big=torch.ones(10000)),
            meta=dict(
                cfg=distill_cfg.pretty_text,
                dataset_meta=dict(classes=('bolt', 'nut', 'washer')),
            ),
        ),
        path,
    )
    return path, model.student


def test_export(training_checkpoint, tmp_path):
    path, student = training_checkpoint
    facts = export_student(path, tmp_path / 'student.pth')
    saved = torch.load(tmp_path / 'student.pth', weights_only=True)
    assert set(saved) == {'state_dict', 'meta'}
    student.load_state_dict(saved['state_dict'], strict=True)
    assert facts['dropped'] == {'distiller': 1}
    assert facts['bytes_after'] < facts['bytes_before']
    config = Config.fromstring(saved['meta']['cfg'], '.py')
    assert config.model.type == 'FasterRCNN'
    assert 'mmdet_rankkd' not in saved['meta']['cfg']
    # Built by MMDetection's own classes, all that is missing is unused.
    assert config.model.backbone.type == 'MobileNetV2'
    missing, extra = build(config.model).load_state_dict(
        saved['state_dict'], strict=False
    )
    assert missing and not extra
    assert all(k.startswith('backbone.conv2.') for k in missing)
    # Parameters, without the statistics of batch norm.
    count = sum(p.numel() for p in student.parameters())
    assert facts['parameters'] == count
    assert sum(v.numel() for v in saved['state_dict'].values()) > count
    assert facts['weights'] == len(student.state_dict())
    assert facts['needs'] == []


def test_without_a_config_tensors_are_counted(training_checkpoint, tmp_path):
    path, student = training_checkpoint
    weights = student.state_dict()
    torch.save(dict(state_dict=weights), path)
    facts = export_student(path, tmp_path / 'student.pth')
    assert 'parameters' not in facts and facts['config'].startswith('none')
    assert facts['values'] == sum(v.numel() for v in weights.values())


def test_inference_from_the_file_alone(training_checkpoint, project, tmp_path):
    """DetInferencer(weights=...) needs no config and not this package."""
    path, _ = training_checkpoint
    export_student(path, tmp_path / 'student.pth')
    infer_without_this_package(project, tmp_path)


def infer_without_this_package(project, tmp_path):
    subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; sys.modules["mmdet_rankkd"] = None\n'
            'from mmdet.apis import DetInferencer\n'
            'run = DetInferencer(weights=sys.argv[1], device="cpu")\n'
            'found = run(sys.argv[2], no_save_vis=True)["predictions"][0]\n'
            'assert set(found) >= {"labels", "scores", "bboxes"}\n'
            'assert run.visualizer.dataset_meta["classes"] == '
            f'{CLASSES}\n',
            tmp_path / 'student.pth',
            project / 'data/img/1.png',
        ],
        check=True,
        cwd=tmp_path,
    )


def distillers(plain):
    """The same distiller, its types written in each way that MMEngine has."""
    teacher = dict(config='teacher.py', checkpoint='teacher.pth')
    for distiller, hook, rank in (
        ('DistillDetector', 'TauHook', 'KendallRankLoss'),
        (
            'distillers.DistillDetector',
            'engine.TauHook',
            'losses.KendallRankLoss',
        ),
        (
            'distillers.detector.DistillDetector',
            'engine.hooks.tau_hook.TauHook',
            'losses.logit.kendall.KendallRankLoss',
        ),
    ):
        yield (
            dict(
                type=f'mmdet_rankkd.{distiller}',
                student=plain,
                teacher=teacher,
                losses=[dict(type=f'mmdet_rankkd.{rank}')],
            ),
            dict(type=f'mmdet_rankkd.{hook}', teacher=teacher),
        )
    yield (
        dict(
            type=DistillDetector,
            student=plain,
            teacher=teacher,
            logits=dict(type=RoILogits),
            losses=[dict(type=KendallRankLoss)],
        ),
        dict(type=TauHook, teacher=teacher),
    )
    yield (
        dict(
            type='DistillDetector',
            _scope_='mmdet_rankkd',
            student=plain,
            teacher=teacher,
        ),
        dict(type='TauHook', _scope_='mmdet_rankkd', teacher=teacher),
    )
    # A user's own distiller, derived from this package's.
    yield (
        dict(type='my_project.MyDistiller', student=plain, teacher=teacher),
        dict(type='mmdet_rankkd.BestHook'),
    )


def test_a_plain_config_is_left_however_types_are_written(student_cfg):
    student_cfg.model.backbone.type = 'MobileNetV2'  # MMDetection's
    model = student_cfg.model.to_dict()
    ema = dict(type='EMAHook', momentum=0.1)
    for number, (distiller, hook) in enumerate(distillers(model)):
        config = Config(copy.deepcopy(student_cfg.to_dict()))
        config.model = distiller
        config.teacher = distiller['teacher']
        config.my_losses = distiller.get('losses')
        config.custom_hooks = [hook, ema]
        config.default_hooks.tau = hook
        config.custom_imports = dict(
            imports=['mmdet_rankkd', 'mmdet_rankkd.losses'],
            allow_failed_imports=False,
        )
        plain = student_config(config)
        assert plain.model.to_dict() == model, number
        assert plain.custom_hooks == [ema]
        default = student_cfg.default_hooks
        assert plain.default_hooks.to_dict() == default.to_dict()
        assert 'custom_imports' not in plain
        assert 'mmdet_rankkd' not in plain.pretty_text
        # A part with a name of its own, with this package's MobileNetV2.
        kept = set(student_cfg.to_dict()) - {'mobilenet_v2_half'}
        if number < 4:
            assert set(plain.to_dict()) == kept | {'custom_hooks'}
        # The config that it was made of is as before.
        assert config.model.teacher and len(config.custom_hooks) == 2


def test_what_is_of_other_packages_is_kept(student_cfg):
    student_cfg.custom_hooks = [dict(type=EMAHook, momentum=0.1)]
    student_cfg.custom_imports = dict(
        imports=['mmdet_rankkd.losses', 'mmdet_rankkd_extras', 'mine'],
        allow_failed_imports=True,
    )
    plain = student_config(student_cfg)
    assert plain.custom_imports == dict(
        imports=['mmdet_rankkd_extras', 'mine'], allow_failed_imports=True
    )
    assert plain.custom_hooks[0].type == 'mmengine.hooks.ema_hook.EMAHook'
    student_cfg.custom_imports = dict(imports='mine')
    assert student_config(student_cfg).custom_imports.imports == ['mine']
    student_cfg.custom_imports = dict(imports='mmdet_rankkd')
    assert 'custom_imports' not in student_config(student_cfg)


@pytest.mark.parametrize(
    'distilled, own',
    [
        (
            'rankkd_faster-rcnn_r50-1333_faster-rcnn_mobilenet-v2-640',
            'faster-rcnn_mobilenet-v2-640',
        ),
        (
            'rankkd_gfl_r50-1280_gfl_mobilenet-v2-640',
            'gfl_mobilenet-v2-640',
        ),
    ],
)
def test_resolution_of_the_teacher(distilled, own):
    """The pipelines are those of the student's own config again."""
    plain, expected = (
        student_config(
            Config.fromfile(
                ROOT / f'configs/coco_resolution/{name}_fpn_1x_coco.py'
            )
        )
        for name in (distilled, own)
    )
    needs = package_types(plain.to_dict())
    assert needs == ['mmdet_rankkd.MobileNetV2']
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert plain[name].to_dict() == expected[name].to_dict(), name


@pytest.mark.parametrize('method', ['mlkd', 'crd'])
def test_data_of_a_loss(method):
    """No strong view, and no numbers of other images."""
    cells = read_cells('cifar100')
    pair = 'resnet32x4_resnet8x4'
    plain = student_config(compose(cells, pair, method))
    alone = student_config(compose(cells, pair, 'alone'))
    for name in ('train_dataloader', 'test_dataloader'):
        assert plain[name].to_dict() == alone[name].to_dict()


def test_preprocessor_of_the_distiller(student_cfg, distill_cfg):
    """Where the distiller has the student's ``data_preprocessor``."""
    preprocessor = distill_cfg.model.student.pop('data_preprocessor')
    distill_cfg.model.data_preprocessor = preprocessor
    build(copy.deepcopy(distill_cfg.model))
    plain = student_config(distill_cfg)
    assert plain.model.to_dict() == student_cfg.model.to_dict()


def test_scope_of_this_package():
    """As MMEngine itself leaves it in all entries of a mmdet_rankkd:: base."""
    config = Config.fromfile(
        ROOT / 'configs/digits/rankkd_r50-quarter_mobilenet-v2-half_digits.py'
    )
    config.train_dataloader.sampler._scope_ = 'mmdet_rankkd'
    config.train_cfg = dict(type='ValLoop', _scope_='mmdet_rankkd')
    config.val_evaluator = dict(type='TopKAccuracy', _scope_='mmdet_rankkd')
    plain = student_config(config)
    assert "_scope_='mmdet_rankkd'" not in plain.pretty_text
    assert plain.train_cfg == dict(type='ValLoop')
    # Data sets and metrics of this package are needed, and are named so.
    assert plain.val_evaluator == dict(type='mmdet_rankkd.TopKAccuracy')
    assert package_types(plain.to_dict()) == [
        'mmdet_rankkd.DigitsDataset',
        'mmdet_rankkd.MobileNetV2',
        'mmdet_rankkd.TopKAccuracy',
    ]


def test_names_that_mmdetection_knows_alone(student_cfg):
    """RoI layers, NMS and, on MMDetection 3.3.0, the loader of images."""
    from mmcv.ops import RoIAlign, nms
    from mmcv.transforms import LoadImageFromFile

    extractor = student_cfg.model.roi_head.bbox_roi_extractor
    extractor.roi_layer.type = RoIAlign
    student_cfg.model.test_cfg.rcnn.nms.type = nms
    student_cfg.model.test_cfg.rpn.nms.type = 'mmcv.ops.nms'
    pipeline = student_cfg.test_dataloader.dataset.pipeline
    pipeline[0].type = LoadImageFromFile
    plain = student_config(student_cfg)
    pipeline = plain.test_dataloader.dataset.pipeline
    assert pipeline[0].type == 'LoadImageFromFile'
    plain = plain.model
    assert plain.roi_head.bbox_roi_extractor.roi_layer.type == 'RoIAlign'
    assert plain.test_cfg.rcnn.nms.type == 'nms'
    assert plain.test_cfg.rpn.nms.type == 'nms'


def test_code_in_the_config_is_not_executed(training_checkpoint, tmp_path):
    path, student = training_checkpoint
    checkpoint = torch.load(path)
    checkpoint['meta']['cfg'] += f"\nx = open('{tmp_path}/written', 'w')\n"
    torch.save(checkpoint, path)
    facts = export_student(path, tmp_path / 'student.pth')
    assert not (tmp_path / 'written').exists()
    assert 'not a plain value' in facts['config']
    saved = torch.load(tmp_path / 'student.pth')
    assert 'cfg' not in saved['meta']
    student.load_state_dict(saved['state_dict'], strict=True)


def test_students_that_need_this_package(tmp_path):
    config = Config.fromfile(ROOT / 'configs/cifar100/resnet20_cifar100.py')
    model = build(config.model)
    meta = dict(cfg=config.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a')
    facts = export_student(tmp_path / 'a', tmp_path / 'b')
    assert 'mmdet_rankkd.ImageClassifier' in facts['needs']
    assert facts['parameters'] == 278324


def test_students_that_cannot_be_built(training_checkpoint, tmp_path):
    path, _ = training_checkpoint
    checkpoint = torch.load(path)
    text = checkpoint['meta']['cfg']
    for change, match in (
        ("type='RPNHead'", "type='MyHead'"),
        ('load_from=None', "custom_imports=dict(imports=['nothing'])"),
    ):
        assert change in text
        checkpoint['meta']['cfg'] = text.replace(change, match)
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match='MyHead|nothing') as caught:
            export_student(path, tmp_path / 'student.pth')
        assert 'PYTHONPATH' in str(caught.value)
        assert not (tmp_path / 'student.pth').exists()


def test_half_and_overwriting(training_checkpoint, tmp_path):
    path, student = training_checkpoint
    out = tmp_path / 'student.pth'
    full = export_student(path, out)
    with pytest.raises(FileExistsError, match='--force'):
        export_student(path, out)
    half = export_student(path, out, half=True, force=True)
    assert half['bytes_after'] < 0.6 * full['bytes_after']
    student.load_state_dict(torch.load(out)['state_dict'], strict=True)


def test_mmrazor_files(student_cfg, tmp_path):
    student = build(student_cfg.model)
    state_dict = {
        f'architecture.{k}': v for k, v in student.state_dict().items()
    }
    # A key with the word inside, which a global replacement would damage.
    state_dict['architecture.neck.architecture.w'] = torch.ones(1)
    state_dict['architecture.data_preprocessor.mean'] = torch.ones(3)
    state_dict['teacher.backbone.w'] = torch.ones(2)
    state_dict['distiller.connectors.w'] = torch.ones(2)
    weights, dropped = student_weights(state_dict)
    assert set(weights) == set(student.state_dict()) | {'neck.architecture.w'}
    assert dropped == {'architecture': 1, 'teacher': 1, 'distiller': 1}
    torch.save(
        dict(
            state_dict=state_dict,
            meta=dict(
                cfg="model = dict(type='mmrazor.X', architecture=dict())"
            ),
        ),
        tmp_path / 'razor.pth',
    )
    export_student(tmp_path / 'razor.pth', tmp_path / 'plain.pth')
    saved = torch.load(tmp_path / 'plain.pth')['state_dict']
    del saved['neck.architecture.w']
    student.load_state_dict(saved, strict=True)


def test_a_student_that_does_not_fit_its_config(training_checkpoint, tmp_path):
    path, _ = training_checkpoint
    checkpoint = torch.load(path)
    del checkpoint['state_dict']['roi_head.bbox_head.fc_cls.weight']
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='1 weights missing'):
        export_student(path, tmp_path / 'student.pth')
    with pytest.raises(ValueError, match='no weights'):
        student_weights({'distiller.x': torch.ones(1)})
    with pytest.raises(ValueError, match='no tensors: epoch.*rankkd convert'):
        student_weights(dict(epoch=3, model={}))


def test_command_line(training_checkpoint, tmp_path, monkeypatch, capsys):
    path, _ = training_checkpoint
    tool = str(ROOT / 'tools/export_student.py')

    def export(*arguments):
        command = [tool, path, *arguments]
        monkeypatch.setattr(sys, 'argv', [str(x) for x in command])
        runpy.run_path(tool, run_name='__main__')

    with pytest.raises(SystemExit) as ended:
        export(tmp_path / 'new/student.pth')
    assert ended.value.code == 0
    assert 'sha256' in capsys.readouterr().out
    for arguments, problem in (
        ([tmp_path / 'new/student.pth'], 'exists'),
        ([tmp_path, '--force'], 'is a folder'),
    ):
        with pytest.raises(SystemExit) as caught:
            export(*arguments)
        assert caught.value.code == 1
        assert problem in capsys.readouterr().err


def test_the_same_content_is_the_same_file(training_checkpoint, tmp_path):
    """Whatever its name: the sum names the student."""
    path, _ = training_checkpoint
    first = export_student(path, tmp_path / 'a.pth')
    assert first == export_student(path, tmp_path / 'other.pth')


@pytest.mark.parametrize('force', [False, True])
def test_a_failing_write_leaves_nothing(
    training_checkpoint, tmp_path, monkeypatch, force
):
    path, _ = training_checkpoint
    out = tmp_path / 'out/student.pth'
    if force:
        export_student(path, out)
    before = out.read_bytes() if force else None

    def save(content, file):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', save)
    with pytest.raises(OSError, match='disk full'):
        export_student(path, out, force=force)
    assert [x.name for x in out.parent.iterdir()] == ['student.pth'] * force
    assert (out.read_bytes() if force else None) == before


NEW_STYLE = ROOT / 'configs/new_style'


USERS_NEW_STYLE = """
from mmengine.config import read_base

from mmdet_rankkd.engine import TauHook
from mmdet_rankkd.experiments.cells import compose, read_cells

with read_base():
    from .{example} import *

data = dict(
    data_root='{project}/data/', ann_file='train.json',
    data_prefix=dict(img='img/'), metainfo=dict(classes={classes}))
for loader in (train_dataloader, test_dataloader):
    for step in loader['dataset']['pipeline']:
        if 'scale' in step:
            step['scale'] = (96, 96)
    loader.update(num_workers=0, persistent_workers=False)
    loader['dataset'].update(data)
train_dataloader['dataset'].update(indices=4)
test_evaluator.update(ann_file='{project}/data/train.json')
val_cfg = val_dataloader = val_evaluator = None
teacher = dict(
    config='{project}/teacher.py', checkpoint='{project}/teacher.pth')
model.update(teacher=teacher)
student = model['student']
student['backbone'].update(init_cfg=None)
student['neck'].update(out_channels=16)
student['rpn_head'].update(in_channels=16, feat_channels=16)
student['roi_head']['bbox_roi_extractor'].update(out_channels=16)
student['roi_head']['bbox_head'].update(
    in_channels=16, fc_out_channels=32, num_classes=len({classes}))
custom_hooks = [dict(type=TauHook, teacher=teacher, max_batches=1)]
custom_imports = dict(imports=['mmdet_rankkd.engine'])
train_cfg.update(max_epochs=1)
env_cfg.update(dist_cfg=dict(backend='gloo'))
randomness = dict(seed=0)
log_level = 'WARNING'
"""


def test_new_style_configs(project, tmp_path):
    """A user's, on the example: two steps, export, inference without this."""
    for path in NEW_STYLE.glob('*.py'):
        (tmp_path / path.name).write_text(path.read_text())
    (example,) = NEW_STYLE.glob('rankkd_*.py')
    (tmp_path / 'mine.py').write_text(
        USERS_NEW_STYLE.format(
            example=example.stem, project=project, classes=CLASSES
        )
    )
    config = Config.fromfile(tmp_path / 'mine.py')
    assert config.model.type is DistillDetector
    assert config.custom_hooks[0].type is TauHook
    runner = make_runner(config, work_dir=str(tmp_path / 'work'))
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    assert runner.iter == 2
    after = runner.model.state_dict()
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert not torch.equal(before[key], after[key])
    log = runner.message_hub.log_scalars
    assert {'train/loss_kd', 'train/loss_rank'} <= set(log)
    path = tmp_path / 'work/epoch_1.pth'
    text = read_checkpoint(path)['meta']['cfg']
    for name in ('distillers.DistillDetector', 'engine.TauHook'):
        assert f"type='mmdet_rankkd.{name}'" in text
    facts = export_student(path, tmp_path / 'student.pth')
    saved = torch.load(tmp_path / 'student.pth')
    assert 'mmdet_rankkd' not in saved['meta']['cfg']
    assert all(torch.equal(saved['state_dict'][k], after[k]) for k in after)
    assert facts['needs'] == [] and facts['dropped'] == {}
    infer_without_this_package(project, tmp_path)


def test_the_new_style_student_is_that_of_the_old_style():
    new, old = (
        Config.fromfile(ROOT / 'configs' / name)
        for name in (
            'new_style/faster_rcnn_mobilenet_v2_fpn_1x_coco.py',
            'coco/faster-rcnn_mobilenet-v2_fpn_1x_coco.py',
        )
    )

    def bare(value):
        """Types by their last name, without what says the same as default."""
        if isinstance(value, dict):
            return {
                k: v.rpartition('.')[2] if k == 'type' else bare(v)
                for k, v in value.items()
                if k not in ('_scope_', 'backend_args')
                and (k, v) != ('format_only', False)
            }
        if isinstance(value, (list, tuple)):
            return [bare(x) for x in value]
        return value

    new, old = bare(new.to_dict()), bare(old.to_dict())
    new['model']['backbone']['init_cfg']['type'] = 'Pretrained'
    del old['dataset_type'], old['mobilenet_v2']
    assert new == old


@pytest.mark.parametrize('path', NEW_STYLE.glob('*.py'), ids=lambda p: p.stem)
def test_new_style_configs_have_no_prefixes(path):
    assert 'mmdet_rankkd.' not in path.read_text().partition('model = ')[2]
