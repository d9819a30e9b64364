import sys
import warnings

import pytest
from mmengine.config.utils import MODULE2PACKAGE

from mmdet_rankkd import compat


def test_the_package_is_known_to_mmengine():
    assert MODULE2PACKAGE['mmdet_rankkd'] == 'mmdet_rankkd'


def test_tested_versions_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compat.warn_about_versions()


def test_other_versions_warn_and_do_not_stop(monkeypatch):
    monkeypatch.setitem(compat.TESTED, 'mmdet', ('4.0.0', '5.0.0'))
    with pytest.warns(UserWarning, match='mmdet >= 4.0.0, < 5.0.0'):
        compat.warn_about_versions()
    monkeypatch.setitem(compat.TESTED, 'no_such_module', ('1.0', '2.0'))
    with pytest.warns(UserWarning, match='no_such_module does not import'):
        compat.warn_about_versions()


def test_missing_ops(monkeypatch):
    compat.check_mmcv_ops()
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    monkeypatch.delattr(sys.modules['mmcv'], 'ops', raising=False)
    with pytest.raises(ImportError, match='without its compiled ops'):
        compat.check_mmcv_ops()
