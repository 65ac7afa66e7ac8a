"""The proof of the files that ship: paired latency, accuracy, memory and the verdict."""
