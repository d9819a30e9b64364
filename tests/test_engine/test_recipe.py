"""Recorder and losses that fit two networks, and the config of them."""

import os

import pytest
from mmdet.models.necks import CSPNeXtPAFPN
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.distillers.teacher import Teacher
from mmdet_rankkd.engine.recipe import (
    FAMILIES,
    METHODS,
    check_fit,
    choose_recipe,
    config_text,
    find_recorder,
    fitting_recipe,
    relative_to,
    write_distillation,
)

from ..setups import SETUPS, build_model, model_config

EXPECTED = {
    'faster-rcnn': ('two-stage', 'RoILogits', 'CWDLoss KLDivLoss'),
    'cascade-rcnn': ('two-stage', 'RoILogits', 'CWDLoss KLDivLoss'),
    **dict.fromkeys(
        ('retinanet', 'fcos', 'atss', 'gfl', 'rtmdet'),
        ('dense', 'DenseLogits', 'CWDLoss BinaryKLDivLoss'),
    ),
    'detr': ('queries-softmax', 'QueryLogits', 'KLDivLoss'),
    'dino': ('queries', 'QueryLogits', 'BinaryKLDivLoss'),
    'classifier': ('images', 'ClsLogits', 'KLDivLoss'),
}


def pair(name):
    setup = SETUPS[name]()
    return build_model(setup.student), build_model(setup.teacher)


@pytest.mark.parametrize('name', EXPECTED)
def test_what_fits(name):
    family, recorder, losses = EXPECTED[name]
    student, teacher = pair(name)
    recipe = choose_recipe(student, teacher)
    assert recipe.family == family
    assert recipe.logits == dict(type=f'mmdet_rankkd.{recorder}')
    types = [x['type'] for x in recipe.losses]
    assert types == [f'mmdet_rankkd.{x}' for x in losses.split()]
    kind = 'Classifier' if name == 'classifier' else 'Detector'
    assert recipe.distiller == f'mmdet_rankkd.Distill{kind}'
    assert FAMILIES[family].title in ' '.join(recipe.said)
    assert FAMILIES[family].why in recipe.said[-1]
    files = Teacher(dict(model=SETUPS[name]().teacher), 'none.pth')
    assert fitting_recipe(student, teacher, files) == recipe


def test_a_default_that_does_not_fit(no_random_weights):
    """Of a detector without a neck, whose features are not compared."""
    config = load_config('mmdet::_base_/models/faster-rcnn_r50-caffe-c4.py')
    config.model.backbone.init_cfg = None
    model, files = build_model(config.model), Teacher(config, 'none.pth')
    recipe = fitting_recipe(model, model, files)
    assert [x['type'] for x in recipe.losses] == ['mmdet_rankkd.DKDLoss']
    said = recipe.said[-1]
    assert said.startswith('method dkd, since cwd+kd, the default, does not')
    assert "no layer 'neck'" in said
    with pytest.raises(ValueError, match="no layer 'neck'"):
        fitting_recipe(model, model, files, 'cwd+kd')


#: Methods that need more of a detector than its family says.
PARTICULAR = {
    'faster-rcnn': {'maskkd': 'mask head'},
    'mask-rcnn': {},
    'retinanet': {'ld': 'LDLoss.* needs heads that give distributions'},
    'gfl': {},
    'classifier': {},
}


@pytest.mark.parametrize('name', PARTICULAR)
def test_every_method_fits_or_is_refused(name):
    """Also the losses of features, by the shapes of both networks."""
    student, teacher = pair(name)
    files = Teacher(dict(model=SETUPS[name]().teacher), 'none.pth')
    family = choose_recipe(student, teacher).family
    for method, each in METHODS.items():
        if family not in each:
            continue
        recipe = choose_recipe(student, teacher, method)
        refused = PARTICULAR[name].get(method)
        if refused is None:
            check_fit(recipe, student, teacher, files)
        else:
            with pytest.raises(TypeError, match=refused):
                check_fit(recipe, student, teacher, files)


