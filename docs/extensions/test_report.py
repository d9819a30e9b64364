"""The page of `rankkd report` in a real browser: `make test-docs`.

Skipped where no Chromium is. The page is written by the package's own
function, of data made by hand: neither MMDetection nor a training is needed.
"""

import base64
import importlib.util
import struct
import zlib
from pathlib import Path

import pytest
from test_site import in_browser, luminance

ROOT = Path(__file__).resolve().parents[2]
EVIL = ['</script><script>hit()</script>', '"><img src=x onerror=hit()>']
CLASSES = [*EVIL, 'dog']
KINDS = (
    'right',
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
    'missed',
)

pytestmark = in_browser


def load(name):
    """A module of the package without the package."""
    path = ROOT / f'mmdet_rankkd/experiments/explore/{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def png(red, size=20):
    """A square of one colour, in base64; browsers look at the content."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return (
            struct.pack('>I', len(content))
            + kind
            + content
            + struct.pack('>I', check)
        )

    head = struct.pack('>IIBBBBB', size, size, 8, 2, 0, 0, 0)
    rows = (b'\0' + bytes((red, 60, 60)) * size) * size
    content = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
    content += chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return base64.b64encode(content).decode()


def steps(*scores):
    """How many of the scores are above each of 101 limits."""
    return [sum(s >= i / 100 for s in scores) for i in range(101)]


def method(name, seeds, **scores):
    counts = {kind: steps(*scores.get(kind, ())) for kind in KINDS}
    counts['missed'] = [2 - x for x in steps(*scores['right'])]
    file = dict(name='a.py', link='work/a%20b/a.py')
    runs = [dict(seed=s, ap=10.0, config=file, checkpoint=file) for s in seeds]
    return dict(name=name, runs=runs, counts=counts)


def picture(number, sure):
    """An object that the first finds, and the second with a low score."""
    return dict(
        file=f'{number:04d} {EVIL[1]}',
        size=[20, 20],
        objects=[[2, 2, 8, 8, 0, 0], [12, 12, 6, 6, 2, 0]],
        found=[
            [[2, 2, 8, 8, 0, 0.9, 0, 0], [12, 12, 6, 6, 2, 0.8, 0, 1]],
            [[2, 2, 8, 8, 0, sure, 0, 0], [12, 12, 6, 6, 1, 0.7, 1, 1]],
        ],
        reached=[
            [[0.9, 0.8], [-1, -1], [-1, -1]],
            [[sure, -1], [-1, 0.7], [-1, -1]],
        ],
    )


def make_data(count=3):
    sure = [0.95, 0.4, 0.2]
    points = [[10, 1.0], [20, 3.0], [30, 2.0]]
    return dict(
        images=count,
        total=count,
        score=0.3,
        leastScore=0.05,
        classes=CLASSES,
        objects=[5, 0, 7],
        methods=[
            method(EVIL[0], [0, 1], right=[0.9, 0.8]),
            method('second', [0, 1], right=[0.4], classification=[0.7]),
        ],
        overall=[
            dict(
                name=name,
                values=[[10.0, 9.0, 11.0], [12.0, 11.0, 13.0]],
                gains=[[0.0, 0.0, 0.0], [2.0, -0.5, 4.5]],
            )
            for name in ('AP', 'AP50', 'AP75')
        ],
        perClass=[
            dict(
                values=[[first, None, None], [second, None, None]],
                gains=[[0.0, None, None], [second - first, None, None]],
            )
            if first is not None
            else dict(values=[None, None], gains=[None, None])
            for first, second in ((30.0, 35.0), (None, None), (40.0, 10.0))
        ],
        curves={
            'val/coco/bbox_mAP': [
                [0, 0, points],
                [0, 1, [[x, y + 1] for x, y in points]],
                [1, 0, [[x, y + 4] for x, y in points]],
            ],
            'train/loss': [[0, 0, points]],
        },
        pictures=[picture(i, sure[i % 3]) for i in range(count)],
    )


@pytest.fixture
def open_page(browser, tmp_path):
    """Function that writes a page and opens it."""
    contexts = []

    def open_page(data, width=1280):
        file = tmp_path / 'report.html'
        with file.open('wb') as out:
            reds = (png(i % 250) for i in range(len(data['pictures'])))
            load('template').write(out, data, reds)
        context = browser.new_context(viewport=dict(width=width, height=900))
        contexts.append(context)
        page = context.new_page()
        page.wrong, page.foreign = [], []
        page.on('pageerror', lambda x: page.wrong.append(str(x)))
        page.on(
            'console',
            lambda x: (
                page.wrong.append(x.text) if x.type == 'error' else None
            ),
        )
        page.on(
            'request',
            lambda x: (
                None
                if x.url.startswith(('file:', 'data:'))
                else page.foreign.append(x.url)
            ),
        )
        page.expose_function('hit', lambda: page.wrong.append('hit'))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page):
    """The page of three pictures; nothing on it went wrong."""
    page = open_page(make_data())
    yield page
    assert not page.wrong and not page.foreign


def slide(page, score):
    page.focus('#score')
    page.evaluate(
        'x => { const s = document.getElementById("score"); s.value = x;'
        ' s.dispatchEvent(new Event("input")) }',
        round(100 * score),
    )
    page.wait_for_function(
        f'document.getElementById("shown").value == "{score:.2f}"'
    )


def boxes(page):
    """Detections and missed objects of each panel."""
    return page.evaluate(
        '[...document.querySelectorAll("canvas")].map('
        'x => [Number(x.dataset.boxes), Number(x.dataset.missed)])'
    )


def cells(page, table):
    return page.evaluate(
        'id => [...document.querySelectorAll(`#${id} tbody tr`)].map('
        'row => [...row.cells].map(cell => cell.textContent))',
        table,
    )


def test_names_are_text_and_nothing_else(page):
    for name in CLASSES:
        assert name in page.inner_text('#classes')
    assert EVIL[0] in page.inner_text('#overall')
    assert EVIL[1] in page.inner_text('#place')
    assert page.locator('img[src="x"]').count() == 0
    assert page.locator('script').count() == 2 + 3


def test_the_slider_redraws_boxes_and_counts(page):
    before = page.evaluate(
        'document.querySelectorAll("canvas")[2].toDataURL()'
    )
    assert boxes(page) == [[0, 0], [2, 0], [2, 0]]
    assert cells(page, 'kinds')[0][1:] == ['2', '1']
    slide(page, 0.75)
    assert boxes(page) == [[0, 0], [2, 0], [1, 1]]
    after = page.evaluate('document.querySelectorAll("canvas")[2].toDataURL()')
    assert before != after
    slide(page, 0.85)
    assert boxes(page) == [[0, 0], [1, 1], [1, 1]]
    found = {row[0]: row[1:] for row in cells(page, 'kinds')}
    assert found['right'] == ['1', '0'] and found['wrong class'] == ['0', '0']
    assert found['missed'] == ['1', '2']


def test_the_slider_by_keys(page):
    page.focus('#score')
    place = page.inner_text('#place')
    page.keyboard.press('ArrowRight')
    page.wait_for_function('document.getElementById("shown").value == "0.31"')
    page.keyboard.press('Home')
    page.wait_for_function('document.getElementById("shown").value == "0.05"')
    assert page.inner_text('#place') == place


def test_boxes_are_where_they_belong(page):
    """The picture's colour inside of a box, and a line at its edge."""
    page.wait_for_function('images.get(0).complete')
    read = """([x, y]) => {
        const c = document.querySelectorAll('canvas')[1];
        const at = v => Math.round(v / 20 * c.width);
        const pen = c.getContext('2d');
        return [...pen.getImageData(at(x), at(y), 1, 1).data]}"""
    red, green, blue, _ = page.evaluate(read, [6, 8])
    assert (red, green, blue) == (0, 60, 60)
    assert page.evaluate(read, [10, 6])[:3] != [0, 60, 60]
    assert page.evaluate(read, [15, 5])[:3] == [0, 60, 60]


