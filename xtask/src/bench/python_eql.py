"""Runs EQL queries over events with the PyPI package `eql`, and prints how long it took as JSON.

Usage: python_eql.py EVENTS.ndjson MOST_EVENTS QUERY_FILE...

A query file holds one query. Queries that the package refuses are left out and counted. The clock starts after imports
and after the queries are compiled; it runs while lines are read, decoded and matched, as it does for eqlipse.
"""

import json
import sys
import time
from datetime import datetime

from eql.engine import PythonEngine
from eql.events import Event
from eql.parser import elasticsearch_syntax, parse_query


def plain(value):
    """The package knows no field with several values: of a list, it gets the first."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return plain(value[0]) if value else None
    return value


def event_of(line):
    """An ECS document as the package's event: the category is its type, time is in its ticks of 100 ns."""
    document = json.loads(line)
    category = document.get("event", {}).get("category", "generic")
    if isinstance(category, list):
        category = category[0] if category else "generic"
    seconds = datetime.fromisoformat(document["@timestamp"].replace("Z", "+00:00")).timestamp()
    return Event(category, int(seconds * 10_000_000), plain(document))


def engine_of(paths):
    """An engine with the queries it takes, and how many it refused."""
    engine, refused = PythonEngine(), 0
    with elasticsearch_syntax:
        for path in paths:
            try:
                with open(path, encoding="utf-8") as file:
                    query = parse_query(file.read())
                engine.add_query(query)
            except Exception:  # The package raises many kinds; each means that it cannot run the query.
                refused += 1
    return engine, refused


def main():
    events_path, most, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    engine, refused = engine_of(paths)
    found = [0]
    engine.add_output_hook(lambda result: found.__setitem__(0, found[0] + 1))
    count = 0
    start = time.perf_counter()
    with open(events_path, encoding="utf-8") as file:
        for line in file:
            if count == most:
                break
            engine.stream_event(event_of(line))
            count += 1
    engine.finalize()
    seconds = time.perf_counter() - start
    report = {"events": count, "queries": len(paths) - refused, "refused": refused, "seconds": seconds}
    print(json.dumps({**report, "results": found[0]}))


if __name__ == "__main__":
    main()
