"""What the user brings: model files, inputs, data and callables, read without running code of theirs unasked."""
