"""What the documentation says exists, compiles and runs."""

import ast
import inspect
import json
import re
import shlex
import shutil
import textwrap
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import mmdet
import pytest
import torch
import yaml
from mmengine.config import Config

from mmdet_rankkd import losses
from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.cli.main import main as rankkd
from mmdet_rankkd.experiments.table import read_table
from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    TRANSFORMS,
)
from mmdet_rankkd.structures import DistillBatch, LogitPair

from .helpers import ROOT, make_runner, save_teacher, write_coco_set
from .test_deploy.conftest import coco_set, save  # noqa: F401

PAGES = sorted(
    [
        *ROOT.glob('*.md'),
        *ROOT.glob('docs/**/*.md'),
        *ROOT.glob('configs/*/README.md'),
        *ROOT.glob('benchmarks/*.md'),
    ]
)
FENCE = re.compile(r'^( *)```(.*?)\n(.*?)^\1```$', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.*)$', re.MULTILINE)
#: Names of `mmdet_rankkd.` in the docs that a reader would write.
OF_THE_READER = {'MyLoss'}


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(path):
    """Text of a page without its code blocks."""
    return FENCE.sub('', path.read_text())


def blocks(path):
    """Language, title and code of each block of a page."""
    for match in FENCE.finditer(path.read_text()):
        _, info, code = match.groups()
        title = re.search(r'title="(.*?)"', info)
        lines = [x.removeprefix(match[1]) for x in code.splitlines()]
        yield info.split(' ')[0], title and title[1], '\n'.join(lines)


def commands(path):
    """Lines of the shell blocks of a page, without comments."""
    for language, _, code in blocks(path):
        if language == 'bash':
            yield from shell_lines(code)


def shell_lines(code):
    """Words of each line of a shell's text, without comments."""
    for line in code.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


@cache
def anchors(path):
    """Anchors of the headings of a page, as GitHub and MkDocs make them."""
    found = set()
    for heading in HEADING.findall(prose(path)):
        text = re.sub(r'[^\w\s-]', '', heading.strip().lower())
        found.add(re.sub(r'\s', '-', text))
    return found


def is_made(path):
    """Whether the site makes this page of the API from the source."""
    room = path.stem.replace('.', '/')
    return (
        path.parent == ROOT / 'docs/api'
        and (ROOT / 'mmdet_rankkd' / room / '__init__.py').is_file()
    )


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_links_and_pictures(path):
    for target in LINK.findall(prose(path)):
        if ':' in target:
            continue
        place, _, anchor = target.partition('#')
        file = (path.parent / place).resolve() if place else path
        assert file.exists() or is_made(file), target
        if anchor and file.exists():
            assert anchor in anchors(file), target


def test_every_page_is_in_the_navigation():
    site = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())

    def places(entry):
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [x for value in values for x in places(value)]

    named = set(places(site['nav']))
    docs = ROOT / 'docs'
    written = {
        str(p.relative_to(docs))
        for p in docs.glob('**/*.md')
        if 'results' not in p.parts
    }
    assert written <= named
    for room in (ROOT / 'configs').glob('*/README.md'):
        assert f'configs/{room.parent.name}.md' in named
    for place in named - written:
        assert (
            place.startswith('configs/')
            or is_made(docs / place)
            or place
            in ('contributing.md', 'changelog.md', 'security.md')
            + ('benchmarks.md',)
            or (docs / place).is_file()
        ), place


def targets():
    """Targets of the Makefile."""
    text = (ROOT / 'Makefile').read_text()
    return set(re.findall(r'^([a-z][\w-]*):', text, re.MULTILINE))


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_commands(path):
    """Scripts, their flags, targets, configs and tables are there."""
    for words in commands(path):
        for word in words:
            word = word.strip('$()')
            if re.match(r'(tools|benchmarks|tests|configs)/[\w/.-]+$', word):
                assert (ROOT / word).exists(), word
        if words[0] == 'make':
            goals = {x for x in words[1:] if '=' not in x}
            assert goals <= targets(), words
        verb = verb_of(words)
        if verb is None:
            continue
        flags = {x for p in verb.params for x in p.opts} | {'--help', '-h'}
        named = {x.split('=')[0] for x in words if x.startswith('-')}
        if '$(python' not in words and '$(rankkd' not in words:
            assert named <= flags, words
        after = words[words.index(OF_TABLES) + 1] if OF_TABLES in words else ''
        if re.fullmatch(r'[a-z]\w*', after):
            assert (ROOT / f'configs/sweeps/{after}.py').is_file(), words


#: The word before the name of a table.
OF_TABLES = 'sweep'


