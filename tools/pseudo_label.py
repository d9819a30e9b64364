"""Annotate images by a detector; see `rankkd pseudo-label -h`."""

from mmdet_rankkd.cli.pseudo_label import pseudo_label

if __name__ == '__main__':
    pseudo_label()
