"""A checkpoint of a distilled student is a checkpoint of a plain student."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine import __version__ as mmengine_version
from mmengine.config import Config
from torch import nn

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.losses import LogitLoss
from mmdet_rankkd.registry import MODELS

from ..helpers import build, make_runner, raw_batch
from ..programs import run_two_processes


@pytest.fixture(scope='module')
def trained(project, tmp_path_factory):
    """Work dir of a distilled student, trained for one epoch."""
    cfg = Config.fromfile(project / 'distill.py')
    cfg.work_dir = str(tmp_path_factory.mktemp('trained'))
    make_runner(cfg).train()
    return Path(cfg.work_dir)


def test_keys_are_the_plain_students(distill_cfg, student_cfg):
    ours, plain = build(distill_cfg.model), build(student_cfg.model)
    assert list(ours.state_dict()) == list(plain.state_dict())
    # Both ways, strictly, by torch's own functions.
    plain.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(plain.state_dict(), strict=True)
    for a, b in zip(ours.state_dict().values(), plain.state_dict().values()):
        assert torch.equal(a, b)


def test_the_file_holds_no_more_than_a_students(trained, student_cfg):
    saved = read_checkpoint(str(trained / 'epoch_1.pth'))
    plain = build(student_cfg.model)
    assert set(saved['state_dict']) == set(plain.state_dict())
    (group,) = saved['optimizer']['param_groups']
    assert len(group['params']) == len(list(plain.parameters()))


def test_plain_mmdetection_without_this_package(trained, project, tmp_path):
    """Identical detections where mmdet_rankkd cannot even be imported."""
    script = tmp_path / 'plain.py'
    script.write_text(
        'import sys, torch\n'
        'sys.modules["mmdet_rankkd"] = None  # any import of it fails\n'
        'torch.set_num_threads(1)\n'
        'from mmdet.apis import DetInferencer, inference_detector\n'
        'from mmdet.apis import init_detector\n'
        'config, checkpoint, image, out = sys.argv[1:]\n'
        'model = init_detector(config, checkpoint, device="cpu")\n'
        'result = inference_detector(model, image).pred_instances\n'
        'inferencer = DetInferencer(config, checkpoint, device="cpu")\n'
        'again = inferencer(image, no_save_vis=True)["predictions"][0]\n'
        'scores = result.scores.tolist()[:len(again["scores"])]\n'
        'assert scores == again["scores"], (scores, again)\n'
        'torch.save([result.bboxes, result.scores, result.labels], out)\n'
    )
    plain_config = tmp_path / 'plain_student.py'
    cfg = Config.fromfile(project / 'student.py')
    # MMDetection's own has one layer more, which nothing uses.
    assert cfg.model.backbone.type == 'mmdet_rankkd.MobileNetV2'
    cfg.model.backbone.type = 'MobileNetV2'
    cfg.dump(plain_config)
    image = project / 'data/img/1.png'
    out = tmp_path / 'out.pth'
    checkpoint = trained / 'epoch_1.pth'
    if mmengine_version == '0.10.7':
        # It does not open its own training checkpoints on torch >= 2.6.
        checkpoint = tmp_path / 'student.pth'
        export_student(trained / 'epoch_1.pth', checkpoint)
    subprocess.run(
        [sys.executable, script, plain_config, checkpoint, image, out],
        check=True,
        cwd=tmp_path,
    )

    from mmdet.apis import inference_detector, init_detector

    # cfg_options: else mmdet looks for config.model.backbone.
    model = init_detector(
        str(project / 'distill.py'),
        str(trained / 'epoch_1.pth'),
        device='cpu',
        cfg_options={},
    )
    ours = inference_detector(model, str(image)).pred_instances
    boxes, scores, labels = torch.load(out)
    assert len(scores)
    assert torch.equal(ours.bboxes, boxes)
    assert torch.equal(ours.scores, scores)
    assert torch.equal(ours.labels, labels)


def test_load_from_a_plain_student(student_cfg, distill_cfg, tmp_path):
    torch.manual_seed(7)
    plain = build(student_cfg.model)
    path = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=plain.state_dict(), meta={}), path)
    runner = make_runner(distill_cfg, load_from=str(path))
    runner.load_or_resume()
    weights = plain.state_dict()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, weights[key])


def without_validation(cfg):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def test_resume_continues_as_if_never_stopped(distill_cfg, tmp_path):
    cfg = without_validation(distill_cfg)
    cfg.train_cfg.max_epochs = 2
    cfg.model.student.train_cfg.rpn.sampler.type = 'PseudoSampler'
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)

    def run(name, **settings):
        runner = make_runner(cfg, work_dir=str(tmp_path / name), **settings)
        if settings.get('resume'):
            # The samplers draw from the global generator.
            runner.register_hook(RestoreRandomness())
        else:
            runner.register_hook(KeepRandomness())
        runner.train()
        return runner.model.state_dict()

    straight = run('straight')
    resumed = run(
        'resumed',
        resume=True,
        load_from=str(tmp_path / 'straight/epoch_1.pth'),
    )
    for key, value in straight.items():
        assert torch.equal(value, resumed[key]), key


from mmengine.hooks import Hook  # noqa: E402

RANDOM_STATES = {}


class KeepRandomness(Hook):
    def before_train_epoch(self, runner):
        import numpy as np

        RANDOM_STATES[runner.epoch] = (
            torch.get_rng_state(),
            np.random.get_state(),
        )


class RestoreRandomness(Hook):
    def before_train_epoch(self, runner):
        import numpy as np

        torch_state, numpy_state = RANDOM_STATES[runner.epoch]
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)


def test_ema_copies_the_student_only(distill_cfg):
    cfg = without_validation(distill_cfg)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    runner = make_runner(cfg)
    runner.train()
    path = Path(cfg.work_dir) / 'epoch_1.pth'
    saved = read_checkpoint(str(path))
    plain = set(build(cfg.model.student).state_dict())
    assert set(saved['state_dict']) == plain
    # EMA's own counter, and the student once more.
    assert set(saved['ema_state_dict']) == {'steps'} | {
        f'module.{k}' for k in plain
    }
    hook = next(h for h in runner.hooks if type(h).__name__ == 'EMAHook')
    assert hook.ema_model.module.teacher is runner.model.teacher
    averaged = hook.ema_model.module.state_dict()
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert not torch.equal(averaged[key], runner.model.state_dict()[key])
    cfg.train_cfg.max_epochs = 2
    resumed = make_runner(cfg, resume=True, load_from=str(path))
    resumed.train()
    assert resumed.epoch == 2


@MODELS.register_module()
class LearnedScale(LogitLoss):
    """A loss with a parameter of its own."""

    loss_name = 'loss_scaled'

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = nn.Parameter(torch.ones(()))

    def rows(self, student, teacher, labels):
        return self.scale * (student - teacher).square().mean(1)


def test_what_the_distiller_learns_is_kept_apart(distill_cfg, tmp_path):
    cfg = without_validation(distill_cfg)
    cfg.model.losses = [dict(type='mmdet_rankkd.LearnedScale')]
    runner = make_runner(cfg)
    runner.train()
    path = str(Path(cfg.work_dir) / 'epoch_1.pth')
    saved = read_checkpoint(str(path))['state_dict']
    plain = set(build(cfg.model.student).state_dict())
    assert set(saved) - plain == {'distiller.loss_scaled.scale'}
    assert saved['distiller.loss_scaled.scale'] != 1
    resumed = make_runner(cfg, resume=True, load_from=path)
    resumed.load_or_resume()
    assert torch.equal(
        resumed.model.losses['loss_scaled'].scale.detach(),
        saved['distiller.loss_scaled.scale'],
    )


DDP_SCRIPT = """
import sys, torch
from mmengine.config import Config
from mmengine.runner import Runner
import tests.helpers  # one thread, and quick to start
torch.cuda.set_device = lambda *_: None  # MMEngine assumes a GPU here
cfg = Config.fromfile(sys.argv[1])
cfg.launcher, cfg.work_dir = 'pytorch', sys.argv[2]
cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
cfg.model_wrapper_cfg = dict(
    type='MMDistributedDataParallel', device_ids=None,
    find_unused_parameters=False)
