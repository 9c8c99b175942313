"""Fits of statsmodels: models made from the data sets that it bundles, fitted by likelihood."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Name -> fit, which takes nothing and returns what the package returns.
STATSMODELS: dict[str, Callable[[], Any]] = {}


def statsmodels(name: str, build: Callable[[Any], Any], **given: Any) -> None:
    """Enter the fit by likelihood of a model, which `build` makes from `statsmodels.api`."""

    def run() -> Any:
        import statsmodels.api as sm

        return build(sm).fit(**{"method": "bfgs", "maxiter": 1000, "disp": 0, **given})

    STATSMODELS[f"statsmodels {name}"] = run


def bundled(name: str) -> Any:
    """Return a data set of statsmodels as a DataFrame."""
    from statsmodels import datasets

    return getattr(datasets, name).load_pandas().data


def both(name: str) -> tuple[Any, Any]:
    """Return the response of a data set of statsmodels and its predictors, with a constant."""
    from statsmodels import api, datasets

    loaded = getattr(datasets, name).load_pandas()
    return loaded.endog, api.add_constant(loaded.exog)


def visits() -> tuple[Any, Any]:
    """Return visits to a doctor and what may explain them, a tenth of the RAND experiment."""
    y, X = both("randhie")
    return y.to_numpy()[::10], X.to_numpy()[::10]


def table(package: str, name: str) -> Any:
    """Return a table that a package of statsmodels has beside its tests."""
    import pandas as pd

    folder = Path(importlib.import_module(f"statsmodels.{package}.tests").__file__ or "").parent
    return pd.read_csv(folder / "results" / name)


def affair() -> tuple[Any, Any]:
    """Return whether there was an affair, and the answers of a tenth of Fair's survey."""
    from statsmodels import api

    d = bundled("fair").iloc[::10]
    return d.affairs > 0, api.add_constant(d.drop(columns="affairs"))


def ordered(y: Any, X: Any, distr: str) -> Any:
    """Return an ordinal regression."""
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    return OrderedModel(y, X, distr=distr)


def marriage() -> Any:
    """Return an ordinal regression of how a tenth of Fair's women rated their marriages."""
    d = bundled("fair").iloc[::10]
    return ordered(d.rate_marriage, d[["age", "yrs_married", "children", "educ"]], "probit")


def politics() -> Any:
    """Return an ordinal regression of where voters placed themselves."""
    d = bundled("anes96")
    return ordered(d.selfLR, d[["age", "educ", "income", "popul"]], "logit")


def glm(sm: Any, name: str, family: str, link: str | None = None) -> Any:
    """Return a generalised linear model."""
    links = {} if link is None else {"link": getattr(sm.families.links, link)()}
    return sm.GLM(*both(name), family=getattr(sm.families, family)(**links))


def beta() -> Any:
    """Return a beta regression."""
    from statsmodels.othermod.betareg import BetaModel

    return BetaModel.from_formula(
        "methylation ~ gender + CpG", table("othermod", "methylation-test.csv")
    )


def hurdle() -> Any:
    """Return a count model whose zeros have a model of their own."""
    from statsmodels.discrete.truncated_model import HurdleCountModel

    return HurdleCountModel(*visits(), dist="poisson", zerodist="poisson")


def student() -> Any:
    """Return a linear regression with errors of Student's t, its degrees of freedom fitted."""
    from statsmodels.miscmodels.tmodel import TLinearModel

    y, X = both("stackloss")
    return TLinearModel(y.to_numpy(), X.to_numpy())


def hazard(sm: Any, time: str, predictor: str, name: str, event: str | None = None) -> Any:
    """Return a proportional-hazards regression."""
    d = bundled(name)
    return sm.PHReg(
        d[time], d[[predictor]], status=None if event is None else d[event], ties="efron"
    )


def mixed(sm: Any) -> Any:
    """Return a linear regression with a random constant for each firm."""
    d = bundled("grunfeld")
    return sm.MixedLM(d.invest, sm.add_constant(d[["value", "capital"]]), groups=d.firm)


def factors() -> Any:
    """Return an analysis of two factors by maximum likelihood."""
    from statsmodels.multivariate.factor import Factor

    return Factor(table("multivariate", "factor_data.csv").iloc[:, 1:], n_factor=2, method="ml")


def choices() -> Any:
    """Return a conditional logistic regression: a mode of travel out of four."""
    from statsmodels.discrete.conditional_models import ConditionalLogit

    d = bundled("modechoice")
    return ConditionalLogit(d.choice, d[["ttme", "invc", "invt", "gc"]], groups=d.individual)


statsmodels("Logit, spector", lambda sm: sm.Logit(*both("spector")))
statsmodels("Probit, fair", lambda sm: sm.Probit(*affair()))
statsmodels("MNLogit, anes96", lambda sm: sm.MNLogit(*both("anes96")))
statsmodels("Poisson, randhie", lambda sm: sm.Poisson(*visits()))
statsmodels("NegativeBinomial, randhie", lambda sm: sm.NegativeBinomial(*visits()))
statsmodels("GeneralizedPoisson, randhie", lambda sm: sm.GeneralizedPoisson(*visits()))
statsmodels(
    "ZeroInflatedPoisson, randhie",
    lambda sm: sm.ZeroInflatedPoisson(*visits(), exog_infl=visits()[1][:, :4]),
    start_params=np.zeros(14),
)
statsmodels("HurdleCount, randhie", lambda _: hurdle())
statsmodels("OrderedModel probit, fair", lambda _: marriage())
statsmodels("OrderedModel logit, anes96", lambda _: politics())
for _name, _family, _link in (
    ("star98", "Binomial", None),
    ("scotland", "Gamma", "Log"),
    ("cpunish", "Poisson", None),
):
    statsmodels(
        f"GLM {_family}, {_name}",
        functools.partial(glm, name=_name, family=_family, link=_link),
        max_start_irls=0,
    )
statsmodels("BetaModel, methylation", lambda _: beta())
statsmodels(
    "TLinearModel, stackloss", lambda _: student(), start_params=[-40.0, 1.0, 1.0, 0.0, 5.0, 3.0]
)
statsmodels("PHReg, heart", lambda sm: hazard(sm, "survival", "age", "heart", "censors"))
statsmodels("PHReg, strikes", lambda sm: hazard(sm, "duration", "iprod", "strikes"))
statsmodels("MixedLM, grunfeld", mixed)
statsmodels("ConditionalLogit, modechoice", lambda _: choices())
# These by the methods that they take themselves.
STATSMODELS["statsmodels Factor, its tests' table"] = lambda: factors().fit()
statsmodels(
    "ARIMA(1,1,1), nile",
    lambda sm: sm.tsa.SARIMAX(bundled("nile").volume, order=(1, 1, 1)),
    method="lbfgs",
)
statsmodels(
    "AR(2), sunspots",
    lambda sm: sm.tsa.SARIMAX(bundled("sunspots").SUNACTIVITY[-60:], order=(2, 0, 0)),
    method="lbfgs",
)
statsmodels(
    "UnobservedComponents, nile",
    lambda sm: sm.tsa.UnobservedComponents(bundled("nile").volume, "local level"),
    method="lbfgs",
)
statsmodels(
    "MarkovRegression, macrodata",
    lambda sm: sm.tsa.MarkovRegression(
        bundled("macrodata").infl, k_regimes=2, switching_variance=True
    ),
)
