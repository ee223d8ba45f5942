"""What each method on columns is: scikit-learn's class, what it reads, and what a case may set."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # the import that makes the next one possible
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from tasks.core.mitigation.arguments import Kind
from tasks.core.mitigation.centroids import CentroidImputer


@dataclass(frozen=True)
class Method:
    """scikit-learn's class, the kinds of columns it reads, and the arguments that we set for it."""

    cls: type
    reads: tuple[Kind, ...] = ("numeric",)
    ours: dict[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    """Parameters that the step itself adds."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """What `params` may have."""
        return tuple(name for name in inspect.signature(self.cls).parameters if name not in {*self.ours, *INTERNAL}) + self.also


INTERNAL = {
    *("copy", "dtype", "sample_posterior", "verbose", "random_state", "shuffle", "target_type", "missing_values", "keep_empty_features", "add_indicator"),
    *("estimator", "ignore_implicit_zeros", "drop", "feature_name_combiner", "encoded_missing_value"),
}
"""Arguments of scikit-learn's that a case cannot set: ours, harmful, or without meaning on a tidy frame."""
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
TABLE: dict[str, Method] = {
    "simple_imputer": Method(SimpleImputer, ("numeric", "categorical"), also=("add_indicator",)),
    "iterative_imputer": Method(IterativeImputer, also=("add_indicator",)),
    "knn_imputer": Method(CentroidImputer, also=("add_indicator",)),
    "one_hot_encoder": Method(OneHotEncoder, ("categorical",), {"handle_unknown": "infrequent_if_exist", "sparse_output": False}),
    "ordinal_encoder": Method(OrdinalEncoder, ("categorical",), UNKNOWN),
    "target_encoder": Method(TargetEncoder, ("categorical",)),
    "standard_scaler": Method(StandardScaler),
    "min_max_scaler": Method(MinMaxScaler),
    "quantile_transformer": Method(QuantileTransformer),
    "robust_scaler": Method(RobustScaler),
    "power_transformer": Method(PowerTransformer),
    "normalizer": Method(Normalizer),
}
IMPUTERS = ("simple_imputer", "iterative_imputer", "knn_imputer")
