"""CIFAR-100, ImageNet and the digits, on small files of the same form."""

import hashlib
import io
import pickle
import tarfile

import cv2
import numpy as np
import pytest

from mmdet_rankkd.datasets import CIFAR100, DigitsClassification, ImageNet
from mmdet_rankkd.datasets.cifar100 import ARCHIVE, FOLDER, ArrayUnpickler
from mmdet_rankkd.datasets.digits_classification import cut, long_tail

from ..helpers import write_cifar


def test_cifar_from_the_folder(cifar):
    data = CIFAR100(str(cifar), md5={})
    raw = pickle.loads((cifar / FOLDER / 'train').read_bytes())
    assert len(data) == 12
    assert len(CIFAR100(str(cifar), split='test', md5={})) == 8
    assert len(data.metainfo['classes']) == 100
    for i in (0, 11):
        item = data[i]
        assert item['gt_label'] == raw['fine_labels'][i]
        # Planes of red, green and blue, row by row.
        planes = raw['data'][i].reshape(3, 32, 32)
        np.testing.assert_array_equal(item['img'][..., 0], planes[0])
        np.testing.assert_array_equal(item['img'][..., 2], planes[2])
        assert item['sample_idx'] == i


def test_cifar_from_the_archive(cifar, tmp_path):
    with tarfile.open(tmp_path / ARCHIVE, 'w:gz') as tar:
        tar.add(cifar / FOLDER, FOLDER)
    content = (tmp_path / ARCHIVE).read_bytes()
    md5 = {ARCHIVE: hashlib.md5(content).hexdigest()}
    data = CIFAR100(str(tmp_path), md5=md5)
    other = CIFAR100(str(cifar), md5={})
    for a, b in zip(data, other):
        np.testing.assert_array_equal(a['img'], b['img'])
    assert [p.name for p in tmp_path.iterdir()] == [ARCHIVE]
    with pytest.raises(ValueError, match='has the MD5'):
        CIFAR100(str(tmp_path))


def test_cifar_from_folders_of_image_files(cifar, tmp_path):
    """The same images as PNG files, a folder a class."""
    whole = CIFAR100(str(cifar), md5=False)
    for name in whole.metainfo['classes']:
        (tmp_path / 'train' / name).mkdir(parents=True)
    for index in range(len(whole)):
        item = whole[index]
        name = whole.metainfo['classes'][item['gt_label']]
        path = tmp_path / f'train/{name}/{index:03d}.png'
        cv2.imwrite(str(path), item['img'][..., ::-1])
    data = CIFAR100(str(tmp_path))
    assert data.metainfo['classes'] == whole.metainfo['classes']
    order = sorted(range(12), key=lambda i: (whole[i]['gt_label'], i))
    assert len(data) == 12
    for item, index in zip(data, order):
        assert item['gt_label'] == whole[index]['gt_label']
        np.testing.assert_array_equal(item['img'], whole[index]['img'])
    (name, *_) = whole.metainfo['classes']
    cv2.imwrite(
        str(tmp_path / f'train/{name}/z.png'), np.zeros((4, 5, 3), np.uint8)
    )
    with pytest.raises(ValueError, match='has 5 x 4 pixels'):
        CIFAR100(str(tmp_path))
    path.write_bytes(b'not an image')
    (tmp_path / f'train/{name}/z.png').unlink()
    with pytest.raises(ValueError, match=f'{path.name} cannot be read as an'):
        CIFAR100(str(tmp_path))
    path.unlink()
    # What file managers leave is no image and no class.
    (tmp_path / f'train/{name}/.DS_Store').write_bytes(b'not an image')
    (tmp_path / 'train/.cache').mkdir()
    assert len(CIFAR100(str(tmp_path))) == 11
    (tmp_path / 'train' / 'another').mkdir()
    with pytest.raises(ValueError, match='has 101 folders of classes'):
        CIFAR100(str(tmp_path))


def test_cifar_hashes_from_the_command_line(cifar):
    with pytest.raises(TypeError, match="md5 must be a dict .* got '{}'"):
        CIFAR100(str(cifar), md5='{}')


