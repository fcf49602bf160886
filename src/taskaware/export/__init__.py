"""Models for where they are used: one task folded in, ONNX, CTranslate2, Hugging Face's layout."""
