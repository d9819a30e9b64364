"""Pseudo-labels: what is kept, going on after a kill, mistakes."""

import json
import os
import shutil

import pytest
import torch
from click.testing import CliRunner
from mmdet.datasets import CocoDataset
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools.coco import COCO

from mmdet_rankkd.cli.main import main
from mmdet_rankkd.engine import pseudo_label as module
from mmdet_rankkd.engine.detect_images import Detector, as_line
from mmdet_rankkd.engine.pseudo_label import Truth, match, pseudo_label

from ..helpers import CLASSES


class Stop(Exception):
    """In place of a kill."""


@pytest.fixture
def images(project, tmp_path):
    shutil.copytree(project / 'data/img', tmp_path / 'img')
    return tmp_path / 'img'


@pytest.fixture
def truth(project):
    """Annotations, by the name of the image."""
    content = json.loads((project / 'data/train.json').read_text())
    found = {x['file_name']: [] for x in content['images']}
    names = {x['id']: x['file_name'] for x in content['images']}
    for x in content['annotations']:
        found[names[x['image_id']]].append(x)
    return found


@pytest.fixture
def seeing(monkeypatch, truth):
    """A detector that sees each object, and beside it what is not there.

    The objects have scores from 0.5 to 0.9, the rest 0.3. It counts batches.
    """
    calls = []

    def detect(self, batch):
        calls.append(len(batch))
        lines = []
        for item in batch:
            sample = item['data_samples']
            height, width = sample.ori_shape
            boxes = [[0, 0.3, 0.0, 0.0, 3.0, 3.0]]
            for index, x in enumerate(truth[sample.img_path.split('/')[-1]]):
                left, top, w, h = map(float, x['bbox'])
                corners = [left, top, left + w, top + h]
                score = 0.9 - 0.2 * (index + x['image_id'] % 2)
                boxes.insert(0, [x['category_id'] - 1, score, *corners])
            boxes.sort(key=lambda x: -x[1])
            lines.append(dict(size=[width, height], boxes=boxes))
        return lines

    monkeypatch.setattr(Detector, 'detect', detect)
    return calls


def run(project, images, out, **settings):
    settings.setdefault('threshold', 0.0)
    return pseudo_label(
        str(project / 'teacher.py'),
        str(project / 'teacher.pth'),
        str(images),
        str(out),
        **settings,
    )


def test_as_the_detector_sees_them(project, images, tmp_path):
    """By MMEngine's own test of the same images."""
    from mmengine.config import Config

    from ..helpers import make_runner

    out = tmp_path / 'out.json'
    facts = run(project, images, out)
    found = COCO(str(out))
    assert facts['images'] == len(found.imgs) == 6
    assert facts['boxes'] == len(found.anns) > 0
    assert not (tmp_path / 'out.json.progress').exists()

    cfg = Config.fromfile(project / 'teacher.py')
    cfg.work_dir = str(tmp_path / 'work')
    cfg.test_dataloader.batch_size = 1
    runner = make_runner(cfg)
    weights = torch.load(project / 'teacher.pth')['state_dict']
    runner.model.load_state_dict(weights)
    runner.model.eval()
    for data in runner.test_dataloader:
        with torch.no_grad():
            (sample,) = runner.model.test_step(data)
        name = sample.img_path.split('/')[-1]
        (image,) = (x for x in found.imgs.values() if x['file_name'] == name)
        assert (image['height'], image['width']) == sample.ori_shape
        mine = found.imgToAnns[image['id']]
        expected = sample.pred_instances
        assert len(mine) == len(expected)
        for x, box, label, score in zip(
            mine, expected.bboxes, expected.labels, expected.scores
        ):
            assert x['category_id'] == label + 1
            assert x['score'] == pytest.approx(score.item(), abs=1e-5)
            corners = torch.tensor(x['bbox'])
            corners[2:] += corners[:2]
            torch.testing.assert_close(corners, box, atol=0.02, rtol=0)


