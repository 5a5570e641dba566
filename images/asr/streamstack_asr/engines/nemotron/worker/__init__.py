"""The process that owns a model: one loop takes audio in, steps the slots that are ready together, and tells of it."""
