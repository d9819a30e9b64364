"""Figures of logits: numbers, pictures and captions, by plain arithmetic."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmdet_rankkd.experiments import figures as F


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(student, teacher, t=1.0):
    """Of each row, times T²."""
    q, p = softmax(teacher / t), softmax(student / t)
    return t * t * (q * np.log(q / p)).sum(-1)


def rank_loss(student, teacher, k=1.0):
    rows = []
    for s, t in zip(student, teacher):
        s, t = ((x - x.mean()) / (x.std(ddof=1) + 1e-7) for x in (s, t))
        i, j = np.tril_indices(len(s), -1)
        sizes = np.tanh(k * (t[i] - t[j])) * np.tanh(k * (s[i] - s[j]))
        rows.append(-sizes.mean())
    return np.mean(rows)


def by_differences(loss, student, teacher, step=1e-5):
    found = np.zeros_like(student)
    for at in np.ndindex(student.shape):
        up, down = student.copy(), student.copy()
        up[at] += step
        down[at] -= step
        found[at] = (loss(up, teacher) - loss(down, teacher)) / (2 * step)
    order = (-teacher).argsort(1)
    sizes = np.take_along_axis(np.abs(found), order, 1).mean(0)
    return sizes / sizes.sum()


def tensors(*arrays):
    return [torch.tensor(x) for x in arrays]


def lines_of(axis):
    return [line.get_ydata() for line in axis.lines]


def test_gradients():
    draw = np.random.default_rng(0)
    student, teacher = 2 * draw.normal(size=(2, 4, 9))
    found = F.gradients(*tensors(student, teacher), temperature=3.0, k=2.0)
    want_kl = by_differences(
        lambda s, t: kl(s, t, 3.0).mean(), student, teacher
    )
    want_rank = by_differences(
        lambda s, t: rank_loss(s, t, 2.0), student, teacher
    )
    np.testing.assert_allclose(found.kl, want_kl, rtol=2e-4, atol=1e-8)
    np.testing.assert_allclose(found.ranking, want_rank, rtol=2e-4, atol=1e-8)
    share = found.small_share(100 / 3)
    assert share[0] == pytest.approx(want_kl[-3:].sum(), rel=1e-4)
    caption = found.caption()
    assert "lower half of the teacher's 9 classes" in caption
    assert f'{100 * want_kl[5:].sum():.1f} % of the gradient' in caption
    assert '(T = 3)' in caption and '(k = 2)' in caption
    assert '4 rows of logits' in caption
    drawn = lines_of(found.draw().axes[0])
    np.testing.assert_array_equal(drawn[:2], [found.kl, found.ranking])


def test_gradients_that_vanish_are_named():
    logits = torch.randn(3, 5)
    with pytest.raises(ValueError, match='the gradient of KL'):
        F.gradients(logits, torch.full_like(logits, float('nan')))


def test_shuffled():
    logits = torch.randn(50, 8)
    found = F.shuffled(logits, seed=1)
    assert torch.equal(found.sort(1)[0], logits.sort(1)[0])
    assert not torch.equal(found, logits)
    # Not the same order in all rows.
    order = found.argsort(1).gather(1, logits.argsort(1).argsort(1))
    assert len({tuple(x) for x in order.tolist()}) > 10
    assert torch.equal(found, F.shuffled(logits, seed=1))


def test_suboptimal():
    """The paper's Figure 1, and an image in which nothing is wrong."""
    teacher = torch.tensor([[2.0, 1.9, 0.0], [3.0, 0.0, 0.0]])
    near = torch.tensor([[1.9, 2.0, 0.0], [3.0, 0.1, 0.0]])
    far = torch.tensor([[9.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0])
    found = F.suboptimal(
        [near, far], teacher, labels, ['cat', 'fox', 'car'], temperature=2.0
    )
    assert (found.pairs, found.suboptimal) == (1, 1)
    assert found.classes == ['cat', 'fox', 'car']
    np.testing.assert_allclose(
        found.example['Student 1'], softmax(near[0].numpy()), rtol=1e-4
    )
    want = [kl(x[0].numpy(), teacher[0].numpy(), 2.0) for x in (near, far)]
    np.testing.assert_allclose(found.kl, want, rtol=1e-4)
    caption = found.caption()
    assert 'Of 1 pairs' in caption and '100.0 %' in caption
    assert '2 students, 2 images' in caption and 'T = 2' in caption
    bars = found.draw().axes[0].patches
    heights = [bar.get_height() for bar in bars]
    want = [v for values in found.example.values() for v in values]
    assert heights == want


def test_suboptimal_needs_students_that_differ():
    logits = torch.randn(4, 3)
    with pytest.raises(ValueError, match='in no image is one of 2 students'):
        F.suboptimal([logits, logits], logits, logits.argmax(1))


def test_suboptimal_where_the_nearer_is_right():
    teacher = torch.tensor([[2.0, 0.0, 0.0]])
    students = [teacher + 0.01, torch.tensor([[0.0, 5.0, 0.0]])]
    found = F.suboptimal(students, teacher, torch.tensor([0]))
    assert (found.pairs, found.suboptimal, found.example) == (1, 0, {})
    assert ' 0.0 %' in found.caption() and 'Shown' not in found.caption()


def test_probabilities():
    rows = torch.tensor([[0.5, 0.4, 0.095, 0.005], [0.995, 0.005, 0.0, 0.0]])
    found = F.probabilities({'one': rows.double()}, low=0.01)
    assert found.below['one'] == 0.5
    assert found.mass['one'] == pytest.approx(0.005)
    shares = dict(zip(found.edges, found.shares['one']))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[-8.0] == 0.25, 'zeros are in the first bin'
    assert shares[-2.5] == 0.25, 'two of 0.005'
    assert shares[-0.25] == pytest.approx(1 / 8), '0.995; 0.5 is below'
    caption = found.caption()
    assert 'one 50.0 % (which hold 0.5 % of the probability)' in caption
    assert 'below 0.01' in caption and '2 images' in caption
    drawn = found.draw().axes[0].patches[0].get_data()
    np.testing.assert_allclose(
        drawn.values, 100 * np.array(found.shares['one'])
    )
    with pytest.raises(ValueError, match="rows of 'logits' do not sum to 1"):
        F.probabilities({'logits': 2 * rows})


def test_agreement():
    draw = np.random.default_rng(1)
    teacher = 2 * draw.normal(size=(30, 6))
    labels = teacher.argmax(1)
    students = [teacher + i * draw.normal(size=(30, 6)) for i in range(1, 7)]
    found = F.agreement(
        tensors(*students), *tensors(teacher, labels), temperature=2.0
    )
    right = [100 * (x.argmax(1) == labels).mean() for x in students]
    divergence = [kl(x, teacher, 2.0).mean() for x in students]
    tau = [
        np.mean([stats.kendalltau(a, b)[0] for a, b in zip(x, teacher)])
        for x in students
    ]
    np.testing.assert_allclose(found.accuracy, right, rtol=1e-4)
    np.testing.assert_allclose(found.kl, divergence, rtol=1e-4)
    np.testing.assert_allclose(found.tau, tau, rtol=1e-4)
    of_kl = stats.kendalltau(right, [-x for x in divergence])[0]
    of_tau = stats.kendalltau(right, tau)[0]
    assert (found.of_kl, found.of_tau) == pytest.approx((of_kl, of_tau))
    low, high = found.interval
    assert -2 <= low <= of_tau - of_kl <= high <= 2
    caption = found.caption()
    assert caption.startswith('6 students') and '30 images' in caption
    assert f'by {of_tau:.2f}; the 95 %' in caption
    points = found.draw().axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.c_[found.tau, found.accuracy])


