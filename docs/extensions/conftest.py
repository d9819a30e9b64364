"""A real browser, where there is one; see requirements/docs.txt."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

BROWSER = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None
)


@pytest.fixture(scope='module')
def browser():
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=['--no-sandbox']
        )
        yield browser
        browser.close()
