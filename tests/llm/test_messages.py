"""Images, tools and their calls as parts of a message."""

import base64

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.messages import MAX_IMAGE_BYTES, Image, Tool, ToolCall

PNG = b"\x89PNG\r\n\x1a\n0000"
TEXT = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("source", "mime"),
    [(PNG, ""), (TEXT, "image/png"), (f"data:image/png;base64,{TEXT}", ""), (f"data:;base64,{TEXT}", "")],
)
def test_an_image_from_bytes_a_data_url_or_base64(source, mime):
    image = Image.of(source, mime)
    assert image == Image(TEXT, "image/png") and image.url == f"data:image/png;base64,{TEXT}"
    assert image.to_json() == {"mime": "image/png", "data": TEXT} and TEXT not in repr(image)


@pytest.mark.parametrize(
    ("beginning", "mime"),
    [(b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"), (b"RIFF0000WEBP", "image/webp")],
)
def test_the_type_is_detected_from_the_beginning(beginning, mime):
    assert Image.of(beginning).mime == mime


@pytest.mark.parametrize(
    ("source", "mime", "problem"),
    [
        (b"%PDF", "", "an image is one of"),
        (TEXT, "", "an image is one of"),
        ("not base64!", "image/png", "not base64"),
        ("data:image/png,raw", "", "a data URL of an image is"),
        ("https://x.example/a.png", "", "not a URL"),
        (b"0" * (MAX_IMAGE_BYTES + 9), "image/png", "5 MB are allowed"),
    ],
)
def test_what_is_no_image_says_why(source, mime, problem):
    """P11."""
    with pytest.raises(InvalidInput, match=problem):
        Image.of(source, mime)


def test_a_tool_has_a_name_that_every_provider_takes():
    assert Tool("get_time").to_json() == {
        "name": "get_time",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }
    for name in ("", "a b", "x" * 65, "zeit/ä"):
        with pytest.raises(InvalidInput, match="1 to 64 letters"):
            Tool(name)
    assert ToolCall("c", "n", {"a": 1}).to_json() == {"id": "c", "name": "n", "arguments": {"a": 1}}
