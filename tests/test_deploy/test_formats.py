"""Each file gives what the PyTorch student gives, or does not appear."""

import json
import sys
from functools import partial

import pytest
import torch

from mmdet_rankkd.deploy import formats
from mmdet_rankkd.deploy.formats import write_onnx, write_safetensors
from mmdet_rankkd.deploy.graph import DenseGraph
from mmdet_rankkd.deploy.student import find_samples, read_student

from ..setups import DENSE


def load(path, **settings):
    student = read_student(path, **settings)
    return student, find_samples(student)


@pytest.mark.parametrize('head', DENSE)
def test_dense_detectors(save, tmp_path, head):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    student, samples = load(save(head))
    assert len({x.data['inputs'][0].shape for x in samples}) == 2
    out = tmp_path / 'student.onnx'
    found = write_onnx(student, out, samples)
    assert found['images'] == 4 and found['detections'] >= 40
    assert found['scores'] < 2e-5 and found['boxes'] < 0.01
    session = onnxruntime.InferenceSession(str(out))
    names = [x.name for x in session.get_outputs()]
    factors = ['factors'] if head in ('fcos', 'atss') else []
    assert names == ['boxes', 'scores', 'levels', *factors]
    about = session.get_modelmeta().custom_metadata_map['mmdet_rankkd']
    assert json.loads(about)['classes'] == ['bolt', 'nut', 'washer']


def to_softmax(config):
    config.model.bbox_head.loss_cls = dict(type='CrossEntropyLoss')


def fill_up(config):
    config.test_dataloader.dataset.pipeline.insert(
        2, dict(type='Pad', size=(160, 160), pad_val=dict(img=(114, 114, 114)))
    )


def stretch(config):
    config.test_dataloader.dataset.pipeline[1].keep_ratio = False


def leave_out_small(config):
    config.model.test_cfg.update(
        min_bbox_size=20, max_per_img=7, nms_pre=50, score_thr=0.2
    )


def red_first(config):
    config.model.data_preprocessor.update(
        bgr_to_rgb=True, mean=[1, 2, 3], std=[50, 60, 70], pad_value=1
    )


@pytest.mark.parametrize(
    'head, change',
    [
        ('retinanet', to_softmax),
        ('rtmdet', fill_up),
        ('gfl', stretch),
        ('atss', leave_out_small),
        ('fcos', red_first),
    ],
)
def test_settings_are_followed(save, tmp_path, head, change):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    student, samples = load(save(head, change))
    found = write_onnx(student, tmp_path / 'student.onnx', samples)
    assert found['detections'] >= 4 and found['scores'] < 2e-5


def classifier(tmp_path, name):
    from mmdet_rankkd.checkpoint.build import load_config

    from ..helpers import ROOT, build, write_cifar

    write_cifar(tmp_path / 'data')
    config = load_config(str(ROOT / f'configs/cifar100/{name}.py'))
    config.test_dataloader.dataset.update(
        data_root=str(tmp_path / 'data'), md5={}
    )
    torch.manual_seed(0)
    model = build(config.model)
    meta = dict(cfg=config.pretty_text)
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.mark.parametrize(
    'name',
    ['shufflenet-v1_cifar100']
    + [f'{x}-tiny_cifar100-224' for x in ('deit', 'pit', 'pvt')],
)
def test_classifiers(tmp_path, name):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    student, samples = load(classifier(tmp_path, name))
    found = write_onnx(student, tmp_path / 'student.onnx', samples)
    assert found['images'] == 4 and found['scores'] < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / 'student.onnx'))
    batch = student.model.data_preprocessor(samples[0].data)['inputs']
    images = batch.repeat(3, 1, 1, 1)
    (logits,) = session.run(['logits'], {'images': images.numpy()})
    assert logits.shape == (3, 100)


