"""Turns a GGUF file into a Hugging Face folder. Run with the engine's own Python, never imported by the service.

    python convert_gguf.py SOURCE.gguf FOLDER

Weights are unpacked to bfloat16: vLLM reads no packed ones on CPU, and `save_pretrained` refuses them. Source: ours.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(source: Path, folder: Path) -> None:
    """Write tokenizer and weights of `source` into `folder`."""
    # Not plain imports: type checking happens in the service's environment, which has neither.
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
