"""STUDIES: what happens when the enrolment is not as it should be. One file a question; a new one is a line in the table."""

from types import ModuleType

from ser_core.studies import enrolment_choice, enrolment_errors, enrolment_size

STUDIES: dict[str, ModuleType] = {
    "enrolment-size": enrolment_size,
    "enrolment-errors": enrolment_errors,
    "enrolment-choice": enrolment_choice,
}
"""Each offers TITLE, READING, IN_ORDER; check(corpus); conditions(trained, hear), the ways to enrol; and contrast(condition),
with which of them one is compared beside nobody."""
