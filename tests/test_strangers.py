"""Files of strangers: none of them executes code, wherever it is opened.

docs/reliability.md lists the places; each has its test here, with a file that
would leave a mark.
"""

import html
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as of_mmengine

from mmdet_rankkd.checkpoint.build import (
    build_model,
    load_config,
    read_config_text,
)
from mmdet_rankkd.checkpoint.convert import convert_checkpoint
from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.latest import instead_of_damaged
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.datasets import CIFAR100
from mmdet_rankkd.datasets.digits import path_inside, read_digest
from mmdet_rankkd.distillers import Teacher
from mmdet_rankkd.engine import doctor, launch
from mmdet_rankkd.experiments.models import load_model
from mmdet_rankkd.experiments.report import Picture, Report
from mmdet_rankkd.experiments.result import read_result
from mmdet_rankkd.experiments.training import Job, run_job

from .helpers import ROOT, build

STUDENT = ROOT / 'configs/digits_cls/resnet8_digits-cls.py'
MARK = 'executed'
#: How MMEngine opens checkpoints before a tool has changed it.
LOADERS = {
    name: getattr(of_mmengine, name)
    for name in ('_safe_torch_load', 'load_url')
    if hasattr(of_mmengine, name)
}
SCHEMES = of_mmengine.CheckpointLoader._schemes.copy()


