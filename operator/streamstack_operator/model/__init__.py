"""The StreamingStack as pydantic models: spec and status, from which the CRD is made."""
