"""Recovery: distillation, evaluation and the unstructured twin, on accelerate."""