def verb_of(words):
    """The verb of `rankkd` that a command line names, itself or by a script.

    `python tools/sweep.py` becomes `rankkd sweep` in the words.
    """
    if words[0] == 'rankkd' and not words[1].startswith('-'):
        return rankkd.commands[words[1]]
    if words[0] == 'python' and words[1].startswith('tools/'):
        text = (ROOT / words[1]).read_text()
        _, name = re.search(
            r'from mmdet_rankkd\.cli(.*) import (\w+)', text
        ).groups()
        words[:2] = ['rankkd', name.replace('_', '-')]
        return rankkd.commands[words[1]]
    return None


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_python_compiles(path):
    for language, _, code in blocks(path):
        if language == 'python':
            ast.parse(code)


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_types_are_registered(path):
    registries = (MODELS, HOOKS, DATASETS, METRICS, TRANSFORMS)
    names = set(re.findall(r"'mmdet_rankkd\.([A-Z]\w+)'", path.read_text()))
    for name in names - OF_THE_READER:
        assert any(f'mmdet_rankkd.{name}' in x for x in registries), name


def test_configs_that_are_named_exist():
    stems = {p.stem for p in (ROOT / 'configs').rglob('*.py')}
    for path in PAGES:
        for name in re.findall(
            r'`(\w[\w-]*_[\w-]+_(?:coco|digits))`', prose(path)
        ):
            pair = f'kd_{name}'
            assert {name, pair} & stems or is_mmdets(name), (path, name)


def is_mmdets(name):
    """Whether MMDetection has a config of that name."""
    configs = Path(mmdet.__path__[0], '.mim/configs')
    return any(configs.glob(f'*/{name}.py'))


INTERVAL = re.compile(r'\[[+-][\d.]+, [+-][\d.]+\]')
DEVIATION = re.compile(r'[\d.]+ ± [\d.]+')
NUMBER = re.compile(r'\d+\.\d+')
#: Its intervals are those of `docs/figures/numbers.json`, as a test checks.
OF_FIGURES = ROOT / 'docs/figures.md'


def published(pattern):
    """What the pages of results say, each with the number before it."""
    text = '\n'.join(
        p.read_text() for p in (ROOT / 'docs/results').glob('*.md')
    )
    return {
        (NUMBER.findall(text[: x.start()][-40:])[-1:] or [''])[0] + x.group()
        for x in pattern.finditer(text)
    }


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_measured_figures_have_a_file(path):
    """Intervals and deviations are those of a page of results.

    These pages are made of the files in `results/`, as a test checks. What
    an interval is of is said before it, within a sentence.
    """
    if path == OF_FIGURES:
        return
    text = ' '.join(prose(path).replace('**', '').split())
    intervals = published(INTERVAL)
    for found in INTERVAL.finditer(text):
        said = text[: found.start()][-80:]
        means = NUMBER.findall(said)[-1:]
        assert means and means[0] + found.group() in intervals, (
            f'...{said}{found.group()} is on no page of results'
        )
    for line in path.read_text().replace('**', '').splitlines():
        figures = DEVIATION.findall(line)
        title = line.strip('| ').split(' |')[0]
        assert not figures or any(
            title == row or title.startswith(f'{row},')
            for row in rows_with(figures)
        ), f'{line!r} is on no page of results'


def rows_with(figures):
    """Titles of rows of published tables that have all of some figures."""
    lines = '\n'.join(
        p.read_text() for p in (ROOT / 'docs/results').glob('*.md')
    ).splitlines()
    return [
        line.strip('| ').split(' |')[0]
        for line in lines
        if all(f' {x} ' in line for x in figures)
    ]


def test_the_front_page_is_short():
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) <= 150
    config = next(c for x, _, c in blocks(ROOT / 'README.md') if x == 'python')
    assert len(config.splitlines()) - 1 <= 15


def test_every_loss_is_in_a_table():
    text = (ROOT / 'docs/losses.md').read_text()
    for name, kind in vars(losses).items():
        if (
            isinstance(kind, type)
            and issubclass(kind, DistillLoss)
            and f'mmdet_rankkd.{name}' in MODELS
        ):
            assert f'| `{name}` |' in text, name
    for folder in Path(losses.__path__[0]).glob('*/__init__.py'):
        assert f'<!-- losses: {folder.parent.name} -->' in text


def test_the_loss_alone():
    (code,) = (
        c for x, _, c in blocks(ROOT / 'docs/quickstart.md') if x == 'python'
    )
    names = {}
    exec(code, names)
    assert names['student_logits'].grad.isfinite().all()
    assert names['tau'].shape == (512,)


