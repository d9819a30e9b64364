"""Export the plain student; see `rankkd export -h`."""

from mmdet_rankkd.cli.export import export

if __name__ == '__main__':
    export()
