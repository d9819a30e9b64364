"""The page: what is in it, and that names in it are no HTML."""

import matplotlib.pyplot as plt
from mmengine.config import Config

from mmdet_rankkd.experiments.report import Picture, Report

NAME = '<i title="x">&'
ESCAPED = '&lt;i title=&quot;x&quot;&gt;&amp;'


def test_names_are_escaped(tmp_path):
    grid = [['', NAME], [NAME, '+0.1 [-0.1, +0.3] no difference seen']]
    picture = Picture('curves', NAME, plt.figure(), NAME)
    configs = {NAME: Config(dict(classes=(NAME,)))}
    links = [(NAME, NAME)]
    report = Report(NAME, NAME, [grid], NAME, [picture], configs, links)
    page = report.write(tmp_path / 'report.html').read_text()
    assert NAME not in page and '<i' not in page.replace('<img', '')
    # Title twice, text, table twice, notes; of the picture its heading,
    # caption and alt; of the config its name and a class in it; of the link
    # its text.
    assert page.count(ESCAPED) == 12
    assert '<a href="%3Ci%20title%3D%22x%22%3E%26">' in page
    assert '<td>+0.1 [-0.1, +0.3]<br>no difference seen</td>' in page
    assert (tmp_path / 'curves.png').is_file()


def test_the_page_fits_small_and_dark_screens(tmp_path):
    picture = Picture('curves', 'Curves', plt.figure())
    report = Report('T', 'A text', [[['a', 'b'], ['c', 'd']]], '', [picture])
    page = report.write(tmp_path / 'report.html').read_text()
    assert '<meta name="viewport" content="width=device-width' in page
    assert 'prefers-color-scheme: dark' in page
    for element in ('<table>', '<img src="data:image/png;base64,'):
        assert f'<div class="wide">{element}' in page
