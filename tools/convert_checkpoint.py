"""Convert a checkpoint of another project; see `rankkd convert -h`."""

from mmdet_rankkd.cli.convert import convert

if __name__ == '__main__':
    convert()
