"""`python -m mmdet_rankkd`: the command `rankkd`."""

from mmdet_rankkd.cli.main import main

if __name__ == '__main__':
    main()
