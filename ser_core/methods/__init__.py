"""METHODS: what can be trained. A new method is a file here and a line in the table."""

from ser_core.methods.base import Method
from ser_core.methods.distillation import Distillation

METHODS: dict[str, type[Method]] = {
    "distillation": Distillation,
}
