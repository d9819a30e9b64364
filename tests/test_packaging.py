"""Wheel and editable installs, in environments of their own."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import click
import pytest
from mmengine import __version__ as mmengine_version

from .helpers import ROOT

NAME = 'mmdet_rankkd::coco/faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
PROBE = f"""
import os, mmdet_rankkd
from mmengine.config import Config
text = '_base_ = "{NAME}"'
cfg = Config.fromstring(text, '.py')
assert cfg.model.neck.in_channels == [24, 32, 96, 320]
kd = 'kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
cfg = Config.fromstring('_base_ = "mmdet_rankkd::coco/' + kd + '"', '.py')
from mmengine.registry import MODELS, init_default_scope
init_default_scope('mmdet')
assert MODELS.build(cfg.model).student.with_rpn
cfg = Config.fromstring(
    '_base_ = "mmdet_rankkd::digits/'
    'rankkd_r50-quarter_mobilenet-v2-half_digits.py"', '.py')
from mmdet_rankkd.checkpoint.read import locate_file
assert os.path.isfile(locate_file(cfg.model.teacher.checkpoint, 'teacher'))
print(os.path.dirname(mmdet_rankkd.__file__))
"""


def run(*command, **kwargs):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_venv(folder):
    """A venv that sees the packages of this one, but not our path file."""
    run(sys.executable, '-m', 'venv', '--without-pip', folder)
    site = next(folder.glob('lib/python*/site-packages'))
    packages = [p for p in sys.path if p.endswith('site-packages')]
    # Plain paths, not a .pth chain: path files in them are not read.
    (site / 'outer.pth').write_text('\n'.join(packages))
    return folder / 'bin/python', site


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel, built from a copy of the tracked sources."""
    source = tmp_path_factory.mktemp('source')
    files = run('git', '-C', ROOT, 'ls-files', '-co', '--exclude-standard')
    for name in files.splitlines():
        old, new = ROOT / name, source / name
        if not old.exists() and not old.is_symlink():
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_symlink():
            new.symlink_to(os.readlink(old))
        else:
            new.write_bytes(old.read_bytes())
    out = tmp_path_factory.mktemp('wheel')
    run(
        sys.executable,
        '-m',
        'pip',
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '-w',
        out,
        source,
    )
    (path,) = out.glob('*.whl')
    return source, path


@pytest.fixture(scope='module')
def sdist(wheel, tmp_path_factory):
    """A source distribution of the same sources."""
    source, _ = wheel
    out = tmp_path_factory.mktemp('sdist')
    code = f'import setuptools.build_meta as b; b.build_sdist({str(out)!r})'
    run(sys.executable, '-c', code, cwd=source)
    (path,) = out.glob('*.tar.gz')
    return path


def files_of(wheel):
    """Names in a wheel, but for those that tell of its version."""
    names = zipfile.ZipFile(wheel).namelist()
    return {n for n in names if '.dist-info/' not in n}


def test_the_sdist_gives_the_same_wheel(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        names = [n.partition('/')[2] for n in archive.getnames()]
    tops = {n.split('/')[0] for n in names}
    assert {'README.md', 'LICENSE', 'CITATION.cff', 'SECURITY.md'} <= tops
    assert not {'tests', 'docs', '.github'} & tops
    run(
        sys.executable,
        '-m',
        'pip',
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '-w',
        tmp_path,
        sdist,
    )
    (again,) = tmp_path.glob('*.whl')
    assert files_of(again) == files_of(wheel[1])


def install(site, *what):
    """What pip makes of a wheel or a source, without what it depends on."""
    pip = [sys.executable, '-m', 'pip', 'install']
    run(*pip, '--no-deps', '--no-build-isolation', '--target', site, *what)


@pytest.mark.parametrize('kind', ['wheel', 'sdist'])
def test_into_an_environment_of_its_own(kind, wheel, sdist, tmp_path):
    """With click, which `rankkd -h` needs, and no other package."""
    folder = tmp_path / 'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', folder)
    (site,) = folder.glob('lib/python*/site-packages')
    install(site, wheel[1] if kind == 'wheel' else sdist)
    (site / 'click').symlink_to(Path(click.__file__).parent)
    python = folder / 'bin/python'
    command = (python, site / 'bin/rankkd')
    assert 'make-config' in run(*command, '--help', cwd=tmp_path)
    assert 'CONFIG' in run(*command, 'train', '--help', cwd=tmp_path)
    done = subprocess.run(
        [*command, 'train', 'x.py'], capture_output=True, text=True
    )
    assert done.returncode and "'mmdet_rankkd[onedl]'" in done.stderr


