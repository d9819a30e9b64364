"""The built site in a real browser: `make test-docs`.

Skipped where no Chromium is; the packages are those of requirements/docs.txt.
"""

import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest
from conftest import BROWSER
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / 'site'
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob('*.html'))
WIDTHS = {'desk': 1280, 'phone': 390}

pytestmark = pytest.mark.skipif(
    not (SITE / 'index.html').is_file(), reason='no site: run make docs'
)
in_browser = pytest.mark.skipif(
    BROWSER is None, reason='no Chromium: apt install chromium'
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that does not log."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope='module')
def address():
    """Address of the site on this machine."""
    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


@pytest.fixture(params=[*WIDTHS])
def view(request, browser, address):
    """A page of one width, and what it asked of other places or said."""
    context = browser.new_context(
        viewport=dict(width=WIDTHS[request.param], height=900)
    )
    page = context.new_page()
    page.foreign, page.wrong = [], []
    page.on(
        'request',
        lambda x: (
            None
            if x.url.startswith((address, 'data:', 'blob:'))
            else page.foreign.append(x.url)
        ),
    )
    page.on(
        'console',
        lambda x: page.wrong.append(x.text) if x.type == 'error' else None,
    )
    page.on('pageerror', lambda x: page.wrong.append(str(x)))
    page.name = request.param
    yield page
    context.close()


def luminance(page: Page) -> float:
    """Of the background, from 0 to 255."""
    colour = page.evaluate('getComputedStyle(document.body).backgroundColor')
    return sum(map(int, re.findall(r'\d+', colour)[:3])) / 3


@in_browser
def test_every_page(view, address):
    """Nothing is broken, foreign or wider than the screen."""
    for name in PAGES:
        if name == '404.html':
            continue
        view.goto(address + name)
        view.wait_for_selector('h1')
        wide = 'document.documentElement.scrollWidth > innerWidth'
        assert not view.evaluate(wide), name
        broken = view.evaluate(
            '[...document.images].filter(x => x.complete && !x.naturalWidth)'
            '.map(x => x.src)'
        )
        assert not broken, name
    assert not view.foreign
    assert not view.wrong


@in_browser
def test_equations_are_drawn(view, address):
    view.goto(address + 'losses.html')
    boxes = view.evaluate(
        '[...document.querySelectorAll("math")].map('
        'x => x.getBoundingClientRect()).map(x => [x.width, x.height])'
    )
    assert len(boxes) > 40
    assert all(w > 4 and h > 4 for w, h in boxes)
    assert 'arithmatex' not in view.content()
    text = view.inner_text('article')
    assert not re.search(
        r'\\(frac|sum|hat|mathrm|math)|:math:|\.\. math', text
    )


@in_browser
def test_search(view, address):
    view.goto(address)
    if view.name == 'phone':
        view.click('header label[for=__search]')
    view.click('input.md-search__input')
    view.keyboard.type('teacher checkpoint', delay=10)
    found = view.wait_for_selector('.md-search-result__item a')
    assert '.html' in found.get_attribute('href')


@in_browser
def test_both_colour_schemes(view, address):
    view.emulate_media(color_scheme='dark')
    view.goto(address)
    assert luminance(view) < 80
    view.click('label[title="Light colours"]')
    view.wait_for_timeout(300)
    assert luminance(view) > 220
    view.reload()
    assert luminance(view) > 220  # it remembers


@in_browser
def test_navigation(view, address):
    view.goto(address)
    if view.name == 'phone':
        view.click('header label[for=__drawer]')
        view.click('nav label.md-nav__link:has-text("Guide")')
        view.click('nav a.md-nav__link:has-text("Your own data")')
    else:
        view.click('.md-tabs a:has-text("Guide")')
        view.click('nav a.md-nav__link:has-text("Your own data")')
    view.wait_for_url('**/your-own-data.html')
    assert view.inner_text('h1').startswith('Your own data')


def test_links_of_the_site():
    """Every link within the site leads to a page, and to a place in it."""
    texts = {name: (SITE / name).read_text() for name in PAGES}
    places = {
        name: set(re.findall(r'\bid="([^"]+)"', text))
        for name, text in texts.items()
    }
    for name, text in texts.items():
        if name == '404.html':
            continue
        for link in re.findall(r'<a [^>]*?href="([^"]*)"', text):
            if re.match(r'[a-z]+:', link):
                continue
            target, _, anchor = urljoin(name, link).partition('#')
            target = target if link.partition('#')[0] else name
            assert (SITE / unquote(target)).is_file(), (name, link)
            if anchor and target in places:
                assert unquote(anchor) in places[target], (name, link)


def test_no_foreign_scripts_or_styles():
    for path in SITE.rglob('*.html'):
        for tag in re.findall(r'<(?:script|link)\b[^>]*>', path.read_text()):
            assert not re.search(r'(src|href)="?(https?:)?//', tag), tag
