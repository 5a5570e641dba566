"""What a StreamingStack becomes: Kubernetes objects as plain dicts, made of the spec alone: no I/O, no clock."""
