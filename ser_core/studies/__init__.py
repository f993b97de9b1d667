"""STUDIES: open questions, answered by experiment. One file a question; a new one is a line in the table."""

from ser_core.studies import (
    bias_features,
    clusters,
    cross_corpus,
    enrolment_choice,
    enrolment_errors,
    enrolment_size,
    label_budget,
    label_shift,
    speaker_count,
)
from ser_core.studies.base import Study
from ser_core.studies.conditions import study_of

STUDIES: dict[str, Study] = {
    "enrolment-size": study_of(enrolment_size),
    "enrolment-errors": study_of(enrolment_errors),
    "enrolment-choice": study_of(enrolment_choice),
    "label-shift": label_shift.STUDY,
    "speaker-count": speaker_count.STUDY,
    "cross-corpus": cross_corpus.STUDY,
    "bias-features": bias_features.STUDY,
    "clusters": clusters.STUDY,
    "label-budget": label_budget.STUDY,
}
"""The first three compare ways to enrol (conditions.py)."""
