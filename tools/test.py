"""Test a model; see `rankkd test -h`."""

from mmdet_rankkd.cli.test import test

if __name__ == '__main__':
    test()
