"""From tokens to the words and turns of the contract. Pure: no model, no clock, no I/O."""
