"""Check the teacher of a distillation config; see `rankkd check -h`."""

from mmdet_rankkd.cli.check import check

if __name__ == '__main__':
    check()
