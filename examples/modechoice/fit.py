"""Fit the conditional logit of the mode-choice survey and write each traveller's utilities to utilities.csv.

The model is the logit of intercity mode choice in Greene, *Econometric Analysis*: the utility of a mode is a constant of its
own (car has none), a weight on generalised cost, one on waiting time, and for air one on household income.

    python examples/modechoice/fit.py [FILE]

Needs statsmodels, which holds the data.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from statsmodels.datasets import modechoice
from statsmodels.discrete.conditional_models import ConditionalLogit

MODES = ("air", "train", "bus", "car")
NAMES = ("air", "train", "bus", "gc", "ttme", "hinc*air")

# Log-likelihood and coefficients as published, to the digits given there.
PUBLISHED_LOG_LIKELIHOOD = -199.12837
PUBLISHED = (5.20744, 3.86904, 3.16319, -0.01550, -0.09612, 0.01329)


def survey():
    """Regressors of shape (travellers, modes, coefficients), chosen mode and number of each traveller."""
    table = modechoice.load_pandas().data.sort_values(["individual", "mode"])
    column = {name: table[name].to_numpy(float).reshape(-1, len(MODES)) for name in table}
    constants = np.broadcast_to(np.eye(len(MODES))[:, :3], (*column["gc"].shape, 3))
    income_if_air = column["hinc"] * (column["mode"] == 1)
    x = np.concatenate([constants, np.stack([column["gc"], column["ttme"], income_if_air], axis=-1)], axis=-1)
    return x, column["choice"].argmax(1), column["individual"][:, 0].astype(int)


def fit(x, choice):
    """Coefficients of largest likelihood, and the log-likelihood."""
    travellers, modes, coefficients = x.shape
    chosen = np.zeros((travellers, modes))
    chosen[np.arange(travellers), choice] = 1
    model = ConditionalLogit(chosen.ravel(), x.reshape(-1, coefficients), groups=np.repeat(np.arange(travellers), modes))
    beta = np.asarray(model.fit(method="bfgs", gtol=1e-6, disp=0).params)
    # The likelihood is concave: Newton's steps take the optimiser's digits to the last, so utilities.csv is the same anywhere.
    for _ in range(5):
        p = np.exp(x @ beta - np.logaddexp.reduce(x @ beta, axis=1, keepdims=True))
        gap = chosen - p
        score = np.einsum("tm,tmc->c", gap, x)
        centred = x - np.einsum("tm,tmc->tc", p, x)[:, None]
        information = np.einsum("tm,tmc,tmd->cd", p, centred, centred)
        beta = beta + np.linalg.solve(information, score)
    return beta, float(model.loglike(beta))


def main(path):
    """Fit, print beside the published figures, check, write."""
    x, choice, traveller = survey()
    beta, log_likelihood = fit(x, choice)
    print(f"log-likelihood {log_likelihood:.5f}, published {PUBLISHED_LOG_LIKELIHOOD:.5f}")
    for name, estimate, published in zip(NAMES, beta, PUBLISHED, strict=True):
        print(f"{name:>8} {estimate:9.5f}, published {published:9.5f}")
    assert abs(log_likelihood - PUBLISHED_LOG_LIKELIHOOD) < 1e-5
    np.testing.assert_allclose(beta, PUBLISHED, rtol=0, atol=1e-5)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", *MODES))
        writer.writerows((number, *map(repr, row)) for number, row in zip(traveller.tolist(), (x @ beta).tolist(), strict=True))
    print(f"{len(x)} travellers' utilities written to {path}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("utilities.csv"))
