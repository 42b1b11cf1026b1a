"""What a small CLIP is, and how it is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipTraining:
    """One architecture with its training."""

    vision: dict  # open_clip's vision_cfg
    embed_dim: int = 128
    projection: str = "mlp"  # of the sentence; open_clip's hf_proj_type
    max_tokens: int = 16  # read of a caption
    steps: int = 500
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 50  # steps
    weight_decay: float = 0.05
    logit_scale: float = 20.0  # at the start
    whitening: float = 0.25  # of the sentences by the initial projection: 0 none, 1 complete
    smoothing: float = 0.1  # of the labels
    symmetric: float = 0.5  # weight of the captions' cross-entropy over the batch's images
    any_caption: float = 0.5  # probability of any of the image's captions instead of its primary one
    distortion: float = 0.5  # strength of the random views
    shrink: float = 0.0  # probability that a view is seen at half its side, enlarged again
    outlines: bool = True  # add and remove dark outlines at random
    recolor: float = 0.9  # probability that an image with a colour in its primary caption takes another one
    new_captions: bool = False  # whether recolouring may make primary captions that the data set does not have


ARCHITECTURES = {
    "guide": ClipTraining({"layers": [1, 1, 1, 1], "width": 24, "image_size": 32}, steps=750),
    "scorer": ClipTraining({"timm_model_name": "test_resnet", "image_size": 64}, steps=900, distortion=0.6),
    # For tens of thousands of images, which come in many colours already
    "large_guide": ClipTraining(
        {"layers": [1, 1, 1, 1], "width": 32, "image_size": 64}, embed_dim=256, steps=12000, recolor=0.0, shrink=0.3
    ),
    "large_scorer": ClipTraining(
        {"timm_model_name": "resnet10t", "image_size": 64}, embed_dim=256, steps=7000, recolor=0.0, distortion=0.6, shrink=0.3
    ),
}
