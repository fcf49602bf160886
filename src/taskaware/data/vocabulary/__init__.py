"""Word pieces: texts to ids and back, without loss."""

from taskaware.data.vocabulary.vocabulary import Vocabulary

__all__ = ["Vocabulary"]