def test_a_file_that_differs_does_not_appear(save, tmp_path, monkeypatch):
    """In scores, in boxes, and in what is chosen."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    path, out = save('gfl'), tmp_path / 'student.onnx'
    rules, trace = DenseGraph.rules, formats.trace

    def spoilt(graph, images, part):
        """The weights of the file are not those of the student."""
        content = trace(graph, images)
        weight = getattr(graph.detector.bbox_head, part).weight
        old, new = weight.numpy(), 1.5 * weight.numpy()
        assert content.count(old.tobytes()) == 1
        return content.replace(old.tobytes(), new.tobytes())

    for part in ('gfl_cls', 'gfl_reg'):
        monkeypatch.setattr(formats, 'trace', partial(spoilt, part=part))
        student, samples = load(path)
        with torch.no_grad(), pytest.raises(ValueError, match='PyTorch'):
            write_onnx(student, out, samples)
    monkeypatch.setattr(formats, 'trace', trace)
    for wrong, match in (
        (
            dict(iou_threshold=0.9, max_per_img=9999),
            'boxes that PyTorch does not',
        ),
        (dict(max_per_img=3), 'does not find the box'),
    ):
        monkeypatch.setattr(
            DenseGraph, 'rules', lambda graph, w=wrong: {**rules(graph), **w}
        )
        student, samples = load(path)
        with pytest.raises(ValueError, match=match):
            write_onnx(student, out, samples)
    monkeypatch.setattr(DenseGraph, 'rules', rules)
    prepare = formats.preprocessing
    monkeypatch.setattr(
        formats, 'preprocessing', lambda x: {**prepare(x), 'divisor': 64}
    )
    with pytest.raises(ValueError, match='prepared in another way'):
        write_onnx(student, out, samples)
    assert not [x for x in tmp_path.iterdir() if 'onnx' in x.name]


def test_bounds_hold(save, tmp_path, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    student, samples = load(save('fcos'))
    for name in ('SCORE_BOUND', 'BOX_BOUND'):
        with monkeypatch.context() as patch:
            patch.setattr(formats, 'compare_detections', lambda *_: None)
            patch.setattr(formats, name, 1e-12)
            with pytest.raises(ValueError, match='1e-12 is allowed'):
                write_onnx(student, tmp_path / 'x.onnx', samples)


def test_a_file_that_does_not_run(save, tmp_path, monkeypatch):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('mmdet_rankkd.deploy.runtime')
    student, samples = load(save('fcos'))

    def run(*args):
        raise RuntimeError('Concat: 3 and 1\nmore')

    monkeypatch.setattr(runtime.Detector, '__call__', run)
    with pytest.raises(ValueError, match='not run .RuntimeError: Concat: 3'):
        write_onnx(student, tmp_path / 'x.onnx', samples)
    assert not list(tmp_path.glob('*onnx*'))


def test_what_cannot_be_traced_is_told(save, tmp_path, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    student, samples = load(save('fcos'))
    decode = DenseGraph.decode
    monkeypatch.setattr(
        DenseGraph,
        'decode',
        lambda graph, *args: torch.special.bessel_j0(decode(graph, *args)),
    )
    with pytest.raises(ValueError, match='cannot write.*bessel'):
        write_onnx(student, tmp_path / 'x.onnx', samples)


@pytest.mark.parametrize('half', [False, True])
def test_safetensors(save, tmp_path, half):
    library = pytest.importorskip('safetensors')
    from safetensors.torch import load_file

    student, samples = load(save('rtmdet'), half=half)
    out = tmp_path / 'student.safetensors'
    assert write_safetensors(student, out, samples)['images'] == 4
    with library.safe_open(str(out), 'pt') as file:
        about = file.metadata()
    weights = load_file(out)
    assert set(weights) == set(student.model.state_dict())
    saved = torch.load(tmp_path / 'rtmdet.pth')['state_dict']
    for name, value in saved.items():
        expected = (
            value.half() if half and value.dtype.is_floating_point else value
        )
        assert torch.equal(weights[name], expected)
    assert json.loads(about['classes']) == ['bolt', 'nut', 'washer']
    assert "type='RTMDet'" in about['config']
    assert 'mmdet_rankkd' not in about['config']


def test_safetensors_that_differ_do_not_appear(save, tmp_path, monkeypatch):
    library = pytest.importorskip('safetensors.torch')
    student, samples = load(save('fcos'))
    read = library.load

    def wrong(content):
        weights = read(content)
        weights['bbox_head.conv_cls.bias'] += 1e-3
        return weights

    monkeypatch.setattr(library, 'load', wrong)
    with pytest.raises(ValueError, match='not the student'):
        write_safetensors(student, tmp_path / 'x.safetensors', samples)
    assert not list(tmp_path.glob('*safetensors*'))


@pytest.mark.parametrize(
    'write, module',
    [(write_onnx, 'onnx'), (write_safetensors, 'safetensors')],
)
def test_without_the_package(save, tmp_path, monkeypatch, write, module):
    student, samples = load(save('fcos'))
    for name in [x for x in sys.modules if x.split('.')[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f'{module} is not installed: pip'):
        write(student, tmp_path / 'x', samples)
