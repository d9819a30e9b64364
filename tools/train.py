"""Train a detector: MMDetection's flags, and `mmdet_rankkd::` bases."""

from mmdet_rankkd.engine.launch import train

if __name__ == '__main__':
    train()
