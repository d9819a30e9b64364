"""Networks of finished trainings, for pictures and figures of reports."""

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope

from mmdet_rankkd.checkpoint.build import build_model
from mmdet_rankkd.checkpoint.latest import noted_checkpoint
from mmdet_rankkd.checkpoint.load import load_weights
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.checkpoint.student import student_config, student_weights
from mmdet_rankkd.engine.cost import Cost, measure_cost

from .cells import read_config
from .training import Job


def load_model(config: Config, checkpoint: str) -> BaseModel:
    """The plain network of a config, with the weights of a checkpoint."""
    model = build_model(student_config(config))
    weights, _ = student_weights(read_checkpoint(checkpoint)['state_dict'])
    load_weights(model, weights, checkpoint)
    return model.eval()


def checkpoint_of(job: Job) -> str:
    """What a job tested, or the newest checkpoint of its training."""
    return job.checkpoint or noted_checkpoint(job.folder)


def load_job(job: Job) -> BaseModel:
    """The network of a job."""
    return load_model(read_config(job.config), checkpoint_of(job))


def cost_of(job: Job) -> Cost:
    """Cost of a job's network on the first image of its validation set."""
    config = read_config(job.config)
    with DefaultScope.overwrite_default_scope(
        config.get('default_scope') or 'mmdet'
    ):
        data = DATASETS.build(config.val_dataloader.dataset)
        return measure_cost(load_job(job), pseudo_collate([data[0]]))
