"""azure.ai.vision.imageanalysis against the simulator at the address given."""

import json
import struct
import sys
import urllib.request
import zlib

from azure.ai.vision.imageanalysis import ImageAnalysisClient
from azure.ai.vision.imageanalysis.models import VisualFeatures
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

url = sys.argv[1]
client = ImageAnalysisClient(url, AzureKeyCredential("key"))


def task(number):
    return {"x-filefleet-task": f"sdk/{number}"}


def stats():
    return json.load(urllib.request.urlopen(f"{url}/_stats"))


def png(width, height):
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + b"\xff" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def inside(box):
    return 0 <= box.x and 0 <= box.y and box.x + box.width <= 320 and box.y + box.height <= 200


image = png(320, 200)
result = client.analyze(
    image,
    list(VisualFeatures),
    gender_neutral_caption=True,
    smart_crops_aspect_ratios=[0.9, 1.33],
    language="en",
    model_version="latest",
    headers=task(0),
)
assert (result.metadata.width, result.metadata.height) == (320, 200), result
assert result.model_version == "2023-10-01", result
assert result.caption.text.startswith("[rehearsal]") and 0 < result.caption.confidence <= 1
assert result.dense_captions.list[0].text == result.caption.text, result
assert result.tags.list and all(0 < tag.confidence <= 1 for tag in result.tags.list), result
assert result.objects.list[0].tags[0].name, result
assert [crop.aspect_ratio for crop in result.smart_crops.list] == [0.9, 1.33], result
for found in (result.dense_captions, result.objects, result.smart_crops, result.people):
    assert found.list and all(inside(item.bounding_box) for item in found.list), result
lines = result.read.blocks[0].lines
assert lines[1].text == "320 x 200 pixels", lines
assert [word.text for word in lines[1].words] == lines[1].text.split(), lines
assert len(lines[0].bounding_polygon) == 4 and lines[0].words[0].confidence > 0.9, lines

# One request a second: the SDK is told to wait, and does, although this is a POST.
again = client.analyze(image, [VisualFeatures.CAPTION], gender_neutral_caption=True, headers=task(1))
assert stats()["throttled"] == 1
assert again.caption.text == result.caption.text and again.tags is None, again

remote = client.analyze_from_url(
    "https://host.invalid/scan.png", [VisualFeatures.READ], headers=task(2)
)
assert remote.read.blocks, remote

for content, inner in [(png(20, 20), "InvalidImageSize"), (b"%PDF-1.7", "InvalidImageFormat")]:
    try:
        client.analyze(content, [VisualFeatures.TAGS])
        raise SystemExit(f"{inner} was expected")
    except HttpResponseError as error:
        assert error.status_code == 400 and error.error.code == "InvalidRequest", error
        assert error.error.innererror["code"] == inner, error
        assert error.response.headers["x-ms-error-code"] == "InvalidRequest", error

try:
    wrong = ImageAnalysisClient(url, AzureKeyCredential("wrong"))
    wrong.analyze(image, [VisualFeatures.TAGS])
    raise SystemExit("a wrong key was let in")
except ClientAuthenticationError as error:
    assert error.status_code == 401, error
