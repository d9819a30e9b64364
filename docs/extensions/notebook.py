"""Make the notebooks of docs/notebooks from the scripts beside them.

python docs/extensions/notebook.py
"""

from pathlib import Path

import jupytext

FOLDER = Path(__file__).resolve().parents[1] / 'notebooks'


def notebook_of(script: Path) -> str:
    """Text of the notebook of a script, the same each time."""
    notebook = jupytext.read(script, fmt='py:percent')
    for number, cell in enumerate(notebook.cells):
        cell.id = f'cell-{number}'
    notebook.metadata = dict(
        kernelspec=dict(
            name='python3', display_name='Python 3', language='python'
        )
    )
    return jupytext.writes(notebook, fmt='ipynb') + '\n'


if __name__ == '__main__':
    for script in FOLDER.glob('*.py'):
        script.with_suffix('.ipynb').write_text(notebook_of(script))
