"""One session's decoding: audio in, events out, a step of at most 100 ms of audio at a time. No I/O, no clock.

What happens depends on the audio and the turn ends only, never on how the audio was cut into pieces.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from streamstack_asr.engines.base import EngineEvent, Hypothesis, SessionStart, TurnEnded
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.sphinx.audio import Recent
from streamstack_asr.engines.sphinx.decoder import (
    FRAME_SAMPLES,
    GENERIC_MEAN,
    SAMPLE_RATE,
    Decoder,
    Mean,
    Segment,
    SpeechDetector,
)
from streamstack_asr.engines.sphinx.speech import SpeechTrack
from streamstack_asr.engines.sphinx.stabiliser import Guess, Stabiliser

STEP_SAMPLES: Final = 1_600
_CONTEXT_SAMPLES: Final = 8_000
"""Audio before a point at which decoding starts anew (500 ms)."""
_TURN_CONTEXT_SAMPLES: Final = 4_800
_WORDLESS_SAMPLES: Final = 3 * SAMPLE_RATE
"""An utterance that has had no word for so long starts anew, to bound its memory."""
_NOISE_SAMPLES: Final = 10 * SAMPLE_RATE
"""The same while the detector hears speech: a word may be beginning, so wait longer."""
_LONGEST_UTTERANCE_SAMPLES: Final = 110 * SAMPLE_RATE
_LEARN_SAMPLES: Final = 2 * SAMPLE_RATE
_LEARN_SPEECH_SAMPLES: Final = SAMPLE_RATE
_ONSET_SAMPLES: Final = 12_800
"""Silence before a session's first speech from which on it is kept out of what the channel's mean is learnt from."""
_TRIM_GRACE_SAMPLES: Final = 480
_STRADDLE_SAMPLES: Final = 1_280
"""Less of a word than 80 ms behind the end of a turn is the tail of that turn's last one."""