def test_metadata(wheel):
    archive = zipfile.ZipFile(wheel[1])
    name = next(n for n in archive.namelist() if n.endswith('METADATA'))
    metadata = message_from_bytes(archive.read(name))
    assert 'Apache-2.0' in (
        metadata['License-Expression'] or metadata['License']
    )
    assert metadata['Description-Content-Type'] == 'text/markdown'
    kinds = metadata.get_all('Classifier')
    for minor in (10, 11, 12):
        assert f'Programming Language :: Python :: 3.{minor}' in kinds
    assert len(set(kinds)) == len(kinds)


def test_wheel_content(wheel):
    names = zipfile.ZipFile(wheel[1]).namelist()
    mim = {
        n.removeprefix('mmdet_rankkd/.mim/')
        for n in names
        if n.startswith('mmdet_rankkd/.mim/')
    }
    assert {
        'model-index.yml',
        'tools/train.py',
        'tools/dist_train.sh',
        'configs/coco/metafile.yml',
        'configs/coco/README.md',
        'configs/digits/faster-rcnn_r50-quarter_fpn_digits.pth',
        'configs/_base_/recipes/coco_1x.py',
    } <= mim
    assert 'mmdet_rankkd/experiments/explore.html' in names
    tops = {n.split('/')[0] for n in names if '.dist-info' not in n}
    assert tops == {'mmdet_rankkd'}
    metadata = (
        zipfile.ZipFile(wheel[1])
        .read(next(n for n in names if n.endswith('METADATA')))
        .decode()
    )
    required = [
        x
        for x in metadata.splitlines()
        if x.startswith('Requires-Dist') and 'extra ==' not in x
    ]
    assert not any('mm' in x for x in required)


def test_bases_resolve_from_a_wheel(wheel, tmp_path):
    python, site = make_venv(tmp_path / 'venv')
    install(site, wheel[1])
    out = run(python, '-c', PROBE, cwd=tmp_path)
    assert out.strip().endswith(str(site / 'mmdet_rankkd'))
    for tool in ('train', 'test', 'export_student', 'check_teacher', 'demo'):
        text = run(
            python,
            site / f'mmdet_rankkd/.mim/tools/{tool}.py',
            '-h',
            cwd=tmp_path,
        )
        # mim would add the flag itself if it were there.
        assert '--gpus' not in text
    for command in (
        (python, '-m', 'mmdet_rankkd'),
        (python, site / 'bin/rankkd'),
    ):
        assert 'make-config' in run(*command, '--help', cwd=tmp_path)


@pytest.mark.skipif(
    mmengine_version == '0.10.7',
    reason='mmengine 0.10.7 does not resolve bases of editable installs',
)
def test_bases_resolve_from_an_editable_install(wheel, tmp_path):
    source, _ = wheel
    python, site = make_venv(tmp_path / 'venv')
    install(site, '-e', source)
    out = run(python, '-c', PROBE, cwd=tmp_path)
    assert out.strip().endswith(str(source / 'mmdet_rankkd'))


def test_bases_resolve_from_a_path(tmp_path):
    out = run(
        sys.executable,
        '-c',
        PROBE,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    assert out.strip().endswith(str(ROOT / 'mmdet_rankkd'))
