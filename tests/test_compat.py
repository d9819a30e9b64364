import ast
import importlib
import inspect
import subprocess
import sys
import warnings
from importlib import metadata

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from packaging.version import Version

from mmdet_rankkd import compat
from mmdet_rankkd.checkpoint.build import build_model

from .helpers import ROOT


def test_the_package_is_known_to_mmengine():
    assert MODULE2PACKAGE['mmdet_rankkd'] == 'mmdet_rankkd'


@pytest.mark.parametrize(
    'name',
    [
        'digits/gfl_mobilenet-v2-half_fpn_digits',
        'digits/rankkd_r50-quarter_mobilenet-v2-half_digits',
        'digits_cls/resnet8_digits-cls',
        'coco/faster-rcnn_mobilenet-v2_fpn_1x_coco',
    ],
)
def test_a_base_of_this_package_is_read_as_one_by_its_path(name):
    """In no scope of its own, which MMDetection's types would lack."""
    configs = [
        Config.fromstring(f"_base_ = '{base}.py'", '.py')
        for base in (f'mmdet_rankkd::{name}', ROOT / 'configs' / name)
    ]
    texts = [config.pretty_text for config in configs]
    assert texts[0] == texts[1]
    assert "_scope_='mmdet_rankkd'" not in texts[0]
    assert build_model(configs[0])


def test_the_scope_of_another_package_stays():
    base = 'mmdet::_base_/models/retinanet_r50_fpn.py'
    config = Config.fromstring(f'_base_ = {base!r}', '.py')
    assert config.model._scope_ == 'mmdet'


def test_tested_versions_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compat.warn_about_versions()


def test_other_versions_warn_and_do_not_stop(monkeypatch):
    monkeypatch.setitem(compat.TESTED, 'mmdet', ('4.0.0', '5.0.0'))
    with pytest.warns(UserWarning, match='mmdet >= 4.0.0, < 5.0.0'):
        compat.warn_about_versions()
    monkeypatch.setitem(compat.TESTED, 'no_such_module', ('1.0', '2.0'))
    with pytest.warns(UserWarning, match='no_such_module does not import'):
        compat.warn_about_versions()


@pytest.mark.parametrize('name', compat.TESTED)
def test_versions_without_an_import(name):
    """But for the build, such as +cu130, which torch alone says itself."""
    installed = importlib.import_module(name).__version__
    assert Version(compat.version_of(name)).public == Version(installed).public


def test_version_of_a_checkout(tmp_path, monkeypatch):
    """Of no distribution, so that it has to be imported."""
    (tmp_path / 'a_checkout.py').write_text("__version__ = '7.8'")
    monkeypatch.syspath_prepend(tmp_path)
    assert compat.version_of('a_checkout') == '7.8'
    monkeypatch.setitem(compat.TESTED, 'a_checkout', ('1.0', '2.0'))
    with pytest.warns(UserWarning, match='this is a_checkout 7.8'):
        compat.warn_about_versions()


def python(code):
    """Standard output and error of a program."""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_nothing_comes_before_the_first_word_of_the_tools():
    code = """
import runpy, sys
for tool in {tools}:
    sys.argv = [tool, '--help']
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit:
        print('the end')
import mmdet.datasets
print('done')
"""
    tools = sorted(str(p) for p in (ROOT / 'tools').glob('*.py'))
    out, err = python(code.format(tools=tools))
    parts = out.split('the end\n')
    assert len(parts) == len(tools) + 1 and parts.pop() == 'done\n'
    assert [p[:6] for p in parts] == ['Usage:'] * len(tools)
    assert err == ''


def test_what_is_not_known_noise_is_heard():
    out, err = python("""
import warnings
from mmengine.config import Config
import mmdet_rankkd
from mmdet_rankkd.compat import hide_note_on_faster_coco
from mmengine.logging import print_log
print_log('a note', None)
warnings.warn('pkg_resources is deprecated as an API. Says the user.')
warn = 'faster_coco_eval is not installed, metrics will not be computed.'
metric = dict(type='FasterCocoMetric')
hide_note_on_faster_coco(Config(dict(val_evaluator=[metric])))
warnings.warn(warn + ' first')
hide_note_on_faster_coco(Config(dict(val_evaluator=dict(type='CocoMetric'))))
warnings.warn(warn + ' second')
""")
    assert out == 'a note\n'
    assert 'Says the user' in err
    assert 'first' in err and 'second' not in err


def test_missing_ops(monkeypatch):
    compat.check_mmcv_ops()
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    monkeypatch.delattr(sys.modules['mmcv'], 'ops', raising=False)
    with pytest.raises(ImportError, match='without its compiled ops'):
        compat.check_mmcv_ops()


def is_there(entry):
    """Whether a name, an attribute of a class or of its objects exists."""
    module, _, path = entry.partition(':')
    name, _, attribute = path.partition('.')
    owner = getattr(importlib.import_module(module), name, None)
    if owner is None or not attribute:
        return owner is not None
    return hasattr(owner, attribute) or any(
        f'self.{attribute}' in inspect.getsource(kind)
        for kind in inspect.getmro(owner)[:-1]
    )


ONEDL = compat.DISTRIBUTIONS['mmengine'][0]


def installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize('entry', [*compat.LEANS_ON, *compat.LEANS_ON_ONEDL])
def test_what_the_package_leans_on_is_there(entry):
    if entry in compat.LEANS_ON_ONEDL and not installed(ONEDL):
        pytest.skip('of OneDL only')
    why = {**compat.LEANS_ON, **compat.LEANS_ON_ONEDL}[entry]
    assert is_there(entry), (
        f'{entry} is gone from the installed version; it is needed for: {why}'
    )


def test_a_name_that_is_gone_is_noticed():
    assert not is_there('mmengine.runner:Runner._gone')
    assert not is_there('mmengine.runner:Gone._resume')


def test_nothing_private_is_used_that_is_not_listed():
    """Attributes with an underscore, of whatever is not the object itself."""
    listed = {
        entry.replace(':', '.').split('.')[-1]
        for entry in (*compat.LEANS_ON, *compat.LEANS_ON_ONEDL)
    }
    listed |= {'_dynamo', '_inductor', '_exit', '_flexible_runner'}
    for path in sorted((ROOT / 'mmdet_rankkd').rglob('*.py')):
        if '.mim' in path.parts:
            continue
        tree = ast.parse(path.read_text())
        own = {
            getattr(node, 'name', None) or getattr(node, 'attr', None)
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            or (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ('self', 'cls')
            )
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            name = node.attr
            if not name.startswith('_') or name.endswith('__'):
                continue
            assert name in listed | own, (
                f'{path.relative_to(ROOT)}, line {node.lineno}: {name} is '
                'private; list it in compat.LEANS_ON'
            )
