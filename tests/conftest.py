"""Fixtures: a COCO-style set of three classes and small detectors for it."""

import copy
import gc
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import Visualizer
from torch import nn

from mmdet_rankkd.ops import pairwise

from . import setups
from .helpers import (
    ROOT,
    USER_DATA,
    USER_DISTILL,
    save_teacher,
    write_cifar,
    write_coco_set,
)

#: A folder in memory, on Linux.
MEMORY = '/dev/shm'


def pytest_collection_modifyitems(items):
    """Modules that run whole programs take longest, so they start first."""
    long = (
        'test_coco_sample',
        'test_user_project',
        'test_demo',
    )
    items.sort(key=lambda item: item.path.stem not in long)


@pytest.fixture(scope='module', autouse=True)
def forget_other_runners():
    """Class names of the data of other modules' runners."""
    kinds = [Visualizer]
    for kind in kinds:
        kinds += kind.__subclasses__()
        kind._instance_dict.clear()


@pytest.fixture(scope='module', autouse=True)
def keep_what_was_imported():
    """MMEngine collects garbage for each data set, among all that is there."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='module', autouse=True)
def nothing_is_compiled(request):
    """But where that is tested: it takes longer than a short training."""
    tested = {'test_ops', 'test_losses', 'test_cuda.py'}
    with pytest.MonkeyPatch.context() as patch:
        if not tested & set(request.path.parts):
            patch.setattr(pairwise, 'MIN_PAIRS_TO_COMPILE', sys.maxsize)
        yield


@pytest.fixture(scope='session', autouse=True)
def configs_are_read_fast():
    """To read one and its bases takes 0.2 s: those that no test writes are
    read once, and the copy that MMEngine makes of each is in memory.
    """
    read = Config._file2dict
    folders = (str(ROOT / 'configs'), str(Path(mmdet.__file__).parent))

    def read_in_memory(*args, **kwargs):
        with pytest.MonkeyPatch.context() as patch:
            if os.access(MEMORY, os.W_OK):
                patch.setattr(tempfile, 'tempdir', MEMORY)
            return read(*args, **kwargs)

    read_once = cache(read_in_memory)

    def file2dict(filename, *args, **kwargs):
        if str(filename).startswith(folders):
            return copy.deepcopy(read_once(filename, *args, **kwargs))
        return read_in_memory(filename, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(file2dict))
        yield


@pytest.fixture
def no_random_weights(monkeypatch):
    """For networks that are only built: to draw their weights takes long, and
    so does the memory of CRD, which is drawn by ``torch.rand``.
    """
    monkeypatch.setattr(torch, 'rand', torch.zeros)
    for name in dir(nn.init):
        if name.endswith('_') and not name.startswith('_'):
            monkeypatch.setattr(nn.init, name, lambda x, *args, **kwargs: x)


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    """Folder with data, student.py, teacher.py, teacher.pth, distill.py."""
    folder = tmp_path_factory.mktemp('project')
    write_coco_set(folder / 'data')
    for name, model in (
        ('student', 'faster-rcnn_mobilenet-v2-half_fpn'),
        ('teacher', 'faster-rcnn_r50-quarter_fpn'),
    ):
        (folder / f'{name}.py').write_text(
            USER_DATA.format(root=ROOT, model=model, data=folder / 'data')
        )
    (folder / 'distill.py').write_text(USER_DISTILL.format(folder=folder))
    save_teacher(folder / 'teacher.py', folder / 'teacher.pth')
    return folder


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Function of a set-up: its teacher's checkpoint."""
    folder = tmp_path_factory.mktemp('teachers')

    @cache
    def path(name):
        setups.save_teacher(setups.SETUPS[name](), folder / f'{name}.pth')
        return folder / f'{name}.pth'

    return path


@pytest.fixture
def distill_cfg(project, tmp_path):
    """The user's distillation config."""
    cfg = Config.fromfile(project / 'distill.py')
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


@pytest.fixture
def student_cfg(project, tmp_path):
    """The user's plain student config."""
    cfg = Config.fromfile(project / 'student.py')
    cfg.work_dir = str(tmp_path / 'work_student')
    return cfg


@pytest.fixture(scope='session')
def cifar(tmp_path_factory):
    """Folder with a few random images in the form of CIFAR-100."""
    folder = tmp_path_factory.mktemp('cifar100')
    write_cifar(folder)
    return folder
