"""Numbers, pictures and captions of figures, against plain arithmetic."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import stats

from mmdet_rankkd.experiments import figures as F

from .conftest import make_result


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(student, teacher):
    q, p = softmax(teacher), softmax(student)
    return (q * np.log(q / p)).sum(1).mean()


def rank_loss(student, teacher):
    rows = []
    for s, t in zip(student, teacher):
        s, t = ((x - x.mean()) / (x.std(ddof=1) + 1e-7) for x in (s, t))
        i, j = np.tril_indices(len(s), -1)
        rows.append(-(np.tanh(t[i] - t[j]) * np.tanh(s[i] - s[j])).mean())
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


def test_gradients():
    draw = np.random.default_rng(0)
    student, teacher = 2 * draw.normal(size=(2, 4, 9))
    found = F.gradients(torch.tensor(student), torch.tensor(teacher))
    want_kl = by_differences(kl, student, teacher)
    want_rank = by_differences(rank_loss, student, teacher)
    np.testing.assert_allclose(found.kl, want_kl, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.ranking, want_rank, rtol=1e-5, atol=1e-8)
    share = found.small_share(100 / 3)
    assert share['kl'] == pytest.approx(want_kl[-3:].sum(), rel=1e-5)
    caption = F.caption_gradients(found, 100 / 3)
    assert f'{100 * want_kl[-3:].sum():.1f} % of the gradient' in caption
    assert f'{100 * want_rank[-3:].sum():.1f} % of that' in caption
    figure = F.draw_gradients(found)
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    np.testing.assert_array_equal(drawn, [found.kl, found.ranking])
    plt.close(figure)


def test_gradients_that_vanish_are_named():
    logits = torch.randn(3, 5)
    with pytest.raises(ValueError, match='the gradient of KL'):
        F.gradients(logits, torch.full_like(logits, float('nan')))


def test_agreement():
    draw = np.random.default_rng(1)
    teacher = 2 * draw.normal(size=(30, 6))
    labels = teacher.argmax(1)
    students = {
        f'student {i}': teacher + i * draw.normal(size=teacher.shape)
        for i in range(1, 6)
    }
    found = F.agreement(
        {name: torch.tensor(x) for name, x in students.items()},
        torch.tensor(teacher),
        torch.tensor(labels),
    )
    logits = list(students.values())
    right = [100 * (x.argmax(1) == labels).mean() for x in logits]
    divergence = [kl(x, teacher) for x in logits]
    tau = [
        np.mean([stats.kendalltau(a, b)[0] for a, b in zip(x, teacher)])
        for x in logits
    ]
    np.testing.assert_allclose(found.accuracy, right)
    np.testing.assert_allclose(found.kl, divergence, rtol=1e-6)
    np.testing.assert_allclose(found.tau, tau, rtol=1e-5)
    of_kl = stats.kendalltau(right, [-x for x in divergence])[0]
    of_tau = stats.kendalltau(right, tau)[0]
    assert (found.of_kl, found.of_tau) == pytest.approx((of_kl, of_tau))
    assert F.caption_agreement(found).startswith('5 students')
    assert f'{of_tau:.2f} of tau' in F.caption_agreement(found)
    figure = F.draw_agreement(found)
    points = figure.axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.c_[found.tau, found.accuracy])
    plt.close(figure)


def test_agreement_of_one_student_is_refused():
    logits = torch.randn(3, 5)
    with pytest.raises(ValueError, match='two students or more, got 1'):
        F.agreement({'one': logits}, logits, logits.argmax(1))


def test_settings(table):
    name = table.cells_of('k=2', 'top-1')[0].name
    results = {
        name: {
            seed: make_result(name, seed, {'accuracy/top1': value})
            for seed, value in ((0, 70.0), (3, 73.0))
        }
    }
    base = table.cells_of('KD', 'top-1')[0].name
    results[base] = {0: make_result(base, 0, {'accuracy/top1': 60.0})}
    found = F.settings(table, results, ['KD', 'k=2', 'FitNet'], 'top-1')
    assert found.values == {'KD': {0: 60.0}, 'k=2': {0: 70.0, 3: 73.0}}
    caption = F.caption_settings(found)
    assert 'Highest: k=2, 71.5; lowest: KD, 60.0 top-1; 1 or 2 se' in caption
    assert 'One seed' in caption
    figure = F.draw_settings(found, 'Sensitivity')
    assert figure.axes[0].lines[3].get_xdata() == [71.5]
    plt.close(figure)
    with pytest.raises(ValueError, match="no result of 'FitNet'"):
        F.settings(table, results, ['FitNet'], 'top-1')
