"""Configs by file, package and dict; models of them; configs as text."""

import pytest

from mmdet_rankkd.checkpoint.build import (
    build_model,
    load_config,
    read_config_text,
)

from ..helpers import ROOT


def test_configs_by_package_path_and_dict():
    config = load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert config.model.type == 'FasterRCNN'
    assert load_config(config) is config
    assert load_config(dict(model=dict(a=1))).model.a == 1
    with pytest.raises(ValueError, match='has no "model"'):
        build_model(load_config(dict(a=1)))
    # Of both styles, also without the suffix.
    name = 'rankkd_faster_rcnn_r50_faster_rcnn_mobilenet_v2_fpn_1x_coco'
    config = load_config(f'mmdet_rankkd::new_style/{name}')
    assert config.model.type.__name__ == 'DistillDetector'
    with pytest.raises(FileNotFoundError, match='config .*none.py'):
        load_config('mmdet::faster_rcnn/none.py')


def test_relative_paths(tmp_path, monkeypatch):
    (tmp_path / 'configs').mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs/a.py').write_text('a = 1')
    assert load_config('configs/a.py').a == 1
    assert load_config('a.py', tmp_path / 'configs').a == 1
    match = f"^my config 'b.py' .*{tmp_path} and {tmp_path}/configs"
    with pytest.raises(FileNotFoundError, match=match):
        load_config('b.py', tmp_path / 'configs', 'my config')
    with pytest.raises(FileNotFoundError, match='is a folder.*holds a.py'):
        load_config('configs')


@pytest.mark.parametrize('style', ['', 'mmdet_rankkd::'])
def test_models_of_this_packages_configs(style):
    """A detector, whose types are MMDetection's, by path and by package."""
    name = 'digits/retinanet_mobilenet-v2-half_fpn_digits.py'
    config = load_config(style + name if style else f'{ROOT}/configs/{name}')
    before = config.to_dict()
    assert type(build_model(config)).__name__ == 'RetinaNet'
    assert config.to_dict() == before


def test_config_text(distill_cfg):
    """The same as MMEngine reads, and nothing in it is executed."""
    distill_cfg.odd = {'a-b': (1, -2.5, None), 'c': [dict(x=()), 'é"\'']}
    values = read_config_text(distill_cfg.pretty_text)
    assert values == distill_cfg.to_dict()
    # As OneDL's MMEngine writes classes.
    values = read_config_text('model=dict(type=mmdet.models.FasterRCNN)')
    assert values == dict(model=dict(type='mmdet.models.FasterRCNN'))
    for text in (
        "__import__('os').system('true')",
        "x = __import__('os').system('true')",
        'x = [i for i in (1, 2)]',
        "x = open('f')",
    ):
        with pytest.raises(ValueError, match='line 1'):
            read_config_text(text)
    values = read_config_text("a = dict({'x-y': 1, 2: dict(b=-1)}, c=())")
    assert values == dict(a={'x-y': 1, 2: dict(b=-1), 'c': ()})
    for text in ('x = dict([(1, 2)])', 'x = dict(**y)', 'x = {**y}'):
        with pytest.raises(ValueError, match='not a plain value'):
            read_config_text(text)
    with pytest.raises(SyntaxError):
        read_config_text('x = <class>')
