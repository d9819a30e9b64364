"""The demo of detectors; see `rankkd demo -h`."""

from mmdet_rankkd.cli.demo import demo

if __name__ == '__main__':
    demo()
