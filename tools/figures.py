"""Draw the paper's figures from a sweep; see `rankkd figures -h`."""

from mmdet_rankkd.cli.figures import figures

if __name__ == '__main__':
    figures()
