"""The task-aware Transformer: equation 7 around every block of an encoder and a decoder.

Shape legend: B batch, S source positions, T target positions, W hypotheses an example (width),
D d_model, V vocabulary, O size of a task embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from taskaware.model.adapters import AdapterSets
from taskaware.model.attention import Past, Positions
from taskaware.model.dropout import dropout
from taskaware.model.modulation import Modulation
from taskaware.model.packing import AS_IT_IS, Packing, packing_that_pays, valid_mask
from taskaware.model.states import DecodingState, Encoded, Preprocessed
from taskaware.model.task_network import ExplicitTaskNetwork, ImplicitTaskNetwork, TaskVectors
from taskaware.types import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.bridge import Bridge
    from taskaware.model.conditioning_settings import ActsBy
    from taskaware.model.conformer import ConformerLayer
    from taskaware.model.film import ConstantFilm
    from taskaware.model.frontend import TokenEmbedding
    from taskaware.model.layers import DecoderLayer, EncoderLayer
    from taskaware.model.modulation import Layout
    from taskaware.model.text_encoder import TextEncoder
    from taskaware.types import Batch, Modality


class TaskAwareTransformer(nn.Module):
    """An encoder-decoder whose every block output is scaled and shifted by a task embedding.

    Built by ``create_model``; its parts come in ready, so that it never sees the settings.
    """

    def __init__(
        self,
        *,
        token_embedding: TokenEmbedding,
        frontends: dict[str, nn.Module],
        source_positions: Positions,
        target_positions: Positions,
        encoder: Sequence[EncoderLayer] | Sequence[ConformerLayer],
        decoder: Sequence[DecoderLayer],
        task_network: ExplicitTaskNetwork | ImplicitTaskNetwork | None,
        acts_by: ActsBy,
        layout: Layout,
        d_model: int,
        dropout: float,
        reads_encoded: bool,
        encoder_norm: nn.Module,
        decoder_norm: nn.Module,
        bridge: Bridge | None = None,
        text_encoder: TextEncoder | None = None,
        source_film: ConstantFilm | None = None,
        target_film: ConstantFilm | None = None,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.dropout = dropout
        self.acts_by = acts_by
        self.layout = layout
        self.reads_encoded = reads_encoded
        self.token_embedding = token_embedding
        self.frontends = nn.ModuleDict(frontends)
        self.source_positions = source_positions
        self.target_positions = target_positions
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.encoder_norm = encoder_norm
        self.decoder_norm = decoder_norm
        self.bridge = bridge
        self.text_encoder = text_encoder
        self.source_film = source_film
        self.target_film = target_film
        self.task_network = task_network
        self.task_vectors: TaskVectors | None = None  # while they are trained (``run.run``)
        self.adapters = AdapterSets()  # switched by who knows the task of a batch

    # --- the three steps of training: preprocess, embed the task, transform ---

    def forward(self, batch: Batch, task_embedding: Tensor | None) -> Tensor:
        """Return logits ``[B, T, V]``.

        Args:
            batch: Examples of one task.
            task_embedding: ``[B, O]``, or ``[1, O]`` for all; ``None`` leaves the plain
                Transformer.
        """
        with self.adapters.use(batch.task.name):
            states_BTD = self.transform(self.preprocess(batch), task_embedding)
        return self.token_embedding.logits(states_BTD)

    def preprocess(self, batch: Batch) -> Preprocessed:
        """Run the preprocessing layers, once for the Transformer and the task network.

        Where the task network reads what the encoder puts out, that is run as well.
        """
        source_BSD, source_lengths = batch.source, batch.source_lengths
        modality = batch.task.source_modality
        if not batch.is_encoded:
            source_BSD, source_lengths = self.preprocess_source(
                source_BSD, source_lengths, modality
            )
            if self.reads_encoded:
                source_BSD, source_lengths = self.run_encoder(
                    source_BSD, source_lengths, modality=modality
                )
        return Preprocessed(
            source_BSD=source_BSD,
            source_lengths=source_lengths,
            target_BTD=self.token_embedding.embed(batch.target_input),
            target_lengths=batch.target_lengths,
            modality=modality,
            is_encoded=batch.is_encoded or self.reads_encoded,
        )

    def preprocess_source(
        self, source: Tensor, lengths: Tensor, modality: Modality
    ) -> tuple[Tensor, Tensor]:
        """Return the source sequence ``[B, S, D]`` and its lengths ``[B]``."""
        frontend = (
            self.token_embedding if MODALITIES[modality].is_text else self.frontends[modality]
        )
        return frontend(source, lengths)

    def embed_task(self, support: Preprocessed, task_index: int | Tensor) -> Tensor | None:
        """Return the task embedding of every support example, ``[B, O]`` (equations 1 to 5).

        Where they are of one task, and the task alone decides, one row for all: ``[1, O]``.

        Args:
            support: The examples.
            task_index: The place of their task among the model's; int64 ``[B]``, where they are of
                several.
        """
        index_B = torch.as_tensor(task_index, device=support.target_BTD.device).reshape(-1)
        if self.task_vectors is not None and self.task_vectors.has_all(index_B):
            return self.task_vectors(index_B)
        match self.task_network:
            case None:
                return None
            case ExplicitTaskNetwork():
                return self.task_network(index_B)
            case network:
                return network(
                    support.source_BSD,
                    support.source_lengths,
                    support.target_BTD,
                    support.target_lengths,
                )

    def transform(self, preprocessed: Preprocessed, task_embedding: Tensor | None) -> Tensor:
        """Return the decoder's states ``[B, T, D]``, which ``token_embedding.logits`` reads out."""
        encoded = self.encode(
            preprocessed.source_BSD,
            preprocessed.source_lengths,
            task_embedding,
            modality=preprocessed.modality,
            is_encoded=preprocessed.is_encoded,
        )
        return self.decode(preprocessed.target_BTD, preprocessed.target_lengths, encoded)

    def encode(
        self,
        source_BSD: Tensor,
        source_lengths: Tensor,
        task_embedding: Tensor | None,
        *,
        modality: Modality = "speech",
        is_encoded: bool = False,
    ) -> Encoded:
        """Run the encoder on a preprocessed source, modulated by ``[B, O]`` or ``[1, O]``.

        What the encoder put out earlier (``is_encoded``) is taken as it is. That is the same where
        t_e does not modulate the encoder (``ModelSettings.modulates_encoder``), and nowhere else.
        The modality decides where texts have an encoder of their own.
        """
        modulation, vector = self._modulation(task_embedding)
        memory_BSD, lengths = source_BSD, source_lengths
        if not is_encoded:
            memory_BSD, lengths = self.run_encoder(
                source_BSD, source_lengths, modulation, vector, modality=modality
            )
        if self.bridge is not None and self._text_encoder_of(modality) is None:
            memory_BSD, lengths = self.bridge(memory_BSD, lengths)
        if task_embedding is not None and self.acts_by == "join":
            memory_BSD = memory_BSD + task_embedding[:, None].to(memory_BSD.dtype)
        mask_BS = valid_mask(lengths, memory_BSD.shape[1])
        return Encoded(memory_BSD, mask_BS, modulation, vector)

    def encoder_output(
        self, source_BSD: Tensor, source_lengths: Tensor, task_embedding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what ``encode`` and ``start_decoding`` take as ``is_encoded`` for this t_e."""
        return self.run_encoder(source_BSD, source_lengths, *self._modulation(task_embedding))

    def run_encoder(
        self,
        source_BSD: Tensor,
        source_lengths: Tensor,
        modulation: Modulation | None = None,
        vector: Tensor | None = None,
        *,
        modality: Modality = "speech",
    ) -> tuple[Tensor, Tensor]:
        """Return what the encoder itself puts out, before any bridge, and its lengths ``[B]``."""
        first, positions, blocks, norm = 0, self.source_positions, self.encoder, self.encoder_norm
        own = self._text_encoder_of(modality)
        if own is not None:
            positions, blocks, norm = own.positions, own.blocks, own.norm
            first = len(self.encoder) + len(self.decoder) + 2  # behind all other places
            # Its places are the last, but belong to the encoder: where that is left alone, too.
            modulation = None if self.layout.first_place else modulation
            if own.entrance is not None:
                source_BSD = own.entrance(source_BSD)
        x_BSD = self._enter(source_BSD, first, modulation, vector, positions)
        lengths = source_lengths if vector is None else source_lengths + 1
        mask_BS = valid_mask(lengths, x_BSD.shape[1])
        packing = self._packing(lengths, x_BSD)
        x, modulation = packing.pack(x_BSD), modulation and modulation.packed(packing)
        for index, block in enumerate(blocks):
            inside = None if first or not modulation else modulation.inside_encoder(index)
            within = {} if inside is None else {"inside": inside}  # a Conformer's has no parts
            x = block(x, mask_BS=mask_BS, packing=packing, **within)
            x = x if modulation is None else modulation.at(x, first + index + 1)
        return packing.unpack(norm(x)), lengths

    def decode(self, target_BTD: Tensor, target_lengths: Tensor, encoded: Encoded) -> Tensor:
        """Run the decoder on an embedded target; return its states ``[B, T, D]``."""
        modulation, vector = encoded.modulation, encoded.vector_BD
        first = len(self.encoder) + 1
        x_BTD = self._enter(target_BTD, first, modulation, vector, self.target_positions)
        packing = self._packing(target_lengths + (vector is not None), x_BTD)
        x, modulation = packing.pack(x_BTD), modulation and modulation.packed(packing)
        memory_packing = self._packing(encoded.mask_BS.sum(dim=1), encoded.memory_BSD)
        memory = memory_packing.pack(encoded.memory_BSD)
        for index, block in enumerate(self.decoder):
            x = block(
                x,
                memory,
                memory_mask_BS=encoded.mask_BS,
                inside=modulation and modulation.inside_decoder(index),
                packing=packing,
                memory_packing=memory_packing,
            )
            x = x if modulation is None else modulation.at(x, first + 1 + index)
        x_BTD = packing.unpack(self.decoder_norm(x))
        return x_BTD if vector is None else x_BTD[:, 1:]

    # --- the two steps of decoding ---

    def start_decoding(
        self,
        source: Tensor,
        source_lengths: Tensor,
        modality: Modality,
        task_embedding: Tensor | None,
        *,
        width: int = 1,
        is_encoded: bool = False,
    ) -> DecodingState:
        """Encode the sources and return the state before the first piece.

        Args:
            source: As in ``Batch``.
            source_lengths: As in ``Batch``.
            modality: Of the source.
            task_embedding: ``[B, O]`` or ``[1, O]``.
            width: W, the hypotheses that will be decoded for each example.
            is_encoded: As in ``Batch``.
        """
        if not is_encoded:
            source, source_lengths = self.preprocess_source(source, source_lengths, modality)
        encoded = self.encode(
            source, source_lengths, task_embedding, modality=modality, is_encoded=is_encoded
        )
        memory_BSD, layers = encoded.memory_BSD, self._decoder_layers()
        B = memory_BSD.shape[0]
        memory = [layer.cross_attention.look_at(memory_BSD).contiguous() for layer in layers]
        state = DecodingState(
            memory=memory,
            memory_mask_BS=encoded.mask_BS,
            memory_BSD=memory_BSD,
            past=[Past(kept.keys, width) for kept in memory],
            slots_BWT=torch.zeros(B, 1, 0, dtype=torch.int64, device=memory_BSD.device),
            num_slots=width,
            modulation=encoded.modulation,
        )
        if encoded.vector_BD is not None:
            self._advance(encoded.vector_BD[:, None].expand(B, 1, -1), state)
        return state

    def step(self, pieces_BW: Tensor, state: DecodingState) -> Tensor:
        """Return the next piece's logits, ``[B, W, V]``, and move the state one position on.

        Args:
            pieces_BW: The newest piece of each hypothesis. Where there was one hypothesis of each
                example before, all of them come from it.
            state: Of ``start_decoding``.
        """
        return self.token_embedding.logits(self.advance(pieces_BW, state))

    def advance(self, pieces_BW: Tensor, state: DecodingState) -> Tensor:
        """Do as ``step`` without logits: return the decoder's states, ``[B, W, D]``."""
        x_BWD = self.token_embedding.embed(pieces_BW)
        if self.target_film is not None:
            x_BWD = self.target_film(x_BWD)
        if state.modulation is not None:
            x_BWD = state.modulation.at(x_BWD, len(self.encoder) + 1)
        return self.decoder_norm(self._advance(x_BWD, state))

    # --- parts ---

    def _packing(self, lengths: Tensor, x_BSD: Tensor) -> Packing:
        # Training alone: what scores, decodes or is exported is computed in one way.
        return packing_that_pays(lengths, x_BSD.shape[1]) if self.training else AS_IT_IS

    def _decoder_layers(self) -> Sequence[DecoderLayer]:
        # To a type checker a ModuleList holds modules of no kind in particular.
        return cast("Sequence[DecoderLayer]", self.decoder)

    def _text_encoder_of(self, modality: Modality) -> TextEncoder | None:
        return self.text_encoder if MODALITIES[modality].is_text else None

    def _modulation(self, task_embedding: Tensor | None) -> tuple[Modulation | None, Tensor | None]:
        if task_embedding is None:
            return None, None
        if self.acts_by == "prepend":
            return None, task_embedding
        if self.acts_by == "join":
            return None, None
        return Modulation.from_task_embedding(task_embedding, self.layout), None

    def _enter(
        self,
        x_BSD: Tensor,
        place: int,
        modulation: Modulation | None,
        vector: Tensor | None,
        positions: Positions,
    ) -> Tensor:
        """Modulate a preprocessing layer's output, then add positions and dropout."""
        constant = self.source_film if place == 0 else self.target_film
        if constant is not None:
            x_BSD = constant(x_BSD)
        if modulation is not None:
            x_BSD = modulation.at(x_BSD, place)
        if vector is not None:
            vector_B1D = vector[:, None].expand(x_BSD.shape[0], 1, -1)
            x_BSD = torch.cat([vector_B1D.to(x_BSD.dtype), x_BSD], dim=1)
        return dropout(positions(x_BSD), self.dropout, self.training)

    def _advance(self, x_BWD: Tensor, state: DecodingState) -> Tensor:
        B, W, D = x_BWD.shape
        position = state.position
        x_BWD = self.target_positions(x_BWD.reshape(B * W, 1, D), first=position).view(B, W, D)
        mask_BWK = state.begin_position(x_BWD.shape[1])
        for index, block in enumerate(self._decoder_layers()):
            x_BWD = block.step(
                x_BWD,
                state.past[index],
                state.memory[index],
                position=position,
                mask_BWK=mask_BWK,
                memory_mask_BS=state.memory_mask_BS,
                inside=state.modulation and state.modulation.inside_decoder(index),
            )
            if state.modulation is not None:
                x_BWD = state.modulation.at(x_BWD, len(self.encoder) + 2 + index)
        return x_BWD