def test_read_by_mmdetection(project, images, tmp_path, seeing, truth):
    out = tmp_path / 'out.json'
    run(project, images, out, threshold=0.4)
    data = CocoDataset(
        ann_file=str(out),
        data_prefix=dict(img=str(images)),
        metainfo=dict(classes=CLASSES),
        pipeline=[],
    )
    assert len(data) == 6
    for index in range(6):
        info = data.get_data_info(index)
        expected = truth[info['img_path'].split('/')[-1]]
        boxes = sorted(x['bbox'] for x in info['instances'])
        left = [
            [x, y, x + w, y + h]
            for x, y, w, h in (x['bbox'] for x in expected)
        ]
        assert boxes == sorted(left)


def test_threshold_of_the_best_f1(project, images, tmp_path, seeing, truth):
    out = tmp_path / 'out.json'
    labelled = (str(project / 'data/train.json'), str(project / 'data/img'))
    facts = run(project, images, out, threshold=None, labelled=labelled)
    # All objects, and nothing of the rest, from the least object's score on.
    assert facts['threshold'] == 0.5
    assert facts['F1'] == facts['precision'] == facts['recall'] == 1
    assert facts['boxes'] == sum(map(len, truth.values()))
    assert sum(seeing) == 12
    content = json.loads(out.read_text())
    assert content['info']['threshold'] == 0.5
    assert min(x['score'] for x in content['annotations']) == 0.5


def test_categories_are_those_of_the_labelled_set(
    project, images, tmp_path, seeing
):
    content = json.loads((project / 'data/train.json').read_text())
    content['categories'] = [
        dict(id=7, name='washer'),
        dict(id=2, name='bolt'),
    ]
    old = {3: 7, 1: 2}
    content['annotations'] = [
        dict(x, category_id=old[x['category_id']])
        for x in content['annotations']
        if x['category_id'] in old
    ]
    (tmp_path / 'some.json').write_text(json.dumps(content))
    labelled = (str(tmp_path / 'some.json'), str(project / 'data/img'))
    out = tmp_path / 'out.json'
    facts = run(project, images, out, threshold=None, labelled=labelled)
    assert facts['classes left out'] == 'nut'
    made = json.loads(out.read_text())
    assert made['categories'] == content['categories']
    kept = [(x['category_id'], x['bbox']) for x in made['annotations']]
    expected = [(x['category_id'], x['bbox']) for x in content['annotations']]
    assert sorted(kept) == sorted(expected)


@pytest.mark.parametrize('batch_size', [1, 4])
def test_goes_on_from_wherever_it_was_stopped(
    project, images, tmp_path, seeing, monkeypatch, batch_size
):
    """Also within a line; with the same file at the end."""
    labelled = (str(project / 'data/train.json'), str(project / 'data/img'))
    settings = dict(threshold=None, labelled=labelled, batch_size=batch_size)
    whole = tmp_path / 'whole.json'
    run(project, images, whole, **settings)

    def stop(*args):
        raise Stop

    out = tmp_path / 'out.json'
    with monkeypatch.context() as patch:
        patch.setattr(module, 'annotate', stop)
        with pytest.raises(Stop):
            run(project, images, out, **settings)
    assert not out.exists()
    progress = tmp_path / 'out.json.progress'
    content = progress.read_bytes()
    ends = [i + 1 for i, x in enumerate(content) if x == ord('\n')]
    assert len(ends) == 13
    for cut in (len(content), ends[5], ends[5] + 3, ends[0], 10, 0):
        progress.write_bytes(content[:cut])
        seeing.clear()
        run(project, images, out, **settings)
        assert out.read_bytes() == whole.read_bytes()
        done = max(0, sum(x <= cut for x in ends) - 1)
        if done < 12:
            done -= done % batch_size
        assert sum(seeing) == 12 - done
        out.unlink()
    # A line that a dead disk left behind, with whole ones after it.
    progress.write_bytes(content[: ends[3]] + b'\0\0\n' + content[ends[4] :])
    run(project, images, out, **settings)
    assert out.read_bytes() == whole.read_bytes()


