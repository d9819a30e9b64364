"""What stands in for MMDetection where that is not."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmdet_rankkd.deploy.formats import write_onnx
from mmdet_rankkd.deploy.student import find_samples, read_student

from ..helpers import ROOT

runtime = pytest.importorskip('mmdet_rankkd.deploy.runtime')
FILE = ROOT / 'mmdet_rankkd/deploy/runtime.py'


def test_boxes_are_suppressed_as_mmcv_does():
    from mmcv.ops import batched_nms

    generator = torch.Generator().manual_seed(0)
    boxes = 60 * torch.rand(300, 4, generator=generator)
    boxes[:, 2:] += boxes[:, :2]
    boxes[7, 2:] = boxes[7, :2]  # of no area
    scores = torch.rand(300, generator=generator)
    labels = torch.randint(0, 3, (300,), generator=generator)
    for agnostic in (False, True):
        nms = dict(type='nms', iou_threshold=0.5, class_agnostic=agnostic)
        _, expected = batched_nms(boxes, scores, labels, nms)
        values = boxes.numpy()
        if not agnostic:
            values = runtime.apart(values, labels.numpy())
        kept = runtime.suppress(values, scores.numpy(), 0.5)
        assert kept.tolist() == expected.tolist()
        assert 20 < len(kept) < 250


def test_nothing_is_found():
    assert runtime.suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
    assert len(runtime.apart(np.zeros((0, 4)), np.zeros(0))) == 0
    rules = dict(score_thr=0.5, nms_pre=10)
    rows, labels = runtime.highest_scores(np.zeros((4, 2)), np.zeros(4), rules)
    assert len(rows) == len(labels) == 0


def test_the_highest_scores_of_each_level():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4], [0.6, 0.5]])
    levels = np.array([0, 0, 1, 1])
    rules = dict(score_thr=0.15, nms_pre=2)
    rows, labels = runtime.highest_scores(scores, levels, rules)
    assert list(zip(rows, labels)) == [(0, 1), (1, 0), (3, 0), (3, 1)]


@pytest.mark.parametrize('width, height', [(640, 480), (333, 999), (50, 50)])
@pytest.mark.parametrize('keep_ratio', [True, False])
def test_sizes_are_rounded_as_mmcv_does(width, height, keep_ratio):
    from mmcv.transforms import Resize

    image = np.zeros((height, width, 3), np.uint8)
    done = Resize((1333, 800), keep_ratio=keep_ratio)(dict(img=image))
    size = runtime.new_size(width, height, [1333, 800], keep_ratio)
    assert size == done['img'].shape[1::-1]


def test_it_needs_nothing_else():
    names = set()
    for node in ast.walk(ast.parse(FILE.read_text())):
        if isinstance(node, ast.Import):
            names |= {x.name for x in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    names = {x.split('.')[0] for x in names} - sys.stdlib_module_names
    assert names == {'cv2', 'numpy', 'onnxruntime'}


def test_alone(save, coco_set, tmp_path):
    """The file, copied, with no other package of the stack."""
    pytest.importorskip('onnx')
    student = read_student(save('atss'))
    samples = find_samples(student)
    write_onnx(student, tmp_path / 'student.onnx', samples)
    code = (
        'import sys\n'
        'for name in ("torch", "mmengine", "mmcv", "mmdet", "mmdet_rankkd"):\n'
        '    sys.modules[name] = None\n'
        'import runpy\n'
        f'sys.argv = {["x", "student.onnx", samples[1].file]}\n'
        'runpy.run_path("runtime.py", run_name="__main__")\n'
    )
    (tmp_path / 'runtime.py').write_text(FILE.read_text())
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    with torch.no_grad():
        (expected,) = student.model.test_step(samples[1].data)
    expected = expected.pred_instances
    assert found['image'] == samples[1].file
    assert len(found['found']) == len(expected.scores) > 0
    name, score, box = found['found'][0]
    assert name == ('bolt', 'nut', 'washer')[expected.labels[0]]
    assert score == pytest.approx(expected.scores[0].item(), abs=1e-5)
    assert box == pytest.approx(expected.bboxes[0].tolist(), abs=0.01)


def test_other_files(tmp_path):
    onnx = pytest.importorskip('onnx')
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Identity', ['x'], ['y'])],
        'g',
        [onnx.helper.make_tensor_value_info('x', 1, [1])],
        [onnx.helper.make_tensor_value_info('y', 1, [1])],
    )
    opset = onnx.helper.make_opsetid('', 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    path = str(tmp_path / 'x.onnx')
    onnx.save(model, path)
    with pytest.raises(ValueError, match='not written by rankkd export'):
        runtime.Detector(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = runtime.KEY, '{"task": "classification"}'
    onnx.save(model, path)
    with pytest.raises(ValueError, match='no detector'):
        runtime.Detector(path)