@pytest.mark.parametrize(
    'interval, word',
    [
        ([-0.1, 0.2], 'not told apart'),
        ([0.1, 0.2], 'tau goes with accuracy more closely'),
        ([-0.2, -0.1], 'KL goes with accuracy more closely'),
    ],
)
def test_agreement_says_what_follows(interval, word):
    found = F.Agreement(1.0, 5, [1.0], [1.0], [1.0], 0.5, 0.6, interval)
    assert word in found.caption()


def test_agreement_of_few_or_equal_students_is_refused():
    logits = torch.randn(3, 5)
    with pytest.raises(ValueError, match='three students or more, got 2'):
        F.agreement([logits, logits], logits, logits.argmax(1))
    with pytest.raises(ValueError, match='all 3 students have a top-1 of 100'):
        F.agreement([logits] * 3, logits, logits.argmax(1))


def test_alignment():
    """A student that orders the upper half alike and the lower turned."""
    teacher = torch.tensor([[8.0, 7, 6, 5, 4, 3, 2, 1]]).repeat(3, 1)
    turned = torch.tensor([[8.0, 7, 6, 5, 1, 2, 3, 4]]).repeat(3, 1)
    found = F.rank_alignment(
        {'KD': [turned, turned], 'both': [teacher, teacher]},
        teacher,
        [4, 7],
        group=2,
    )
    np.testing.assert_array_equal(found.tables['both'], np.eye(4))
    want = np.eye(4)[[0, 1, 3, 2]]
    np.testing.assert_array_equal(found.tables['KD'], want)
    assert found.high == {'KD': [1.0, 1.0], 'both': [1.0, 1.0]}
    assert found.low == {'KD': [-1.0, -1.0], 'both': [1.0, 1.0]}
    caption = found.caption()
    assert 'KD 1.000 and -1.000; both 1.000 and 1.000' in caption
    assert '3 images, 2 seeds' in caption and 'groups of 2' in caption
    assert 'lower half: +2.000 [+2.000, +2.000], helps' in caption
    assert 'upper half: +0.000 [+0.000, +0.000], no difference' in caption
    shown = found.draw().axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, 100 * want)
    with pytest.raises(ValueError, match='8 classes do not make groups of 3'):
        F.rank_alignment({'KD': [turned]}, teacher, [0], group=3)
    with pytest.raises(
        ValueError, match="'KD' has 1 students, but there are 2"
    ):
        F.rank_alignment({'KD': [turned]}, teacher, [0, 1])


