"""Generated contracts between the pieces; made by ``hack/contract generate`` from ``protos/``."""
