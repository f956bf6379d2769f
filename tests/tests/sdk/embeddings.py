"""openai.embeddings against the simulator at the address given."""

import json
import math
import sys
import urllib.request

import openai

url = sys.argv[1]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=5)
small = "text-embedding-3-small"


def task(number):
    return {"x-filefleet-task": f"sdk/{number}"}


def stats():
    return json.load(urllib.request.urlopen(f"{url}/_stats"))


def length(vector):
    return math.sqrt(sum(x * x for x in vector))


# The SDK asks for base64 unless it is told otherwise, and decodes it.
texts = ["Dear Ms Smith", "Rechnung Nr. 12"]
coded = client.embeddings.create(model=small, input=texts, extra_headers=task(0))
assert coded.object == "list" and coded.model == small, coded
assert [item.index for item in coded.data] == [0, 1], coded
assert all(len(item.embedding) == 1536 for item in coded.data), coded
assert abs(length(coded.data[0].embedding) - 1) < 1e-4
assert coded.usage.prompt_tokens == coded.usage.total_tokens == 8, coded.usage

# One request a second: the SDK is told to wait, and does.
floats = client.embeddings.create(
    model=small, input=texts, encoding_format="float", extra_headers=task(1)
)
assert stats()["throttled"] > 0
for one, other in zip(coded.data, floats.data):
    assert max(abs(x - y) for x, y in zip(one.embedding, other.embedding)) < 1e-7

short = client.embeddings.create(
    model=small, input="Dear Ms Smith", dimensions=256, extra_headers=task(2)
)
assert len(short.data[0].embedding) == 256

tokens = client.embeddings.create(
    model="text-embedding-3-large", input=[[1212, 318], [257]], extra_headers=task(3)
)
assert [len(item.embedding) for item in tokens.data] == [3072, 3072]
assert tokens.usage.prompt_tokens == 3

try:
    client.embeddings.create(model=small, input=["fine", "x" * 40_000])
    raise SystemExit("an input over 8192 tokens was embedded")
except openai.BadRequestError as error:
    assert error.type == "invalid_request_error", error
    assert "maximum input length is 8192 tokens" in error.message, error

try:
    client.embeddings.create(model=small, input=["x" * 32_000] * 38)
    raise SystemExit("more than 300,000 tokens were embedded")
except openai.BadRequestError as error:
    assert error.code == error.type == "max_tokens_per_request", error

classic = openai.AzureOpenAI(
    azure_endpoint=url, api_key="key", api_version="2024-10-21", max_retries=5
)
answer = classic.embeddings.create(model="dep", input="x", extra_headers=task(4))
assert answer.model == "dep" and len(answer.data[0].embedding) == 1536

v1 = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="key", max_retries=5)
answer = v1.embeddings.create(model="dep", input="x", extra_headers=task(5))
assert len(answer.data[0].embedding) == 1536

try:
    openai.OpenAI(base_url=f"{url}/v1", api_key="wrong").embeddings.create(model=small, input="x")
    raise SystemExit("a wrong key was let in")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key", error
