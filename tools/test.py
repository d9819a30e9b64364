"""Test a detector: MMDetection's flags, and `mmdet_rankkd::` bases."""

from mmdet_rankkd.engine.launch import test

if __name__ == '__main__':
    test()
