"""Train a model; see `rankkd train -h`."""

from mmdet_rankkd.cli.train import train

if __name__ == '__main__':
    train()
