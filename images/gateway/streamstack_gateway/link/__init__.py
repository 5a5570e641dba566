"""Links to ASR servers: one gRPC stream that carries any number of sessions (DESIGN 4 "Link")."""