class Command:
    """Makes a file when it is read."""

    def __reduce__(self):
        return os.system, (f'touch {MARK}',)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder as the current one, in which no mark may appear."""
    for name, load in LOADERS.items():
        monkeypatch.setattr(of_mmengine, name, load)
    monkeypatch.setattr(of_mmengine.CheckpointLoader, '_schemes', SCHEMES)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / MARK).exists()


@pytest.fixture
def harmful(here):
    """A checkpoint that runs a command."""
    torch.save(dict(state_dict={}, meta=Command()), here / 'a.pth')
    return here / 'a.pth'


def test_the_files_would_leave_a_mark(tmp_path, monkeypatch):
    """Else nothing would be shown below."""
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, meta=Command()), tmp_path / 'a.pth')
    read_checkpoint(tmp_path / 'a.pth', trust=True)
    assert (tmp_path / MARK).exists()


def student_cfg(work, **settings):
    cfg = Config.fromfile(STUDENT)
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.count': 8,
            'val_dataloader.dataset.count': 8,
            'env_cfg.dist_cfg.backend': 'gloo',
            'work_dir': str(work),
            'log_level': 'ERROR',
            **settings,
        }
    )
    return cfg


def teacher_of(path):
    return Teacher(str(STUDENT), str(path)).read_checkpoint()


def pretrained(path):
    settings = dict(type='Pretrained', checkpoint=str(path))
    return {'model.backbone.init_cfg': settings}


def address_of(path):
    """An address whose file was downloaded before, so that no one is asked."""
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, cache)
    return f'https://example.org/{path.name}'


def examine(path, **settings):
    """What the doctor says of a distillation."""
    cfg = student_cfg(path.parent, **settings)
    torch.save(build_model(cfg).state_dict(), path.parent / 'teacher.pth')
    cfg.model = dict(
        type='mmdet_rankkd.DistillClassifier',
        student=cfg.model,
        teacher=dict(config=str(STUDENT), checkpoint='teacher.pth'),
        logits=dict(type='mmdet_rankkd.ClsLogits'),
        losses=[dict(type='mmdet_rankkd.KendallRankLoss')],
    )
    findings = doctor.examine(cfg, images=0, batches=1)
    raise ValueError(findings)


#: Whatever opens a checkpoint, by what a user would call it.
CHECKPOINTS = {
    'a teacher': teacher_of,
    'rankkd export': lambda p: export_student(p, 'out.pth'),
    'rankkd convert': lambda p: convert_checkpoint(p, STUDENT, 'out.pth'),
    'a picture of a report': lambda p: load_model(
        Config.fromfile(STUDENT), str(p)
    ),
    'rankkd test': lambda p: launch.test(student_cfg(p.parent), str(p)),
    'rankkd train --resume': lambda p: launch.train(
        student_cfg(p.parent), resume=str(p)
    ),
    'load_from': lambda p: launch.train(
        student_cfg(p.parent, load_from=str(p))
    ),
    'Pretrained': lambda p: launch.train(
        student_cfg(p.parent, **pretrained(p))
    ),
    'Pretrained, an address': lambda p: launch.train(
        student_cfg(p.parent, **pretrained(address_of(p)))
    ),
    'load_from, an address': lambda p: launch.train(
        student_cfg(p.parent, load_from=address_of(p))
    ),
    'rankkd doctor, load_from': lambda p: examine(p, load_from=str(p)),
    'rankkd doctor, Pretrained': lambda p: examine(p, **pretrained(p)),
    'rankkd doctor, an address': lambda p: examine(
        p, **pretrained(address_of(p))
    ),
}


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_checkpoints(name, harmful, monkeypatch):
    monkeypatch.setattr(launch, 'leave', lambda cfg: None)
    before = {x.name for x in harmful.parent.iterdir()}
    with pytest.raises((ValueError, pickle.UnpicklingError)) as caught:
        CHECKPOINTS[name](harmful)
    assert 'posix.system' in str(caught.value)
    assert 'out.pth' not in {x.name for x in harmful.parent.iterdir()} - before


def test_a_config_in_a_checkpoint_that_is_resumed(here, monkeypatch):
    """MMEngine executes it, though the file holds texts and numbers alone."""
    monkeypatch.setattr(launch, 'leave', lambda cfg: None)
    cfg = student_cfg(here / 'work')
    cfg.train_cfg.max_epochs = 1
    text = f'import os\nos.system("touch {MARK}")'
    meta = dict(epoch=1, iter=1, seed=0, config=text)
    weights = build_model(cfg).state_dict()
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    torch.save(
        dict(state_dict=weights, meta=meta, message_hub=hub), here / 'a.pth'
    )
    launch.train(cfg, resume=str(here / 'a.pth'))


def test_a_checkpoint_of_a_sweep(harmful, here):
    (here / 'job').mkdir()
    config = here / 'student.py'
    student_cfg(here).dump(config)
    job = Job('a', 0, str(config), here / 'job', 'x', checkpoint=str(harmful))
    assert 'posix.system' in run_job(job)


def test_the_newest_checkpoint_of_a_folder(harmful, here):
    """It is no damage that could be passed over without a word."""
    (here / 'last_checkpoint').write_text(str(harmful))
    with pytest.raises(ValueError, match='posix.system'):
        instead_of_damaged(here)


@pytest.mark.parametrize('packed', [False, True])
def test_cifar(packed, here):
    folder = here / 'cifar-100-python'
    folder.mkdir()
    (folder / 'meta').write_bytes(pickle.dumps(Command(), 2))
    (folder / 'train').write_bytes(pickle.dumps(Command(), 2))
    if packed:
        with tarfile.open(here / 'cifar-100-python.tar.gz', 'w:gz') as tar:
            tar.add(folder, 'cifar-100-python')
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    with pytest.raises(ValueError, match='posix.system'):
        CIFAR100(data_root=str(here), md5=False)


def test_an_array_of_objects_in_a_cifar_file(here):
    """NumPy pickles objects inside of arrays."""
    folder = here / 'cifar-100-python'
    folder.mkdir()
    content = dict(data=np.array([Command()]), fine_labels=[0])
    names = dict(fine_label_names=['a'])
    (folder / 'meta').write_bytes(pickle.dumps(names, 2))
    (folder / 'train').write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ValueError, match='posix.system'):
        CIFAR100(data_root=str(here), md5=False)


def test_results(here):
    (here / 'result.json').write_bytes(pickle.dumps(Command()))
    with pytest.raises(ValueError):
        read_result(here / 'result.json')


@pytest.mark.parametrize(
    'text',
    [
        f'model = __import__("os").system("touch {MARK}")',
        f'import os\nmodel = os.system("touch {MARK}")',
        f'model = dict(type=[x for x in ().__class__.__base__.__subclasses__()'
        f' if os.system("touch {MARK}")])',
        f'model = f"{{open({MARK!r}, chr(119))}}"',
    ],
)
def test_the_config_in_a_checkpoint(text, here):
    with pytest.raises(ValueError):
        read_config_text(text)
    weights = build_model(Config.fromfile(STUDENT)).state_dict()
    torch.save(dict(state_dict=weights, meta=dict(cfg=text)), here / 'a.pth')
    facts = export_student(here / 'a.pth', here / 'out.pth')
    assert 'cannot be read' in facts['config']


COMMANDS = [
    dict(type='subprocess.Popen', args=['touch', MARK]),
    dict(type='os.system', command=f'touch {MARK}'),
    dict(type='subprocess.run', args=['touch', MARK]),
    dict(type='mmengine.utils.install_package', package='x'),
    dict(type='mmengine.Config.fromfile', filename='x.py'),
    dict(type='torch.load', f='a.pth', weights_only=False),
]


@pytest.mark.parametrize('command', COMMANDS, ids=lambda x: x['type'])
@pytest.mark.parametrize('nested', [False, True])
def test_types_that_are_commands(command, nested, here):
    """In a checkpoint's config, and in a teacher's in JSON or YAML."""
    cfg = Config.fromfile(STUDENT)
    weights = build_model(cfg).state_dict()
    model = cfg.model.to_dict()
    if nested:
        model['head'] = command
    else:
        model = command
    text = f'model = {model!r}'
    torch.save(dict(state_dict=weights, meta=dict(cfg=text)), here / 'a.pth')
    with pytest.raises(ValueError, match='could run commands'):
        export_student(here / 'a.pth', here / 'out.pth')
    (here / 'a.json').write_text(json.dumps(dict(model=model)))
    with pytest.raises(ValueError, match=f'{command["type"]}.*run commands'):
        load_config(str(here / 'a.json'))


@pytest.mark.parametrize('suffix', ['json', 'yaml', 'yml'])
def test_a_teacher_whose_config_is_no_program(suffix, here):
    cfg = Config.fromfile(STUDENT)
    path = here / f'teacher.{suffix}'
    cfg.dump(path)
    model = build_model(cfg)
    torch.save(dict(state_dict=model.state_dict()), here / 'teacher.pth')
    distiller = build(
        Config(
            dict(
                model=dict(
                    type='mmdet_rankkd.DistillClassifier',
                    student=cfg.model,
                    teacher=dict(config=str(path), checkpoint='teacher.pth'),
                    logits=dict(type='mmdet_rankkd.ClsLogits'),
                    losses=[dict(type='mmdet_rankkd.KendallRankLoss')],
                )
            )
        ).model
    )
    distiller.init_weights()
    found = distiller.teacher.model.state_dict()
    assert all(torch.equal(found[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize('name', ['faster-rcnn_r50', 'gfl_r50', 'rtmdet_tiny'])
def test_detectors_of_mmdetection_in_json(name, here):
    """None of their types is taken for a command."""
    path = {
        'faster-rcnn_r50': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'gfl_r50': 'gfl/gfl_r50_fpn_1x_coco.py',
        'rtmdet_tiny': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    }[name]
    cfg = load_config(f'mmdet::{path}')
    cfg.dump(here / 'a.json')
    again = load_config(str(here / 'a.json'))
    assert again.model.type == cfg.model.type


@pytest.mark.parametrize(
    'name, text, words',
    [
        (
            'a.yaml',
            '!!python/object/apply:os.system ["touch {}"]',
            'python/ob',
        ),
        ('a.json', '{{"_base_": "./evil.py"}}', 'cannot have a _base_'),
        ('a.yml', '_base_: ./evil.py', 'cannot have a _base_'),
    ],
)
def test_json_and_yaml_execute_nothing(name, text, words, here):
    (here / 'evil.py').write_text(f'open({MARK!r}, "w")')
    (here / name).write_text(text.format(MARK))
    with pytest.raises(ValueError, match=words):
        load_config(name)


def test_custom_imports_of_json(here, monkeypatch):
    (here / 'evil_module.py').write_text(f'open({MARK!r}, "w")')
    monkeypatch.syspath_prepend(here)
    imports = dict(imports=['evil_module'], allow_failed_imports=False)
    content = dict(custom_imports=imports, model=dict(type='X'))
    (here / 'a.json').write_text(json.dumps(content))
    assert load_config('a.json').model.type == 'X'
    assert 'evil_module' not in sys.modules


@pytest.mark.parametrize(
    'name', ['../x.png', '/etc/passwd', 'a/../../x.png', '..']
)
def test_names_of_images_stay_inside(name, here):
    root = here / 'set'
    (root / 'val').mkdir(parents=True)
    with pytest.raises(ValueError, match='is not inside of'):
        path_inside(root / 'val', name)
    content = dict(images=[dict(file_name=name)])
    (root / 'val.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='is not inside of'):
        read_digest(root, dict(val=1))
    assert path_inside(root, 'a/b.png') == (root / 'a/b.png').resolve()


def test_links_of_images_stay_inside(here):
    (here / 'set').mkdir()
    (here / 'secret.png').touch()
    (here / 'set/link.png').symlink_to(here / 'secret.png')
    with pytest.raises(ValueError, match='is not inside of'):
        path_inside(here / 'set', 'link.png')


CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
NAMES = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '</pre></details><script>alert(1)</script>',
    '&lt;script&gt;',
]


class Tags(HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ''

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def report_of(name):
    """A report with a name in each place that one can come to."""
    return Report(
        title=name,
        text=name,
        grids=[[[name, name], [name, '1.0']]],
        notes=f'{name}\n{name}',
        pictures=[Picture('picture', name, plt.figure(), name)],
        configs={name: Config(dict(classes=[name]))},
    )


@pytest.mark.parametrize('name', NAMES)
def test_a_report_escapes_names(name, here):
    page = Tags()
    page.feed(report_of(name).write(here / 'report.html').read_text())
    assert 'script' not in page.tags and page.tags.count('img') == 1
    assert not [k for k, _ in page.attributes if k.startswith('on')]
    assert page.text.count(name) >= 8


@pytest.mark.skipif(not CHROMIUM, reason='there is no Chromium')
def test_a_report_runs_no_name_in_a_browser(here):
    """What would run takes the title away, as an unescaped name does."""
    name = ''.join(NAMES).replace('alert(1)', 'document.title=`hit`')
    titles = []
    for text in (name, 'harmless'):
        page = report_of(text).write(here / 'report.html')
        if text == 'harmless':
            page.write_text(page.read_text() + name)
        command = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu']
        dom = subprocess.run(
            [*command, '--dump-dom', f'file://{page}'],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ, HOME=str(here)),
        ).stdout
        titles.append(re.search('<title>(.*?)</title>', dom).group(1))
    assert html.unescape(titles[0]) == name and titles[1] == 'hit'


def test_a_program_that_only_imports_the_package_is_left_alone():
    """How MMEngine opens checkpoints is changed by the tools only."""
    code = (
        'from mmengine.runner import checkpoint as c; '
        'before = getattr(c, "_safe_torch_load", None); '
        'import mmdet_rankkd; '
        'assert getattr(c, "_safe_torch_load", None) is before'
    )
    subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        check=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
