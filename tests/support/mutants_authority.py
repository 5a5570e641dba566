"""An authority that applies every report on top of the ones before: run it in place of the real one."""

from typing import Any

from streamstack_license_authority.__main__ import main
from streamstack_license_authority.ledger import sessions

_highest = sessions._higher


def _added(one: Any, other: Any) -> Any:
    return one + other if one.name == "audio_ms" else _highest(one, other)


if __name__ == "__main__":
    sessions._higher = _added
    main()
