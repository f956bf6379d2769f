"""The official client of Azure AI Document Intelligence against the simulator."""

import json
import sys
import urllib.request

from azure.ai.documentintelligence import DocumentIntelligenceClient
from azure.ai.documentintelligence.models import (
    AnalyzeDocumentRequest,
    DocumentAnalysisFeature,
    DocumentContentFormat,
    StringIndexType,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

ENDPOINT = sys.argv[1]
TASK = {"x-filefleet-task": "run/0"}
TEXT = "# Träger 🌍\nHello world\n\nname\tprice\nBolt\t2.50\fSecond page"


def control(**change):
    body = json.dumps(change).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_control", body, method="POST")
    urllib.request.urlopen(request).close()


def stats():
    with urllib.request.urlopen(f"{ENDPOINT}/_stats") as answer:
        return json.load(answer)


def cut(content, span):
    return content[span.offset : span.offset + span.length]


def bytes_and_spans(client):
    poller = client.begin_analyze_document(
        "prebuilt-layout",
        TEXT.encode(),
        content_type="application/octet-stream",
        # The unit that Python counts in.
        string_index_type=StringIndexType.UNICODE_CODE_POINT,
        headers=TASK,
    )
    assert poller.details["operation_id"], poller.details
    result = poller.result()
    assert poller.status() == "succeeded", poller.status()
    assert result.api_version == "2024-11-30" and result.model_id == "prebuilt-layout"
    assert result.content_format == DocumentContentFormat.TEXT
    assert [page.page_number for page in result.pages] == [1, 2]
    for page in result.pages:
        assert page.unit == "inch" and page.width == 8.5 and page.angle == 0
        for word in page.words:
            assert cut(result.content, word.span) == word.content
            assert len(word.polygon) == 8 and 0.9 < word.confidence <= 1
        for line in page.lines:
            assert cut(result.content, line.spans[0]) == line.content
    table = result.tables[0]
    assert (table.row_count, table.column_count) == (2, 2)
    assert [cell.content for cell in table.cells] == ["name", "price", "Bolt", "2.50"]
    assert table.cells[0].kind == "columnHeader"
    assert table.cells[0].bounding_regions[0].page_number == 1
    assert result.paragraphs[0].role == "title"
    assert result.styles == []


def markdown(client):
    poller = client.begin_analyze_document(
        "prebuilt-layout",
        AnalyzeDocumentRequest(bytes_source=TEXT.encode()),
        output_content_format=DocumentContentFormat.MARKDOWN,
        pages="1-2",
        features=[DocumentAnalysisFeature.LANGUAGES],
    )
    content = poller.result().content
    assert content.startswith("# Träger 🌍\n\nHello world\n\n<table>"), content
    assert "<th>price</th>" in content and "<!-- PageBreak -->" in content, content


def invoice(client):
    text = b"Northwind Tools\nInvoice No. NW-77\nDate: 2026-05-04\n\nTotal: EUR 119.00\n"
    poller = client.begin_analyze_document(
        "prebuilt-invoice", text, content_type="application/octet-stream"
    )
    document = poller.result().documents[0]
    assert document.doc_type == "invoice"
    assert document.fields["InvoiceId"].value_string == "NW-77"
    assert str(document.fields["InvoiceDate"].value_date) == "2026-05-04"
    assert document.fields["InvoiceTotal"].value_currency.amount == 119.0


def failed(client):
    poller = client.begin_analyze_document(
        "prebuilt-read", b"SIM_OCR_FAILED", content_type="application/octet-stream"
    )
    try:
        poller.result()
    except HttpResponseError as error:
        assert poller.status() == "failed", poller.status()
        assert error.error.details[0].code == "InvalidContent", error
    else:
        raise AssertionError("a failed operation is an error")


def throttled(client):
    control(ocr={"quotas": {"posts_per_second": 1, "gets_per_second": 1}})
    before = stats()["throttled"]
    for _ in range(2):
        poller = client.begin_analyze_document(
            "prebuilt-read", b"Hello", content_type="application/octet-stream"
        )
        assert poller.result().content == "Hello"
    # The second document came at once, and polls come faster than one a second.
    assert stats()["throttled"] > before
    control(ocr={"quotas": None})


def refused(client):
    def code(model, body):
        try:
            client.begin_analyze_document(model, body, content_type="application/octet-stream")
        except HttpResponseError as error:
            return error.status_code, error.error.innererror["code"]
        raise AssertionError("refused documents are errors")

    assert code("prebuilt-nonsense", b"x") == (404, "ModelNotFound")
    assert code("prebuilt-read", b"\xff\xfe\x00") == (400, "InvalidContent")
    stranger = DocumentIntelligenceClient(ENDPOINT, AzureKeyCredential("wrong"))
    try:
        stranger.begin_analyze_document("prebuilt-read", b"x", content_type="application/pdf")
    except ClientAuthenticationError as error:
        assert error.status_code == 401
    else:
        raise AssertionError("a wrong key is an error")
    try:
        client.delete_analyze_result("prebuilt-read", "00000000-0000-4000-8000-000000000000")
    except ResourceNotFoundError as error:
        assert error.error.innererror["code"] == "OperationNotFound", error
    except HttpResponseError as error:
        assert error.status_code == 404, error
    else:
        raise AssertionError("an unknown result is an error")


# A key may go over plain HTTP: the SDK insists on HTTPS for tokens alone.
with DocumentIntelligenceClient(ENDPOINT, AzureKeyCredential("key")) as di:
    for check in (bytes_and_spans, markdown, invoice, failed, throttled, refused):
        check(di)
        print(check.__name__, "ok")