# A loss that learns, and is off at first.
cfg.model.losses.append(dict(
    type='mmdet_rankkd.FitNetLoss', levels=(0, 1), loss_weight=1.0,
    schedule=dict(begin=1)))
cfg.train_cfg.max_epochs = 2
runner = Runner.from_cfg(cfg)
runner.train()
model = runner.model
names = [n for n, _ in model.named_parameters()]
assert type(model).__name__ == 'MMDistributedDataParallel'
assert not any('teacher' in n for n in names)
weight = model.module.student.roi_head.bbox_head.fc_cls.weight.detach()
others = [torch.zeros_like(weight) for _ in range(2)]
torch.distributed.all_gather(others, weight)
assert torch.equal(*others)
"""


def test_two_processes(project, tmp_path):
    run_two_processes(DDP_SCRIPT, project / 'distill.py', tmp_path / 'work')
    saved = read_checkpoint(str(tmp_path / 'work/epoch_1.pth'))
    assert not any(
        'teacher' in k or 'student' in k for k in saved['state_dict']
    )
    moved = read_checkpoint(str(tmp_path / 'work/epoch_2.pth'))['state_dict']
    key = 'distiller.loss_fitnet.regressors.0.0.weight'
    assert not torch.equal(moved[key], saved['state_dict'][key])


def test_no_unused_parameters_of_ours(distill_cfg):
    model = build(distill_cfg.model).train()
    data = model.data_preprocessor(raw_batch(), True)
    model.parse_losses(model(**data, mode='loss'))[0].backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)
