"""What the server and its fork server agree on."""

from typing import Final

LARGEST_CONTROL_MESSAGE: Final = 4_096
"""Of what goes between the two, in bytes."""