def test_methods_of_dense_heads_and_masks():
    def types(name, method):
        losses = choose_recipe(*pair(name), method).losses
        return [x['type'].partition('.')[2] for x in losses]

    assert types('gfl', 'ld') == ['LDLoss']
    assert types('atss', 'crosskd') == ['CrossKDLoss']
    assert types('mask-rcnn', 'maskkd') == ['KLDivLoss', 'MaskKDLoss']
    (loss,) = choose_recipe(*pair('fcos'), 'bckd').losses
    assert loss['beta'] == 1 and loss['rows'] == 'per_object'
    for name, method in (('detr', 'crosskd'), ('faster-rcnn', 'ld')):
        with pytest.raises(ValueError, match=f'{method} is not for'):
            types(name, method)


def test_several_in_one_training(project, tmp_path):
    """The losses of each as they are alone, in the order of the names."""
    both = pair('faster-rcnn')
    losses = choose_recipe(*both, 'pkd+dkd+rank').losses
    alone = [choose_recipe(*both, x).losses for x in ('pkd', 'dkd', 'rank')]
    assert losses == [loss for one in alone for loss in one]
    assert len(losses) == 3 and losses[0]['levels'] == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="no method 'dkdd'.*mean 'dkd'"):
        choose_recipe(*both, 'pkd+dkdd')
    with pytest.raises(ValueError, match='ld is not for two-stage'):
        choose_recipe(*both, 'pkd+ld')
    files = [str(project / f'{x}') for x in ('student.py', 'teacher.py')]
    files.append(str(project / 'teacher.pth'))
    out = tmp_path / 'x.py'
    with pytest.raises(ValueError, match='loss_kd'):
        write_distillation(*files, out, 'kd+maskkd')
    assert not out.exists()
    write_distillation(*files, out, 'pkd+dkd+rank')
    types = [x['type'] for x in Config.fromfile(out).model.losses]
    names = ['PKDLoss', 'DKDLoss', 'KendallRankLoss']
    assert types == [f'mmdet_rankkd.{x}' for x in names]


def test_what_does_not_fit_is_not_written(project, tmp_path):
    files = [str(project / f'{x}') for x in ('student.py', 'teacher.py')]
    files.append(str(project / 'teacher.pth'))
    out = tmp_path / 'x.py'
    with pytest.raises(TypeError, match='mask head'):
        write_distillation(*files, out, 'maskkd')
    with pytest.raises(TypeError, match='LDLoss'):
        write_distillation(*files, out, losses=['KLDivLoss', 'LDLoss'])
    assert not out.exists()


def test_the_help_names_every_method():
    from mmdet_rankkd.cli.distill import distill

    words = set(distill.help.replace(',', ' ').split())
    assert set(METHODS) <= words


def test_levels_are_those_of_the_neck():
    student, teacher = pair('retinanet')
    assert student.neck.num_outs == 4
    for method in ('fgd', 'mgd', 'fitnet'):
        (loss,) = choose_recipe(student, teacher, method).losses
        assert loss['levels'] == (0, 1, 2, 3), method
    # Another choice would fail: the next one has no such levels.
    student.neck.num_outs = 2
    assert choose_recipe(student, teacher, 'fgd').losses[0]['levels'] == (0, 1)
    # Of necks that do not say so, a level for each input.
    student.neck = CSPNeXtPAFPN([8, 16, 32], 8, num_csp_blocks=1)
    for method in ('pkd', 'fgd', 'mgd'):
        (loss,) = choose_recipe(student, teacher, method).losses
        assert loss['levels'] == (0, 1, 2), method


def test_asked_for_losses():
    student, teacher = pair('faster-rcnn')
    recipe = choose_recipe(
        student, teacher, losses=['KLDivLoss', 'mmdet_rankkd.PKDLoss']
    )
    assert [x['type'] for x in recipe.losses] == [
        'mmdet_rankkd.KLDivLoss',
        'mmdet_rankkd.PKDLoss',
    ]
    with pytest.raises(ValueError, match='not both'):
        choose_recipe(student, teacher, 'kd', ['KLDivLoss'])


