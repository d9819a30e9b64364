"""The page of `rankkd report` in a real browser: `make test-docs`.

Its data are made up here (report_sample.py), as the packages that make them
are not in the environment of the docs.
"""

import json

import pytest
from playwright.sync_api import sync_playwright
from report_sample import EVIL, make_data
from test_site import BROWSER, ROOT, in_browser, luminance

pytestmark = in_browser
TEMPLATE = ROOT / 'mmdet_rankkd/experiments/explore.html'
#: Colours of 20 pixels of a line of a canvas, dashes and gaps.
COLOURS = """([canvas, x, y]) => {
    const one = document.querySelectorAll("canvas")[canvas];
    const context = one.getContext("2d");
    const data = [...context.getImageData(x, y, 20, 1).data];
    return [...Array(20).keys()].map(i => data.slice(4 * i, 4 * i + 3)) }"""
ONLY, LOST, GREEN = [0, 114, 178], [213, 94, 0], [0, 158, 115]


@pytest.fixture(scope='module')
def browser():
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=['--no-sandbox']
        )
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 390], ids=['desk', 'phone'])
def page(request, browser, tmp_path):
    """Function of the number of images: the page."""
    context = browser.new_context(
        viewport=dict(width=request.param, height=900), color_scheme='light'
    )
    page = context.new_page()
    wrong, asked = [], []
    page.on('pageerror', lambda x: wrong.append(str(x)))
    page.on('request', lambda x: asked.append(x.url))

    def show(count):
        text = json.dumps(make_data(count)).replace('<', '\\u003c')
        path = tmp_path / 'report.html'
        path.write_text(TEMPLATE.read_text().replace('{{data}}', text))
        page.goto(path.as_uri())
        page.wait_for_function('drawn.every(x => x.ready)')
        return page

    yield show
    assert not wrong
    assert all(x.startswith(('file:', 'data:')) for x in asked)
    context.close()


def test_the_slider_redraws_boxes_and_errors(page):
    view = page(2)
    slider = view.locator('#score')
    assert slider.get_attribute('aria-valuetext') == '0.30'
    # A canvas is 4.5 times the image; boxes of the first image.
    right, lost = (18 * 4.5, 8 * 4.5), (55 * 4.5, 50 * 4.5)
    assert GREEN in view.evaluate(COLOURS, [1, *right])
    assert LOST in view.evaluate(COLOURS, [1, *lost])
    assert ONLY in view.evaluate(COLOURS, [2, *lost])
    caption = view.locator('figcaption')
    assert (
        '1 found, 0 not by all, 1 only by others'
        in caption.nth(1).inner_text()
    )
    assert '2 found, 1 not by all' in caption.nth(2).inner_text()
    assert '\n' in view.inner_text('#errors')
    assert view.locator('#errors tbody td').nth(1).inner_text() == '5'
    slider.focus()
    for _ in range(3):
        view.keyboard.press('ArrowRight')
    assert view.inner_text('#value') == '0.45'
    # The second method no longer finds the first object.
    assert ONLY in view.evaluate(COLOURS, [1, *right])
    assert LOST in view.evaluate(COLOURS, [2, 19 * 4.5, 8 * 4.5])
    assert view.locator('#errors tbody td').nth(1).inner_text() == '8'


def test_classes_are_sorted_by_mouse_and_keyboard(page):
    view = page(1)

    def first():
        return view.locator('#classes tbody tr').first.inner_text().split()[0]

    head = view.locator('#classes th')
    head.nth(2).locator('button').click()
    assert first() == 'dog'
    assert head.nth(2).get_attribute('aria-sort') == 'descending'
    view.keyboard.press('Enter')
    assert first() == 'cat'
    assert head.nth(2).get_attribute('aria-sort') == 'ascending'
    # What has no AP is last either way.
    last = view.locator('#classes tbody tr').last
    assert last.inner_text().startswith('</script>')
    head.nth(4).locator('button').click()
    cells = view.locator('#classes tbody tr td:last-child').all_inner_texts()
    assert cells == ['+5.0', '-10.0', '']


def test_curves_tell_values_to_mouse_and_keyboard(page):
    view = page(1)
    plot = view.locator('#plot')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    plot.hover(position=dict(x=box['width'] * 0.98, y=box['height'] / 2))
    told = view.inner_text('#told')
    assert told.startswith('iteration 1000: alone, seed 0 0.3162;')
    plot.focus()
    view.keyboard.press('ArrowLeft')
    assert view.inner_text('#told').startswith('iteration 900: ')
    view.select_option('#which', 'loss, training')
    view.locator('#plot').focus()
    view.keyboard.press('ArrowRight')
    assert 'alone, seed 0 1.000' in view.inner_text('#told')


def test_names_are_text(page):
    view = page(1)
    assert view.evaluate('window.broken') is None
    assert view.locator('img').count() == 0
    assert EVIL in view.inner_text('#summary')
    assert (
        view.locator('#runs a').first.get_attribute('href') == 'runs/a%20b.py'
    )


def test_two_thousand_images_are_drawn_a_page_at_a_time(page):
    view = page(2000)
    assert view.inner_text('#place') == 'images 1 to 6 of 2000'
    for _ in range(4):
        view.click('#next')
    assert view.inner_text('#place') == 'images 25 to 30 of 2000'
    assert view.locator('canvas').count() == 18
    assert view.locator('.name').first.inner_text().startswith('24.png')
    view.click('#back')
    assert view.locator('.name').first.inner_text().startswith('18.png')


def test_small_dark_and_printed(page):
    view = page(8)
    wide = 'document.documentElement.scrollWidth > innerWidth'
    assert not view.evaluate(wide)
    assert luminance(view) > 220
    view.emulate_media(color_scheme='dark')
    assert luminance(view) < 80
    view.emulate_media(media='print', color_scheme='dark')
    assert luminance(view) > 220
    assert view.locator('#next').is_hidden()
    assert view.locator('#score').is_hidden()
    assert view.locator('#value').is_visible()
    assert view.locator('#classes th button').first.is_visible()
    assert view.pdf().startswith(b'%PDF')
