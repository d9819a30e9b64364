"""A report on any work dirs: its figures, its cache, its refusals."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdet_rankkd.cli.main import main as rankkd
from mmdet_rankkd.evaluation.tide import Found, Truth, judge
from mmdet_rankkd.experiments import explore
from mmdet_rankkd.experiments.explore import (
    evaluate,
    most_different,
    split_name,
    to_json,
    write_report,
)
from mmdet_rankkd.experiments.predictions import (
    EvalSet,
    find_checkpoint,
    find_config,
    read_eval_set,
    read_predictions,
)

from ..helpers import CLASSES, ROOT

EVIL = '</script><img src=x onerror=alert(1)>"\u2028'


@pytest.fixture
def work_dir(project, tmp_path):
    """A work dir with a config, random weights and a curve."""
    folder = tmp_path / 'runs/mine'
    folder.mkdir(parents=True)
    Config.fromfile(project / 'teacher.py').dump(folder / 'teacher.py')
    shutil.copy(project / 'teacher.pth', folder / 'epoch_1.pth')
    (folder / 'last_checkpoint').write_text('/moved/from/epoch_1.pth')
    scalars = folder / '2026/vis_data/scalars.json'
    scalars.parent.mkdir(parents=True)
    entries = [
        dict(step=1, lr=0.1, loss=2.0),
        dict(step=1, **{'coco/bbox_mAP': 0.25}),
    ]
    scalars.write_text('\n'.join(map(json.dumps, entries)))
    return folder


def read_data(path):
    text = path.read_text()
    start = text.index('type="application/json" id="data">')
    return json.loads(text[start:].split('>', 1)[1].split('</script>')[0])


def perfect(test_set):
    """Entries of COCO results that find every object."""
    return [
        dict(
            image_id=image,
            category_id=test_set.categories[label],
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=0.9,
        )
        for image, truth in zip(test_set.ids, test_set.truths)
        for (x1, y1, x2, y2), label in zip(truth.boxes.tolist(), truth.labels)
    ]


def test_a_checkpoint_is_run_once(work_dir, tmp_path, monkeypatch):
    out = tmp_path / 'report.html'
    before = {p: p.read_bytes() for p in work_dir.rglob('*') if p.is_file()}
    rankkd(['report', str(work_dir), '--out', str(out)], standalone_mode=False)
    (cache,) = set(work_dir.glob('*')) - set(before) - {work_dir / '2026'}
    assert cache.name.startswith('predictions_epoch_1_')
    assert all(p.read_bytes() == content for p, content in before.items())
    assert len(json.loads(cache.read_text())) > 0
    monkeypatch.setattr(explore, 'predict', lambda *_: cache)
    data = read_data(write_report([str(work_dir)], tmp_path / 'again.html'))
    assert data == read_data(out)
    assert data['images'] == 6 and data['objects'] == 12
    assert [x['name'] for x in data['classes']] == list(CLASSES)
    (run,) = data['runs']
    assert run['checkpoint'] == 'runs/mine/epoch_1.pth'
    assert run['config'] == 'runs/mine/teacher.py'
    assert run['curves'] == {
        'loss, training': [[1, 2.0]],
        'coco/bbox_mAP, validation': [[1, 0.25]],
    }
    with pytest.raises(FileExistsError, match='--force'):
        write_report([str(work_dir)], out)


def test_methods_and_seeds(work_dir, tmp_path):
    """Perfect predictions against none, over two seeds of each."""
    files, arguments = [], []
    test_set = read_eval_set(Config.fromfile(find_config(work_dir)))
    for name, entries in (('none', []), ('all', perfect(test_set))):
        for seed in (0, 1):
            folder = tmp_path / name / f'seed{seed}'
            shutil.copytree(work_dir, folder)
            config = Config.fromfile(folder / 'teacher.py')
            config.randomness = dict(seed=seed)
            config.dump(folder / 'teacher.py')
            files.append(tmp_path / f'{name}{seed}.json')
            files[-1].write_text(json.dumps(entries))
            arguments.append(str(folder))
    path = write_report(arguments, tmp_path / 'x.html', files, images=4)
    data = read_data(path)
    assert data['methods'] == ['none', 'all']
    assert [x['ap'] for x in data['classes']] == [[0, pytest.approx(100)]] * 3
    first, second = data['summary']
    assert (first['gain'], second['word']) == (None, 'helps')
    assert second['interval'] == pytest.approx([100, 100])
    # Missed at every threshold; found up to 0.9, and not at 0.95.
    assert [x[-1] for x in data['errors'][0]] == [12] * 19
    assert [x[-1] for x in data['errors'][1]] == [0] * 18 + [12]
    assert len(data['pictures']) == 4
    assert [x[6] for x in data['pictures'][0]['found'][1]] == ['right'] * 2
    assert all(run['checkpoint'] is None for run in data['runs'])
    with pytest.raises(ValueError, match='with seed 0; name methods'):
        write_report(arguments[:1] * 2, tmp_path / 'y.html', files[:2])
    with pytest.raises(ValueError, match='2 files of predictions for 1'):
        write_report(arguments[:1], tmp_path / 'y.html', files[:2])


def test_the_sample_of_the_browser_tests_is_such_data(work_dir, tmp_path):
    sample = runpy.run_path(str(ROOT / 'docs/extensions/report_sample.py'))
    file = tmp_path / 'found.json'
    test_set = read_eval_set(Config.fromfile(find_config(work_dir)))
    file.write_text(json.dumps(perfect(test_set)))
    path = write_report([str(work_dir)], tmp_path / 'x.html', [file])
    data, made = read_data(path), sample['make_data'](2)
    assert set(data) == set(made)
    for name in ('classes', 'summary', 'runs', 'pictures'):
        assert set(data[name][0]) == set(made[name][0]), name
    assert data['thresholds'] == made['thresholds']
    assert data['kinds'] == made['kinds']


def test_names_cannot_end_the_script():
    text = to_json([EVIL])
    assert '<' not in text and '>' not in text and '\u2028' not in text
    assert json.loads(text) == [EVIL]
    assert explore.PAGE.read_text().count('{{data}}') == 1
    assert 'innerHTML' not in explore.PAGE.read_text()


def test_what_is_missing_or_unclear_is_said(work_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match='no work dir'):
        find_config(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='no config'):
        find_config(tmp_path)
    (work_dir / 'other.py').write_text('')
    with pytest.raises(ValueError, match='other.py, teacher.py'):
        find_config(work_dir)
    assert find_checkpoint(work_dir).name == 'epoch_1.pth'
    (work_dir / 'last_checkpoint').unlink()
    shutil.copy(work_dir / 'epoch_1.pth', work_dir / 'epoch_2.pth')
    with pytest.raises(ValueError, match='epoch_1.pth, epoch_2.pth'):
        find_checkpoint(work_dir)
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        find_checkpoint(tmp_path)


def test_predictions_of_other_images_are_refused(tmp_path):
    boxes = np.array([[0.0, 0, 10, 10]])
    truth = Truth(boxes, np.array([0]), np.array([False]))
    test_set = EvalSet([7], ['7.png'], [truth], ['a'], [1])
    file = tmp_path / 'x.json'
    entry = dict(image_id=8, category_id=1, bbox=[0, 0, 5, 5], score=0.5)
    for wrong in ({}, dict(image_id=7, category_id=2)):
        file.write_text(json.dumps([{**entry, **wrong}]))
        with pytest.raises(ValueError, match='of this test set: KeyError'):
            read_predictions(file, test_set)
    file.write_text('{}')
    assert len(read_predictions(file, test_set)[0].scores) == 0


def test_other_classes_are_refused(work_dir, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(work_dir, other)
    config = Config.fromfile(other / 'teacher.py')
    config.test_dataloader.dataset.metainfo.classes = ('bolt', 'nut')
    config.dump(other / 'teacher.py')
    file = tmp_path / 'none.json'
    file.write_text('[]')
    with pytest.raises(ValueError, match='has other classes than'):
        write_report(
            [str(work_dir), str(other)], tmp_path / 'x.html', [file] * 2
        )


def test_ap_of_classes():
    """Two objects of a class, the surer detection false: by hand."""
    boxes = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    truth = Truth(boxes, np.array([0, 0]), np.zeros(2, bool))
    found = Found(
        np.array([[50.0, 0, 60, 10], [0, 0, 10, 10]]),
        np.array([0, 0]),
        np.array([0.9, 0.8]),
    )
    test_set = EvalSet([1], ['1.png'], [truth], ['a', 'b'], [1, 2])
    precision = evaluate(test_set, [found])
    # Precision 1/2 at the 51 recalls up to 1/2.
    assert precision[:, 0] == pytest.approx([100 * 0.5 * 51 / 101] * 10)
    assert np.isnan(precision[:, 1]).all()
    nothing = Found(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    precision = evaluate(test_set, [nothing])
    assert (precision[:, 0] == 0).all() and np.isnan(precision[:, 1]).all()


def test_images_that_methods_differ_on_come_first():
    box = np.array([[0.0, 0, 10, 10]])
    truths = [Truth(box, np.array([0]), np.array([False]))] * 3

    def run(*scores):
        found = [Found(box, np.array([0]), np.array([s])) for s in scores]
        judged = [judge(f, t) for f, t in zip(found, truths)]
        return explore.Run(
            '', 0, None, None, None, found, judged, None, 0.0, {}
        )

    one, other = run(0.5, 0.2, 0.9), run(0.5, 0.9, 0.5)
    assert most_different([one, other], truths) == [1, 2, 0]
    assert most_different([one], truths) == [1, 0, 2]


def test_names_of_methods():
    assert split_name('KD=a/b') == ('KD', Path('a/b'))
    assert split_name('x/kd/seed0')[0] == 'kd'
    assert split_name('x/kd')[0] == 'kd'
