"""How well a hyperplane in a latent space separates images with an attribute from images without it.

Karras et al. 2019 (arXiv:1812.04948), section 4.2. Needs scikit-learn.
"""

import importlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from t2igan.errors import UserError


@dataclass(frozen=True)
class Separation:
    """One attribute in one space."""

    entropy: float  # bits, of the attribute where the side of the hyperplane is known; 0: perfectly separated
    decision: Float[Tensor, " n"]  # signed distance of each latent from the hyperplane, up to a factor


def separate(latents: Float[Tensor, "n d"], labels: Bool[Tensor, " n"]) -> Separation:
    """Fits a linear support vector machine to the labels.

    Raises:
        ValueError: all labels are equal, or latents are so few that a hyperplane separates almost any labels (Cover 1965).
    """
    count, dimensions = latents.shape
    if count <= 2 * dimensions:
        raise ValueError(f"{count} latents of {dimensions} dimensions, which are separated whatever their labels")
    if labels.all() or not labels.any():
        raise ValueError("all labels are equal, needs images with the attribute and images without it")
    machine = scikit_learn("svm").LinearSVC(dual=False)
    decision = torch.from_numpy(machine.fit(latents.double().numpy(), labels.numpy()).decision_function(latents.double().numpy()))
    return Separation(conditional_entropy(labels, decision > 0), decision.float())


def conditional_entropy(labels: Bool[Tensor, " n"], sides: Bool[Tensor, " n"]) -> float:
    """H(label | side) in bits."""
    bits = 0.0
    for side in (False, True):
        found = labels[sides == side]
        share = float(found.float().mean()) if len(found) else 0.0
        bits -= len(found) / len(labels) * sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
    return bits


def score(entropies: list[float]) -> float:
    """exp of the sum over the attributes, base 2: 1 where every attribute is separated, smaller is better."""
    return 2 ** sum(entropies)


@dataclass(frozen=True)
class AttributeClassifier:
    """Features of an image to the logit of an attribute, by logistic regression."""

    weight: Float[Tensor, " d"]
    bias: float
    accuracy: float  # balanced between the two classes, on a fifth of the images that it was not fitted to

    @classmethod
    def fit(cls, features: Float[Tensor, "n d"], labels: Bool[Tensor, " n"]) -> "AttributeClassifier":
        """Raises ValueError where a class has fewer than ten images."""
        counts = int(labels.sum()), int((~labels).sum())
        if min(counts) < 10:
            raise ValueError(f"{counts[0]} images have it and {counts[1]} do not, needs ten of each")
        x, y = features.double().numpy(), labels.numpy()
        held_out = np.arange(len(y)) % 5 == 0
        regression = scikit_learn("linear_model").LogisticRegression(max_iter=1000, C=100.0, class_weight="balanced")
        trial = regression.fit(x[~held_out], y[~held_out])
        accuracy = float(scikit_learn("metrics").balanced_accuracy_score(y[held_out], trial.predict(x[held_out])))
        whole = regression.fit(x, y)
        return cls(torch.from_numpy(whole.coef_[0]).float(), float(whole.intercept_[0]), accuracy)

    def __call__(self, features: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return features @ self.weight + self.bias


def scikit_learn(module: str):
    """A module of scikit-learn. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise UserError("linear classifiers need scikit-learn: pip install 't2igan[separability]'") from None