# What makes the trainings of the page short: few small images, one epoch,
# initial weights that need no download.
SHORT_DATA = [
    'param_scheduler=[]',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_dataloader.dataset.indices=2',
    'train_dataloader.dataset.pipeline.2.scale=(96,96)',
]
SHORT = ['train_cfg.max_epochs=1', 'train_cfg.val_begin=2', *SHORT_DATA]
SHORT_TEST = [
    f'{name}_dataloader.{setting}'
    for name in ('val', 'test')
    for setting in (
        'num_workers=0',
        'persistent_workers=False',
        'dataset.indices=1',
        'dataset.pipeline.1.scale=(96,96)',
    )
]


def test_your_own_data(tmp_path, monkeypatch):
    """The page, from the first file to the last command."""
    page = ROOT / 'docs/your-own-data.md'
    monkeypatch.chdir(tmp_path)
    write_coco_set(tmp_path / 'data/parts')
    shutil.copy('data/parts/train.json', 'data/parts/val.json')
    files = {t: c for _, t, c in blocks(page) if t}
    for name in ('my_teacher.py', 'my_student.py', 'my_distill.py'):
        text = re.sub(
            r"init_cfg=dict\(\s*checkpoint='https:.*?'\)",
            'init_cfg=None',
            files[name],
        )
        (tmp_path / name).write_text(text)
    assert len(files['my_distill.py'].splitlines()) - 1 <= 18
    student = load_config('my_student.py')
    assert student.model.backbone.depth == 18
    assert student.train_dataloader.dataset.ann_file == 'train.json'

    (first_try,) = shell_lines(files['a first try'])
    rankkd([*first_try[1:], *SHORT_DATA], standalone_mode=False)
    assert Path('work_dirs/try/epoch_1.pth').is_file()

    by_hand = load_config('my_distill.py')
    ran = [run(words) for words in shell_lines(files['train the teacher'])]
    (words,) = shell_lines(files['written for you'])
    ran.append(run([*words, '--no-doctor']))
    written = load_config('my_distill.py').to_dict()
    written['model']['teacher']['checkpoint'] = (
        'work_dirs/my_teacher/epoch_12.pth'
    )
    assert written == by_hand.to_dict()
    ran += [
        run(words)
        for words in shell_lines(files['check, train, test, export'])
    ]
    assert ran == ['train', 'distill', 'check', 'train', 'test', 'export']
    exported = read_checkpoint('student.pth')
    alone = make_runner(student, work_dir='alone', **NO_DATA).model
    assert set(exported['state_dict']) == set(alone.state_dict())
    assert exported['meta']['dataset_meta']['classes'][0] == 'bolt'

    names = {}
    exec(files['detect.py'], names)
    assert len(names['result'].pred_instances.scores.shape) == 1


def test_from_pascal_voc(tmp_path, monkeypatch):
    """The set of XML files becomes that which they were made of."""
    files = {t: c for _, t, c in blocks(ROOT / 'docs/your-own-data.md') if t}
    monkeypatch.chdir(tmp_path)
    write_coco_set(tmp_path / 'data/parts')
    path = Path('data/parts/train.json')
    content = json.loads(path.read_text())
    names = {x['id']: x['name'] for x in content['categories']}
    Path('voc').mkdir()
    for image in content['images']:
        page = ElementTree.Element('annotation')
        add(page, 'filename', image['file_name'])
        size = add(page, 'size')
        add(size, 'width', image['width'])
        add(size, 'height', image['height'])
        for found in content['annotations']:
            if found['image_id'] == image['id']:
                x, y, w, h = found['bbox']
                one = add(page, 'object')
                add(one, 'name', names[found['category_id']])
                box = add(one, 'bndbox')
                corners = dict(xmin=x, ymin=y, xmax=x + w, ymax=y + h)
                for name, value in corners.items():
                    add(box, name, value)
        ElementTree.ElementTree(page).write(f'voc/{image["id"]}.xml')
    path.unlink()
    exec(files['from_voc.py'], {})
    assert json.loads(path.read_text()) == content


def add(parent, name, text=''):
    """An element below another."""
    child = ElementTree.SubElement(parent, name)
    child.text = str(text)
    return child


