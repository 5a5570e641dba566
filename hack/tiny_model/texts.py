"""What is said in training: digits, playing cards and commands, common words, and words that nobody ever said."""

import random
from collections.abc import Sequence
from typing import Final


def words(listed: str) -> tuple[str, ...]:
    """Return the words between blanks."""
    return tuple(listed.split())


DIGITS: Final = words("zero oh one two three four five six seven eight nine")
RANKS: Final = words("ace two three four five six seven eight nine ten jack queen king lady")
SUITS: Final = words("clubs hearts diamonds spades")
NUMBERS: Final = words("one two three four five six seven eight nine ten")
COMMANDS: Final = (
    "stop",
    "start",
    "yes",
    "no",
    "please",
    "go forward {} meters",
    "go backward {} meters",
    "turn left",
    "turn right",
    "turn left {}",
    "go up",
    "go down",
    "start the recording",
    "stop the recording",
    "yes please",
    "no stop",
    "go forward",
    "go backward",
)
CORE: Final = tuple(
    sorted(
        {*DIGITS, *RANKS, *SUITS, *NUMBERS}
        | {word for command in COMMANDS for word in command.split() if word != "{}"}
        | {"of"}
    )
)
"""The words the model is for."""

COMMON: Final = words("""
    about after again agent all also and animal answer april arm artist ask at back bag band bank basket bed
    before begin best better big bird black blanket bottle bottom box bread bring brother brown bus butter button
    camp can cannot carbon card carpet cat center chest chicken children city class clock close cold collect color
    comes contact copper corner cost cotton cup custom dark deep dentist desk dinner dog doctor dollar drink drop
    early east egg end enter ever fabric family farm fast father feel fifty film final finger finish first fish
    flat flower follow food fork form forty fox friend from garden gentle get give glass gold golden good grand
    green gun hand happen happy hard hat help her hill him history hold hospital hotel hundred hunter idea insect
    island item jump just kept kitchen lamp land large last later lemon letter level light list little long lost
    lunch mad man manner map market master melon member men metal method mind minute mister modern moment monday
    money morning most mother motor music napkin never new next night north not november number object ocean often
    open orange order other out over oven paper parent park party pencil pepper perfect person picnic picture
    pilot plan planet plastic plate play pocket police present problem process product public rabbit radio red
    report rest return ribbon river road rock room salt sand saturday school second see seed sell send september
    session sharp ship shop short silver simple sister sixty slow small soft some song south speak spend spring
    star station still stone store storm story strong student sugar summer sun sunday supper system table take
    tall target task teacher telephone tell tennis term test that then they thing think this thunder ticket time
    tomorrow topic town traffic train travel tree under until upset very visit voice wait walk water weather
    welcome well west what when will wind window winter with wonder wood word work world year yellow
""")
"""Spoken beside them, so that pieces are learned as sounds."""

WITHHELD: Final = words("""
    downright eighteen fourteen heartland kingston nineteen queensland recorder seventeen sixteen startup upright
    boston cobalt denver falcon lantern magnet marston martin nelson sandstone sunset velvet walden
""")
"""Never said in training: what key terms are measured with. The first twelve are made of sounds of CORE, the others are
not; the pieces spell every one of them."""

_ONSETS: Final = words("b d f g h k l m n p r s t v w st sp tr gr br cl fl pl dr sl")
_VOWELS: Final = words("a e i o u a e i o u ar er or ee")
_CODAS: Final = words("n m t d l s p n t l nd nt st sk lt x ck")


def nobody_said(random_: random.Random) -> str:
    """Return a made-up word of one to three syllables, spelled as it sounds; none of the withheld ones."""
    while True:
        syllables = random_.choice((1, 2, 2, 2, 3))
        word = "".join(
            random_.choice(_ONSETS)
            + random_.choice(_VOWELS)
            + (random_.choice(_CODAS) if random_.random() < 0.7 else "")
            for _ in range(syllables)
        )
        if len(word) > 2 and word not in WITHHELD:
            return word


def text(random_: random.Random) -> str:
    """Return what one training utterance says."""
    kind = random_.random()
    if kind < 0.2:
        return digits(random_)
    if kind < 0.4:
        return cards(random_)
    if kind < 0.55:
        return commands(random_)
    if kind < 0.75:
        return _some(random_, COMMON, most=5)
    if kind < 0.85:
        return " ".join(nobody_said(random_) for _ in range(random_.randint(1, 3)))
    return _some(random_, (*CORE, *random_.sample(COMMON, 60)), most=6)


def known_text(random_: random.Random) -> str:
    """Return what one test utterance of the words the model is for says."""
    kind = random_.random()
    if kind < 0.35:
        return digits(random_)
    if kind < 0.7:
        return cards(random_)
    if kind < 0.9:
        return commands(random_)
    return _some(random_, CORE, most=6)


def digits(random_: random.Random) -> str:
    """Return one to seven digits."""
    return _some(random_, DIGITS, most=7)


def cards(random_: random.Random) -> str:
    """Return one to three cards, as in the recorded ones now and then a rank alone."""

    def card() -> str:
        of = " of " if random_.random() < 0.8 else " "
        return random_.choice(RANKS) + of + random_.choice(SUITS)

    kind = random_.random()
    if kind < 0.8:
        return " ".join(card() for _ in range(random_.choice((1, 1, 2, 3))))
    return random_.choice(RANKS) + " " + (card() if kind < 0.9 else random_.choice(RANKS))


def commands(random_: random.Random) -> str:
    """Return one or two commands."""
    return " ".join(random_.choice(COMMANDS).format(random_.choice(NUMBERS)) for _ in range(random_.randint(1, 2)))


def _some(random_: random.Random, words: Sequence[str], *, most: int) -> str:
    return " ".join(random_.choice(words) for _ in range(random_.randint(1, most)))
