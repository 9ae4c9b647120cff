"""Adds and searches with another memory store, for evals/bench/recall_quality.py; runs in an environment of its own.

    recall_peer.py mem0 FOLDER LIMIT

FOLDER holds texts.json ([text, namespace, place] each), vectors.npy, queries.json ([text, namespace] each) and
query_vectors.npy. Encoding is a look-up in those tables: both stores see the same vectors. Nothing asks a model. Prints
one JSON object: for each query the places that were found, best first. Source: ours.
"""

import json
import os
import sys
from pathlib import Path

os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("OPENAI_API_KEY", "none")

import numpy as np


def mem0(folder, table, dim, limit):
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
            return table[text.strip()].tolist()

        def embed_batch(self, texts, memory_action=None):
            return [table[text.strip()].tolist() for text in texts]

    memory.embedding_model = LookUp()

    def add(text, namespace, place):
        memory.add(text, user_id=namespace, metadata={"place": place}, infer=False)

    def search(text, namespace):
        found = memory.search(text, filters={"user_id": namespace}, top_k=limit)["results"]
        return [hit["metadata"]["place"] for hit in found]

    return add, search


def main():
    kind, home, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder = home / kind
    folder.mkdir()
    texts = json.loads((home / "texts.json").read_text())
    asked = json.loads((home / "queries.json").read_text())
    vectors, query_vectors = np.load(home / "vectors.npy"), np.load(home / "query_vectors.npy")
    # Some stores strip a text before they encode it.
    table = {text.strip(): vectors[n] for n, (text, _, _) in enumerate(texts)}
    table |= {text.strip(): query_vectors[n] for n, (text, _) in enumerate(asked)}
    add, search = {"mem0": mem0}[kind](folder, table, vectors.shape[1], limit)
    for text, namespace, place in texts:
        add(text, namespace, place)
    print("\n" + json.dumps([search(text, namespace) for text, namespace in asked]))


if __name__ == "__main__":
    main()
