"""Adds and searches with another memory store, for evals/bench/store.py; runs in an environment of its own.

    store_peer.py KIND FOLDER COUNT QUERIES LIMIT_S

FOLDER holds texts.json ([text, namespace] each), vectors.npy, queries.json and query_vectors.npy. Encoding is a look-up in
those tables, so only the store is timed. Prints one JSON object. Source: ours.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["MEM0_TELEMETRY"] = "False"
os.environ["ANONYMIZED_TELEMETRY"] = "False"
os.environ.setdefault("OPENAI_API_KEY", "none")

import numpy as np


def mem0(folder, table, dim):
    from mem0 import Memory

    os.environ["MEM0_DIR"] = str(folder / "mem0")
    memory = Memory.from_config(
        {
            "vector_store": {
                "provider": "qdrant",
                "config": {"path": str(folder / "qdrant"), "embedding_model_dims": dim, "on_disk": True},
            },
            "history_db_path": str(folder / "history.db"),
        }
    )

    class LookUp:
        def embed(self, text, memory_action=None):
            return table[text].tolist()

        def embed_batch(self, texts, memory_action=None):
            return [table[text].tolist() for text in texts]

    memory.embedding_model = LookUp()

    def add(text, namespace):
        memory.add(text, user_id=namespace, infer=False)

    def search(text, namespace):
        return len(memory.search(text, filters={"user_id": namespace}, top_k=10)["results"])

    return add, search


def langgraph(folder, table, dim, sqlite):
    index = {"dims": dim, "embed": lambda texts: [table[text].tolist() for text in texts], "fields": ["text"]}
    if sqlite:
        import pysqlite3 as sqlite3  # many builds of Python have an sqlite3 that loads no extensions
        from langgraph.store.sqlite import SqliteStore

        connection = sqlite3.connect(folder / "store.db", isolation_level=None, check_same_thread=False)
        store = SqliteStore(connection, index=index)
        store.setup()
    else:
        from langgraph.store.memory import InMemoryStore

        store = InMemoryStore(index=index)

    def add(text, namespace):
        add.count += 1
        store.put((namespace,), str(add.count), {"text": text}, index=["text"])

    add.count = 0

    def search(text, namespace):
        return len(store.search((namespace,), query=text, limit=10))

    return add, search


def chroma(folder, table, dim):
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"))
    collection = client.create_collection("memories", embedding_function=None)

    def add(text, namespace):
        add.count += 1
        collection.add(
            [str(add.count)], embeddings=[table[text].tolist()], documents=[text], metadatas=[{"ns": namespace}]
        )

    add.count = 0

    def search(text, namespace):
        return len(
            collection.query(query_embeddings=[table[text].tolist()], n_results=10, where={"ns": namespace})["ids"][0]
        )

    return add, search


def main():
    kind, home, count, queries, limit_s = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
    folder = home / kind
    folder.mkdir()
    texts = json.loads((home / "texts.json").read_text())[:count]
    asked = json.loads((home / "queries.json").read_text())[:queries]
    vectors, query_vectors = np.load(home / "vectors.npy"), np.load(home / "query_vectors.npy")
    table = {text: vectors[n] for n, (text, _) in enumerate(texts)}
    table |= {text: query_vectors[n] for n, (text, _) in enumerate(asked)}
    dim = vectors.shape[1]
    makers = {
        "mem0": lambda: mem0(folder, table, dim),
        "langgraph-sqlite": lambda: langgraph(folder, table, dim, True),
        "langgraph-memory": lambda: langgraph(folder, table, dim, False),
        "chroma": lambda: chroma(folder, table, dim),
    }
    add, search = makers[kind]()
    began = time.perf_counter()
    adds, searches, found = [], [], 0
    for text, namespace in texts:
        begin = time.perf_counter()
        add(text, namespace)
        adds.append(time.perf_counter() - begin)
        if time.perf_counter() - began > limit_s:
            break
    began = time.perf_counter()
    for text, namespace in asked:
        begin = time.perf_counter()
        found += search(text, namespace)
        searches.append(time.perf_counter() - begin)
        if time.perf_counter() - began > limit_s:
            break
    print("\n" + json.dumps({"stored": len(adds), "adds": adds, "searches": searches, "found": found}))


if __name__ == "__main__":
    main()
