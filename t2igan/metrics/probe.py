"""What a linear probe reads from features: Alain and Bengio 2016 (arXiv:1610.01644), section 3. Needs scikit-learn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from t2igan.metrics.separability import scikit_learn


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression from features to one of several words."""

    model: object

    @classmethod
    def fit(cls, features: Float[Tensor, "n d"], words: list[str]) -> "LinearProbe":
        """Raises ValueError where all words are the same."""
        if len(set(words)) < 2:
            raise ValueError(f"a probe needs two different words or more, got {set(words)}")
        regression = scikit_learn("linear_model").LogisticRegression(max_iter=1000, C=100.0)
        return cls(regression.fit(features.double().numpy(), np.array(words)))

    def accuracy(self, features: Float[Tensor, "n d"], words: list[str]) -> float:
        """Share of the rows whose word it reads."""
        return float((self.model.predict(features.double().numpy()) == np.array(words)).mean())
