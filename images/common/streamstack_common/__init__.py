"""What at least two pieces share: settings, logging, internal HTTP, the credential, generated contracts."""
