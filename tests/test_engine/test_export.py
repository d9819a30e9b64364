import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.engine.export import export_student, student_weights

from ..conftest import ROOT, build


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


def test_inference_from_the_file_alone(training_checkpoint, project, tmp_path):
    """DetInferencer(weights=...) needs no config and none of our code."""
    path, _ = training_checkpoint
    export_student(path, tmp_path / 'student.pth')
    subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; sys.modules["mmdet_rankkd"] = None\n'
            'from mmdet.apis import DetInferencer\n'
            'run = DetInferencer(weights=sys.argv[1], device="cpu")\n'
            'found = run(sys.argv[2], no_save_vis=True)["predictions"][0]\n'
            'assert set(found) >= {"labels", "scores", "bboxes"}\n',
            tmp_path / 'student.pth',
            project / 'data/img/1.png',
        ],
        check=True,
        cwd=tmp_path,
    )


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


def test_command_line(training_checkpoint, tmp_path):
    path, _ = training_checkpoint
    command = [sys.executable, ROOT / 'tools/export_student.py', path]
    done = subprocess.run(
        [*command, tmp_path / 'new/student.pth'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and 'sha256' in done.stdout
    done = subprocess.run(
        [*command, tmp_path / 'new/student.pth'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and 'exists' in done.stderr