class Recognition:
    """A session with the decoder it holds.

    Speech is decoded twice until a session has had two seconds of it: once with what is known of its channel so far,
    for early partials, then, after two seconds or at the end of the turn, with the cepstral mean of that speech itself
    (word errors over the recorded clips fall from 43 to 10 % for single short sentences and from 38 to 28 % for read
    speech). Until then no word is final. Later turns carry the mean on.
    """

    def __init__(self, start: SessionStart, decoder: Decoder) -> None:
        """``decoder`` has no open utterance."""
        self._decoder = decoder
        self._audio = Recent(start.first_sample)
        vad = SpeechDetector()
        self._speech = SpeechTrack(
            first_sample=start.first_sample, frame_samples=vad.frame_samples, is_speech=vad.is_speech
        )
        self._heard = start.first_sample  # audio the detector has taken; it takes each sample once
        self._turn_id = start.turn_id
        self._turn_start = start.turn_start_sample
        self._words = Stabiliser(start.turn_start_sample)
        self._first_turn = True
        self._ends: deque[tuple[int, int]] = deque()
        self._mean: Mean = GENERIC_MEAN
        self._learnt_samples = 0
        self._turn_learnt = False
        self._stable = start.first_sample
        self._told_through = start.first_sample
        self._told: Hypothesis | None = None
        self._utterance_start = self._position = start.first_sample
        self._begin(start.first_sample, fresh=True)

    def push(self, pcm: bytes) -> None:
        """Take audio that follows the last piece."""
        self._audio.push(pcm)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn at ``through_sample`` once decoding has got there."""
        self._ends.append((turn_id, through_sample))

    @property
    def has_work(self) -> bool:
        """Whether a step would do something."""
        return bool(self._ends) or self._audio.end - self._position >= STEP_SAMPLES

    def step(self) -> list[EngineEvent]:
        """Decode at most 100 ms, or end a turn. Raises DecoderError."""
        if self._ends and self._position >= self._ends[0][1]:
            if self._learn():
                return []
            return self._end_turn(*self._ends.popleft())
        limit = self._ends[0][1] if self._ends else self._audio.end
        end = min(self._position + STEP_SAMPLES, limit)
        pcm = self._audio.read(self._position, end)
        self._decoder.feed(pcm)
        self._position = end
        if end > self._heard:
            self._speech.feed(self._audio.read(self._heard, end))
            self._heard = end
        return self._report()

    def release(self) -> Decoder:
        """Give the decoder back, without an open utterance. Raises DecoderError."""
        self._decoder.finish()
        return self._decoder

    def _begin(self, sample: int, *, fresh: bool = False) -> None:
        self._utterance_start = self._position = sample
        self._words.forget_candidates()
        self._decoder.begin(self._mean, fresh=fresh)

    def _restart(self, sample: int, *, learn: bool = False) -> None:
        """Decode anew from ``sample`` on, or from where the audio that is still held begins.

        The mean is taken over only when asked: nothing is to be learnt from a silence.
        """
        self._decoder.finish()
        if learn:
            self._mean = self._decoder.mean()
        self._begin(max(sample, self._audio.start))

    def _report(self) -> list[EngineEvent]:
        guesses = self._guesses(self._decoder.words())
        if self._position - self._utterance_start >= _LEARN_SAMPLES and self._learn():
            return []
        # What is not told must not become final: audio that is decoded again tells nothing until it has caught up.
        tell = self._position > self._told_through
        reading = self._words.read(guesses, self._position, freeze=tell and not self._may_learn)
        tentative = [word for word in reading.words if not word.is_final]
        self._move_stable(bool(tentative))
        events: list[EngineEvent] = []
        if not tell:
            events += self._alive()
        else:
            self._told_through = self._position
            last_end = reading.words[-1].end_sample if reading.words else self._words.cut
            self._told = Hypothesis(
                turn_id=self._turn_id,
                through_sample=self._position,
                stable_through_sample=self._stable,
                words_before=reading.words_before,
                words=reading.words,
                speech_probability=self._speech_probability(),
                trailing_silence_ms=max(self._position - last_end, 0) * 1000 // SAMPLE_RATE,
            )
            events.append(self._told)
        self._restart_when_useful(has_words=bool(guesses), has_tentative=bool(tentative))
        self._audio.trim(self._position)
        return events

    def _alive(self) -> list[EngineEvent]:
        """What was told last, once more: the gateway must not take decoding again for a stuck server."""
        told = self._told
        if told is None or told.turn_id != self._turn_id:
            return []
        finals = sum(word.is_final for word in told.words)
        self._told = replace(told, words_before=told.words_before + finals, words=told.words[finals:])
        return [self._told]

    def _speech_probability(self) -> float:
        """Of the last step; audio that is gone through again for the next turn was judged the first time."""
        if self._position >= self._heard:
            return self._speech.take_probability()
        again = self._speech.last_speech_end(self._position - STEP_SAMPLES, self._position)
        return 0.0 if again is None else 1.0

    def _move_stable(self, has_tentative: bool) -> None:
        stable = self._words.cut if self._words.finals else self._stable
        if not has_tentative:
            since = self._speech.speech_since
            quiet_until = self._position if since is None else min(since, self._position)
            stable = max(stable, quiet_until - _CONTEXT_SAMPLES)
        self._stable = max(self._stable, stable)

    def _restart_when_useful(self, *, has_words: bool, has_tentative: bool) -> None:
        length = self._position - self._utterance_start
        since = self._speech.speech_since
        if length >= _LONGEST_UTTERANCE_SAMPLES:
            self._restart(max(self._words.cut, self._position - _NOISE_SAMPLES), learn=self._knows_channel)
        elif not has_words and since is not None and self._is_late_onset(since):
            self._restart(since - _TURN_CONTEXT_SAMPLES)
        elif not has_tentative:
            wordless = self._position - max(self._words.cut, self._utterance_start)
            if wordless >= (_WORDLESS_SAMPLES if since is None else _NOISE_SAMPLES):
                self._restart(self._position - _CONTEXT_SAMPLES)

    def _is_late_onset(self, since: int) -> bool:
        return not self._knows_channel and since - self._utterance_start > _ONSET_SAMPLES

    @property
    def _knows_channel(self) -> bool:
        return self._learnt_samples >= _LEARN_SAMPLES

    @property
    def _may_learn(self) -> bool:
        return not self._knows_channel and not self._turn_learnt

    def _learn(self) -> bool:
        """Begin the utterance again with a better mean; False when there is nothing to learn, or no need."""
        if not self._may_learn:
            return False
        held = self._position - self._utterance_start
        speech = self._speech.speech_samples_since(self._utterance_start)
        enough = bool(self._decoder.words()) or speech >= min(_LEARN_SPEECH_SAMPLES, held // 2 + 1)
        if held < _TURN_CONTEXT_SAMPLES or not enough:
            return False
        share = held / (held + self._learnt_samples)
        own = self._decoder.utterance_mean()
        self._decoder.finish()
        self._mean = tuple(old + share * (new - old) for old, new in zip(self._mean, own, strict=True))
        self._learnt_samples += held
        self._turn_learnt = True
        self._begin(self._utterance_start, fresh=True)
        return True

    def _end_turn(self, turn_id: int, through_sample: int) -> list[EngineEvent]:
        decoded_through = self._position
        guesses = self._guesses(self._decoder.finish())
        reading = self._words.finish(guesses, through_sample)
        if self._words.finals and self._knows_channel:
            self._mean = self._decoder.mean()
        # Behind the turn's last word nothing has been reported, and what is decoded again cannot double that word.
        resume = min(max(through_sample - _TURN_CONTEXT_SAMPLES, self._words.cut), decoded_through)
        self._turn_id = turn_id + 1
        self._turn_learnt = False
        self._turn_start = through_sample
        # The gateway looks for the next turn's pauses from here on, also where decoding had been before.
        self._told_through = through_sample
        self._first_turn = False
        self._words = Stabiliser(max(through_sample, self._words.cut))
        self._stable = max(through_sample, resume)
        self._begin(max(resume, self._audio.start))
        return [
            FinalWords(turn_id=turn_id, words_before=reading.words_before, words=reading.words),
            TurnEnded(turn_id=turn_id, through_sample=through_sample),
        ]

    def _guesses(self, segments: tuple[Segment, ...]) -> list[Guess]:
        guesses = []
        for segment in segments:
            start = self._utterance_start + segment.start_frame * FRAME_SAMPLES
            end = min(self._utterance_start + segment.end_frame * FRAME_SAMPLES, self._position)
            if self._first_turn and start < self._turn_start:
                continue
            if not self._first_turn:
                # The words of the turn before are known, so one that straddles its end is new, not old.
                start = max(start, self._turn_start)
                if end - start < _STRADDLE_SAMPLES:
                    continue
            guesses.append(Guess(segment.text, start, self._trimmed(start, end), segment.confidence))
        return guesses

    def _trimmed(self, start: int, end: int) -> int:
        """Pocketsphinx lets a word run on through the silence behind it; its end is where the speech in it ended."""
        voiced = self._speech.last_speech_end(start, end)
        return end if voiced is None else min(end, voiced + _TRIM_GRACE_SAMPLES)
