_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py'
crosskd = dict(
    type='mmdet_rankkd.CrossKDLoss',
    layer=2,
    class_weight=0.4,
    box_weight=0.75,
    overlap='iou',
)
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424'
        'd6.pth',
    ),
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[crosskd],
)
