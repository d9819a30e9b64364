# What all trainings of classifiers share.
default_scope = 'mmdet'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=1,
        max_keep_ckpts=1,
        save_best='accuracy/top1',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
# Papers report the last epoch or the best one: both are logged.
custom_hooks = [
    dict(
        type='mmdet_rankkd.BestHook',
        key='accuracy/top1',
        names=('accuracy/top1', 'accuracy/top5'),
    )
]
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(
    type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]
)
val_evaluator = dict(type='mmdet_rankkd.TopKAccuracy')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
log_processor = dict(window_size=100)
log_level = 'INFO'
load_from = None
resume = False