def test_differences_are_marked(page):
    (first,) = page.locator('#said li').all_inner_texts()
    assert first == f'≠ dog: {EVIL[0]} found, second wrong class'
    slide(page, 0.75)
    (first,) = page.locator('#said li').all_inner_texts()
    assert first.endswith('found, second missed')


def test_which_pictures_are_shown(page):
    assert page.locator('#thumbs button').count() == 3
    slide(page, 0.5)
    page.select_option('#class', '0')
    page.select_option('#which', 'differs')
    assert page.locator('#thumbs button').count() == 2
    assert page.inner_text('#place').startswith('0001')
    page.select_option('#which', 'classification')
    assert page.locator('#thumbs button').count() == 0
    assert 'no such picture' in page.inner_text('#place')
    page.select_option('#class', '1')
    assert page.locator('#thumbs button').count() == 3


def test_pictures_by_keys(page):
    page.keyboard.press('ArrowLeft')
    assert page.inner_text('#place').endswith('1 of 3')
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowRight')
    assert page.inner_text('#place').endswith('3 of 3')
    assert page.locator('#thumbs [aria-current]').count() == 1
    assert page.is_disabled('#next') and page.is_enabled('#back')


def test_the_table_is_sorted(page):
    def column(index):
        return [row[index] for row in cells(page, 'classes')]

    def press(index):
        page.locator('#classes th button').nth(index).focus()
        page.keyboard.press('Enter')

    assert column(1) == ['5', '0', '7']
    press(1)
    assert column(1) == ['7', '5', '0']
    press(4)
    assert column(4) == ['+5.0', '−30.0', '–']
    press(4)  # the focus stays, and what is not there stays last
    assert column(4) == ['−30.0', '+5.0', '–']
    head = page.locator('#classes th').nth(4)
    assert head.get_attribute('aria-sort') == 'ascending'
    press(0)
    assert column(0) == [EVIL[1], EVIL[0], 'dog']
    page.fill('#search', 'DOG')
    assert column(0) == ['dog']


