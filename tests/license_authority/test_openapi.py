import json
from pathlib import Path

from streamstack_license_authority.openapi import document
from support.authority_process import authority_process

DESCRIPTION = Path(__file__).parents[2] / "docs/license-authority.openapi.json"


def test_the_description_in_the_documents_is_the_programs_own() -> None:
    assert DESCRIPTION.read_text(encoding="utf-8") == document(), (
        "run `python -m streamstack_license_authority.openapi > docs/license-authority.openapi.json`"
    )


async def test_a_running_authority_describes_itself_likewise(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        assert await authority.get("/openapi.json", token=None) == (200, json.loads(document()))


def test_every_answer_that_is_no_success_is_described_as_an_error() -> None:
    described = json.loads(document())
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                    members = described["components"]["schemas"][name]["required"]
                    assert "error" in members, f"{method} {path} {status}"
