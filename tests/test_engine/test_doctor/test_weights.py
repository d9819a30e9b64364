"""Where the student's first weights come from."""

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmdet_rankkd.engine.doctor.weights import initial_weights


class Backbone(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.first = nn.Linear(2, 3)
        self.second = nn.Linear(3, 3)


class Student(nn.Module):
    def __init__(self, init_cfg=None):
        super().__init__()
        self.backbone = Backbone(init_cfg)
        self.head = nn.Linear(3, 1)


@pytest.fixture
def file(tmp_path):
    """Weights of a backbone, written under a name or none."""

    def write(prefix='', drop=(), model=None):
        state = (model or Backbone()).state_dict()
        state = {f'{prefix}{k}': v for k, v in state.items() if k not in drop}
        torch.save(dict(state_dict=state), tmp_path / 'x.pth')
        return str(tmp_path / 'x.pth')

    return write


def pretrained(checkpoint, **settings):
    return Student(dict(type='Pretrained', checkpoint=checkpoint, **settings))


def test_random():
    found = initial_weights(Student())
    assert found.state == 'note' and 'random' in found.said


def test_pretrained(file):
    path = file()
    found = initial_weights(pretrained(path))
    assert found.state == 'ok'
    assert found.said == f'backbone: 4 of 4 from {path}'


def test_silently_missing_keys(file):
    found = initial_weights(pretrained(file(drop=('second.weight',))))
    assert found.state == 'problem'
    assert '3 of 4' in found.said and 'second.weight' in found.said


def test_a_prefix_that_is_not_named(file):
    path = file(prefix='backbone.')
    found = initial_weights(pretrained(path))
    assert found.state == 'problem' and "prefix='backbone.'" in found.todo
    assert found.facts['backbone'] == dict(found=0, wanted=4)
    found = initial_weights(pretrained(path, prefix='backbone.'))
    assert found.state == 'ok'


def test_another_shape(file):
    other = Backbone()
    other.first = nn.Linear(5, 3)
    found = initial_weights(pretrained(file(model=other)))
    assert found.state == 'problem' and 'first.weight' in found.said


def test_it_says_what_mmengine_does(file):
    """What counts as found is what ``init_weights`` loads."""
    wanted = Backbone()
    with torch.no_grad():
        wanted.first.weight.fill_(7)
        wanted.second.weight.fill_(7)
    student = pretrained(
        file(drop=('second.weight',), model=wanted), map_location='cpu'
    )
    student.backbone.init_weights()
    assert (student.backbone.first.weight == 7).all()
    assert not (student.backbone.second.weight == 7).any()
    found = initial_weights(student)
    assert found.facts['backbone'] == dict(found=3, wanted=4)


def test_frozen_and_random():
    student = Student()
    student.backbone.first.requires_grad_(False)
    found = initial_weights(student)
    assert found.state == 'problem' and 'backbone' in found.said
    assert 'frozen_stages' in found.todo


def test_frozen_and_pretrained(file):
    student = pretrained(file())
    student.backbone.first.requires_grad_(False)
    assert initial_weights(student).state == 'ok'


def test_the_whole_student(file):
    path = file(model=Student())
    found = initial_weights(Student(), path)
    assert found.state == 'ok' and '6 of 6' in found.said
    found = initial_weights(Student(), file(prefix='other.'))
    assert found.state == 'problem' and 'nothing fits' in found.said
