"""The official client of Azure AI Search against the simulator."""

import json
import sys
import urllib.request

from azure.core import MatchConditions
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.search.documents import SearchClient, SearchIndexingBufferedSender
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import (
    HnswAlgorithmConfiguration,
    SearchableField,
    SearchField,
    SearchFieldDataType,
    SearchIndex,
    SimpleField,
    VectorSearch,
    VectorSearchProfile,
)
from azure.search.documents.models import VectorizedQuery

ENDPOINT = sys.argv[1]
KEY = AzureKeyCredential("key")


def control(**change):
    body = json.dumps(change).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_control", body, method="POST")
    urllib.request.urlopen(request).close()


def definition(name):
    return SearchIndex(
        name=name,
        fields=[
            SimpleField(name="id", type=SearchFieldDataType.STRING, key=True),
            SearchableField(name="text"),
            SimpleField(
                name="size", type=SearchFieldDataType.INT32, filterable=True, sortable=True
            ),
            SearchField(
                name="vec",
                type=SearchFieldDataType.Collection(SearchFieldDataType.SINGLE),
                searchable=True,
                vector_search_dimensions=2,
                vector_search_profile_name="p",
            ),
        ],
        vector_search=VectorSearch(
            profiles=[VectorSearchProfile(name="p", algorithm_configuration_name="a")],
            algorithms=[HnswAlgorithmConfiguration(name="a")],
        ),
    )


def raises(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def indexes(admin):
    created = admin.create_index(definition("files"))
    assert created.name == "files" and created.e_tag, created
    assert created.fields[3].vector_search_dimensions == 2
    raises(ResourceExistsError, lambda: admin.create_index(definition("files")))
    assert [index.name for index in admin.list_indexes()] == ["files"]
    wider = admin.get_index("files")
    wider.fields.append(SimpleField(name="kind", type=SearchFieldDataType.STRING, filterable=True))
    changed = admin.create_or_update_index(
        wider, match_condition=MatchConditions.IfNotModified
    )
    assert changed.e_tag != created.e_tag
    raises(
        ResourceModifiedError,
        lambda: admin.create_or_update_index(
            created, match_condition=MatchConditions.IfNotModified
        ),
    )
    error = raises(HttpResponseError, lambda: admin.create_index(SearchIndex(name="x y", fields=[])))
    assert error.status_code == 400 and "Invalid index name" in error.message
    raises(ResourceNotFoundError, lambda: admin.get_index("none"))


def documents(client):
    uploaded = client.upload_documents(
        [
            {"id": "a", "text": "red house", "kind": "x", "size": 1, "vec": [1, 0]},
            {"id": "b", "text": "red red car", "kind": "y", "size": 2, "vec": [0, 1]},
            {"id": "c", "text": "green tree", "kind": "x", "size": 3, "vec": [-1, 0]},
            {"id": "d", "text": "nothing", "kind": "y", "size": 4},
        ]
    )
    assert [(one.key, one.succeeded, one.status_code) for one in uploaded][0] == ("a", True, 201)
    # One of two fails: 207.
    merged = client.merge_documents([{"id": "a", "size": 9}, {"id": "none", "size": 9}])
    assert [one.status_code for one in merged] == [200, 404]
    assert not merged[1].succeeded and merged[1].error_message == "Document not found."
    assert client.merge_or_upload_documents([{"id": "d", "size": 5}])[0].status_code == 200
    assert client.delete_documents([{"id": "d"}])[0].succeeded
    assert client.get_document_count() == 3
    document = client.get_document("a", selected_fields=["text", "size"])
    assert document == {"text": "red house", "size": 9}, document
    raises(ResourceNotFoundError, lambda: client.get_document("d"))
    error = raises(HttpResponseError, lambda: client.upload_documents([{"id": "e", "no": 1}]))
    assert error.status_code == 400


def queries(client):
    def ids(results):
        return [one["id"] for one in results]

    found = client.search("red", include_total_count=True)
    assert found.get_count() == 2 and ids(found) == ["b", "a"]
    near = VectorizedQuery(vector=[1.0, 0.1], k_nearest_neighbors=2, fields="vec")
    vector = list(client.search(vector_queries=[near]))
    assert ids(vector) == ["a", "b"] and vector[0]["@search.score"] > 0.9
    assert "vec" not in vector[0]
    hybrid = list(client.search("house tree", vector_queries=[near], top=3))
    assert ids(hybrid) == ["a", "b", "c"]
    assert abs(hybrid[0]["@search.score"] - 2 / 61) < 1e-9
    filtered = client.search(
        "*", filter="kind eq 'x' and (size eq 9 or size eq 3)", order_by=["size asc"], select=["id"]
    )
    assert [one["id"] for one in filtered] == ["c", "a"]
    error = raises(HttpResponseError, lambda: list(client.search("*", filter="nothing eq 1")))
    assert error.status_code == 400 and "nothing" in error.message


def pages(client):
    client.upload_documents([{"id": f"p{number:03}", "kind": "page"} for number in range(120)])
    found = list(client.search("*", filter="kind eq 'page'"))
    assert len(found) == 120 and len({one["id"] for one in found}) == 120


def buffered(admin):
    admin.create_index(definition("buffered"))
    # A fifth of the documents fails at first, and is sent again by the sender.
    control(search={"document_failures": 0.2})
    failed = []
    sender = SearchIndexingBufferedSender(
        ENDPOINT,
        "buffered",
        KEY,
        auto_flush=False,
        max_retries_per_action=20,
        on_error=failed.append,
    )
    with sender:
        sender.upload_documents([{"id": str(number), "size": number} for number in range(200)])
        sender.flush()
    assert not failed, failed
    control(search={"document_failures": 0})


def too_large(admin):
    admin.create_index(definition("large"))
    with SearchIndexingBufferedSender(ENDPOINT, "large", KEY, auto_flush=False) as sender:
        # 20 MiB in all: refused with 413, and sent in halves.
        text = "x" * (5 * 1024 * 1024)
        sender.upload_documents([{"id": str(number), "text": text} for number in range(4)])
        sender.flush()
    with SearchClient(ENDPOINT, "large", KEY) as client:
        assert client.get_document_count() == 4


def refused():
    stranger = SearchClient(ENDPOINT, "files", AzureKeyCredential("wrong"))
    assert raises(HttpResponseError, stranger.get_document_count).status_code == 403


# A key may go over plain HTTP: the SDK insists on HTTPS for tokens alone.
with SearchIndexClient(ENDPOINT, KEY) as admin_client:
    indexes(admin_client)
    with SearchClient(ENDPOINT, "files", KEY) as search_client:
        documents(search_client)
        queries(search_client)
        pages(search_client)
    buffered(admin_client)
    too_large(admin_client)
    refused()
    admin_client.delete_index("files")
    raises(ResourceNotFoundError, lambda: admin_client.get_index("files"))
