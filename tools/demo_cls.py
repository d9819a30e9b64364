"""The demo of classifiers; see `rankkd demo-cls -h`."""

from mmdet_rankkd.cli.demo import demo_cls

if __name__ == '__main__':
    demo_cls()
