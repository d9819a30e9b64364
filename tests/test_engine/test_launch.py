"""What stops a training before its first step says what to do."""

import json
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmdet_rankkd.engine import launch
from mmdet_rankkd.engine.launch import train, use_tta
from mmdet_rankkd.registry import TRANSFORMS

from ..helpers import ROOT, build, rankkd, save_teacher
from ..programs import run_two_processes


def test_initial_weights_that_cannot_be_downloaded(student_cfg):
    """Nobody listens at that port."""
    student_cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='http://127.0.0.1:9/x.pth'
    )
    with pytest.raises(ValueError, match='cannot be downloaded.*refused'):
        train(student_cfg)


FAULTS = {
    'cut': lambda content: content[:100],
    'empty': lambda content: '',
    'numbers': lambda content: json.dumps(
        dict(json.loads(content), images=[1, 2])
    ),
}
SAID = {
    'cut': 'no JSON, or is cut off',
    'empty': 'no JSON, or is cut off',
    'numbers': 'entry 0 of its images is no dict',
}


@pytest.mark.parametrize('name', FAULTS)
@pytest.mark.parametrize('split', ['train', 'val'])
def test_annotation_files_that_cannot_be_read(
    distill_cfg, tmp_path, name, split
):
    """Whichever part of the runner comes to it first."""
    dataset = distill_cfg[f'{split}_dataloader'].dataset
    whole = Path(dataset.data_root, dataset.ann_file).read_text()
    file = tmp_path / 'faulty.json'
    file.write_text(FAULTS[name](whole))
    dataset.ann_file = str(file)
    what = dict(train='training', val='validation')[split]
    words = f'the {what} set, {file}: .*{SAID[name]}.*Training ended with'
    with pytest.raises(ValueError, match=words):
        train(distill_cfg)


def test_a_fault_of_the_data_hides_no_error_of_another_kind(
    distill_cfg, tmp_path
):
    dataset = distill_cfg.train_dataloader.dataset
    content = json.loads(Path(dataset.data_root, dataset.ann_file).read_text())
    content['annotations'][0]['bbox'] = [3, 3, 0, 0]
    (tmp_path / 'one.json').write_text(json.dumps(content))
    dataset.ann_file = str(tmp_path / 'one.json')
    distill_cfg.model.teacher.classes = ['nut', 'bolt', 'washer']
    with pytest.raises(ValueError, match="^class 0 is 'bolt' in the training"):
        train(distill_cfg)


@pytest.mark.parametrize('meta', [{}, dict(meta=dict(cfg='')), dict(meta=3)])
def test_weights_alone_are_no_training_to_resume(student_cfg, tmp_path, meta):
    torch.save(dict(state_dict={}, **meta), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='weights.pth.*at which epoch'):
        train(student_cfg, resume=str(tmp_path / 'weights.pth'))


@pytest.mark.parametrize('learns', [False, True])
def test_weights_of_another_model_are_not_tested(
    distill_cfg, project, tmp_path, monkeypatch, learns
):
    """MMEngine would test what is half random; a teacher is not needed."""
    monkeypatch.setattr(Runner, 'test', lambda runner: None)
    cfg = distill_cfg
    if learns:  # what a student's own file does not have
        cfg.model.losses = [dict(type='mmdet_rankkd.CTKDLoss')]
    file = tmp_path / 'student.pth'
    save_teacher(project / 'student.py', file)
    launch.test(cfg.copy(), str(file))
    with pytest.raises(ValueError, match='teacher.pth.*does not fit: 22 of'):
        launch.test(cfg, str(project / 'teacher.pth'))


def test_weights_by_their_older_names(tmp_path, monkeypatch):
    """MMDetection 1 called the layers of FCOS's head otherwise."""
    monkeypatch.setattr(Runner, 'test', lambda runner: None)
    cfg = Config.fromfile(
        ROOT / 'configs/digits/fcos_mobilenet-v2-half_fpn_digits.py'
    )
    cfg.work_dir, cfg.custom_hooks = str(tmp_path / 'work'), []
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    weights = build(cfg.model).state_dict()
    older = dict(conv_cls='fcos_cls', conv_reg='fcos_reg')
    renamed = {}
    for key, value in weights.items():
        for now, then in older.items():
            key = key.replace(f'bbox_head.{now}.', f'bbox_head.{then}.')
        renamed[key] = value
    assert set(renamed) != set(weights)
    file = tmp_path / 'older.pth'
    torch.save(dict(state_dict=renamed), file)
    launch.test(cfg.copy(), str(file))
    del renamed['bbox_head.fcos_cls.weight']
    torch.save(dict(state_dict=renamed), file)
    with pytest.raises(ValueError, match='older.pth.*does not fit'):
        launch.test(cfg, str(file))


@pytest.mark.parametrize(
    'key, value, words',
    [
        ('losses', [dict(type='mmdet_rankkd.KLDivLos')], "mean 'KLDivLoss'"),
        (
            'losses',
            [dict(type='mmdet_rankkd.KLDivLoss', temprature=3)],
            "mean 'temperature'",
        ),
        ('logits', dict(type='mmdet_rankkd.RoILogit'), "mean 'RoILogits'"),
        ('teachr', 1, "has no argument 'teachr'"),
    ],
)
def test_misspelt_parts_end_with_a_sentence(
    distill_cfg, tmp_path, key, value, words
):
    distill_cfg.model[key] = value
    distill_cfg.dump(tmp_path / 'misspelt.py')
    said = rankkd('train', tmp_path / 'misspelt.py', status=1)
    assert words in said.splitlines()[-1]
    assert said.splitlines()[-1].startswith('Error: ')


