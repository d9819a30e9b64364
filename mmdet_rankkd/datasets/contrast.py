"""A data set whose samples know images of other classes."""

from typing import List, Union

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from mmdet_rankkd.registry import DATASETS


@DATASETS.register_module()
class ContrastDataset:
    """Wrapper of a classification set for :class:`CRDLoss`.

    Each data sample gets ``contrast_index``, int32, shape (K + 1,): its own
    number in the set, then those of K images of other classes, drawn anew
    each time, without repetition if there are that many. The drawing follows
    NumPy's random state, which MMEngine seeds for each worker.

    Args:
        dataset (dict or BaseDataset): The set; its entries have ``gt_label``.
        negatives (int): Number of negatives, K.

    Raises:
        ValueError: If all images are of one class.
    """

    def __init__(
        self, dataset: Union[dict, BaseDataset], negatives: int = 16384
    ) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        self.dataset: BaseDataset = dataset
        self.negatives = negatives
        self.full_init()

    @property
    def metainfo(self) -> dict:
        """That of the set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Read the set, and sort its images by their class."""
        self.dataset.full_init()
        count = len(self.dataset)
        labels = np.array(
            [self.get_data_info(i)['gt_label'] for i in range(count)]
        )
        self.order = np.argsort(labels, kind='stable')
        ordered = labels[self.order]
        self.begin = np.searchsorted(ordered, labels, 'left')
        self.end = np.searchsorted(ordered, labels, 'right')
        if count and (self.end - self.begin).max() == count:
            raise ValueError(
                'ContrastDataset needs images of two classes or more; all '
                f'{count} are of one'
            )

    def get_data_info(self, idx: int) -> dict:
        """Entry of an image."""
        return self.dataset.get_data_info(idx)

    def __len__(self) -> int:
        return len(self.dataset)

    def contrast_index(self, idx: int) -> np.ndarray:
        """Number of an image and of K images of other classes."""
        begin, end = self.begin[idx], self.end[idx]
        others = len(self.order) - (end - begin)
        rng = np.random.default_rng(np.random.randint(2**31))
        drawn = rng.choice(
            others,
            self.negatives,
            replace=others < self.negatives,
            shuffle=False,
        )
        # Its own class is left out of the order.
        drawn = drawn + (drawn >= begin) * (end - begin)
        return np.concatenate([[idx], self.order[drawn]]).astype(np.int32)

    def __getitem__(self, idx: int) -> dict:
        data = self.dataset[idx]
        index = torch.from_numpy(self.contrast_index(idx % len(self)))
        data['data_samples'].set_field(index, 'contrast_index')
        return data

    def get_subset(self, indices: Union[List[int], int]) -> 'ContrastDataset':
        """The same of a part of the set."""
        return ContrastDataset(
            self.dataset.get_subset(indices), self.negatives
        )
