"""Fitted candidates as bytes and back, in skops format, through a list of types of our own.

skops stores names of types and arrays, and builds only types that it or we trust. What a file asks for is never
taken as permission. Trust in a type is not trust in its numbers: tree nodes hold raw indices that scikit-learn does
not check, so verify the digest of the bytes before loading them.
"""

import zipfile
from typing import TYPE_CHECKING, Any

from tasks.core.errors import IntegrityError

if TYPE_CHECKING:
    from tasks.core.candidates import Candidate
    from tasks.io.foreign import Foreign

TRUSTED = (
    "functools.partial",  # boosting with categories keeps partial(check_array, ...); skops audits the function it holds as well
    "sklearn.utils.validation.check_array",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "numpy.dtype",  # IterativeImputer's and the encoders'
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    "lightgbm.basic.Booster",  # its state is a text that its own library parses
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "collections.OrderedDict",
    "collections.defaultdict",
    "tasks.core.candidates.Aimed",
    "tasks.core.candidates.Candidate",
    "tasks.core.encoding.Encoder",
    "tasks.core.encoding.Vocabulary",
    "tasks.core.mitigation.stages.Stage",
    "tasks.core.mitigation.backward.BackwardCompatible",
    "tasks.core.mitigation.calibrated_equalized_odds.CalibratedEqualizedOdds",
    "tasks.core.mitigation.centroids.CentroidImputer",
    "tasks.core.mitigation.cohort_calibration.CohortCalibration",
    "tasks.core.mitigation.cohort_models.CohortModels",
    "tasks.core.mitigation.cohort_predictions.CohortBiasCorrection",
    "tasks.core.mitigation.cohort_predictions.QuantileMapping",
    "tasks.core.mitigation.cohort_thresholds.CohortThresholds",
    "tasks.core.mitigation.columns.OnColumns",
    "tasks.core.mitigation.correlated.CorrelatedFeatures",
    "tasks.core.mitigation.correlation_remover.CorrelationRemover",
    "tasks.core.mitigation.decoupled.Decoupled",
    "tasks.core.mitigation.disparate_impact_remover.DisparateImpactRemover",
    "tasks.core.mitigation.exponentiated_gradient.ExponentiatedGradient",
    "tasks.core.mitigation.grid_search.GridSearch",
    "tasks.core.mitigation.joint_thresholds.JointThresholds",
    "tasks.core.mitigation.prototype_representation.PrototypeRepresentation",
    "tasks.core.mitigation.reject_option.RejectOption",
    "tasks.core.mitigation.resampling.Resampling",
    "tasks.core.mitigation.reweighing.Reweighing",
    "tasks.core.mitigation.sampling.RandomOverSampler",
    "tasks.core.mitigation.sampling.RandomUnderSampler",
    "tasks.core.mitigation.sampling.TomekLinks",
    "tasks.core.mitigation.sampling.EditedNearestNeighbours",
    "tasks.core.mitigation.sampling.ClusterCentroids",
    "tasks.core.mitigation.selection.SequentialSelector",
    "tasks.core.mitigation.selection.RecursiveSelector",
    "tasks.core.mitigation.smote.Smote",
    "tasks.core.mitigation.smote.SmoteNC",
    "tasks.core.mitigation.smote.SmoteN",
    "tasks.core.mitigation.synthesis.GaussianCopula",
    "tasks.core.mitigation.threshold_optimizer.ThresholdOptimizer",
    "tasks.io.foreign.Foreign",
)

_AGAIN = "Take the model from the registry again, or train it again."


def dump(candidate: "Candidate | Foreign") -> bytes:
    """The fitted candidate as a skops file, compressed. The same candidate gives bytes that load to the same predictions."""
    import skops.io

    return bytes(skops.io.dumps(candidate, compression=zipfile.ZIP_DEFLATED))


def load(data: bytes) -> "Candidate | Foreign":
    """The candidate in `data`, whose digest the caller has verified.

    Raises IntegrityError for bytes that are no whole skops file, that name a type outside TRUSTED, or that hold
    something other than a candidate.
    """
    from tasks.core.candidates import Candidate
    from tasks.io.foreign import Foreign

    candidate = read_skops(data)
    if not isinstance(candidate, Candidate | Foreign):
        raise IntegrityError(f"the file holds a {type(candidate).__name__}, not a candidate.", fix=_AGAIN)
    return candidate


def read_skops(data: bytes) -> Any:
    """The object in a skops file of trusted types. Raises: IntegrityError as `load`."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.loads(data, trusted=list(TRUSTED))  # looks at all types before it makes anything
    except UntrustedTypesFoundException as error:
        strangers = ", ".join(sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED)))
        message = f"the model asks for types that are not ours to load: {strangers}."
        raise IntegrityError(message, fix="Do not load it; train the model again with Equipoise.") from error
    except Exception as error:  # any fault of the parser is a fault of the bytes
        raise IntegrityError(f"the model's {len(data)} bytes are not a whole skops file ({type(error).__name__}: {error}).", fix=_AGAIN) from error
