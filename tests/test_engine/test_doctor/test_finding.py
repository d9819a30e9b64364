"""The doctor's table, as text and for scripts."""

import json

from mmdet_rankkd.engine.doctor import Finding, has_problem, to_json, to_text

FINE = Finding('teacher', 'ok', 'AP 41.0 on 20 images', '', dict(ap=0.41))
ODD = Finding('length', 'note', '30 steps', 'train longer')
WRONG = Finding(
    'finite', 'problem', 'word ' * 40, 'mend it', dict(x=float('nan'))
)


def test_text():
    text = to_text([FINE, ODD, WRONG])
    lines = text.splitlines()
    assert lines[0] == '✓ teacher  AP 41.0 on 20 images'
    assert lines[1] == '! length   30 steps'
    assert lines[2] == '           → train longer'
    assert lines[3].startswith('✗ finite   word word')
    assert lines[-1] == '1 in order, 1 to know of, 1 to mend'
    assert max(map(len, lines)) <= 79


def test_only_problems_count():
    assert not has_problem([FINE, ODD])
    assert has_problem([FINE, WRONG])


def test_json():
    found = json.loads(to_json([FINE, WRONG]))
    assert found[0] == dict(
        name='teacher',
        state='ok',
        said='AP 41.0 on 20 images',
        todo='',
        facts=dict(ap=0.41),
    )
    assert found[1]['facts'] == dict(x=None)