def test_cifar_as_python_2_wrote_it():
    """Bytes strings, NumPy arrays under their old names."""
    pixels = bytes(range(256)) * 12
    data = (
        b'\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n'
        b'(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01M\x00\x0c\x86'
        b'cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNN'
        b'J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00'
        + pixels
        + b'tbU\x0bfine_labels](K\x05eu.'
    )
    content = ArrayUnpickler(io.BytesIO(data), encoding='latin1').load()
    assert content['fine_labels'] == [5]
    assert content['data'].shape == (1, 3072)
    assert content['data'].tobytes() == pixels


class Harmful:
    def __reduce__(self):
        return print, ('executed',)


def test_cifar_refuses_code_and_damage(tmp_path, capsys):
    write_cifar(tmp_path)
    with pytest.raises(ValueError, match='has the MD5'):
        CIFAR100(str(tmp_path))
    file = tmp_path / FOLDER / 'train'
    file.write_bytes(pickle.dumps(dict(data=Harmful())))
    with pytest.raises(ValueError, match='no CIFAR file needs'):
        CIFAR100(str(tmp_path), md5={})
    file.write_bytes(b'')
    with pytest.raises(ValueError, match='cannot be read'):
        CIFAR100(str(tmp_path), md5={})
    file.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match='no file of CIFAR-100'):
        CIFAR100(str(tmp_path), md5={})
    assert 'executed' not in capsys.readouterr().out


def test_cifar_of_another_kind(cifar, tmp_path):
    """Web pages, cut files, CIFAR-10: named, with what is in them."""
    (tmp_path / ARCHIVE).write_text('<html>')
    with pytest.raises(ValueError, match=r'cannot be read \(6 bytes'):
        CIFAR100(str(tmp_path), md5={})
    with tarfile.open(tmp_path / ARCHIVE, 'w:gz') as tar:
        tar.add(cifar / FOLDER / 'meta', f'{FOLDER}/meta')
    with pytest.raises(ValueError, match=f'KeyError.*{FOLDER}/train'):
        CIFAR100(str(tmp_path), md5={})
    write_cifar(tmp_path)
    file = tmp_path / FOLDER / 'train'
    content = file.read_bytes()
    for size in range(0, len(content), len(content) // 40):
        file.write_bytes(content[:size])
        with pytest.raises(ValueError, match='train cannot be read'):
            CIFAR100(str(tmp_path), md5={})
    file.write_bytes(pickle.dumps(dict(data=[], labels=[])))
    with pytest.raises(ValueError, match='no file of CIFAR-100.*labels'):
        CIFAR100(str(tmp_path), md5={})


def test_cifar_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='cs.toronto.edu'):
        CIFAR100(str(tmp_path))
    with pytest.raises(ValueError, match="'train' or 'test'"):
        CIFAR100(str(tmp_path), split='val')


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    """Two folders of classes, and a list of validation images."""
    folder = tmp_path_factory.mktemp('imagenet')
    image = np.zeros((20, 30, 3), np.uint8)
    for name, count in (('n01440764', 2), ('n01443537', 3)):
        (folder / 'train' / name).mkdir(parents=True)
        for i in range(count):
            path = folder / 'train' / name / f'{name}_{i}.JPEG'
            path.write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
    (folder / 'train/n01440764/notes.txt').write_text('no image')
    (folder / 'train/n01440764/.n01440764_0.JPEG').write_text('no image')
    # It would be the first class, and move the others.
    (folder / 'train/.ipynb_checkpoints').mkdir()
    (folder / 'val').mkdir()
    (folder / 'val.txt').write_text('a b.JPEG 1\nc.JPEG 0\n\n')
    return folder


def test_imagenet_folders(imagenet):
    data = ImageNet(str(imagenet))
    labels = [data.get_data_info(i)['gt_label'] for i in range(len(data))]
    assert labels == [0, 0, 1, 1, 1]
    assert data.metainfo['classes'] == ('n01440764', 'n01443537')
    assert data.get_data_info(2)['img_path'].endswith('n01443537_0.JPEG')


