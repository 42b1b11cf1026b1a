"""The picture must tell which mode of the latent drew it.

Chen et al. 2016 (arXiv:1606.03657), Eq. 5: a lower bound on the mutual information of a discrete code and the picture. D carries the
reader, so the only way to be told apart and to stay real is to be drawn in different real manners.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.round import Round, Term
from t2igan.style.mapping import latent_mode


class ModeInformation(Term):
    """Cross-entropy between the mode that z chose and the mode read from the generated picture; the same loss for D and for G."""

    def discriminator(self, round: Round) -> Float[Tensor, ""]:
        read = round.fake_verdict.modes
        return F.cross_entropy(read, latent_mode(round.fake.z, read.shape[1]))

    generator = discriminator
