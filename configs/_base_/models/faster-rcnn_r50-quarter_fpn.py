# Faster R-CNN with FPN, ResNet-50 in depth and a quarter of it in width, for
# images of 64 pixels on a CPU: few proposals, few RoIs, one sample per RoI
# bin (RoIAlign would else be three quarters of a training step).
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        base_channels=16,
        stem_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(
            scales=[3], ratios=[1.0, 1.7], strides=[4, 8, 16, 32]
        ),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=5, sampling_ratio=1),
            out_channels=64,
            finest_scale=16,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=256, roi_feat_size=5),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=60, max_per_img=60),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=60, max_per_img=50)),
)
