"""Train a table with several seeds; see `rankkd sweep -h`."""

from mmdet_rankkd.cli.sweep import sweep

if __name__ == '__main__':
    sweep()
