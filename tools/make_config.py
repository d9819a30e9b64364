"""Write the config of a cell of a table; see `rankkd make-config -h`."""

from mmdet_rankkd.cli.make_config import make_config

if __name__ == '__main__':
    make_config()