def test_curves():
    draw = np.random.default_rng(2)
    teacher = draw.normal(size=(12, 5))
    labels = teacher.argmax(1)
    runs = {
        name: [
            [teacher + scale * draw.normal(size=(12, 5)) for _ in range(4)]
            for _ in range(2)
        ]
        for name, scale in (('KD', 1.0), ('both', 0.1))
    }
    found = F.loss_curves(
        {n: [tensors(*run) for run in x] for n, x in runs.items()},
        *tensors(teacher, labels),
        seeds=[3, 5],
        epochs=[1, 2, 3, 4],
        temperature=4.0,
        k=2.0,
    )
    student = runs['KD'][1][2]
    want = 100 * (student.argmax(1) == labels).mean()
    assert found.accuracy['KD'][1][2] == pytest.approx(want, rel=1e-4)
    want = rank_loss(student, teacher, 2.0)
    assert found.ranking['KD'][1][2] == pytest.approx(want, rel=1e-4)
    want = kl(student, teacher, 4.0).mean()
    assert found.kl['KD'][1][2] == pytest.approx(want, rel=1e-4)
    caption = found.caption()
    assert '12 held-out images' in caption and '2 seeds' in caption
    assert 'T = 4' in caption and 'k = 2' in caption
    last = np.mean([run[-1] for run in found.kl['both']])
    assert f'{last:.3f}. both against KD' in caption
    axes = found.draw().axes
    want = np.mean(found.ranking['both'], 0)
    np.testing.assert_allclose(axes[1].lines[1].get_ydata(), want)
    with pytest.raises(ValueError, match="'KD' has 2 seeds of .4. epochs"):
        F.loss_curves(
            {n: [tensors(*run) for run in x] for n, x in runs.items()},
            *tensors(teacher, labels),
            seeds=[3],
            epochs=[1, 2, 3, 4],
        )