def test_other_classes_are_compared_by_name():
    student = SETUPS['faster-rcnn']().student
    teacher = model_config('_base_/models/faster-rcnn_r50-quarter_fpn')
    recipe = choose_recipe(build_model(student), build_model(teacher))
    assert recipe.logits == dict(
        type='mmdet_rankkd.RoILogits', class_map='names'
    )
    assert '3 classes and the teacher 80' in ' '.join(recipe.said)


def test_two_kinds_are_refused():
    student, _ = pair('faster-rcnn')
    _, teacher = pair('retinanet')
    with pytest.raises(TypeError, match='the teacher, a RetinaNet'):
        find_recorder(student, teacher)
    with pytest.raises(TypeError, match='no recorder for the student'):
        find_recorder(student.neck, teacher)


def test_methods_that_do_not_fit():
    student, teacher = pair('retinanet')
    with pytest.raises(ValueError, match='dkd is not for dense.*kd, rank'):
        choose_recipe(student, teacher, 'dkd')
    with pytest.raises(ValueError, match="no method 'kdd'.*mean 'kd'"):
        choose_recipe(student, teacher, 'kdd')


def test_a_config_is_that_of_the_manual(project, tmp_path):
    """The user's own, written by hand, and this one are the same model."""
    out = tmp_path / 'mine.py'
    recipe = write_distillation(
        str(project / 'student.py'),
        str(project / 'teacher.py'),
        str(project / 'teacher.pth'),
        out,
        'kd+rank',
    )
    text = out.read_text()
    code = [x for x in text.splitlines() if not x.startswith('#')]
    assert len(code) <= 16 and max(map(len, text.splitlines())) <= 120
    assert all(f'# {x[:20]}' in text for x in recipe.said)
    found = Config.fromfile(out).to_dict()
    wanted = Config.fromfile(project / 'distill.py').to_dict()
    for key in ('config', 'checkpoint'):
        path = found['model']['teacher'].pop(key)
        assert not os.path.isabs(path)
        same = wanted['model']['teacher'].pop(key)
        assert os.path.samefile(tmp_path / path, same)
    found['model']['losses'][0].pop('temperature')
    assert found == wanted


def test_nothing_is_overwritten(project, tmp_path):
    out = tmp_path / 'mine.py'
    out.write_text('precious')
    names = [str(project / f'{x}') for x in ('student.py', 'teacher.py')]
    weights = str(project / 'teacher.pth')
    with pytest.raises(FileExistsError, match='--force'):
        write_distillation(*names, weights, out)
    assert out.read_text() == 'precious'
    write_distillation(*names, weights, out, force=True)
    assert 'DistillDetector' in out.read_text()


def test_files_that_are_not_there(project, tmp_path):
    student, teacher, weights = (
        str(project / x) for x in ('student.py', 'teacher.py', 'teacher.pth')
    )
    for files in (
        ('none.py', teacher, weights),
        (student, 'none.py', weights),
        (student, teacher, 'none.pth'),
    ):
        with pytest.raises(FileNotFoundError, match='none'):
            write_distillation(*files, tmp_path / 'x.py')
    with pytest.raises(ValueError, match='is a distillation already'):
        write_distillation(
            str(project / 'distill.py'), teacher, weights, tmp_path / 'x.py'
        )
    new = 'mmdet_rankkd::new_style/faster_rcnn_mobilenet_v2_fpn_1x_coco.py'
    with pytest.raises(ValueError, match='new style'):
        write_distillation(new, teacher, weights, tmp_path / 'x.py')
    with pytest.raises(KeyError, match='KLLoss'):
        write_distillation(
            student, teacher, weights, tmp_path / 'x.py', losses=['KLLoss']
        )
    assert not list(tmp_path.iterdir())


def test_names_of_packages_and_addresses_stay(tmp_path):
    for name in ('mmdet::a/b.py', 'https://x.org/y.pth'):
        assert relative_to(name, tmp_path) == name
    student, teacher = pair('faster-rcnn')
    text = config_text(
        choose_recipe(student, teacher),
        'mmdet::a/b.py',
        'mmdet::a/c.py',
        'https://x.org/y.pth',
        tmp_path,
    )
    assert "_base_ = 'mmdet::a/b.py'" in text
    assert "checkpoint='https://x.org/y.pth'" in text
