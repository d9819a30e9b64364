"""Data of a report, for the tests of its page in a browser."""

import math

#: A name that must stay text.
EVIL = '</script><img src=x onerror="window.broken=1">'
# A grey picture, a JPEG.
GREY = (
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkY'
    'CZlo+AjIqgtObDoKrarYqMyP/L2u71////m8H////6/+b9//j/wAALCAAIAAgBAREA/8QA'
    'HwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQ'
    'IDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3'
    'ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmq'
    'KjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3'
    '+Pn6/9oACAEBAAA/AG1//9k='
)
KINDS = [
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
    'missed',
]


def make_data(count):
    """Two methods, three classes and so many images."""
    thresholds = [round(0.05 * i, 2) for i in range(1, 20)]
    return dict(
        images=count,
        objects=2 * count,
        methods=['alone', EVIL],
        names=['cat', 'dog', EVIL],
        classes=[
            dict(name='cat', count=5, ap=[30.0, 35.0]),
            dict(name='dog', count=9, ap=[50.0, 40.0]),
            dict(name=EVIL, count=0, ap=[None, None]),
        ],
        summary=[
            dict(seeds=2, ap=40, ap50=60, gain=None, interval=None, word=''),
            dict(
                seeds=2,
                ap=37.5,
                ap50=60,
                gain=-2.5,
                interval=[-6.0, 1.0],
                word='no difference seen',
            ),
        ],
        runs=[
            dict(
                method=method,
                seed=0,
                ap=40.0,
                ap50=60.0,
                config='runs/a%20b.py',
                checkpoint=None,
                curves={
                    'coco/bbox_mAP, validation': [
                        [step, math.sqrt(step) / 100 + shift]
                        for step in range(100, 1100, 100)
                    ],
                    'loss, training': [[100, 2.0], [200, 1.0]],
                },
            )
            for method, shift in (('alone', 0), (EVIL, 0.05))
        ],
        thresholds=thresholds,
        kinds=KINDS,
        errors=[
            [[i, 1, 2, 3, 4, method] for i in range(len(thresholds))]
            for method in (10, 20)
        ],
        pictures=[
            dict(
                name=f'{number}.png {EVIL}',
                width=80,
                height=60,
                data=GREY,
                truth=[[8, 8, 30, 30, 0], [40, 20, 70, 50, 2]],
                crowd=[False, False],
                found=[
                    [
                        [8, 8, 30, 29, 0, 0.9, 'right', 0],
                        [60, 2, 75, 12, 1, 0.2, 'background', -1],
                    ],
                    [
                        [9, 8, 30, 30, 0, 0.4, 'right', 0],
                        [40, 20, 70, 50, 2, 0.6, 'right', 1],
                    ],
                ],
            )
            for number in range(count)
        ],
    )
