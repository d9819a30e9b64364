# What detectors of Tiny-ImageNet change in their heads: 20 classes, and
# anchors for objects of 16 to 64 pixels.
tiny_imagenet_heads = dict(
    rpn_head=dict(
        anchor_generator=dict(scales=[2, 3], ratios=[0.6, 1.0, 1.7])
    ),
    roi_head=dict(bbox_head=dict(num_classes=20)),
)
