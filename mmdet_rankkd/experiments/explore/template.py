"""Putting data and pictures into the page, which is one HTML file."""

import json
from pathlib import Path
from typing import BinaryIO, Iterable

TEMPLATE = Path(__file__).with_name('page.html')
#: Where they are put.
PLACE = '<!-- data -->'


def write(file: BinaryIO, data: object, pictures: Iterable[str]) -> None:
    """Write the page to a file.

    Args:
        file (BinaryIO): File to write to.
        data (object): What the page shows; plain values, as JSON has them.
        pictures (Iterable[str]): JPEGs in base64, in the order of
            ``data['pictures']``. Each is text in an element of its own, which
            a browser does not read until it is looked at.
    """
    before, after = TEMPLATE.read_text('utf-8').split(PLACE)
    file.write(before.encode())
    file.write(as_script(data).encode())
    for number, text in enumerate(pictures):
        element = f'<script type="text/plain" id="picture{number}">{text}'
        file.write(f'{element}</script>\n'.encode())
    file.write(after.encode())


def as_script(data: object) -> str:
    """Data as JSON in an element that is not executed, whatever is in it."""
    text = json.dumps(data, allow_nan=False, separators=(',', ':'))
    for letter in '<>&':
        text = text.replace(letter, f'\\u{ord(letter):04x}')
    return f'<script type="application/json" id="data">{text}</script>\n'
