"""Images of a folder, with their sizes and without annotations."""

import cv2
import numpy as np
import pytest

from mmdet_rankkd.datasets import UnlabelledDataset
from mmdet_rankkd.datasets.unlabelled import find_images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'b').mkdir()
    cv2.imwrite(str(tmp_path / 'b/2.PNG'), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((5, 3, 3), np.uint8))
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / '.hidden.png').write_text('no image')
    (tmp_path / '.ipynb_checkpoints').mkdir()
    (tmp_path / '.ipynb_checkpoints/c.png').write_text('no image')
    return tmp_path


def test_finds_images_in_folders_below(folder):
    assert find_images(folder) == ['a.jpg', 'b/2.PNG']


def test_data_set(folder):
    data = UnlabelledDataset(data_prefix=dict(img=str(folder)), pipeline=[])
    assert len(data) == 2
    info = data.get_data_info(1)
    assert (info['width'], info['height']) == (6, 4)
    assert info['img_path'] == str(folder / 'b/2.PNG')
    assert 'instances' not in info
    assert data.metainfo == {}


def test_what_is_wrong(folder):
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        find_images(folder / 'nowhere')
    (folder / 'empty').mkdir()
    with pytest.raises(ValueError, match='no image in .*empty.*.jpg'):
        find_images(folder / 'empty')
    (folder / 'broken.png').write_text('no image')
    with pytest.raises(ValueError, match='broken.png is no image'):
        UnlabelledDataset(data_prefix=dict(img=str(folder)), pipeline=[])
