"""Guidance by a frozen classifier."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from shrink import timm_file

from t2igan.features.base import LOGITS
from t2igan.objective.classifier_guidance import ClassifierGuidanceConfig
from t2igan.types import PrepareContext

pytest_plugins = ["kit"]


def test_it_is_the_cross_entropy_of_the_images_classes(kit, make_inputs, make_batch, descriptors):
    model, weights = timm_file(kit, "test_efficientnet", 5)
    term = ClassifierGuidanceConfig(model=model, weights=weights, classes=5).build()
    term.prepare(PrepareContext("cpu", list, None))
    fake, labels = torch.randn(3, 3, 32, 32, requires_grad=True), torch.tensor([4, 0, 2])
    text = replace(descriptors([1] * 3, text_dim=5), pooled=F.one_hot(labels, 5).float())
    inputs = replace(make_inputs(3, generated=fake), batch=make_batch(3, text=text))
    loss = term.generator(inputs)
    logits = term.classifier(fake)[LOGITS]
    assert torch.allclose(loss, -logits.log_softmax(1)[torch.arange(3), labels].mean())
    loss.backward()
    assert fake.grad.abs().sum() > 0 and not list(term.parameters()), "the classifier is not trained"