def test_nothing_is_mixed_or_overwritten(
    project, images, tmp_path, seeing, monkeypatch
):
    out = tmp_path / 'out.json'

    def stop(*args):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(module, 'annotate', stop)
        with pytest.raises(Stop):
            run(project, images, out)
    with pytest.raises(ValueError, match='another batch_size.*--force'):
        run(project, images, out, batch_size=2)
    shutil.copy(images / '1.png', images / '7.png')
    with pytest.raises(ValueError, match='another images'):
        run(project, images, out)
    (images / '7.png').unlink()
    facts = run(project, images, out, force=True, batch_size=2)
    assert facts['images'] == 6
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match='out.json exists'):
        run(project, images, out)
    assert out.read_bytes() == before
    run(project, images, out, force=True, threshold=0.95)
    assert json.loads(out.read_text())['annotations'] == []


def test_another_detector_is_told_apart(project, tmp_path):
    from ..helpers import save_teacher

    first = Detector(
        str(project / 'teacher.py'), str(project / 'teacher.pth'), False
    )
    again = Detector(
        str(project / 'teacher.py'), str(project / 'teacher.pth'), False
    )
    assert first.digest() == again.digest()
    again.model.roi_head.bbox_head.fc_cls.bias.data[0] += 1e-6
    assert first.digest() != again.digest()
    (tmp_path / 'surer.py').write_text(
        f"_base_ = '{project}/teacher.py'\n"
        'model = dict(test_cfg=dict(rcnn=dict(score_thr=0.4)))\n'
    )
    surer = Detector(
        str(tmp_path / 'surer.py'), str(project / 'teacher.pth'), False
    )
    assert first.digest() != surer.digest()
    save_teacher(project / 'teacher.py', tmp_path / 'nameless.pth', epoch=1)
    Detector(
        str(project / 'teacher.py'), str(tmp_path / 'nameless.pth'), False
    )


@pytest.mark.skipif(os.name != 'posix', reason='names are not bytes there')
def test_names_of_other_alphabets(project, images, tmp_path, seeing, truth):
    """In folders, and in bytes that are no UTF-8."""
    folder = images / 'à l’est/東'
    folder.mkdir(parents=True)
    names = ['à l’est/東/猫 1.png', os.fsdecode(b'stra\xdfe.png')]
    for number, name in enumerate(names, 1):
        try:
            (images / f'{number}.png').rename(images / name)
        except OSError:
            pytest.skip('this file system has UTF-8 only')
        truth[name.split('/')[-1]] = truth[f'{number}.png']
    out = tmp_path / 'out.json'
    facts = run(project, images, out)
    assert facts['images'] == 6 and facts['boxes'] > 6
    found = [x['file_name'] for x in json.loads(out.read_text())['images']]
    assert set(names) < set(found)
    assert all((images / name).is_file() for name in found)


