"""What a network costs: parameters, operations, and time on this machine."""

import copy
import time
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Dict, List, Tuple

import torch
from mmengine.model import BaseModel
from torch.utils.flop_counter import FlopCounterMode

WARM_UP = 3
RUNS = 20


@dataclass(frozen=True)
class Cost:
    """Of one image at a time.

    Attributes:
        parameters (int): All of them, frozen ones too.
        flops (int): Floating point operations of convolutions, matrix
            products and attention; a multiplication and an addition are two.
            What else there is (normalisation, decoding, NMS) is not counted.
        size (tuple[int, int]): Height and width of the image after the
            pipeline.
        latency (tuple[float, float, float]): Lower quartile, median and upper
            quartile of the milliseconds from a resized image to detections or
            class scores.
        threads (int): Threads of torch on the CPU.
        device (str): ``'cpu'``, or that of the network.
    """

    parameters: int
    flops: int
    size: Tuple[int, int]
    latency: Tuple[float, float, float]
    threads: int
    device: str

    def latency_text(self) -> str:
        """``12.3 (11.9 to 12.8) ms``: the median and the quartiles."""
        low, median, high = self.latency
        return f'{median:.1f} ({low:.1f} to {high:.1f}) ms'


def measure_cost(model: BaseModel, data: Dict[str, Any]) -> Cost:
    """Measure the cost of a network on one image.

    After ``WARM_UP`` runs that do not count, ``RUNS`` are timed one by one.
    How many operations a detector does after its first stage can depend on
    the image.

    Args:
        model (BaseModel): Model in eval mode, with weights that were trained:
            with others a detector finds more or less, and takes another time.
        data (dict): A batch of one image, as a data loader gives it.
    """
    parameter = next(model.parameters())

    def run() -> float:
        # A test writes its results into the batch.
        batch = copy.deepcopy(data)
        start = time.perf_counter()
        model.test_step(batch)
        if parameter.is_cuda:
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - start)

    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            run()
        for _ in range(WARM_UP):
            run()
        times: List[float] = [run() for _ in range(RUNS)]
    low, median, high = quantiles(times, n=4, method='inclusive')
    height, width = data['inputs'][0].shape[-2:]
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=counter.get_total_flops(),
        size=(height, width),
        latency=(low, median, high),
        threads=torch.get_num_threads(),
        device=str(parameter.device),
    )