def test_a_mistake_elsewhere_keeps_its_traceback(distill_cfg):
    """It may be one in the user's own part."""
    distill_cfg.model.student.backbone.type = 'MobileNetV22'
    with pytest.raises(KeyError, match='MobileNetV22 is not in the'):
        train(distill_cfg)


def test_mixed_precision_without_a_gpu(student_cfg, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp needs a GPU'):
        train(student_cfg, amp=True)


def test_flips_of_the_students_image_alone():
    """Of a pipeline of two resolutions, in test-time augmentation."""
    name = 'coco_resolution/rankkd_gfl_r50-1280_gfl_mobilenet-v2-640_fpn_1x'
    cfg = Config.fromfile(ROOT / f'configs/{name}_coco.py')
    use_tta(cfg)
    assert 'TwoResolutions' not in str(cfg.tta_pipeline)
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline
    steps = [
        x
        for x in cfg.tta_pipeline
        if x['type'] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
    with DefaultScope.overwrite_default_scope('mmdet'):
        steps = [TRANSFORMS.build(x) for x in steps]
    found = dict(
        img=np.zeros((48, 64, 3), np.uint8),
        img_id=0,
        img_path='a.png',
        ori_shape=(48, 64),
    )
    for step in steps:
        found = step(found)
    assert [x.flip for x in found['data_samples']] == [True, False]
    # Within 640 x 384, the student's.
    assert {tuple(x.shape) for x in found['inputs']} == {(3, 384, 512)}


SLURM = """
import os, sys
names = dict(PROCID='RANK', LOCALID='LOCAL_RANK', NTASKS='WORLD_SIZE')
for name, other in names.items():
    os.environ[f'SLURM_{name}'] = os.environ.pop(other)
os.environ['SLURM_NODELIST'] = 'node[1-2]'
del os.environ['MASTER_ADDR']
import torch
from mmengine.config import Config
from mmdet_rankkd.engine.launch import join_on_cpu
cfg = Config(dict(launcher='slurm'))
join_on_cpu(cfg)
assert os.environ['MASTER_ADDR'] == '127.0.0.1'
assert cfg.model_wrapper_cfg.device_ids is None
total = torch.tensor(float(os.environ['SLURM_PROCID']) + 1)
torch.distributed.all_reduce(total)
rank = torch.distributed.get_rank()
sys.stdout.write(f'{rank} {total.item()}\\n')  # one write: a whole line
"""


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_who_works_by_gloo(monkeypatch, device):
    monkeypatch.setattr(launch, 'get_device', lambda: device)
    found = {
        x: launch.works_by_gloo(Config(dict(launcher=x)))
        for x in ('none', 'pytorch', 'slurm')
    }
    several = device == 'cpu'
    assert found == dict(none=False, pytorch=several, slurm=several)


@pytest.mark.parametrize('seconds', [None, 7])
def test_how_long_processes_wait_for_each_other(monkeypatch, seconds):
    """As MMEngine hands it on where there are GPUs."""
    waits = []
    monkeypatch.setattr(
        torch.distributed,
        'init_process_group',
        lambda backend, **settings: waits.append((backend, settings)),
    )
    settings = dict(backend='nccl', timeout=seconds)
    cfg = dict(launcher='pytorch', env_cfg=dict(dist_cfg=settings))
    launch.join_on_cpu(Config(cfg))
    expected = {} if seconds is None else dict(timeout=timedelta(seconds=7))
    assert waits == [('gloo', expected)]


def test_slurm_outside_of_srun(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(ValueError, match='SLURM_PROCID.*start it by srun'):
        launch.name_processes_of_slurm(Config())


def of_slurm(monkeypatch, **variables):
    """The variables of the first of four processes."""
    found = dict(PROCID=0, LOCALID=0, NTASKS=4, NODELIST='node[1-2]')
    for name, value in found.items():
        monkeypatch.setenv(f'SLURM_{name}', str(value))
    for name in ('MASTER_ADDR', 'MASTER_PORT', *launch.SLURM_NAMES):
        # Set once, so that it is taken away again behind the test.
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize('port', [None, 1234])
def test_where_processes_of_slurm_meet(monkeypatch, port):
    """Where the user says, who then needs no `scontrol`."""
    of_slurm(monkeypatch, MASTER_ADDR='10.0.0.1', PATH='')
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(port=port))))
    launch.name_processes_of_slurm(cfg)
    assert os.environ['MASTER_ADDR'] == '10.0.0.1'
    assert os.environ['MASTER_PORT'] == str(port or 29500)
    found = [os.environ[x] for x in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')]
    assert found == ['0', '0', '4']


def test_nodes_that_slurm_does_not_name(monkeypatch, tmp_path):
    (tmp_path / 'scontrol').write_text('#!/bin/sh\nexit 1\n')
    (tmp_path / 'scontrol').chmod(0o755)
    of_slurm(monkeypatch, PATH=str(tmp_path))
    with pytest.raises(ValueError, match='set MASTER_ADDR'):
        launch.name_processes_of_slurm(Config())


def test_processes_of_slurm_without_a_gpu(tmp_path):
    """The first of the nodes that slurm names is where they meet."""
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text(
        '#!/bin/sh\n[ "$*" = "show hostname node[1-2]" ] || exit 1\n'
        'printf "127.0.0.1\\nnode2\\n"\n'
    )
    scontrol.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    said = run_two_processes(SLURM, env=dict(PATH=path))
    assert sorted(x for x in said.splitlines() if 'GPU' not in x) == [
        '0 3.0',
        '1 3.0',
    ]
    assert said.count('no GPU is visible: 2 processes') == 1
