"""What `hack/cluster`, `hack/engine`, `hack/node-image` and `hack/images` are made of.

The standard library only: these commands run before the project has an environment of its own, on a machine that may
have nothing but Python, Go and Debian's packages.
"""
