from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ToAsr(_message.Message):
    __slots__ = ("requests", "heartbeat")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[SessionRequest]
    heartbeat: Heartbeat
    def __init__(self, requests: _Optional[_Iterable[_Union[SessionRequest, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("session", "open", "audio", "end_turn", "update", "close")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    END_TURN_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    session: int
    open: Open
    audio: Audio
    end_turn: EndTurn
    update: Update
    close: Close
    def __init__(self, session: _Optional[int] = ..., open: _Optional[_Union[Open, _Mapping]] = ..., audio: _Optional[_Union[Audio, _Mapping]] = ..., end_turn: _Optional[_Union[EndTurn, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("session_id", "model", "first_sample", "turn_id", "turn_start_sample", "attempt", "config")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: str
    first_sample: int
    turn_id: int
    turn_start_sample: int
    attempt: int
    config: SessionConfig
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[str] = ..., first_sample: _Optional[int] = ..., turn_id: _Optional[int] = ..., turn_start_sample: _Optional[int] = ..., attempt: _Optional[int] = ..., config: _Optional[_Union[SessionConfig, _Mapping]] = ...) -> None: ...

class SessionConfig(_message.Message):
    __slots__ = ("keyterms", "language", "format")
    KEYTERMS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    keyterms: _containers.RepeatedScalarFieldContainer[str]
    language: str
    format: bool
    def __init__(self, keyterms: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ..., format: _Optional[bool] = ...) -> None: ...

class Audio(_message.Message):
    __slots__ = ("offset", "pcm")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    offset: int
    pcm: bytes
    def __init__(self, offset: _Optional[int] = ..., pcm: _Optional[bytes] = ...) -> None: ...

class EndTurn(_message.Message):
    __slots__ = ("turn_id", "through_sample")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    THROUGH_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    turn_id: int
    through_sample: int
    def __init__(self, turn_id: _Optional[int] = ..., through_sample: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: SessionConfig
    def __init__(self, config: _Optional[_Union[SessionConfig, _Mapping]] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FromAsr(_message.Message):
    __slots__ = ("replies", "status")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[SessionReply]
    status: ServerStatus
    def __init__(self, replies: _Optional[_Iterable[_Union[SessionReply, _Mapping]]] = ..., status: _Optional[_Union[ServerStatus, _Mapping]] = ...) -> None: ...

class ServerStatus(_message.Message):
    __slots__ = ("sequence", "instance_id", "slots", "free_slots", "accepting", "left_context_ms", "chunk_ms", "window_ms", "models")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTING_FIELD_NUMBER: _ClassVar[int]
    LEFT_CONTEXT_MS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    instance_id: str
    slots: int
    free_slots: int
    accepting: bool
    left_context_ms: int
    chunk_ms: int
    window_ms: int
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sequence: _Optional[int] = ..., instance_id: _Optional[str] = ..., slots: _Optional[int] = ..., free_slots: _Optional[int] = ..., accepting: _Optional[bool] = ..., left_context_ms: _Optional[int] = ..., chunk_ms: _Optional[int] = ..., window_ms: _Optional[int] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class SessionReply(_message.Message):
    __slots__ = ("session", "opened", "refused", "hypothesis", "final", "turn_ended", "please_move", "closed")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESIS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    TURN_ENDED_FIELD_NUMBER: _ClassVar[int]
    PLEASE_MOVE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    session: int
    opened: Opened
    refused: Refused
    hypothesis: Hypothesis
    final: Final
    turn_ended: TurnEnded
    please_move: PleaseMove
    closed: Closed
    def __init__(self, session: _Optional[int] = ..., opened: _Optional[_Union[Opened, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., hypothesis: _Optional[_Union[Hypothesis, _Mapping]] = ..., final: _Optional[_Union[Final, _Mapping]] = ..., turn_ended: _Optional[_Union[TurnEnded, _Mapping]] = ..., please_move: _Optional[_Union[PleaseMove, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    def __init__(self, instance_id: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Refused.Reason]
        FULL: _ClassVar[Refused.Reason]
        NOT_ACCEPTING: _ClassVar[Refused.Reason]
        UNKNOWN_MODEL: _ClassVar[Refused.Reason]
        INVALID: _ClassVar[Refused.Reason]
    REASON_UNSPECIFIED: Refused.Reason
    FULL: Refused.Reason
    NOT_ACCEPTING: Refused.Reason
    UNKNOWN_MODEL: Refused.Reason
    INVALID: Refused.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: Refused.Reason
    message: str
    def __init__(self, reason: _Optional[_Union[Refused.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Hypothesis(_message.Message):
    __slots__ = ("turn_id", "attempt", "through_sample", "stable_through_sample", "words_before", "words", "speech_probability", "trailing_silence_ms", "turn_complete_probability", "language", "language_confidence", "speech_profile")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    THROUGH_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    STABLE_THROUGH_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    WORDS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TRAILING_SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    TURN_COMPLETE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SPEECH_PROFILE_FIELD_NUMBER: _ClassVar[int]
    turn_id: int
    attempt: int
    through_sample: int
    stable_through_sample: int
    words_before: int
    words: _containers.RepeatedCompositeFieldContainer[Word]
    speech_probability: float
    trailing_silence_ms: int
    turn_complete_probability: float
    language: str
    language_confidence: float
    speech_profile: bytes
    def __init__(self, turn_id: _Optional[int] = ..., attempt: _Optional[int] = ..., through_sample: _Optional[int] = ..., stable_through_sample: _Optional[int] = ..., words_before: _Optional[int] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., speech_probability: _Optional[float] = ..., trailing_silence_ms: _Optional[int] = ..., turn_complete_probability: _Optional[float] = ..., language: _Optional[str] = ..., language_confidence: _Optional[float] = ..., speech_profile: _Optional[bytes] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("text", "start_sample", "end_sample", "confidence", "is_final")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_sample: int
    end_sample: int
    confidence: float
    is_final: bool
    def __init__(self, text: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., confidence: _Optional[float] = ..., is_final: _Optional[bool] = ...) -> None: ...

class Final(_message.Message):
    __slots__ = ("turn_id", "attempt", "words_before", "words", "language", "language_confidence")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORDS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    turn_id: int
    attempt: int
    words_before: int
    words: _containers.RepeatedCompositeFieldContainer[Word]
    language: str
    language_confidence: float
    def __init__(self, turn_id: _Optional[int] = ..., attempt: _Optional[int] = ..., words_before: _Optional[int] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., language: _Optional[str] = ..., language_confidence: _Optional[float] = ...) -> None: ...

class TurnEnded(_message.Message):
    __slots__ = ("turn_id", "attempt", "through_sample")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    THROUGH_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    turn_id: int
    attempt: int
    through_sample: int
    def __init__(self, turn_id: _Optional[int] = ..., attempt: _Optional[int] = ..., through_sample: _Optional[int] = ...) -> None: ...

class PleaseMove(_message.Message):
    __slots__ = ("reason", "within_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    within_ms: int
    def __init__(self, reason: _Optional[str] = ..., within_ms: _Optional[int] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ("reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Closed.Reason]
        REQUESTED: _ClassVar[Closed.Reason]
        INVALID: _ClassVar[Closed.Reason]
        ENGINE_FAILED: _ClassVar[Closed.Reason]
        BACKLOG: _ClassVar[Closed.Reason]
        STOPPING: _ClassVar[Closed.Reason]
    REASON_UNSPECIFIED: Closed.Reason
    REQUESTED: Closed.Reason
    INVALID: Closed.Reason
    ENGINE_FAILED: Closed.Reason
    BACKLOG: Closed.Reason
    STOPPING: Closed.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: Closed.Reason
    message: str
    def __init__(self, reason: _Optional[_Union[Closed.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class TranscribeRequest(_message.Message):
    __slots__ = ("model", "pcm", "config")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    model: str
    pcm: bytes
    config: SessionConfig
    def __init__(self, model: _Optional[str] = ..., pcm: _Optional[bytes] = ..., config: _Optional[_Union[SessionConfig, _Mapping]] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("words", "audio_ms", "language")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[Word]
    audio_ms: int
    language: str
    def __init__(self, words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., audio_ms: _Optional[int] = ..., language: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("contract_version", "instance_id", "engine", "models", "slots", "free_slots", "left_context_ms", "chunk_ms", "window_ms", "capabilities", "model", "device", "precision")
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_CONTEXT_MS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    contract_version: str
    instance_id: str
    engine: str
    models: _containers.RepeatedScalarFieldContainer[str]
    slots: int
    free_slots: int
    left_context_ms: int
    chunk_ms: int
    window_ms: int
    capabilities: Capabilities
    model: str
    device: str
    precision: str
    def __init__(self, contract_version: _Optional[str] = ..., instance_id: _Optional[str] = ..., engine: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., slots: _Optional[int] = ..., free_slots: _Optional[int] = ..., left_context_ms: _Optional[int] = ..., chunk_ms: _Optional[int] = ..., window_ms: _Optional[int] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., model: _Optional[str] = ..., device: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("languages", "word_times", "word_confidence", "keyterms", "punctuation", "batch", "turn_complete")
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    WORD_TIMES_FIELD_NUMBER: _ClassVar[int]
    WORD_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    KEYTERMS_FIELD_NUMBER: _ClassVar[int]
    PUNCTUATION_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    TURN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedScalarFieldContainer[str]
    word_times: bool
    word_confidence: bool
    keyterms: bool
    punctuation: bool
    batch: bool
    turn_complete: bool
    def __init__(self, languages: _Optional[_Iterable[str]] = ..., word_times: _Optional[bool] = ..., word_confidence: _Optional[bool] = ..., keyterms: _Optional[bool] = ..., punctuation: _Optional[bool] = ..., batch: _Optional[bool] = ..., turn_complete: _Optional[bool] = ...) -> None: ...