def test_imagenet_list(imagenet):
    data = ImageNet(
        str(imagenet), data_prefix=dict(img='val'), ann_file='val.txt'
    )
    found = [data.get_data_info(i) for i in range(len(data))]
    assert [x['gt_label'] for x in found] == [1, 0]
    assert found[0]['img_path'] == str(imagenet / 'val/a b.JPEG')


def test_imagenet_errors(imagenet, tmp_path):
    with pytest.raises(FileNotFoundError, match='set data_root'):
        ImageNet(str(tmp_path))
    with pytest.raises(ValueError, match='no images in the folders in'):
        ImageNet(str(imagenet), data_prefix=dict(img='val'))
    with pytest.raises(FileNotFoundError, match='ann_file'):
        ImageNet(str(imagenet), ann_file='missing.txt')
    (imagenet / 'bad.txt').write_text('a.JPEG 1\nb.JPEG cat\n')
    with pytest.raises(ValueError, match='line 2'):
        ImageNet(str(imagenet), ann_file='bad.txt')
    (imagenet / 'bad.txt').write_text('a.JPEG 1\nb.JPEG 2\n')
    metainfo = dict(classes=('tench', 'goldfish'))
    with pytest.raises(ValueError, match='line 2: class 2, .* 2 classes'):
        ImageNet(str(imagenet), ann_file='bad.txt', metainfo=metainfo)
    (imagenet / 'bad.txt').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(ValueError, match='not a list in text'):
        ImageNet(str(imagenet), ann_file='bad.txt')
    (imagenet / 'bad.txt').write_text('')
    with pytest.raises(ValueError, match='no images in .*bad.txt'):
        ImageNet(str(imagenet), ann_file='bad.txt')


def test_digits():
    data = DigitsClassification(count=400)
    labels = {data.get_data_info(i)['gt_label'] for i in range(400)}
    assert labels <= set(range(80)) and len(labels) > 70
    assert data[0]['img'].shape == (32, 32, 3)
    assert data[0]['img'].dtype == np.uint8
    again = DigitsClassification(count=400)
    for i in (0, 399):
        np.testing.assert_array_equal(data[i]['img'], again[i]['img'])
    val = DigitsClassification('val', count=80)
    assert len(val) == 80
    assert not np.array_equal(val[0]['img'], data[0]['img'])
    with pytest.raises(ValueError, match="'train' or 'val'"):
        DigitsClassification('test')


def test_cut():
    """The box in the middle, its surroundings a tenth on each side."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 10:20] = 255
    part = cut(image, (10, 20, 10, 20))
    ink = part[..., 0] > 127
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert (rows[0], rows[-1]) == (3, 28)
    assert abs(columns[0] - 9) <= 1 and abs(columns[-1] - 22) <= 1
    # At the border, the border's colour goes on.
    image[:] = 7
    assert (cut(image, (54, 0, 10, 10)) == 7).all()


def test_digits_with_a_long_tail():
    """As many images, of the same people, ten times as many of one class."""
    data = DigitsClassification(count=640, imbalance=10)
    counts = np.bincount(
        [data[i]['gt_label'] for i in range(len(data))], minlength=80
    )
    np.testing.assert_array_equal(counts, long_tail(640, 10))
    assert counts.sum() == 640
    falling = np.sort(counts)[::-1]
    shares = 10 ** -np.linspace(0, 1, 80)
    assert np.abs(falling - 640 * shares / shares.sum()).max() <= 1
    # Neither digits (in tens of eight colours) nor colours go with it.
    table = counts.reshape(10, 8)
    assert np.ptp(table.mean(1)) < 8 and np.ptp(table.mean(0)) < 8
    first = DigitsClassification(count=20)[0]
    np.testing.assert_array_equal(data[0]['img'], first['img'])


def test_tails_that_are_refused():
    with pytest.raises(ValueError, match='1 or more, got 0.5'):
        DigitsClassification(imbalance=0.5)
    with pytest.raises(ValueError, match='rarest class no image of 640'):
        DigitsClassification(count=640, imbalance=1000)