def test_unreadable_images_are_left_out_and_named(
    project, images, tmp_path, seeing
):
    (images / '0.png').write_text('no picture')
    (images / 'empty.png').write_text('')
    out = tmp_path / 'out.json'
    facts = run(project, images, out, batch_size=3)
    assert facts['unreadable'] == '0.png, empty.png'
    assert facts['images'] == 6
    names = [x['file_name'] for x in json.loads(out.read_text())['images']]
    assert '0.png' not in names and len(names) == 6
    for path in images.glob('[1-6].png'):
        path.unlink()
    with pytest.raises(ValueError, match='none of the 2 images can be read'):
        run(project, images, tmp_path / 'none.json')


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(threshold=None), 'either a threshold'),
        (dict(labelled=('a', 'b')), 'either a threshold'),
        (dict(threshold=1.0), r'in \[0, 1\), got 1.0'),
    ],
)
def test_settings(project, images, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(project, images, tmp_path / 'out.json', **settings)
    assert list(tmp_path.iterdir()) == [images]


def test_labelled_sets(project, images, tmp_path, seeing):
    def labelled(**changes):
        content = json.loads((project / 'data/train.json').read_text())
        content.update(changes)
        (tmp_path / 'set.json').write_text(json.dumps(content))
        return dict(
            threshold=None, labelled=(str(tmp_path / 'set.json'), str(images))
        )

    def refuse(kind, message, **settings):
        with pytest.raises(kind, match=message):
            run(project, images, tmp_path / 'out.json', **settings)

    nowhere = dict(threshold=None, labelled=('nowhere.json', str(images)))
    refuse(FileNotFoundError, 'no labelled set nowhere.json', **nowhere)
    refuse(ValueError, 'no list of images', **labelled(images=None))
    refuse(
        ValueError,
        "none of the detector's classes.*bolt, nut, washer.*has screw",
        **labelled(categories=[dict(id=1, name='screw')]),
    )
    refuse(
        ValueError,
        'no threshold can be chosen.*no box is on an object',
        **labelled(annotations=[]),
    )
    settings = labelled()
    (images / '3.png').unlink()
    refuse(FileNotFoundError, '1 of the 6 images.*3.png', **settings)


def test_crowds_and_other_classes(project):
    ids = [1, 2, None]
    box = [10.0, 10.0, 30.0, 30.0]
    boxes = [[0, 0.9, *box], [1, 0.8, *box], [0, 0.7, 0.0, 0.0, 5.0, 5.0]]
    objects = [
        dict(bbox=[10, 10, 20, 20], category_id=1),
        dict(bbox=[0, 0, 50, 50], category_id=1, iscrowd=1),
    ]
    assert match(boxes, objects, ids).tolist() == [1, 0, -1]
    assert match(boxes, [], ids).tolist() == [0, 0, 0]
    assert match([], objects, ids).tolist() == []


def test_boxes_are_cut_at_the_borders():
    sample = DetDataSample(metainfo=dict(ori_shape=(20, 30)))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(
            [[-4.0, 2, 10.123, 40], [5, 5, 5.5, 9], [1, 1, 29, 19]]
        ),
        scores=torch.tensor([0.5, 0.9, 0.7]),
        labels=torch.tensor([2, 1, 0]),
        masks=torch.ones(3, 20, 30, dtype=torch.bool),
    )
    line = as_line(sample)
    assert line['size'] == [30, 20]
    assert line['boxes'] == [
        [0, 0.7, 1.0, 1.0, 29.0, 19.0],
        [2, 0.5, 0.0, 2.0, 10.12, 20.0],
    ]
    content, unreadable = module.annotate([('a.png', line)], [1, 2, 3], 0.6)
    assert unreadable == []
    coco = COCO()
    coco.dataset = dict(content, categories=[])
    coco.createIndex()
    (annotation,) = coco.anns.values()
    assert annotation['bbox'] == [1, 1, 28, 18]
    assert coco.annToMask(annotation).sum() == 600


def test_the_verb(project, images, tmp_path, seeing):
    arguments = [
        'pseudo-label',
        str(project / 'teacher.py'),
        str(project / 'teacher.pth'),
        str(images),
        '--out',
        str(tmp_path / 'out.json'),
        '--workers',
        '0',
    ]
    labelled = ['--labelled', str(project / 'data/train.json'), str(images)]
    done = CliRunner().invoke(main, [*arguments, *labelled])
    assert done.exit_code == 0, done.output
    assert 'threshold  0.5' in done.output
    done = CliRunner().invoke(main, [*arguments, *labelled])
    assert done.exit_code == 1
    assert 'out.json exists' in done.output and '--force' in done.output
    done = CliRunner().invoke(main, [*arguments, '--force'])
    assert 'either a threshold' in done.output


def test_truth_leaves_out_boxes_of_no_size(project, tmp_path):
    content = json.loads((project / 'data/train.json').read_text())
    content['annotations'][0]['bbox'][2] = 0
    (tmp_path / 'set.json').write_text(json.dumps(content))
    truth = Truth(str(tmp_path / 'set.json'), str(project / 'data/img'))
    assert sum(map(len, truth.objects.values())) == (
        len(content['annotations']) - 1
    )
