import argparse
import gzip
import json
import os
import pickle
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from mmdet_rankkd.checkpoint import read_checkpoint
from mmdet_rankkd.checkpoint.read import checkpoint_classes

from ..helpers import ROOT


def test_mmengine_types_are_read_without_pickled_code(tmp_path):
    path = tmp_path / 'a.pth'
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(
        dict(
            state_dict={},
            message_hub=dict(loss=buffer),
            score=np.float64(0.5),
            counts=np.arange(3),
        ),
        path,
    )
    loaded = read_checkpoint(str(path))
    assert loaded['message_hub']['loss'].mean() == 1.5
    assert loaded['score'] == 0.5
    # What mmengine 0.10.7 calls on --resume.
    assert torch.load(path)['counts'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('core', [b'numpy.core', b'numpy._core'])
def test_files_written_with_numpy_1_and_2(tmp_path, core):
    torch.save(dict(x=np.arange(3), y=np.float64(2)), tmp_path / 'a.pth')
    with (
        zipfile.ZipFile(tmp_path / 'a.pth') as old,
        zipfile.ZipFile(tmp_path / 'b.pth', 'w') as new,
    ):
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith('data.pkl'):
                assert b'multiarray' in data
                data = data.replace(b'numpy._core', b'numpy.core')
                data = data.replace(b'numpy.core', core)
            new.writestr(info, data)
    loaded = read_checkpoint(str(tmp_path / 'b.pth'))['state_dict']
    assert loaded['x'].tolist() == [0, 1, 2] and loaded['y'] == 2


def refused(path, *parts, trust=False, error=ValueError):
    """The message of an error, which must name the file and the parts."""
    with pytest.raises(error) as caught:
        read_checkpoint(str(path), trust)
    message = str(caught.value)
    assert path.name in message
    for part in parts:
        assert part in message, message
    return message


def test_bare_state_dict_and_errors(tmp_path):
    torch.save({'a': torch.ones(1)}, tmp_path / 'bare.pth')
    assert set(read_checkpoint(tmp_path / 'bare.pth')) == {'state_dict'}
    torch.save([1], tmp_path / 'list.pth')
    refused(tmp_path / 'list.pth', 'holds a list')
    torch.save(dict(state_dict=[1]), tmp_path / 'inner.pth')
    refused(tmp_path / 'inner.pth', 'holds a list under "state_dict"')
    refused(
        tmp_path / 'none.pth',
        f'does not exist (looked in {tmp_path})',
        error=FileNotFoundError,
    )
    with pytest.raises(FileNotFoundError, match="'' does not exist"):
        read_checkpoint('')
    with pytest.raises(ValueError, match='only files and http'):
        read_checkpoint('open-mmlab://resnet50')
    with pytest.raises(ValueError, match='a file or an address, got None'):
        read_checkpoint(None)


LFS = (
    'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n'
    'size 167287506\n'
)


@pytest.mark.parametrize('trust', [False, True])
@pytest.mark.parametrize(
    'content, what, advice',
    [
        (
            b'\n<!DOCTYPE html>\n<html><title>Sign\nin</title></html>',
            "an HTML page (its title: 'Sign\\nin')",
            'Download it again from the address of the file itself',
        ),
        (b'<html lang="en">', 'an HTML page', 'Download it again'),
        (b'<?xml version="1.0"?><Error/>', 'XML text', 'Download it again'),
        (
            json.dumps(dict(message='Not Found')).encode(),
            """JSON text, not a checkpoint; it begins with '{"message""",
            'Download it again',
        ),
        (
            b'404: Not Found',
            "plain text, not a checkpoint; it begins with '404: Not Found'",
            'Download it again',
        ),
        ('é'.encode() * 4000, 'plain text', 'Download it again'),
        (LFS.encode(), 'a git-lfs pointer', 'git lfs pull'),
        (b'', 'empty (0 bytes)', 'Download or copy it again'),
        (gzip.compress(b'weights', mtime=0), 'a gzip archive', 'Unpack it'),
        (bytes(range(128, 256)), 'first bytes: 80 81 82', ''),
        (bytes(600), 'first bytes: 00 00', 'Download or copy it again'),
        (pickle.dumps(dict(model={})), 'torch.save did not write', ''),
    ],
    ids=lambda x: None if isinstance(x, bytes) else str(x)[:20],
)
def test_files_of_other_kinds(tmp_path, content, what, advice, trust):
    """What the file is and what to do, and no advice to trust it."""
    path = tmp_path / 'epoch_12.pth'
    path.write_bytes(content)
    message = refused(path, what, advice, trust=trust)
    assert 'trust' not in message


def test_archives_and_programs(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as archive:
        archive.writestr('work/epoch_12.pth', 'x')
    refused(tmp_path / 'a.pth', 'zip archive', 'work/epoch_12.pth', 'Unpack')
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / 'b.pth')
    refused(tmp_path / 'b.pth', 'TorchScript', 'state_dict()', trust=True)


@pytest.mark.parametrize('trust', [False, True])
@pytest.mark.parametrize('is_zip', [True, False])
def test_every_cut_of_a_file_is_called_damaged(tmp_path, is_zip, trust):
    torch.save(
        {'a': torch.ones(100)},
        tmp_path / 'whole.pth',
        _use_new_zipfile_serialization=is_zip,
    )
    content = (tmp_path / 'whole.pth').read_bytes()
    path = tmp_path / 'cut.pth'
    for size in [16, *range(40, len(content), 29), len(content) - 1]:
        path.write_bytes(content[:size])
        message = refused(path, 'Download or copy it again', trust=trust)
        assert 'cut off' in message or 'damaged' in message
        assert '--trust' not in message


def test_folders(tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    kind = FileNotFoundError
    refused(folder, 'is a folder', 'holds no .pth file', error=kind)
    for epoch in (1, 2):
        (folder / f'epoch_{epoch}.pth').touch()
    refused(folder, 'epoch_1.pth, epoch_2.pth', error=kind)


def test_files_of_a_package():
    path = 'digits_cls/resnet14x2_digits-cls.pth'
    loaded = read_checkpoint(f'mmdet_rankkd::{path}')['state_dict']
    again = read_checkpoint(ROOT / 'configs' / path)['state_dict']
    assert all(torch.equal(loaded[k], again[k]) for k in again)
    with pytest.raises(FileNotFoundError, match='looked in .*digits_cls'):
        read_checkpoint('mmdet_rankkd::digits_cls/none.pth')
    with pytest.raises(FileNotFoundError, match="no package 'nothing'"):
        read_checkpoint('nothing::digits_cls/none.pth')


class Harmful:
    def __reduce__(self):
        return os.system, ('touch executed',)


@pytest.mark.parametrize('is_zip', [True, False])
def test_the_refused_global_is_named(tmp_path, is_zip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'a.pth'
    save = partial(torch.save, _use_new_zipfile_serialization=is_zip)
    save(dict(state_dict={}, opt=argparse.Namespace(lr=0.1)), path)
    refused(path, 'argparse.Namespace', 'command line of', '--trust')
    assert read_checkpoint(path, trust=True)['opt'].lr == 0.1
    save(dict(state_dict=nn.Linear(2, 2)), path)
    refused(path, 'nn.modules.linear.Linear', 'whole object', '--trust')
    save(dict(state_dict={}, x=Harmful()), path)
    message = refused(path, f'{os.name}.system', 'Do not trust it')
    assert '--trust' not in message
    assert not (tmp_path / 'executed').exists()


class Lookup:
    """Pickled as ``getattr(owner, name)``."""

    def __init__(self, owner, name):
        self.found = owner, name

    def __reduce__(self):
        return getattr, self.found


@pytest.mark.parametrize(
    'owner, name', [(HistoryBuffer, '__init__'), (torch.Tensor, 'mean')]
)
def test_only_statistics_of_the_history_are_looked_up(tmp_path, owner, name):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, x=Lookup(HistoryBuffer, 'mean')), path)
    assert read_checkpoint(path)['x'] is HistoryBuffer.mean
    torch.save(dict(state_dict={}, x=Lookup(owner, name)), path)
    message = refused(path, f"{name}') is refused")
    assert '--trust' not in message


def test_code_that_is_not_here(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, x=argparse.Namespace()), path)
    with zipfile.ZipFile(path) as old:
        content = {i: old.read(i) for i in old.infolist()}
    with zipfile.ZipFile(path, 'w') as new:
        for info, data in content.items():
            data = data.replace(b'cargparse\n', b'cmy_models\n')
            new.writestr(info, data)
    refused(path, 'my_models.Namespace', '--trust')
    refused(path, "No module named 'my_models'", 'PYTHONPATH', trust=True)


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Address of a folder that a server on this machine hands out."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    folder = tmp_path / 'served'
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_addresses(address, tmp_path):
    folder, url = address
    torch.save({'a': torch.ones(1)}, folder / 'good.pth')
    loaded = read_checkpoint(f'{url}/good.pth?download=1')['state_dict']
    assert loaded['a'] == 1
    (folder / 'good.pth').unlink()  # the second time, of the cache
    assert read_checkpoint(f'{url}/good.pth', trust=True)['state_dict']
    with pytest.raises(ValueError, match=r'good2.*be downloaded: .*404'):
        read_checkpoint(f'{url}/good2.pth')
    (folder / 'page.pth').write_text('<html><title>Sorry</title>')
    cached = tmp_path / 'cache/hub/checkpoints/page.pth'
    with pytest.raises(ValueError, match='an HTML page') as caught:
        read_checkpoint(f'{url}/page.pth')
    assert f'kept in {cached}; delete that' in str(caught.value)


