"""OpenAI's audio API: a recording comes as a form, its text goes back in one of five forms.

https://platform.openai.com/docs/api-reference/audio
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from taskaware.errors import UnknownTaskError
from taskaware.inference.recordings.formats import format_transcript
from taskaware.serve import intake
from taskaware.serve.failures import ServiceError, json_response, too_large
from taskaware.serve.schemas import ERRORS, Transcription
from taskaware.serve.service import Service
from taskaware.serve.streaming import text_in_parts, whole_text

if TYPE_CHECKING:
    from taskaware.inference.recordings.transcript import Segment, Transcript
    from taskaware.serve.task_book import KnownTask

_MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Transcription,
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/x-subrip": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    },
    **ERRORS,
}
_FILE = File(description="A recording: wav, flac, mp3, ogg, NIST sphere; any rate.")
_MODEL = Form(description="A task's name, the model's, or `whisper-1`: the task is then chosen.")
_TASK = Form(description="Not in OpenAI's API: the task, whatever `model` and `language` say.")
_MAX_LANGUAGE = 32  # characters: a longer one would come back with the error
_LANGUAGE = Form(
    max_length=_MAX_LANGUAGE, description="The language spoken, where the model knows several."
)
_UNUSED = Form(description="Taken and not used.")
_GRANULARITIES = Form(alias="timestamp_granularities[]")
_STREAM = Form(description="Whether the text comes as server-sent events, segment by segment.")


def audio_routes(service: Service) -> APIRouter:
    """Return the routes of OpenAI's audio API."""
    router = APIRouter(prefix="/v1/audio", tags=["OpenAI's audio API"])

    @router.post("/transcriptions", responses=_ANSWERS)
    async def transcribe(
        request: Request,
        file: Annotated[UploadFile, _FILE],
        model: Annotated[str, _MODEL],
        language: Annotated[str | None, _LANGUAGE] = None,
        task: Annotated[str | None, _TASK] = None,
        target_language: Annotated[
            str | None,
            Form(
                max_length=_MAX_LANGUAGE,
                description="Not in OpenAI's API: translate into this language.",
            ),
        ] = None,
        response_format: Annotated[ResponseFormat, Form()] = "json",
        timestamp_granularities: Annotated[
            list[Literal["word", "segment"]] | None, _GRANULARITIES
        ] = None,
        stream: Annotated[bool, _STREAM] = False,
        prompt: Annotated[str | None, _UNUSED] = None,
        temperature: Annotated[float | None, _UNUSED] = None,
    ) -> Response:
        """Write what is said in a recording, or run any task that takes speech."""

        def of_languages() -> KnownTask:
            if target_language and target_language != language:
                return service.book.translation(target_language, language or None)
            return service.book.transcription(language or None)

        known = _task(service, task, model, of_languages)
        wanted = _Wanted(response_format, timestamp_granularities or [], is_stream=stream)
        return await _answer(service, request, file, known, wanted)

    @router.post("/translations", responses=_ANSWERS)
    async def translate(
        request: Request,
        file: Annotated[UploadFile, _FILE],
        model: Annotated[str, _MODEL],
        task: Annotated[str | None, _TASK] = None,
        language: Annotated[str | None, _LANGUAGE] = None,
        target_language: Annotated[
            str,
            Form(
                max_length=_MAX_LANGUAGE,
                description="Not in OpenAI's API, which translates into English alone.",
            ),
        ] = "en",
        response_format: Annotated[ResponseFormat, Form()] = "json",
        prompt: Annotated[str | None, _UNUSED] = None,
        temperature: Annotated[float | None, _UNUSED] = None,
    ) -> Response:
        """Translate what is said in a recording, into English unless told otherwise."""
        known = _task(
            service,
            task,
            model,
            lambda: service.book.translation(target_language, language or None),
        )
        wanted = _Wanted(response_format, [])
        return await _answer(service, request, file, known, wanted, is_translation=True)

    return router