def test_intervals(page):
    first, second = cells(page, 'overall')
    assert first[1:3] == ['10.0 [9.0, 11.0]', '']
    assert second[1:3] == ['12.0 [11.0, 13.0]', '+2.0 [−0.5, +4.5]']


def test_curves_are_read_by_pointer_and_keys(page):
    page.locator('#plot').scroll_into_view_if_needed()
    place = page.locator('#plot').bounding_box()
    page.mouse.move(place['x'] + 60, place['y'] + 100)
    said = page.inner_text('#readout')
    assert 'iteration 10' in said and '1.5 (1 to 2)' in said
    assert 'second 5' in said
    page.mouse.move(place['x'] + place['width'] / 2, place['y'] + 100)
    assert 'iteration 20' in page.inner_text('#readout')
    page.focus('#plot')
    picture = page.inner_text('#place')
    page.keyboard.press('ArrowRight')
    assert 'iteration 30' in page.inner_text('#readout')
    assert page.inner_text('#place') == picture
    page.select_option('#curve', 'train/loss')
    assert 'second' not in page.inner_text('#readout')


def test_links(page):
    page.click('summary')
    link = page.locator('#runs a').first
    assert link.get_attribute('href') == 'work/a%20b/a.py'


@pytest.mark.parametrize('width', [1280, 390])
def test_it_fits_the_screen(open_page, width):
    page = open_page(make_data(), width)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert not page.wrong


def test_colour_schemes_and_print(page):
    page.emulate_media(color_scheme='dark')
    assert luminance(page) < 80
    page.emulate_media(color_scheme='light')
    assert luminance(page) > 220
    page.emulate_media(media='print', color_scheme='dark')
    assert luminance(page) > 220
    for hidden in ('#score', '#thumbs', '#search', '#tools'):
        assert not page.is_visible(hidden)
    for shown in ('#shown', '#overall', '#kinds', 'canvas >> nth=2', '#plot'):
        assert page.is_visible(shown)
    assert page.pdf().startswith(b'%PDF')


def test_two_thousand_pictures(open_page):
    """Only those of a page are there, and each can be reached."""
    page = open_page(make_data(2000))
    assert page.locator('#thumbs button').count() == 24
    assert page.inner_text('#page') == 'page 1 of 84'
    page.click('#more')
    page.locator('#thumbs button').first.click()
    assert page.inner_text('#place').startswith('0024')
    slide(page, 0.5)
    page.select_option('#which', 'differs')
    assert page.inner_text('#place').endswith('of 2000')
    page.keyboard.press('Tab')
    for _ in range(30):
        page.evaluate('turn(1)')
    assert page.inner_text('#place').startswith('0054')
    assert page.inner_text('#page') == 'page 3 of 84'
    assert page.evaluate('images.size') <= 9
    assert page.locator('#thumbs button').count() == 24
    assert not page.wrong


def test_one_method_without_curves(open_page):
    data = make_data()
    data['methods'].pop()
    for entry in (*data['overall'], *data['perClass']):
        for values in entry.values():
            if isinstance(values, list):
                values.pop()
    for each in data['pictures']:
        each['found'].pop()
        each['reached'].pop()
    data['curves'] = {}
    page = open_page(data)
    assert page.locator('canvas').count() == 2
    assert not page.is_visible('#plot')
    assert 'gain' not in page.inner_text('#overall')
    assert not page.wrong