def test_classes_of_old_and_new_checkpoints():
    for meta in (
        dict(dataset_meta=dict(classes=('a', 'b'))),
        dict(dataset_meta=dict(CLASSES=('a', 'b'))),
        dict(CLASSES=('a', 'b')),
    ):
        assert checkpoint_classes(dict(meta=meta)) == ['a', 'b']
    assert checkpoint_classes({}) is None


LEAN = """
import sys, types
package = types.ModuleType('mmdet_rankkd')
package.__path__ = [sys.argv[1]]
sys.modules['mmdet_rankkd'] = package  # without running its __init__
import mmdet_rankkd.checkpoint.read, mmdet_rankkd.checkpoint.load
loaded = {name.partition('.')[0] for name in sys.modules}
assert not loaded & {'mmdet', 'mmcv', 'torchvision'}, loaded
names = [x.split('.') for x in sys.modules if x.startswith('mmdet_rankkd.')]
rooms = {name[1] for name in names}
assert rooms == {'checkpoint', 'compat'}, rooms
assert 'mmengine.runner' not in sys.modules
"""


def test_what_the_package_imports_to_read_checkpoints():
    """It happens whenever mmdet_rankkd is imported, so it must be little."""
    subprocess.run(
        [sys.executable, '-c', LEAN, ROOT / 'mmdet_rankkd'], check=True
    )


def test_importing_the_package_is_enough_to_resume(tmp_path):
    """Torch reads MMEngine's training checkpoints from then on."""
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(dict(message_hub=dict(loss=buffer)), tmp_path / 'a.pth')
    code = 'import sys, torch, mmdet_rankkd; torch.load(sys.argv[1])'
    subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, tmp_path / 'a.pth'],
        check=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
