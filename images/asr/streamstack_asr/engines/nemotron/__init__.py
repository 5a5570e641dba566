"""Engine ``nemotron``: cache-aware streaming FastConformer RNN-T models, on GPUs or on the CPU."""
