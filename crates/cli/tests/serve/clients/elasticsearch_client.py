"""Elasticsearch's own client for Python sends events and asks for them. Arguments: URL, password."""

import sys
from datetime import datetime, timedelta, timezone

from elasticsearch import ApiError, Elasticsearch, NotFoundError, helpers

INDEX = "logs-python-default"
COUNT = 250

url, password = sys.argv[1:]
client = Elasticsearch(url, basic_auth=("admin", password), request_timeout=30)

info = client.info()
assert info["version"]["number"].split(".")[0] == "9", info
assert client.ping()

now = datetime.now(timezone.utc)


def event(number):
    category = "process" if number % 2 == 0 else "network"
    return {
        "_op_type": "create",
        "_index": INDEX,
        "_id": f"py-{number}",
        "@timestamp": (now + timedelta(milliseconds=number)).isoformat(),
        "event": {"category": [category], "type": ["start"]},
        "host": {"name": f"host-{number % 5}"},
        "process": {"entity_id": f"e{number // 2}", "pid": number, "name": "mshta.exe" if number < 4 else "a.exe"},
    }


taken, errors = helpers.bulk(client, (event(number) for number in range(COUNT)), chunk_size=100)
assert (taken, errors) == (COUNT, []), (taken, errors)
# Sent again, each is a conflict, and nothing is there twice.
taken, errors = helpers.bulk(client, (event(number) for number in range(10)), raise_on_error=False)
assert taken == 0 and len(errors) == 10, (taken, errors)
assert all(error["create"]["status"] == 409 for error in errors), errors
assert all(error["create"]["error"]["type"] == "version_conflict_engine_exception" for error in errors), errors

results = list(helpers.parallel_bulk(client, (dict(event(number), _id=f"more-{number}") for number in range(COUNT))))
assert len(results) == COUNT and all(ok for ok, _ in results)

single = client.index(index=INDEX, document={"@timestamp": now.isoformat(), "message": "one by itself"})
assert single["result"] == "created" and single["_index"] == INDEX, single
total = 2 * COUNT + 1

assert client.count(index=INDEX)["count"] == total
assert client.count(index=INDEX, query={"term": {"event.category": "network"}})["count"] == COUNT
client.indices.refresh(index=INDEX)

found = client.search(
    index="logs-python-*",
    query={"bool": {"filter": [{"term": {"process.name": "mshta.exe"}}, {"range": {"@timestamp": {"lte": "now+1m"}}}]}},
    sort=[{"process.pid": "desc"}],
    size=3,
    source=["process.pid"],
    aggs={"hosts": {"terms": {"field": "host.name", "size": 10}}},
)
assert found["hits"]["total"] == {"value": 8, "relation": "eq"}, found
assert [hit["_source"]["process"]["pid"] for hit in found["hits"]["hits"]] == [3, 3, 2], found
buckets = {bucket["key"]: bucket["doc_count"] for bucket in found["aggregations"]["hosts"]["buckets"]}
assert buckets == {f"host-{number}": 2 for number in range(4)}, buckets

# One of the alternatives must match, though the minimum comes to none of them.
none = {"bool": {"should": [{"term": {"process.name": "none.exe"}}], "minimum_should_match": "50%"}}
assert client.count(index=INDEX, query=none)["count"] == 0
as_int = client.search(index=INDEX, size=0, rest_total_hits_as_int=True)
assert as_int["hits"]["total"] == total, as_int
typed = client.search(index=INDEX, size=0, typed_keys=True, aggs={"pids": {"max": {"field": "process.pid"}}})
assert typed["aggregations"]["max#pids"]["value"] == COUNT - 1, typed
twice = client.search(index=INDEX, size=1, query={"exists": {"field": "host.name"}}, fields=["host.*", "host.name"])
assert len(twice["hits"]["hits"][0]["fields"]["host.name"]) == 1, twice
several = client.msearch(
    index="logs-nowhere-default", ignore_unavailable=True, searches=[{"index": INDEX}, {"size": 0}, {}, {}]
)
assert [answer["hits"]["total"]["value"] for answer in several["responses"]] == [total, 0], several

# What the client makes is there to be searched.
client.indices.create(index="made-by-python")
client.indices.put_alias(index="logs-python-*", name="all-of-python")
assert client.count(index="made-by-python")["count"] == 0
assert client.count(index="all-of-python")["count"] == total
rows = client.cat.indices(index=INDEX, h="index,dc", s="docs.count:desc,index")
assert rows.body == f"{INDEX} {total}\n", rows.body

# All pages, one after the other.
seen, after = [], None
while True:
    page = client.search(
        index=INDEX, size=200, sort=[{"@timestamp": "asc"}, {"process.pid": "asc"}], search_after=after, source=False
    )
    if not page["hits"]["hits"]:
        break
    seen += [hit["_id"] for hit in page["hits"]["hits"]]
    after = page["hits"]["hits"][-1]["sort"]
# Equal sort values may be cut apart between pages, as in Elasticsearch.
assert set(f"py-{number}" for number in range(1, COUNT)) <= set(seen) | set(s.replace("more-", "py-") for s in seen)

sequences = client.eql.search(
    index=INDEX,
    query='sequence by process.entity_id [process where process.name == "mshta.exe"] [network where true]',
)
assert not sequences["is_partial"] and not sequences["timed_out"], sequences
keys = sorted(sequence["join_keys"] for sequence in sequences["hits"]["sequences"])
assert {key[0] for key in keys} == {"e0", "e1"}, sequences
events = client.eql.search(index=INDEX, query='process where process.name == "mshta.exe"', size=2)
assert len(events["hits"]["events"]) == 2, events

capabilities = client.field_caps(index=INDEX, fields="process.*")
assert "process.entity_id" in capabilities["fields"], capabilities

mapping = client.indices.get_mapping(index=INDEX)[INDEX]["mappings"]["properties"]
assert mapping["process"]["properties"]["pid"] == {"type": "long"}, mapping

# Errors come as the client's own.
try:
    client.search(index="logs-nowhere-default")
    raise AssertionError("an index that is not there was searched")
except NotFoundError as error:
    assert error.error == "index_not_found_exception", error
try:
    client.eql.search(index=INDEX, query="process whre true")
    raise AssertionError("a query that is none was run")
except ApiError as error:
    assert error.status_code == 400, error
try:
    client.search(index=INDEX, query={"range": {"@timestamp": {"gte": "then"}}})
    raise AssertionError("a time that is none was searched for")
except ApiError as error:
    assert error.error == "search_phase_execution_exception", error
    assert error.info["error"]["root_cause"][0]["type"] == "parse_exception", error

# An API key instead of a password.
key = client.security.create_api_key(name="tests")
with_key = Elasticsearch(url, api_key=key["encoded"])
assert with_key.count(index=INDEX)["count"] == total
print(f"{total} events")
