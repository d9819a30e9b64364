import pytest
import torch

from mmdet_rankkd.losses import LogitLoss, prepare_pair, reduce_rows


class Squares(LogitLoss):
    loss_name = 'loss_squares'

    def rows(self, student, teacher, labels):
        student, teacher = prepare_pair(student, teacher)
        return (student - teacher).square().sum(1)


def test_dtypes():
    for dtype, expected in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        student, teacher = prepare_pair(
            torch.zeros(2, 3, dtype=dtype), torch.zeros(2, 3)
        )
        assert student.dtype == teacher.dtype == expected


def test_a_loss_in_five_lines():
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.zeros(2, 2)
    assert Squares()(student, teacher) == 2.5
    assert Squares(loss_weight=2, reduction='sum')(student, teacher) == 10
    assert Squares(loss_name='my_loss').loss_name == 'my_loss'
    with pytest.raises(NotImplementedError):
        LogitLoss()(student, teacher)


def test_avg_factor_may_be_a_tensor():
    rows = torch.tensor([1.0, 2.0])
    assert reduce_rows(rows, avg_factor=torch.tensor(4)) == 0.75
    assert reduce_rows(rows[:0]) == 0