class _Wanted:
    """The form of an answer."""

    def __init__(
        self, form: ResponseFormat, granularities: list[Any], *, is_stream: bool = False
    ) -> None:
        if granularities and form != "verbose_json":
            raise ServiceError(
                f"timestamp_granularities needs response_format verbose_json, but it is {form}",
                param="timestamp_granularities",
            )
        self.form: ResponseFormat = form
        self.words = "word" in granularities
        self.segments = not granularities or "segment" in granularities
        self.is_stream = is_stream

    @property
    def needs_times(self) -> bool:
        return self.form in ("srt", "vtt", "verbose_json")


def _task(service: Service, task: str | None, model: str, of_languages: Any) -> KnownTask:
    """Return the task that a form means.

    Raises:
        ServiceError: It names none that takes speech.
    """
    try:
        found = service.book.get(task) if task else service.named(model) or of_languages()
    except UnknownTaskError as error:
        raise ServiceError(str(error), status=404, code="unknown_task", param="task") from error
    if not found.task.modality.is_recording:
        raise ServiceError(
            f"the task must take speech, but '{found.task.name}' takes "
            f"{found.task.source_modality}: POST /v1/run takes any source",
            param="task",
        )
    return found


async def _answer(
    service: Service,
    request: Request,
    file: UploadFile,
    known: KnownTask,
    wanted: _Wanted,
    *,
    is_translation: bool = False,
) -> Response:
    content = await _bytes(file, service)
    heard = await service.reading(
        request,
        lambda: intake.read_recording(
            service.model,
            content,
            [known.task],
            service.settings,
            param="file",
            in_parts=wanted.needs_times,
        ),
    )
    decoding = service.decoding(None, 1)
    service.metrics.audio_seconds.inc(heard.duration_seconds or 0)
    if not heard.in_parts:
        ((best, *_),) = await service.outputs(request, [(known, heard)], decoding)
        if wanted.is_stream:
            return whole_text(best.text, [best.text])
        return _plain(best.text, wanted.form, {"confidence": round(best.confidence, 4)})
    if wanted.is_stream:
        make = partial(service.transcript, request, known, heard, decoding, words=False)
        return await text_in_parts(lambda put: make(on_text=put))
    needs_words = wanted.words or wanted.form in ("srt", "vtt")
    transcript = await service.transcript(request, known, heard, decoding, words=needs_words)
    if wanted.form in ("srt", "vtt"):
        return _text(format_transcript(transcript, wanted.form), wanted.form)
    if wanted.form == "verbose_json":
        return json_response(_verbose(transcript, known, wanted, is_translation=is_translation))
    facts = {"confidence": round(transcript.confidence, 4)}
    return _plain(transcript.text, wanted.form, facts)


async def _bytes(file: UploadFile, service: Service) -> bytes:
    most = service.settings.max_upload_bytes
    if (file.size or 0) > most:
        raise too_large(
            f"a recording must have at most {most:,} bytes, but has {file.size:,}", "file"
        )
    return await file.read()


def _plain(text: str, form: ResponseFormat, facts: dict[str, Any]) -> Response:
    return _text(f"{text}\n", "text") if form == "text" else json_response({"text": text, **facts})


def _text(text: str, form: str) -> Response:
    return Response(text.encode(), media_type=f"{_MEDIA_TYPES[form]}; charset=utf-8")


def _verbose(
    transcript: Transcript, known: KnownTask, wanted: _Wanted, *, is_translation: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": "translate" if is_translation else "transcribe",
        "language": known.task.source_language,
        "duration": round(transcript.duration_seconds, 3),
        "text": transcript.text,
        "confidence": round(transcript.confidence, 4),
        "taskaware_task": known.task.name,
        "warnings": list(transcript.warnings),
    }
    if wanted.words:
        answer["words"] = [
            {
                "word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ]
    if wanted.segments:
        answer["segments"] = [
            _segment(number, one) for number, one in enumerate(transcript.segments)
        ]
    return answer


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """Return a segment with the fields of OpenAI's; what is not known is empty or 0."""
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start_seconds, 3),
        "end": round(segment.end_seconds, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(segment.confidence, 1e-30)), 4),
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
        "confidence": round(segment.confidence, 4),
    }
