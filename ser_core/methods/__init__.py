"""METHODS: what can be trained. A new method is a file here and a line in the table."""

from ser_core.methods.base import Method
from ser_core.methods.baseline import Baseline
from ser_core.methods.cfa import Cfa
from ser_core.methods.cluster_contrastive import ClusterContrastive
from ser_core.methods.distillation import Distillation
from ser_core.methods.enrolment_attention import EnrolmentAttention
from ser_core.methods.multimodal import Multimodal
from ser_core.methods.papt import Papt
from ser_core.methods.source_fairness import SourceFairness
from ser_core.methods.speaker_reference import SpeakerReference

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "enrolment_attention": EnrolmentAttention,
    "speaker_reference": SpeakerReference,
    "multimodal": Multimodal,
    "papt": Papt,
    "cfa": Cfa,
    "source_fairness": SourceFairness,
    "cluster_contrastive": ClusterContrastive,
    "distillation": Distillation,
}
