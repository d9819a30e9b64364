# What digits_report takes on other seeds was chosen here.
_base_ = '../_base_/tables_of_digits.py'
title = 'Search on the digits, Faster R-CNN, ResNet-50 to MobileNetV2'
note = (
    'Eight settings of each method, to choose from: equal effort, where all '
    'eight have run. Ranking by itself has ten, for the best of its eight '
    'stood at the edge. **Begun, not finished**: two seeds of five, and a row '
    'that is missing here has not run. `dkd, temperature=3` came in after the '
    'report on other seeds had begun.'
)
seeds = (0, 1)


def _tried(method, loss, *settings, title=None, beside=None, against=()):
    return {
        ', '.join(
            [title or method, *(f'{k}={v}' for k, v in s.items())]
        ): dict(
            method=method, set={**(beside or {}), loss: s}, against=against
        )
        for s in settings
    }


_kd = dict(KLDivLoss=dict(rows='foreground', temperature=3))
_dkd = dict(DKDLoss=dict(temperature=3))
# Of ranking beside another method.
_rank = (
    dict(rows='foreground', background=False),
    dict(),
    dict(rows='foreground'),
    dict(rows='foreground', background=False, loss_weight=3),
    dict(rows='foreground', background=False, loss_weight=0.3),
    dict(rows='foreground', background=False, k=4),
    dict(rows='confidence', background=False),
    dict(
        rows='foreground',
        background=False,
        schedule=dict(by_epoch=False, end=330),
    ),
)
rows = {
    'alone': dict(method='alone'),
    **_tried(
        'kd',
        'KLDivLoss',
        dict(),
        dict(temperature=3),
        dict(rows='foreground'),
        dict(rows='foreground', temperature=3),
        dict(rows='confidence'),
        dict(rows='confidence', temperature=3),
        dict(rows='foreground', temperature=3, loss_weight=3),
        dict(rows='confidence', temperature=3, loss_weight=3),
    ),
    **_tried(
        'dkd',
        'DKDLoss',
        dict(),
        dict(temperature=3),
        dict(rows='foreground'),
        dict(rows='foreground', temperature=3),
        dict(rows='confidence'),
        # Published for COCO.
        dict(beta=0.25),
        dict(beta=0.25, temperature=3),
        dict(loss_weight=3),
    ),
    **_tried(
        'kd+rank',
        'KendallRankLoss',
        *_rank,
        title='kd (foreground rows, T = 3) + rank',
        beside=_kd,
        against=['kd, rows=foreground, temperature=3'],
    ),
    **_tried(
        'dkd+rank',
        'KendallRankLoss',
        *_rank,
        title='dkd (T = 3) + rank',
        beside=_dkd,
        against=['dkd, temperature=3'],
    ),
    **_tried(
        'rank',
        'KendallRankLoss',
        dict(),
        dict(rows='foreground'),
        dict(rows='foreground', background=False),
        dict(rows='foreground', background=False, loss_weight=3),
        dict(rows='foreground', background=False, loss_weight=9),
        # Nine was the largest of the eight and the best of them, so larger
        # ones were tried until AP fell.
        dict(rows='foreground', background=False, loss_weight=27),
        dict(rows='foreground', background=False, loss_weight=81),
        dict(rows='foreground', background=False, k=4),
        dict(rows='confidence'),
        dict(loss_weight=3),
    ),
    **_tried(
        'lskd',
        'KLDivLoss',
        dict(),
        dict(temperature=4),
        dict(rows='foreground'),
        dict(rows='foreground', loss_weight=3),
        dict(rows='foreground', temperature=1),
        dict(rows='confidence'),
        dict(loss_weight=3),
        dict(loss_weight=9),
    ),
    **_tried(
        'nkd',
        'NKDLoss',
        dict(),
        dict(temperature=3),
        dict(gamma=3.5, temperature=3),
        dict(rows='foreground'),
        dict(rows='foreground', temperature=3),
        dict(rows='confidence'),
        dict(loss_weight=3),
        dict(loss_weight=0.3),
    ),
    **_tried(
        'ctkd',
        'CTKDLoss',
        dict(),
        dict(rows='foreground'),
        dict(rows='foreground', loss_weight=3),
        dict(rows='foreground', loss_weight=0.3),
        dict(rows='confidence'),
        dict(loss_weight=3),
        dict(loss_weight=0.3),
        dict(length=9),
    ),
}