def test_deploy(save, coco_set, tmp_path, monkeypatch):  # noqa: F811
    """The page's commands and files, of a student that was not trained."""
    for name in ('onnx', 'onnxruntime', 'safetensors'):
        pytest.importorskip(name)
    files = {t: c for _, t, c in blocks(ROOT / 'docs/deploy.md') if t}
    checkpoint = save('gfl')
    monkeypatch.chdir(tmp_path)
    Path('work_dirs/my_distill').mkdir(parents=True)
    shutil.copy(checkpoint, 'work_dirs/my_distill/epoch_12.pth')
    Path('data').mkdir()
    Path('data/parts').symlink_to(coco_set)
    for title in ('all files', 'card with the teacher'):
        (words,) = shell_lines(files[title])
        if '--teacher' in words:
            at = words.index('--teacher')
            teacher = ROOT / 'configs/digits/gfl_r50-quarter_fpn_digits.py'
            save_teacher(teacher, 'teacher.pth')
            words[at + 1 : at + 3] = [str(teacher), 'teacher.pth']
        rankkd(words[1:], standalone_mode=False)
    assert Path('student.md').read_text().startswith('# Model card: GFL')
    names = {}
    exec(files['detect_onnx.py'], names)
    assert len(names['found'].scores) > 0

    text = read_checkpoint(checkpoint)['meta']['cfg']
    Path('my_student.py').write_text(text)
    exec(files['from safetensors'], names)
    plain = read_checkpoint('student.pth')['state_dict']
    loaded = names['model'].state_dict()
    assert all(value.equal(loaded[name]) for name, value in plain.items())


def test_tensorboard_shows_the_losses(distill_cfg):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    page = blocks(ROOT / 'docs/your-own-data.md')
    (code,) = (c for _, title, c in page if title == 'TensorBoard')
    distill_cfg.merge_from_dict(dict(Config.fromstring(code, '.py')))
    # Those of one name in one process are one.
    distill_cfg.visualizer.name = 'tensorboard'
    distill_cfg.merge_from_dict(
        {f'{x}_{y}': None for x in ('val', 'test') for y in VALIDATION}
    )
    make_runner(distill_cfg).train()
    (folder,) = Path(distill_cfg.work_dir).glob('*/vis_data')
    events = EventAccumulator(str(folder)).Reload()
    shown = set(events.Tags()['scalars'])
    assert {'loss_kd', 'loss_rank', 'kendall_tau', 'loss_cls'} <= shown


VALIDATION = ('dataloader', 'cfg', 'evaluator')
#: A runner that only builds its model.
NO_DATA = {
    f'{split}_{part}': None
    for split in ('train', 'val', 'test')
    for part in VALIDATION
    if (split, part) != ('train', 'evaluator')
}
NO_DATA['optim_wrapper'] = NO_DATA['param_scheduler'] = None


def run(words):
    """Run a line of the page, made short; return the verb."""
    command, verb, *arguments = words
    assert command == 'rankkd'
    arguments = [x.replace('epoch_12', 'epoch_1') for x in arguments]
    if verb == 'check':
        arguments += ['--min-ap', '0']
    if verb not in ('distill', 'export'):
        arguments += ['--cfg-options', *SHORT, *SHORT_TEST]
    if 'my_distill.py' in arguments and verb != 'distill':
        arguments += [
            'model.teacher.checkpoint=work_dirs/my_teacher/epoch_1.pth'
        ]
    rankkd([verb, *arguments], standalone_mode=False)
    return verb


def test_the_recipe_of_a_loss():
    """CONTRIBUTING's example computes, and has types as lint asks for."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    code = re.search(
        r'^   ```python\n(.*?class MyLoss.*?)^   ```', text, re.S | re.M
    )[1]
    room = {
        '__package__': 'mmdet_rankkd.losses.logit',
        '__name__': 'mmdet_rankkd.losses.logit.my_loss',
    }
    try:
        exec(textwrap.dedent(code), room)
        student, teacher = torch.zeros(2, 3), torch.ones(2, 3)
        loss = room['MyLoss'](loss_weight=0.5)
        pair = LogitPair(student, teacher)
        assert loss.distill(DistillBatch(pair, loss)) == 0.5
    finally:
        MODELS.module_dict.pop('MyLoss', None)
    for function in (room['my_loss'], room['MyLoss'].rows):
        signature = inspect.signature(function)
        assert signature.return_annotation is torch.Tensor
        named = [p for n, p in signature.parameters.items() if n != 'self']
        assert all(p.annotation is not p.empty for p in named)


def test_the_example_of_a_table(tmp_path):
    """CONTRIBUTING's table is one: four rows more, of two columns."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    (code,) = re.findall(r'```python\n(title = .*?)```', text, re.DOTALL)
    (tmp_path / 'mine.py').write_text(code)
    table = read_table(str(tmp_path / 'mine.py'))
    assert list(table.rows) == [
        'teacher',
        'KD',
        *(f'KD + ranking, k={k}' for k in (0.5, 1, 2)),
    ]
    assert len(table.plan()) == 1 + 2 * 4
    assert len(table.comparisons()) == 3
